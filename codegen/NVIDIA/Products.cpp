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

/// Eight columns of 64 rows would not do: sm_90's two groups of warps share
/// either rows or columns, and 64 or 8 is what one of them takes.
static constexpr int64_t kLeastM = 64, kLeastN = 16, kLeastK = 16;

//===-- Operands ---------------------------------------------------------===//

/// Whether bf16 holds a constant, or all of its elements, or all of them are
/// powers of two.
static bool constantFits(mlir::Value value, bool powersOfTwo) {
  auto fits = [&](APFloat number) {
    if (powersOfTwo)
      return number.getExactLog2Abs() != INT_MIN;
    bool inexact = false;
    number.convert(APFloat::BFloat(), APFloat::rmNearestTiesToEven, &inexact);
    return !inexact;
  };
  DenseFPElementsAttr elements;
  if (matchPattern(value, m_Constant(&elements)))
    return elements.isSplat() ? fits(elements.getSplatValue<APFloat>())
                              : llvm::all_of(elements, fits);
  FloatAttr scalar;
  return matchPattern(value, m_Constant(&scalar)) && fits(scalar.getValue());
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

bool Translator::isOfProducts(arith::ConstantOp op) {
  auto elements = dyn_cast<DenseFPElementsAttr>(op.getValue());
  return elements && !elements.isSplat() &&
         llvm::all_of(op->getUses(),
                      [](OpOperand &use) {
                        return isa<tile::DotOp>(use.getOwner()) &&
                               use.getOperandNumber() < 2;
                      }) &&
         constantFits(op.getResult(), /*powersOfTwo=*/false);
}

Value Translator::constantBF16(arith::ConstantOp op) {
  std::string bytes;
  for (APFloat number : cast<DenseFPElementsAttr>(op.getValue())) {
    bool inexact;
    number.convert(APFloat::BFloat(), APFloat::rmNearestTiesToEven, &inexact);
    uint64_t bits = number.bitcastToAPInt().getZExtValue();
    bytes += {char(bits & 0xFF), char(bits >> 8)};
  }
  Attributes a;
  a.constant = bytes;
  return f.one(Op::Constant, Type::tile(S::BF16, tileOf(op.getType()).shape),
               {}, a);
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
  if (auto constant = value.getDefiningOp<arith::ConstantOp>();
      constant && isOfProducts(constant))
    return {constantBF16(constant)};
  Value x = get(value);
  if (fitsBF16(value))
    return {f.convertFloat(x, S::BF16)};
  // What two such values multiply to has 16 bits.
  auto product = value.getDefiningOp<arith::MulFOp>();
  const size_t count =
      product && fitsBF16(product.getLhs()) && fitsBF16(product.getRhs()) ? 2
                                                                          : 3;
  Parts parts;
  while (true) {
    parts.push_back(f.convertFloat(x, S::BF16));
    if (parts.size() == count)
      return parts;
    x = f.binary(Op::SubF, x, f.convertFloat(parts.back(), S::F32));
  }
}

//===-- Shapes that tensor cores take ------------------------------------===//

Translator::Dims Translator::paddedShape(Operation *product) const {
  int64_t m = kLeastM, n = kLeastN;
  if (auto scaled = dyn_cast<tile::DotScaledOp>(product);
      scaled && formOf(scaled) == Form::Native) {
    m = target.scaledM;
    n = target.scaledN;
  }
  Shape shape =
      cast<RankedTensorType>(product->getResult(0).getType()).getShape();
  return {std::max(shape[0], m), std::max(shape[1], n)};
}

Value Translator::accumulatorOf(Operation *product, mlir::Value accumulator) {
  Dims shape = paddedShape(product);
  Value acc = values.lookup(accumulator);
  return Shape(acc.type.shape) == Shape(shape)
             ? acc
             : repeat(get(accumulator), shape);
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
Value Translator::product(Value acc, Parts lhs, Parts rhs) {
  Shape shape = acc.type.shape;
  // Their sums are of one block and begin with zero, so that adding them to it
  // in f32, as the assembler otherwise does, changes nothing.
  const bool codes = lhs[0].type.element == Element(S::F8E4M3FN);
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
        acc = f.mma(lhs[i], rhs[order - i], acc, codes);
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
  set(op, product(accumulatorOf(op, op.getAcc()), lhs, rhs));
  return success();
}

//===-- Block-scaled products --------------------------------------------===//

static ArrayRef<int64_t> sizesOf(mlir::Value tile) {
  return cast<RankedTensorType>(tile.getType()).getShape();
}

static bool isPacked(tile::DotScaledOp op) {
  return getElementTypeOrSelf(op.getWeight().getType()).isInteger(8);
}

/// Codes along K that share a scale of the weight and of x.
static std::pair<int64_t, int64_t> blocksAlongK(tile::DotScaledOp op) {
  int64_t k = sizesOf(op.getX())[1];
  mlir::Value xScale = op.getXScale();
  return {k / sizesOf(op.getScale())[1], xScale ? k / sizesOf(xScale)[1] : k};
}

/// Of the operation alone, but for its number of tokens.
Translator::Form Translator::formOf(tile::DotScaledOp op) const {
  constexpr int64_t kInstruction = 32; // codes along K
  if (!op.getXScale())
    return Form::Decoded;
  auto [weights, tokens] = blocksAlongK(op);
  if (target.scaledM && weights % kInstruction == 0 &&
      tokens % kInstruction == 0)
    return Form::Native;
  return target.hasE4M3 && weights % kInstruction == 0 && tokens % weights == 0
             ? Form::Codes
             : Form::Decoded;
}

/// [rows or 1, 1] of the m rows of weights in the shape of a product.
Value Translator::rowScale(const Value &codes, int64_t m, Shape shape,
                           double unit) {
  Value scale = decodeE8M0(codes, S::F32);
  if (unit != 1)
    scale =
        f.binary(Op::MulF, scale, f.splatFloat(S::F32, unit, scale.type.shape));
  const int64_t rows = scale.type.shape[0];
  scale = f.broadcast(f.reshape(scale, {rows, 1, 1}), {rows, m / rows, 1});
  return f.broadcast(repeat(f.reshape(scale, {m, 1}), {shape[0], 1}), shape);
}

/// [tokens, 1] likewise.
Value Translator::tokenScale(const Value &codes, Shape shape) {
  Value scale = decodeE8M0(codes, S::F32);
  scale = f.reshape(scale, {1, scale.type.shape[0]});
  return f.broadcast(repeat(scale, {1, shape[1]}), shape);
}

/// Packed e2m1 as e4m3, which holds every value.
Value Translator::codesOfE2M1(const Value &bytes) {
  Dims flat{bytes.type.shape[0] * bytes.type.shape[1]},
      wide{bytes.type.shape[0], 2 * bytes.type.shape[1]};
  Value codes = f.one(Op::Unpack, Type::tile(S::F4E2M1FN, {2 * flat[0]}),
                      {f.reshape(bytes, flat)});
  return f.convertFloat(f.reshape(codes, wide), S::F8E4M3FN);
}

/// Packed e2m1 [m, bytes] as e4m3 of the values times 2^-6: fields moved to
/// their places, which e4m3 holds, being subnormal where the value is small. Of
/// each `block` codes those at even places come first: so a thread of the
/// product makes of the word that it loads all that it multiplies of the block,
/// and no code is moved to another thread.
Value Translator::shiftedCodesOfE2M1(const Value &bytes, int64_t block) {
  const int64_t m = bytes.type.shape[0], count = m * bytes.type.shape[1];
  Value w = f.one(Op::Unpack, Type::tile(S::I32, {count / 4}),
                  {f.reshape(bytes, Dims{count})});
  w = f.reshape(w, Dims{m, 2 * bytes.type.shape[1] / block, 1, block / 8});
  auto fields = [&](const Value &magnitude, const Value &sign) {
    return f.binary(Op::OrI, masked(magnitude, 0x1C1C1C1C),
                    masked(sign, 0x80808080));
  };
  Value even = fields(shifted(Op::ShLI, w, 2), shifted(Op::ShLI, w, 4));
  Value odd = fields(shifted(Op::ShRI, w, 2), w);
  Value words = f.cat(even, odd, 2);
  Value stored = f.one(Op::Pack, Type::tile(S::I8, {2 * count}),
                       {f.reshape(words, Dims{count / 2})});
  return f.bitcast(f.reshape(stored, Dims{m, 2 * bytes.type.shape[1]}),
                   S::F8E4M3FN);
}

/// The columns of x in the order of shiftedCodesOfE2M1.
Value Translator::evenFirst(const Value &x, int64_t block) {
  const int64_t t = x.type.shape[0], k = x.type.shape[1];
  Value pairs = f.reshape(x, Dims{t, k / block, block / 2, 2});
  return f.reshape(f.permute(pairs, {0, 1, 3, 2}), Dims{t, k});
}

/// The scales of [rows, columns] blocks, one for each 32 of K of every row.
Value Translator::nativeProduct(tile::DotScaledOp op, const Value &acc) {
  Shape shape = acc.type.shape;
  Value weight = get(op.getWeight()), x = f.permute(get(op.getX()), {1, 0});
  if (isPacked(op))
    weight = codesOfE2M1(weight);
  int64_t m = weight.type.shape[0], k = weight.type.shape[1], columns = k / 32;
  auto spread = [&](const Value &scale, int64_t rows) {
    int64_t r = scale.type.shape[0], c = scale.type.shape[1];
    Value all = f.broadcast(f.reshape(scale, {r, 1, c, 1}),
                            {r, rows / r, c, columns / c});
    return f.reshape(all, {rows, columns});
  };
  Value scale = repeat(spread(get(op.getScale()), m), {shape[0], columns});
  int64_t tokens = x.type.shape[1];
  Value xScale = f.permute(spread(get(op.getXScale()), tokens), {1, 0});
  xScale = repeat(xScale, {columns, shape[1]});
  return f.one(Op::MmaFScaled, acc.type,
               {repeat(weight, {shape[0], k}), repeat(x, {k, shape[1]}), acc,
                f.bitcast(scale, S::F8E8M0FNU),
                f.bitcast(xScale, S::F8E8M0FNU)});
}

/// Blocks of K with a scale each are products by themselves, whose sums are
/// scaled.
Value Translator::codeProduct(tile::DotScaledOp op, const Value &acc) {
  Value weight = get(op.getWeight()), x = get(op.getX());
  Value scale = get(op.getScale()), xScale = get(op.getXScale());
  auto [block, xBlock] = blocksAlongK(op);
  const double unit = isPacked(op) ? 0x1p6 : 1;
  if (isPacked(op)) {
    weight = shiftedCodesOfE2M1(weight, block);
    x = evenFirst(x, block);
  }
  x = f.permute(x, {1, 0});
  const int64_t m = weight.type.shape[0], k = x.type.shape[0];
  auto part = [&](const Value &tile, unsigned dim, int64_t at, int64_t size) {
    Dims shape(tile.type.shape), slice(shape.size(), 0);
    if (shape[dim] == size)
      return tile;
    shape[dim] = size;
    slice[dim] = at;
    return f.extract(tile, ArrayRef<int64_t>(slice), shape);
  };
  Shape shape = acc.type.shape;
  const Value zero = f.splatFloat(S::F32, 0, shape);
  Value all = acc;
  for (int64_t i = 0; i < k / block; ++i) {
    Value sums =
        product(zero, {part(weight, 1, i, block)}, {part(x, 0, i, block)});
    Value rows = rowScale(part(scale, 1, i, 1), m, shape, unit);
    Value tokens = tokenScale(part(xScale, 1, i * block / xBlock, 1), shape);
    all =
        f.one(Op::Fma, acc.type, {sums, f.binary(Op::MulF, rows, tokens), all});
  }
  return all;
}

/// A scale for all of K waits for the partial sums, which are few.
Value Translator::decodedProduct(tile::DotScaledOp op, const Value &acc) {
  Value stored = get(op.getWeight());
  Value weight =
      isPacked(op) ? decodeE2M1(stored, S::BF16) : decodeE4M3(stored, S::BF16);
  auto [weights, tokens] = blocksAlongK(op);
  int64_t k = weight.type.shape[1];
  bool late = weights == k && tokens == k;
  auto scaled = [&](const Value &codes, const Value &bytes) {
    Value scale = decodeE8M0(bytes, S::BF16);
    int64_t m = codes.type.shape[0], rows = scale.type.shape[0],
            columns = scale.type.shape[1];
    scale = f.broadcast(f.reshape(scale, {rows, 1, columns, 1}),
                        {rows, m / rows, columns, k / columns});
    return f.binary(Op::MulF, codes, f.reshape(scale, codes.type.shape));
  };
  if (!late)
    weight = scaled(weight, get(op.getScale()));
  Parts x;
  if (mlir::Value xScale = op.getXScale()) {
    x = {decodeE4M3(get(op.getX()), S::BF16)};
    if (!late)
      x[0] = scaled(x[0], get(xScale));
  } else {
    x = bf16Parts(op.getX());
  }
  for (Value &part : x)
    part = f.permute(part, {1, 0});
  if (!late)
    return product(acc, {weight}, x);
  Value zero = f.splatFloat(S::F32, 0, acc.type.shape);
  Value factor =
      rowScale(get(op.getScale()), weight.type.shape[0], acc.type.shape, 1);
  if (mlir::Value xScale = op.getXScale())
    factor =
        f.binary(Op::MulF, factor, tokenScale(get(xScale), acc.type.shape));
  return f.one(Op::Fma, acc.type, {product(zero, {weight}, x), factor, acc});
}

LogicalResult Translator::dotScaled(tile::DotScaledOp op) {
  Value acc = accumulatorOf(op, op.getAcc());
  switch (formOf(op)) {
  case Form::Native:
    set(op, nativeProduct(op, acc));
    break;
  case Form::Codes:
    set(op, codeProduct(op, acc));
    break;
  case Form::Decoded:
    set(op, decodedProduct(op, acc));
    break;
  }
  return success();
}

} // namespace fathom::nvidia
