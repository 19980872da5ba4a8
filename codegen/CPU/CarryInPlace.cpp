// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Passes.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_CARRYINPLACEPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;

/// Whether the tile is one that the loop carries, or a view of it.
static bool isCarried(Value tile, scf::ForOp loop) {
  while (Operation *view = tile.getDefiningOp()) {
    if (!isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp,
             tensor::ExtractSliceOp>(view))
      return false;
    tile = view->getOperand(0);
  }
  return llvm::is_contained(loop.getRegionIterArgs(), tile);
}

/// Of carried tiles that change places each is copied before any is written.
static void copyExchanged(scf::ForOp loop, scf::YieldOp yield) {
  OpBuilder b(yield);
  for (auto [arg, operand] :
       llvm::zip(loop.getRegionIterArgs(), yield->getOpOperands())) {
    auto type = dyn_cast<RankedTensorType>(operand.get().getType());
    if (!type || operand.get() == arg || !isCarried(operand.get(), loop))
      continue;
    auto copy = bufferization::AllocTensorOp::create(
        b, yield.getLoc(), type, ValueRange{}, operand.get());
    operand.set(copy.getResult());
  }
}

namespace {
struct CarryInPlace : fathom::cpu::impl::CarryInPlacePassBase<CarryInPlace> {
  void runOnOperation() override {
    getOperation().walk([](scf::ForOp loop) {
      auto yield = cast<scf::YieldOp>(loop.getBody()->getTerminator());
      copyExchanged(loop, yield);
      OpBuilder b(yield);
      for (auto [arg, operand] :
           llvm::zip(loop.getRegionIterArgs(), yield->getOpOperands())) {
        if (!isa<TensorType>(arg.getType()) || operand.get() == arg)
          continue;
        auto moved = bufferization::MaterializeInDestinationOp::create(
            b, yield.getLoc(), operand.get(), arg);
        operand.set(moved.getResult());
      }
    });
  }
};
} // namespace
