// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/Fusion.h"
#include "passes/PassCounts.h"

namespace fathom {
#define GEN_PASS_DEF_FUSEATTENTIONINPUTPASS
#include "passes/Passes.h.inc"
} // namespace fathom

using namespace mlir;
using namespace fathom;

/// A step on the rows of heads.
static bool isStep(Operation *op) {
  return isa<dsv4::HeadNormOp, dsv4::RopeOp, dsv4::HadamardOp,
             dsv4::FakeQuantizeOp>(op);
}

/// Appends the steps that follow `value`, as long as each has one user.
static void appendSteps(Value value, SmallVectorImpl<Operation *> &members) {
  while (value.hasOneUse()) {
    Operation *user = *value.user_begin();
    if (!isStep(user) || user->getOperand(0) != value)
      return;
    members.push_back(user);
    value = user->getResult(0);
  }
}

/// The rank's norm, its quantisation point, and every projection to heads with
/// the steps behind it; nothing where something else reads the norm.
static SmallVector<Operation *> queries(dsv4::RMSNormOp norm) {
  SmallVector<Operation *> members{norm};
  Value x = norm.getResult();
  if (auto quantise = onlyUser<dsv4::FakeQuantizeOp>(x)) {
    members.push_back(quantise);
    x = quantise.getResult();
  }
  bool heads = false;
  for (Operation *user : x.getUsers()) {
    auto linear = dyn_cast<dsv4::LinearOp>(user);
    if (!linear || linear.getX() != x)
      return {};
    auto type = cast<RankedTensorType>(linear.getResult().getType());
    if (type.getRank() != 3 ||
        cast<RankedTensorType>(x.getType()).getRank() != 2)
      return {};
    members.push_back(linear);
    size_t before = members.size();
    appendSteps(linear.getResult(), members);
    heads |= members.size() > before;
  }
  return heads ? members : SmallVector<Operation *>{};
}

/// The window's insertion and the steps before it.
static SmallVector<Operation *> windowRow(dsv4::WindowInsertOp insert) {
  SmallVector<Operation *> members{insert};
  Value x = insert.getKv();
  while (Operation *op = x.getDefiningOp()) {
    if (!x.hasOneUse() || !(isStep(op) || isa<dsv4::RMSNormOp>(op)))
      break;
    members.push_back(op);
    x = op->getOperand(0);
  }
  return members;
}

namespace {
struct FuseAttentionInput
    : fathom::impl::FuseAttentionInputPassBase<FuseAttentionInput> {
  void runOnOperation() override {
    SmallVector<Operation *> starts;
    getOperation().walk([&](Operation *op) {
      if (isa<dsv4::RMSNormOp, dsv4::WindowInsertOp>(op))
        starts.push_back(op);
    });
    FusionCounts counts;
    for (Operation *op : starts) {
      auto insert = dyn_cast<dsv4::WindowInsertOp>(op);
      SmallVector<Operation *> members =
          insert ? windowRow(insert) : queries(cast<dsv4::RMSNormOp>(op));
      if (!fuse(dsv4::FusionKind::AttentionInput, members))
        continue;
      ++counts.groups;
      counts.operations += members.size();
    }
    // Known at the end only: a norm may stand in the group of its window row.
    counts.left = llvm::count_if(starts, [](Operation *op) {
      return !isa<dsv4::FusedOp>(op->getParentOp());
    });
    counts.report(*this);
  }
};
} // namespace
