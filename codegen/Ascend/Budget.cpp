// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the memories of a core must hold, before AscendNPU-IR plans them. Its
// plan shares what does not live at once; here is only what no plan can avoid,
// so that nothing is refused that it accepts, and what is refused is so with
// the tile's name.
#include "codegen/Ascend/TileToAdapter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace fathom::ascend {

static int64_t bytesOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.hasStaticShape())
    return 0;
  Type element = tensor.getElementType();
  int64_t bits = element.isIntOrFloat() ? element.getIntOrFloatBitWidth() : 32;
  return (tensor.getNumElements() * bits + 7) / 8;
}

/// Bytes of a number that the cube unit multiplies: a code, or what it is
/// decoded to, which is bf16, or f32 where the tokens are.
static int64_t multipliedWidth(tile::DotScaledOp op, const Target &target) {
  auto x = cast<RankedTensorType>(op.getX().getType());
  return multipliesCodes(op, target) ? 1 : x.getElementType().isF32() ? 4 : 2;
}

LogicalResult verifyBudget(tile::KernelOp kernel, const Target &target) {
  auto check = [&](Operation *op, int64_t needed, int64_t has,
                   const char *memory, const Twine &what) -> LogicalResult {
    if (needed <= has)
      return success();
    return op->emitError() << "unsupported on " << target.name << ": "
                           << op->getName() << ": " << what << " of " << needed
                           << " bytes, and " << memory << " has " << has
                           << "; take smaller tiles";
  };
  auto product = [&](Operation *op, int64_t lhs, int64_t rhs, Type acc) {
    if (failed(check(op, lhs + rhs, target.l1, "the cube unit's first level",
                     "operands")))
      return failure();
    // However K is cut, 32 bytes of every row of an operand are there at once.
    auto result = cast<RankedTensorType>(acc);
    for (int64_t rows : result.getShape())
      if (failed(check(op, 32 * rows, target.l0ab,
                       "the cube unit's second level", "a slice")))
        return failure();
    return check(op, bytesOf(acc), target.l0c, "the cube unit's accumulator",
                 "a result");
  };
  WalkResult result = kernel.walk([&](Operation *op) {
    LogicalResult fits = success();
    if (auto dot = dyn_cast<tile::DotOp>(op)) {
      fits = product(op, bytesOf(dot.getLhs().getType()),
                     bytesOf(dot.getRhs().getType()), dot.getAcc().getType());
    } else if (auto scaled = dyn_cast<tile::DotScaledOp>(op)) {
      auto x = cast<RankedTensorType>(scaled.getX().getType());
      int64_t width = multipliedWidth(scaled, target),
              stored = bytesOf(scaled.getWeight().getType()),
              weight = scaled.getAcc().getType().getDimSize(0) *
                       x.getDimSize(1) * width;
      fits = product(op, weight, x.getNumElements() * width,
                     scaled.getAcc().getType());
      // What is stored, and where that is decoded, what it becomes before and
      // after it is rounded.
      if (succeeded(fits) && width > 1)
        fits = check(op, stored + 2 * weight, target.ub, "the vector unit",
                     "a weight while it is decoded");
    } else if (!isa<scf::ForOp, scf::IfOp, arith::ConstantOp>(op)) {
      // Vectors read and write the vector unit's memory; a constant may be a
      // scalar there, or the start of a product.
      int64_t most = 0;
      for (Type type : op->getResultTypes())
        most = std::max(most, bytesOf(type));
      fits = check(op, most, target.ub, "the vector unit", "a tile");
    }
    return failed(fits) ? WalkResult::interrupt() : WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

} // namespace fathom::ascend
