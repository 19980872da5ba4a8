// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Passes.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_CARRYINPLACEPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;

namespace {
struct CarryInPlace : fathom::cpu::impl::CarryInPlacePassBase<CarryInPlace> {
  void runOnOperation() override {
    getOperation().walk([](scf::ForOp loop) {
      auto yield = cast<scf::YieldOp>(loop.getBody()->getTerminator());
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
