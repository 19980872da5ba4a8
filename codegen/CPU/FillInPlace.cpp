// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Aliases.h"
#include "codegen/CPU/Passes.h"

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

/// Whether something that begins after `first` uses the memory of `whole`
/// before `copy` writes its part.
static bool isUsedBetween(memref::AllocOp whole, Operation *first,
                          memref::CopyOp copy, memref::SubViewOp part) {
  bool used = false;
  fathom::cpu::forEachUse(whole.getResult(), [&](OpOperand &use) {
    Operation *user = use.getOwner();
    if (user == copy || user == part)
      return;
    Operation *at = first->getBlock()->findAncestorOpInBlock(*user);
    used |= !at || (first->isBeforeInBlock(at) && at->isBeforeInBlock(copy));
  });
  return used;
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
    Operation *at = block->findAncestorOpInBlock(*user);
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
