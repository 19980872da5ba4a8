// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Matrix products, for the cube unit: operands of one type, bf16 or f32, sums
// in f32. Weights are on the left, as the tile programs have them.
#include "codegen/Ascend/Translator.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;

namespace fathom::ascend {

Value Translator::product(Value lhs, Value rhs, Value acc) {
  Value left = narrowed(lhs), right = narrowed(rhs);
  auto isBF16 = [](Value x) {
    return getElementTypeOrSelf(x.getType()).isBF16();
  };
  if (isBF16(left) && isBF16(right)) {
    lhs = left;
    rhs = right;
  } else {
    auto wide = [&](Value x) -> Value {
      return isBF16(x) ? make<arith::ExtFOp>(withElement(x, b.getF32Type()), x)
                       : x;
    };
    lhs = wide(lhs);
    rhs = wide(rhs);
  }
  auto made = linalg::MatmulOp::create(b, TypeRange{acc.getType()},
                                       ValueRange{lhs, rhs}, ValueRange{acc});
  // f32 is not rounded to fewer bits on its way into the cube unit.
  made->setAttr("input_precision", b.getStringAttr("ieee"));
  return made.getResult(0);
}

/// Always as an operation, which the cube unit's loads take in, even where a
/// single row or column has nothing to move.
static Value turned(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<RankedTensorType>(x.getType());
  Value init = tensor::EmptyOp::create(
      b, ArrayRef<int64_t>{type.getDimSize(1), type.getDimSize(0)},
      type.getElementType());
  return linalg::TransposeOp::create(b, x, init, ArrayRef<int64_t>{1, 0})
      .getResult()[0];
}

LogicalResult Translator::dot(tile::DotOp op) {
  Value lhs = get(op.getLhs()), rhs = get(op.getRhs());
  // What is extended only for the product is transposed in its own type.
  auto transposed = [&](Value x) -> Value {
    Value narrow = narrowed(x);
    Value moved = turned(b, narrow);
    if (narrow == x)
      return moved;
    return make<arith::ExtFOp>(withElement(moved, b.getF32Type()), moved);
  };
  if (op.getForm() == tile::DotForm::TN)
    lhs = transposed(lhs);
  if (op.getForm() == tile::DotForm::NT)
    rhs = transposed(rhs);
  set(op, product(lhs, rhs, get(op.getAcc())));
  return success();
}

Value Translator::scaled(Value values, Value scale) {
  auto shape = cast<RankedTensorType>(values.getType()).getShape();
  auto blocks = cast<RankedTensorType>(scale.getType()).getShape();
  int64_t m = shape[0], k = shape[1], rows = blocks[0], columns = blocks[1];
  if (rows == 1 && columns == 1) {
    scale = splat(
        make<tensor::ExtractOp>(scale, ValueRange{index(0), index(0)}), shape);
    return make<arith::MulFOp>(values, scale);
  }
  // Dimensions of one element, or without repetition, are left out.
  Dims operand, whole, repeated;
  auto add = [&](int64_t have, int64_t times) {
    if (have > 1) {
      whole.push_back(have);
      operand.push_back(have);
    }
    if (times > 1) {
      repeated.push_back(whole.size());
      whole.push_back(times);
    }
  };
  add(rows, m / rows);
  add(columns, k / columns);
  scale = reshape(scale, operand);
  if (!repeated.empty())
    scale = broadcast(scale, whole, repeated);
  return make<arith::MulFOp>(values, reshape(scale, shape));
}

/// One scale for the whole tile, a power of two, goes to the smaller operand:
/// the products are the same numbers.
LogicalResult Translator::dotScaled(tile::DotScaledOp op) {
  Value stored = get(op.getWeight()), x = narrowed(get(op.getX()));
  if (op.getXScale()) { // codes times powers of two: bf16 holds them exactly
    x = scaled(decodeE4M3(x), decodeE8M0(get(op.getXScale())));
    x = make<arith::TruncFOp>(withElement(x, b.getBF16Type()), x);
  }
  bool packed = getElementTypeOrSelf(op.getWeight().getType()).isInteger(8);
  bool isBF16 = getElementTypeOrSelf(x.getType()).isBF16();
  Value scale = decodeE8M0(get(op.getScale()));
  bool single = cast<RankedTensorType>(scale.getType()).getNumElements() == 1;
  Value weight = packed ? decodeE2M1(stored) : decodeE4M3(stored);
  if (single) {
    if (isBF16)
      x = make<arith::ExtFOp>(withElement(x, b.getF32Type()), x);
    x = scaled(x, scale);
    if (isBF16)
      x = make<arith::TruncFOp>(withElement(x, b.getBF16Type()), x);
  } else {
    weight = scaled(weight, scale);
  }
  // A weight is a short code times a power of two: bf16 holds it exactly.
  if (isBF16)
    weight =
        make<arith::TruncFOp>(withElement(weight, b.getBF16Type()), weight);
  set(op, product(weight, turned(b, x), get(op.getAcc())));
  return success();
}

} // namespace fathom::ascend
