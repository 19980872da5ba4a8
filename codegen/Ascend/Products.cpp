// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Matrix products, for the cube unit: operands of one type, bf16 or f32, sums
// in f32; on the 950 also codes with scales. Weights are on the left, as the
// tile programs have them.
#include "codegen/Ascend/Translator.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;

namespace fathom::ascend {

/// Most bytes of a left operand that is only there as f32 for a product.
static constexpr int64_t kStripBytes = 32 << 10;

Value Translator::matmul(Value lhs, Value rhs, Value acc) {
  auto made = linalg::MatmulOp::create(b, TypeRange{acc.getType()},
                                       ValueRange{lhs, rhs}, ValueRange{acc});
  // f32 is not rounded to fewer bits on its way into the cube unit.
  made->setAttr("input_precision", b.getStringAttr("ieee"));
  return made.getResult(0);
}

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
    rhs = wide(rhs);
    if (isBF16(left))
      return productInStrips(left, rhs, acc);
    lhs = wide(lhs);
  }
  return matmul(lhs, rhs, acc);
}

Value Translator::productInStrips(Value lhs, Value rhs, Value acc) {
  auto shape = cast<RankedTensorType>(lhs.getType()).getShape();
  int64_t m = shape[0], k = shape[1], rows = m,
          n = cast<RankedTensorType>(acc.getType()).getDimSize(1);
  while (rows % 2 == 0 && rows * k * 4 > kStripBytes)
    rows /= 2;
  auto extended = [&](Value x) -> Value {
    return make<arith::ExtFOp>(withElement(x, b.getF32Type()), x);
  };
  if (rows == m)
    return matmul(extended(lhs), rhs, acc);
  auto numbers = [&](Shape list) {
    return getAsIndexOpFoldResult(b.getContext(), list);
  };
  Value all = empty({m, n}, b.getF32Type());
  for (int64_t from = 0; from < m; from += rows) {
    auto at = numbers({from, 0}), ones = numbers({1, 1});
    Value part =
              make<tensor::ExtractSliceOp>(lhs, at, numbers({rows, k}), ones),
          start = b.createOrFold<tensor::ExtractSliceOp>(
              acc, at, numbers({rows, n}), ones);
    all = make<tensor::InsertSliceOp>(matmul(extended(part), rhs, start), all,
                                      at, numbers({rows, n}), ones);
  }
  return all;
}

/// What AscendNPU-IR calls a product of codes with scales of blocks along K.
static constexpr llvm::StringLiteral kMatmulMX = "hfusion.matmul_mx";
static constexpr int64_t kMXBlock = 32;

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

Value Translator::spread(Value scale, int64_t m, int64_t k) {
  auto blocks = cast<RankedTensorType>(scale.getType()).getShape();
  int64_t rows = blocks[0], columns = blocks[1];
  if (rows == 1 && columns == 1)
    return splat(make<tensor::ExtractOp>(scale, ValueRange{index(0), index(0)}),
                 {m, k});
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
  return reshape(scale, {m, k});
}

Value Translator::scaled(Value values, Value scale) {
  auto shape = cast<RankedTensorType>(values.getType()).getShape();
  return make<arith::MulFOp>(values, spread(scale, shape[0], shape[1]));
}

bool multipliesCodes(tile::DotScaledOp op, const Target &target) {
  if (!target.hasFP8 || !op.getXScale())
    return false;
  int64_t k = cast<RankedTensorType>(op.getX().getType()).getDimSize(1);
  auto fits = [&](Value scale) {
    int64_t blocks = cast<RankedTensorType>(scale.getType()).getDimSize(1);
    return k / blocks % kMXBlock == 0;
  };
  return fits(op.getScale()) && fits(op.getXScale());
}

/// A weight in e2m1 becomes the e4m3 code of the same number. The hand-over
/// does not say whether a product is added to what its result holds: each
/// begins at zero, and the sum is the vector unit's.
LogicalResult Translator::dotCodes(tile::DotScaledOp op) {
  auto codes = [&](Value bytes) -> Value {
    return make<arith::BitcastOp>(
        withElement(bytes, b.getType<Float8E4M3FNType>()), bytes);
  };
  Value weight = get(op.getWeight()), x = get(op.getX());
  if (getElementTypeOrSelf(op.getWeight().getType()).isInteger(8))
    weight = recodeE2M1(weight);
  auto type = cast<RankedTensorType>(op.getAcc().getType());
  int64_t blocks =
      cast<RankedTensorType>(weight.getType()).getDimSize(1) / kMXBlock;
  Value zero =
      splat(make<arith::ConstantOp>(b.getF32FloatAttr(0)), type.getShape());
  b.getContext()->allowUnregisteredDialects(); // the one foreign operation
  OperationState state(b.getLoc(), kMatmulMX);
  state.addOperands({codes(weight), turned(b, codes(x)),
                     spread(get(op.getScale()), type.getDimSize(0), blocks),
                     spread(get(op.getXScale()), type.getDimSize(1), blocks),
                     zero});
  state.addTypes(type);
  Value product = b.create(state)->getResult(0);
  set(op, make<arith::AddFOp>(get(op.getAcc()), product));
  return success();
}

/// One scale for the whole tile, a power of two, goes to the smaller operand:
/// the products are the same numbers.
LogicalResult Translator::dotScaled(tile::DotScaledOp op) {
  if (multipliesCodes(op, target))
    return dotCodes(op);
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

//===-- The foreign operation --------------------------------------------===//

/// What AscendNPU-IR takes without a look at the scales.
static LogicalResult verifyMatmulMX(Operation *op) {
  auto wrong = [&](const Twine &what) {
    return op->emitError() << kMatmulMX << ": " << what;
  };
  if (op->getNumOperands() != 5 || op->getNumResults() != 1 ||
      op->getNumRegions() != 0)
    return wrong("takes two tiles of codes, their scales and a start, and "
                 "gives one tile");
  SmallVector<RankedTensorType> types;
  for (Type type :
       llvm::concat<Type>(SmallVector<Type>(op->getOperandTypes()),
                          SmallVector<Type>(op->getResultTypes()))) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || tensor.getRank() != 2 || !tensor.hasStaticShape())
      return wrong("has matrices of known sizes alone");
    types.push_back(tensor);
  }
  RankedTensorType lhs = types[0], rhs = types[1], acc = types[4];
  if (!isa<Float8E4M3FNType>(lhs.getElementType()) ||
      !isa<Float8E4M3FNType>(rhs.getElementType()))
    return wrong("its operands are f8E4M3FN");
  if (!acc.getElementType().isF32() || types[5] != acc)
    return wrong("its start and its result are f32, of one shape");
  int64_t m = lhs.getDimSize(0), k = lhs.getDimSize(1), n = rhs.getDimSize(1);
  if (rhs.getDimSize(0) != k || acc.getDimSize(0) != m ||
      acc.getDimSize(1) != n)
    return wrong("its tiles are MxK, KxN and MxN");
  if (k % kMXBlock != 0)
    return wrong("K is a multiple of " + Twine(kMXBlock));
  const std::pair<RankedTensorType, int64_t> scales[] = {{types[2], m},
                                                         {types[3], n}};
  for (auto [scale, rows] : scales)
    if (!scale.getElementType().isInteger(8) || scale.getDimSize(0) != rows ||
        scale.getDimSize(1) != k / kMXBlock)
      return wrong("its scales are i8, Mx(K/" + Twine(kMXBlock) +
                   ") and Nx(K/" + Twine(kMXBlock) + ")");
  return success();
}

LogicalResult verifyForeign(ModuleOp module) {
  WalkResult result = module.walk([](Operation *op) {
    if (op->getName().getStringRef() != kMatmulMX)
      return WalkResult::advance();
    return failed(verifyMatmulMX(op)) ? WalkResult::interrupt()
                                      : WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

} // namespace fathom::ascend
