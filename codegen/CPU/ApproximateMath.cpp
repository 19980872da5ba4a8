// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Passes.h"

#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_APPROXIMATEMATHPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;

/// One instruction (or a few) on every level, no library call.
static bool isNative(Operation *op) {
  if (isa<math::FmaOp>(op)) // of narrower floats f32 would round twice
    return getElementTypeOrSelf(op->getResult(0)).getIntOrFloatBitWidth() >= 32;
  return isa<math::AbsFOp, math::AbsIOp, math::SqrtOp, math::CopySignOp,
             math::FloorOp, math::CeilOp, math::TruncOp, math::RoundEvenOp,
             math::CountLeadingZerosOp, math::CountTrailingZerosOp,
             math::CtPopOp, math::IsNaNOp, math::IsFiniteOp>(op);
}

namespace {
struct ApproximateMath
    : fathom::cpu::impl::ApproximateMathPassBase<ApproximateMath> {
  void runOnOperation() override {
    // Checked against the C library over all ranges: at most 5 ulp, but for
    // log and log2 of subnormals, which count as the smallest normal number.
    static constexpr StringLiteral names[] = {
        "math.exp",  "math.log", "math.log1p", "math.expm1",
        "math.tanh", "math.erf", "math.log2"};
    RewritePatternSet patterns(&getContext());
    populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) {
      return llvm::is_contained(names, name);
    });
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    WalkResult left = getOperation().walk([](Operation *op) {
      if (isa<arith::RemFOp>(op)) {
        op->emitOpError("has no code on the CPU: it is a call of fmod");
        return WalkResult::interrupt();
      }
      if (op->getDialect()->getNamespace() != "math" || isNative(op))
        return WalkResult::advance();
      op->emitOpError("has no code on the CPU: exp, expm1, log, log1p, log2, "
                      "tanh, erf of f32 and what is one instruction have");
      return WalkResult::interrupt();
    });
    if (left.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
