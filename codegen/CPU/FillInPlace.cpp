// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Passes.h"

#include "mlir/Interfaces/ViewLikeInterface.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_FILLINPLACEPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;

/// What takes a buffer of any strides in place of another.
static bool takesAnyStrides(Operation *op) {
  return isa<vector::LoadOp, vector::StoreOp, memref::LoadOp, memref::StoreOp,
             linalg::GenericOp>(op);
}

/// The operation of `block` that is `op` or has it inside; null if none is.
static Operation *in(Block *block, Operation *op) {
  return block->findAncestorOpInBlock(*op);
}

/// Whether something from `first` to `last` uses the buffer or a view of it,
/// but for `own`.
static bool isUsedBetween(Value buffer, Operation *first, Operation *last,
                          Operation *own) {
  for (Operation *user : buffer.getUsers()) {
    if (user == own)
      continue;
    Operation *at = in(first->getBlock(), user);
    if (!at || (!at->isBeforeInBlock(first) && !last->isBeforeInBlock(at)))
      return true;
    for (Value view : user->getResults())
      if (isa<MemRefType>(view.getType()) &&
          isUsedBetween(view, first, last, own))
        return true;
  }
  return false;
}

/// A copy of a whole buffer to a part of another that nothing looks at before:
/// what fills the buffer fills the part.
static void fillInPlace(memref::CopyOp copy) {
  Block *block = copy->getBlock();
  auto from = copy.getSource().getDefiningOp<memref::AllocOp>();
  auto part = copy.getTarget().getDefiningOp<memref::SubViewOp>();
  if (!from || !part || from->getBlock() != block ||
      part->getBlock() != block || !part.getOffsets().empty() ||
      !part.getSizes().empty() || !part.getStrides().empty())
    return;
  auto whole = part.getSource().getDefiningOp<memref::AllocOp>();
  if (!whole || whole->getBlock() != block)
    return;
  for (Operation *user : from->getUsers()) {
    if (user == copy)
      continue;
    Operation *at = in(block, user);
    if (!takesAnyStrides(user) || !at || !at->isBeforeInBlock(copy))
      return;
  }
  if (isUsedBetween(whole, from, copy, part))
    return;
  if (from->isBeforeInBlock(whole))
    whole->moveBefore(from);
  part->moveAfter(whole);
  from.getResult().replaceAllUsesExcept(part.getResult(), copy);
  copy.erase();
  from.erase();
}

namespace {
struct FillInPlace : fathom::cpu::impl::FillInPlacePassBase<FillInPlace> {
  void runOnOperation() override {
    SmallVector<memref::CopyOp> copies;
    getOperation().walk([&](memref::CopyOp copy) { copies.push_back(copy); });
    for (memref::CopyOp copy : copies)
      fillInPlace(copy);
  }
};
} // namespace
