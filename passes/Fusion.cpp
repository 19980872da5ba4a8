// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/Fusion.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace fathom {

/// Whether the order of two operations matters because of a cache.
static bool conflict(Operation *first, Operation *second) {
  auto a = dyn_cast<MemoryEffectOpInterface>(first),
       b = dyn_cast<MemoryEffectOpInterface>(second);
  if (!a || !b)
    return !isMemoryEffectFree(first) && !isMemoryEffectFree(second);
  SmallVector<MemoryEffects::EffectInstance> as, bs;
  a.getEffects(as);
  b.getEffects(bs);
  for (const auto &x : as)
    for (const auto &y : bs)
      if ((isa<MemoryEffects::Write>(x.getEffect()) ||
           isa<MemoryEffects::Write>(y.getEffect())) &&
          (!x.getValue() || !y.getValue() || x.getValue() == y.getValue()))
        return true;
  return false;
}

/// Whether `op` (with what is nested in it) uses a result of `earlier` or
/// touches a cache that it touches.
static bool dependsOn(Operation *op, Operation *earlier) {
  for (Operation *user : earlier->getUsers())
    if (op->isAncestor(user))
      return true;
  return conflict(earlier, op);
}

/// A group's effects are its members'.
static void leavesOf(Operation *op, SmallVectorImpl<Operation *> &leaves) {
  if (auto group = dyn_cast<dsv4::FusedOp>(op)) {
    for (Operation &member : group.members())
      leaves.push_back(&member);
    return;
  }
  leaves.push_back(op);
}

static bool dependsOnAny(Operation *op, ArrayRef<Operation *> earlier) {
  SmallVector<Operation *> ours, theirs;
  leavesOf(op, ours);
  for (Operation *e : earlier) {
    if (dependsOn(op, e))
      return true;
    theirs.clear();
    leavesOf(e, theirs);
    for (Operation *a : ours)
      for (Operation *b : theirs)
        if (conflict(b, a))
          return true;
  }
  return false;
}

dsv4::FusedOp fuse(dsv4::FusionKind kind, ArrayRef<Operation *> list) {
  llvm::SetVector<Operation *> members(list.begin(), list.end());
  if (members.size() < 2)
    return {};
  Block *block = members.front()->getBlock();
  if (isa<dsv4::FusedOp>(block->getParentOp()))
    return {};
  SmallVector<Operation *> inOrder, behind;
  Operation *last = nullptr;
  for (Operation *op : members) {
    if (op->getBlock() != block || isa<dsv4::FusedOp>(op))
      return {};
    if (!last || last->isBeforeInBlock(op))
      last = op;
  }
  for (Operation *op = &block->front();; op = op->getNextNode()) {
    if (members.contains(op)) {
      if (dependsOnAny(op, behind))
        return {};
      inOrder.push_back(op);
      if (op == last)
        break;
    } else if (!inOrder.empty()) {
      SmallVector<Operation *> before(inOrder);
      before.append(behind);
      if (dependsOnAny(op, before))
        behind.push_back(op);
    }
  }

  SmallVector<Value> outputs;
  for (Operation *op : inOrder)
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(), [&](Operation *user) {
            return !members.contains(block->findAncestorOpInBlock(*user));
          }))
        outputs.push_back(result);
  OpBuilder b(last->getContext());
  b.setInsertionPointAfter(last);
  auto group = dsv4::FusedOp::create(
      b, inOrder.front()->getLoc(), ValueRange(outputs).getTypes(),
      dsv4::FusionKindAttr::get(b.getContext(), kind));
  Block *body = b.createBlock(&group.getBody());
  for (Operation *op : inOrder)
    op->moveBefore(body, body->end());
  Operation *place = group;
  for (Operation *op : behind) {
    op->moveAfter(place);
    place = op;
  }
  b.setInsertionPointToEnd(body);
  auto yield = dsv4::YieldOp::create(b, group.getLoc(), outputs);
  for (auto [value, result] : llvm::zip(outputs, group.getOutputs()))
    value.replaceUsesWithIf(result, [&](OpOperand &use) {
      return use.getOwner() != yield && !group->isAncestor(use.getOwner());
    });
  return group;
}

SmallVector<Operation *> dissolve(dsv4::FusedOp group) {
  SmallVector<Operation *> members;
  for (Operation &op : group.members())
    members.push_back(&op);
  for (auto [result, value] : llvm::zip(group.getOutputs(), group.yielded()))
    result.replaceAllUsesWith(value);
  for (Operation *op : members)
    op->moveBefore(group);
  group.erase();
  return members;
}

ArrayRef<Fusion> fusions() {
  // A fusion takes what those before it have left.
  using dsv4::FusionKind;
  static const std::vector<Fusion> kFusions = {
      {FusionKind::AttentionInput, "attention_input",
       "queries and window rows with norms, rotation and quantisation",
       /*keepsSums=*/true, createFuseAttentionInputPass},
      {FusionKind::CompressedAttention, "compressed_attention",
       "the compressor from pooling to the stored block", /*keepsSums=*/true,
       createFuseCompressedAttentionPass},
      {FusionKind::SparseAttention, "sparse_attention",
       "indexer, selection, attention and inverse rope", /*keepsSums=*/true,
       createFuseSparseAttentionPass},
      {FusionKind::HyperConnection, "hyper_connection",
       "post-mix, next mix, norm, quantisation and router scores, at the end "
       "of the sub-layer's last matrix",
       /*keepsSums=*/false, createFuseHyperConnectionPass},
      {FusionKind::Experts, "experts",
       "choice of experts, routed and shared experts, their sum and what "
       "follows",
       /*keepsSums=*/true, createFuseExpertsPass},
      {FusionKind::Head, "head", "rows, final mix and norm before the logits",
       /*keepsSums=*/true, createFuseHeadPass},
  };
  return kFusions;
}

void addFusionPasses(OpPassManager &passes, ArrayRef<std::string> disabled) {
  if (llvm::is_contained(disabled, "all"))
    return;
  for (const Fusion &fusion : fusions()) {
    if (llvm::is_contained(disabled, fusion.name))
      continue;
    std::unique_ptr<Pass> pass = fusion.create();
    if (pass->getOpName() == func::FuncOp::getOperationName())
      passes.nest<func::FuncOp>().addPass(std::move(pass));
    else
      passes.addPass(std::move(pass));
  }
}

void addLaunchPasses(OpPassManager &passes, bool calls,
                     ArrayRef<std::string> disabled) {
  MergeLaunchesPassOptions options;
  options.calls = calls;
  if (!llvm::is_contained(disabled, "all") &&
      !llvm::is_contained(disabled, kMergeLaunches))
    passes.addPass(createMergeLaunchesPass(options));
}

} // namespace fathom
