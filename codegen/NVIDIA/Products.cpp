// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Matrix products on tensor cores. Their operands are bf16: an f32 tile that
// bf16 does not hold is the sum of three bf16 tiles (24 bits), and the product
// the sum of the six products that matter. Products of few rows or columns work
// on larger tiles, since small ones would not reach tensor cores.
#include "codegen/NVIDIA/Translator.h"

#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace fathom::nvidia {

using namespace cudatile;
using cudatile::Type;
using S = Scalar;

static constexpr int64_t kLeastM = 64, kLeastN = 8, kLeastK = 16;

//===-- Operands ---------------------------------------------------------===//

static bool constantFits(mlir::Value value, bool powerOfTwo) {
  DenseFPElementsAttr elements;
  FloatAttr scalar;
  if (!matchPattern(value, m_Constant(&elements)) || !elements.isSplat())
    return matchPattern(value, m_Constant(&scalar)) && !powerOfTwo &&
           scalar.getValue().isZero();
  APFloat number = elements.getSplatValue<APFloat>();
  if (powerOfTwo)
    return number.getExactLog2Abs() != INT_MIN;
  bool inexact = false;
  number.convert(APFloat::BFloat(), APFloat::rmNearestTiesToEven, &inexact);
  return !inexact;
}

/// What only moves elements: its operand.
static mlir::Value moved(mlir::Value value) {
  Operation *op = value.getDefiningOp();
  return isa_and_nonnull<tile::ReshapeOp, tile::BroadcastOp, tile::TransposeOp,
                         mlir::tensor::SplatOp>(op)
             ? op->getOperand(0)
             : mlir::Value();
}

static bool isPowerOfTwo(mlir::Value value) {
  if (mlir::Value from = moved(value))
    return isPowerOfTwo(from);
  if (auto extended = value.getDefiningOp<arith::ExtFOp>())
    return isa<Float8E8M0FNUType>(
        getElementTypeOrSelf(extended.getIn().getType()));
  return constantFits(value, /*powerOfTwo=*/true);
}

/// Whether bf16 holds every value exactly (of powers of two times short codes:
/// but for ranges that checkpoints do not use).
static bool fitsBF16(mlir::Value value) {
  if (getElementTypeOrSelf(value.getType()).isBF16())
    return true;
  if (mlir::Value from = moved(value))
    return fitsBF16(from);
  if (!value.getDefiningOp())
    return false;
  return llvm::TypeSwitch<Operation *, bool>(value.getDefiningOp())
      .Case([](arith::ExtFOp op) {
        return getElementTypeOrSelf(op.getIn().getType())
                       .getIntOrFloatBitWidth() <= 8 ||
               fitsBF16(op.getIn());
      })
      .Case<tile::UnpackFP4Op, tile::GatherScaledOp>([](auto) { return true; })
      .Case([](arith::MulFOp op) {
        return (isPowerOfTwo(op.getLhs()) && fitsBF16(op.getRhs())) ||
               (isPowerOfTwo(op.getRhs()) && fitsBF16(op.getLhs()));
      })
      .Case([](arith::SelectOp op) {
        return fitsBF16(op.getTrueValue()) && fitsBF16(op.getFalseValue());
      })
      .Case([&](arith::ConstantOp) { return constantFits(value, false); })
      .Default([](Operation *) { return false; });
}

Translator::Parts Translator::bf16Parts(mlir::Value value) {
  // Conversions and back are not worth instructions.
  if (auto extended = value.getDefiningOp<arith::ExtFOp>()) {
    mlir::Type from = getElementTypeOrSelf(extended.getIn().getType());
    if (from.isBF16())
      return {get(extended.getIn())};
    if (isa<Float8E4M3FNType>(from))
      return {decodeE4M3(get(extended.getIn()), S::BF16)};
  }
  if (auto unpacked = value.getDefiningOp<tile::UnpackFP4Op>())
    return {decodeE2M1(get(unpacked.getX()), S::BF16)};
  Value x = get(value);
  if (fitsBF16(value))
    return {f.convertFloat(x, S::BF16)};
  Parts parts;
  for (int i = 0; i < 3; ++i) {
    parts.push_back(f.convertFloat(x, S::BF16));
    if (i < 2)
      x = f.binary(Op::SubF, x, f.convertFloat(parts.back(), S::F32));
  }
  return parts;
}

//===-- Shapes that tensor cores take ------------------------------------===//

Translator::Dims Translator::paddedShape(Shape shape) {
  return {std::max(shape[0], kLeastM), std::max(shape[1], kLeastN)};
}

Value Translator::repeat(const Value &x, Shape shape) {
  Dims split, repeated;
  for (auto [have, want] : llvm::zip(x.type.shape, shape)) {
    split.append({1, have});
    repeated.append({want / have, have});
  }
  if (Shape(x.type.shape) == shape)
    return x;
  return f.reshape(f.broadcast(f.reshape(x, split), repeated), shape);
}

Value Translator::zeroExtendK(const Value &x, unsigned dim) {
  Value extended = x;
  while (extended.type.shape[dim] < kLeastK)
    extended = f.cat(extended, splatLike(extended, 0), dim);
  return extended;
}

//===-- Products ---------------------------------------------------------===//

/// Parts of lhs M x K, of rhs K x N. The result has the padded shape; get()
/// cuts it where somebody wants to see it.
Value Translator::product(mlir::Value accumulator, Parts lhs, Parts rhs) {
  Dims shape =
      paddedShape(cast<RankedTensorType>(accumulator.getType()).getShape());
  Value acc = values.lookup(accumulator);
  if (Shape(acc.type.shape) != Shape(shape))
    acc = repeat(get(accumulator), shape);
  for (Value &part : lhs) {
    part = zeroExtendK(part, 1);
    part = repeat(part, {shape[0], part.type.shape[1]});
  }
  for (Value &part : rhs) {
    part = zeroExtendK(part, 0);
    part = repeat(part, {part.type.shape[0], shape[1]});
  }
  // Small terms first; below 2^-24 of the largest they do not count.
  for (size_t order = 3; order-- > 0;)
    for (size_t i = 0; i < lhs.size() && i <= order; ++i)
      if (order - i < rhs.size())
        acc = f.mma(lhs[i], rhs[order - i], acc);
  return acc;
}

LogicalResult Translator::dot(tile::DotOp op) {
  Parts lhs = bf16Parts(op.getLhs()), rhs = bf16Parts(op.getRhs());
  if (op.getForm() == tile::DotForm::TN)
    for (Value &part : lhs)
      part = f.permute(part, {1, 0});
  if (op.getForm() == tile::DotForm::NT)
    for (Value &part : rhs)
      part = f.permute(part, {1, 0});
  set(op, product(op.getAcc(), lhs, rhs));
  return success();
}

LogicalResult Translator::dotScaled(tile::DotScaledOp op) {
  mlir::Type element = getElementTypeOrSelf(op.getWeight().getType());
  Value stored = get(op.getWeight());
  Value weight = isa<Float8E4M3FNType>(element) ? decodeE4M3(stored, S::BF16)
                                                : decodeE2M1(stored, S::BF16);
  Value scale = decodeE8M0(get(op.getScale()), S::BF16);
  int64_t m = weight.type.shape[0], k = weight.type.shape[1];
  int64_t rows = scale.type.shape[0], columns = scale.type.shape[1];
  scale = f.reshape(scale, {rows, 1, columns, 1});
  scale = f.broadcast(scale, {rows, m / rows, columns, k / columns});
  weight = f.binary(Op::MulF, weight, f.reshape(scale, weight.type.shape));
  Parts x = bf16Parts(op.getX());
  for (Value &part : x)
    part = f.permute(part, {1, 0});
  set(op, product(op.getAcc(), {weight}, x));
  return success();
}

} // namespace fathom::nvidia
