// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/BlockScaledWeights.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace fathom::cpu;

static MemRefType typeOf(Value buffer) {
  return cast<MemRefType>(buffer.getType());
}

static Value bits(Emit &e, Value v, int64_t lanes, Type element) {
  return vector::BitCastOp::create(e.b, e.loc,
                                   VectorType::get({lanes}, element), v);
}

static Value half(Emit &e, Value v, int64_t lanes, int64_t at) {
  return vector::ExtractStridedSliceOp::create(
      e.b, e.loc, v, ArrayRef<int64_t>{at}, ArrayRef<int64_t>{lanes},
      ArrayRef<int64_t>{1});
}

static Value shuffle(Emit &e, Value v, ArrayRef<int64_t> lanes) {
  return vector::ShuffleOp::create(e.b, e.loc, v, v, lanes);
}

/// 16 bytes in both halves of 256 bits.
static Value twice(Emit &e, Value bytes) {
  SmallVector<int64_t> lanes;
  for (int64_t i = 0; i < 32; ++i)
    lanes.push_back(i % 16);
  return shuffle(e, bytes, lanes);
}

/// e2m1 times each scale as bf16, exact, infinity and NaN included: a row has
/// the lower bytes of the 16 codes, twice, then the upper ones, twice, as byte
/// shuffles look them up within each half of a register. [256, 64] of a module.
static Value tableE2M1(Emit &e) {
  constexpr StringLiteral name = "fathom_e2m1_times_scales";
  auto type = MemRefType::get({256, 64}, e.b.getI8Type());
  auto module =
      e.b.getInsertionBlock()->getParentOp()->getParentOfType<ModuleOp>();
  if (!module.lookupSymbol(name)) {
    SmallVector<int8_t> bytes;
    for (int scale = 0; scale < 256; ++scale)
      for (int shift : {16, 24})
        for (int code = 0; code < 32; ++code) {
          static const float magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
          float value = scale == 255
                            ? std::numeric_limits<float>::quiet_NaN()
                            : std::ldexp(magnitudes[code % 8], scale - 127);
          if (code % 16 >= 8)
            value = -value;
          bytes.push_back(int8_t(llvm::bit_cast<uint32_t>(value) >> shift));
        }
    auto tensor = RankedTensorType::get(type.getShape(), e.b.getI8Type());
    OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
    memref::GlobalOp::create(
        b, e.loc, name, b.getStringAttr("private"), type,
        DenseElementsAttr::get(tensor, ArrayRef<int8_t>(bytes)),
        /*constant=*/true, b.getI64IntegerAttr(64));
  }
  return memref::GetGlobalOp::create(e.b, e.loc, type, name);
}

BlockScaledWeights::BlockScaledWeights(Emit &e, Target target, Value codes,
                                       Value scales)
    : e(e), target(target), codes(codes), scales(scales) {
  packed = typeOf(codes).getElementType().isInteger(8);
  rows = typeOf(codes).getDimSize(0);
  k = typeOf(codes).getDimSize(1) * (packed ? 2 : 1);
  rowBlock = rows / typeOf(scales).getDimSize(0);
  columnBlock = k / typeOf(scales).getDimSize(1);
}

Value BlockScaledWeights::times(Value v, int64_t factor) {
  return arith::MulIOp::create(e.b, e.loc, v, e.index(factor));
}

Value BlockScaledWeights::over(Value v, int64_t divisor) {
  return arith::DivUIOp::create(e.b, e.loc, v, e.index(divisor));
}

Value BlockScaledWeights::nan() {
  return arith::ConstantOp::create(
      e.b, e.loc, e.b.getF32FloatAttr(std::numeric_limits<float>::quiet_NaN()));
}

// ---- Scales -----------------------------------------------------------------

void BlockScaledWeights::allocFactors(int64_t count) {
  if (!byTable())
    factors = e.alloc({count, k / columnBlock}, e.b.getF32Type());
}

/// A number that FP4's table is multiplied by; for FP8 an exponent to add, or
/// with AVX2 a factor. Both owe the 256 of decodeE4M3.
void BlockScaledWeights::stageScales(Value first, int64_t count) {
  if (byTable())
    return;
  int64_t columns = k / columnBlock, lanes = std::min(columns, kLanes);
  e.loop(0, count, 1, [&](Value i) {
    e.loop(0, columns, lanes, [&](Value at) {
      Value v = e.load(scales, {e.add(first, i), at}, lanes);
      if (packed)
        v = e.toF32(v);
      else if (target.wide())
        v = exponents(v);
      else
        v = arith::MulFOp::create(
            e.b, e.loc, e.toF32(v),
            e.constant(e.vec(lanes, e.b.getF32Type()), 256));
      e.store(v, factors, {i, at});
    });
  });
}

Value BlockScaledWeights::exponents(Value codes) {
  int64_t lanes = lanesOf(codes.getType());
  Type ints = e.vec(lanes, e.b.getI32Type()),
       floats = e.vec(lanes, e.b.getF32Type());
  Value v = arith::BitcastOp::create(e.b, e.loc, e.vec(lanes, e.b.getI8Type()),
                                     codes);
  v = arith::ExtUIOp::create(e.b, e.loc, ints, v);
  Value isNaN = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::eq, v,
                                      e.constant(ints, 255));
  v = arith::SubIOp::create(e.b, e.loc, v, e.constant(ints, 127 - 8));
  v = arith::SIToFPOp::create(e.b, e.loc, floats, v);
  return arith::SelectOp::create(e.b, e.loc, isNaN, e.splat(nan(), lanes), v);
}

Emit::Values BlockScaledWeights::scaleOf(Value row, Value staged, Value block) {
  if (byTable())
    return tablesOf(row, block);
  return {e.splat(e.load(factors, {staged, block}, 1), 16)};
}

// ---- Weights ----------------------------------------------------------------

Emit::Values BlockScaledWeights::decode(Value row, Value at,
                                        Emit::Range scale) {
  if (byTable())
    return lookUpBytes(row, over(at, 2), scale);
  if (packed)
    return lookUp(row, over(at, 2), scale[0]);
  Emit::Values weights = decodeE4M3(row, at);
  if (!target.wide()) {
    for (Value &weight : weights)
      weight = arith::MulFOp::create(e.b, e.loc, weight, scale[0]);
    return weights;
  }
  Value all = e.constant(e.b.getI16Type(), -1),
        asSet = e.constant(e.b.getI32Type(), 4); // the mode of rounding
  for (Value &weight : weights)
    weight = e.intrinsic(weight.getType(), "llvm.x86.avx512.mask.scalef.ps.512",
                         ValueRange{weight, scale[0], weight, all, asSet});
  return weights;
}

/// Of 512 bits every second lane is of the first half of 16 weights, which is
/// 32 bits; with AVX2 a half of 128 bits has the weights of low nibbles or of
/// high ones.
Value BlockScaledWeights::weave(Value v, bool back) {
  SmallVector<int64_t> lanes(16);
  for (int64_t i = 0; i < 16; ++i) {
    int64_t from =
        target.wide() ? i % 2 * 8 + i / 2 : i % 4 * 4 + i / 8 * 2 + i / 4 % 2;
    (back ? lanes[from] : lanes[i]) = back ? i : from;
  }
  return shuffle(e, v, lanes);
}

/// 32 weights of e2m1 from a table of all 16 that has the scale already: each
/// lane looks at the lowest four bits of a number. A load puts the 64 bits of
/// 16 weights into all pairs of lanes, where they are shifted to their place.
Emit::Values BlockScaledWeights::lookUp(Value row, Value byte, Value scale) {
  SmallVector<float> values;
  for (float sign : {1.0f, -1.0f})
    for (float magnitude : {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f})
      values.push_back(sign * magnitude);
  auto floats = cast<VectorType>(e.vec(16, e.b.getF32Type())),
       longs = cast<VectorType>(e.vec(8, e.b.getI64Type()));
  Value table = arith::ConstantOp::create(
      e.b, e.loc, DenseElementsAttr::get(floats, ArrayRef<float>(values)));
  table = arith::MulFOp::create(e.b, e.loc, table, scale);
  SmallVector<int64_t> places;
  for (int64_t pair = 0; pair < 8; ++pair)
    places.push_back(4 * pair);
  Value shifts = arith::ConstantOp::create(
      e.b, e.loc, DenseElementsAttr::get(longs, ArrayRef<int64_t>(places)));
  Emit::Values weights;
  for (int64_t part = 0; part < 2; ++part) {
    Value bytes = e.load(codes, {row, e.add(byte, 8 * part)}, 8);
    Value word = vector::ExtractOp::create(
        e.b, e.loc, bits(e, bytes, 1, e.b.getI64Type()), ArrayRef<int64_t>{0});
    Value index = arith::ShRUIOp::create(e.b, e.loc, e.splat(word, 8), shifts);
    weights.push_back(
        e.intrinsic(floats, "llvm.x86.avx512.permvar.sf.512",
                    ValueRange{table, bits(e, index, 16, e.b.getI32Type())}));
  }
  return weights;
}

/// The two parts of the row of tableE2M1 for the scale of a block.
Emit::Values BlockScaledWeights::tablesOf(Value row, Value block) {
  Value code = arith::BitcastOp::create(e.b, e.loc, e.b.getI8Type(),
                                        e.load(scales, {row, block}, 1));
  code = arith::IndexCastUIOp::create(e.b, e.loc, e.b.getIndexType(), code);
  Value table = tableE2M1(e);
  Emit::Values tables;
  for (int64_t at : {0, 32})
    tables.push_back(e.load(table, {code, e.index(at)}, 32));
  return tables;
}

/// 32 weights of e2m1 as their bytes of bf16 from tables that have the scale
/// already, the low nibbles of 16 bytes in one half and the high ones in the
/// other. Unpacking joins them; a shift or a mask makes floats of each half of
/// 32 bits.
Emit::Values BlockScaledWeights::lookUpBytes(Value row, Value byte,
                                             Emit::Range tables) {
  auto longs = cast<VectorType>(e.vec(4, e.b.getI64Type()));
  Value both = twice(e, e.load(codes, {row, byte}, 16));
  Value shifts = arith::ConstantOp::create(
      e.b, e.loc, DenseElementsAttr::get(longs, ArrayRef<int64_t>{0, 0, 4, 4}));
  both = arith::ShRUIOp::create(e.b, e.loc, bits(e, both, 4, e.b.getI64Type()),
                                shifts);
  both = bits(e, both, 32, e.b.getI8Type());
  both =
      arith::AndIOp::create(e.b, e.loc, both, e.constant(both.getType(), 15));
  Value looked[2];
  for (int part = 0; part < 2; ++part)
    looked[part] = shuffleBytes(e, tables[part], both);
  auto pairs = cast<VectorType>(e.vec(8, e.b.getI32Type()));
  Emit::Values weights;
  for (bool upper : {false, true}) {
    Value both =
        bits(e, unpack(e, looked[0], looked[1], upper), 8, e.b.getI32Type());
    Value eights[2] = {
        arith::ShLIOp::create(e.b, e.loc, both, e.constant(pairs, 16)),
        arith::AndIOp::create(e.b, e.loc, both, e.constant(pairs, -0x10000))};
    for (Value &eight : eights)
      eight = bits(e, eight, 8, e.b.getF32Type());
    auto all = llvm::to_vector(llvm::seq<int64_t>(0, 16));
    weights.push_back(
        vector::ShuffleOp::create(e.b, e.loc, eights[0], eights[1], all));
  }
  return weights;
}

/// 32 weights of e4m3 by way of f16, where the bits mean a 256th of them. With
/// AVX2 one that is no number becomes one: see searchesNaN().
Emit::Values BlockScaledWeights::decodeE4M3(Value row, Value at) {
  Type words = e.vec(32, e.b.getI16Type()), bytes = e.vec(32, e.b.getI8Type());
  Value code =
      arith::BitcastOp::create(e.b, e.loc, bytes, e.load(codes, {row, at}, 32));
  Value v = arith::ExtSIOp::create(e.b, e.loc, words, code);
  v = arith::ShLIOp::create(e.b, e.loc, v, e.constant(words, 7));
  v = arith::AndIOp::create(e.b, e.loc, v, e.constant(words, -0x4001));
  // The one magnitude that is no number; a weight like that must show.
  if (target.wide()) {
    Value negative =
        arith::OrIOp::create(e.b, e.loc, code, e.constant(bytes, -0x80));
    Value isNaN = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::eq,
                                        negative, e.constant(bytes, -1));
    v = arith::SelectOp::create(e.b, e.loc, isNaN, e.constant(words, 0x7E00),
                                v);
  }
  v = arith::BitcastOp::create(e.b, e.loc, e.vec(32, e.b.getF16Type()), v);
  Emit::Values weights;
  for (int64_t at : {0, 16})
    weights.push_back(arith::ExtFOp::create(
        e.b, e.loc, e.vec(16, e.b.getF32Type()), half(e, v, 16, at)));
  return weights;
}

/// The largest magnitudes of codes so far, with their signs set.
Value BlockScaledWeights::searched(Value largest, Value row, Value at) {
  Value code = arith::BitcastOp::create(e.b, e.loc, codeBytes(),
                                        e.load(codes, {row, at}, step));
  code = arith::OrIOp::create(e.b, e.loc, code, e.constant(codeBytes(), -0x80));
  return arith::MaxUIOp::create(e.b, e.loc, largest, code);
}

Value BlockScaledWeights::foundNaN(Value largest) {
  Value hit = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::eq,
                                    largest, e.constant(codeBytes(), -1));
  return vector::ReductionOp::create(e.b, e.loc, vector::CombiningKind::OR,
                                     hit);
}

void BlockScaledWeights::ifRowHasNaN(Value row, function_ref<void()> body) {
  Value largest = e.loop(0, k, step, e.zero(codeBytes()),
                         [&](Value at, Emit::Range before) -> Emit::Values {
                           return {searched(before[0], row, at)};
                         })[0];
  e.ifThen(foundNaN(largest), body);
}
