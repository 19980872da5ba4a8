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

/// The 16 codes of e2m1 times a scale by its code, exact, infinity and NaN
/// included.
static SmallVector<float> timesScale(int scale) {
  SmallVector<float> values;
  for (float sign : {1.0f, -1.0f})
    for (float magnitude : {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f})
      values.push_back(scale == 255
                           ? std::numeric_limits<float>::quiet_NaN()
                           : std::ldexp(sign * magnitude, scale - 127));
  return values;
}

/// A row for every scale: with registers of 512 bits its 16 products as f32;
/// with AVX2 as bf16, first the lower bytes, twice, then the upper ones, twice,
/// as byte shuffles look them up within each half of a register.
static DenseElementsAttr productsE2M1(Emit &e, bool wide) {
  SmallVector<float> floats;
  SmallVector<int8_t> bytes;
  for (int scale = 0; scale < 256; ++scale) {
    SmallVector<float> values = timesScale(scale);
    floats.append(values);
    for (int shift : {16, 24})
      for (int code = 0; code < 32; ++code)
        bytes.push_back(
            int8_t(llvm::bit_cast<uint32_t>(values[code % 16]) >> shift));
  }
  if (wide)
    return DenseElementsAttr::get(
        RankedTensorType::get({256, 16}, e.b.getF32Type()),
        ArrayRef<float>(floats));
  return DenseElementsAttr::get(
      RankedTensorType::get({256, 64}, e.b.getI8Type()),
      ArrayRef<int8_t>(bytes));
}

/// productsE2M1 as a constant of the module.
static Value tableE2M1(Emit &e, bool wide) {
  auto module =
      e.b.getInsertionBlock()->getParentOp()->getParentOfType<ModuleOp>();
  auto global = module.lookupSymbol<memref::GlobalOp>(kTableE2M1);
  if (!global) {
    DenseElementsAttr values = productsE2M1(e, wide);
    OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
    global = memref::GlobalOp::create(
        b, e.loc, kTableE2M1, b.getStringAttr("private"),
        MemRefType::get(values.getType().getShape(), values.getElementType()),
        values, /*constant=*/true, b.getI64IntegerAttr(64));
  }
  return memref::GetGlobalOp::create(e.b, e.loc, global.getType(), kTableE2M1);
}

BlockScaledWeights::BlockScaledWeights(Emit &e, Target target, Value codes,
                                       Value scales)
    : e(e), target(target), codes(codes), scales(scales) {
  packed = typeOf(codes).getElementType().isInteger(8);
  rows = typeOf(codes).getDimSize(0);
  k = typeOf(codes).getDimSize(1) * (packed ? 2 : 1);
  columnBlock = k / typeOf(scales).getDimSize(1);
}

/// (n s + c) / divisor is n (s / divisor) + c / divisor where s is a multiple:
/// of a place in an unrolled loop a constant is left.
Value BlockScaledWeights::over(Value v, int64_t divisor) {
  int64_t added = 0;
  Value scaled = v;
  if (auto sum = v.getDefiningOp<arith::AddIOp>())
    if (auto constant = getConstantIntValue(sum.getRhs())) {
      added = *constant;
      scaled = sum.getLhs();
    }
  if (auto product = scaled.getDefiningOp<arith::MulIOp>())
    if (auto factor = getConstantIntValue(product.getRhs());
        factor && *factor % divisor == 0)
      return e.add(e.times(product.getLhs(), *factor / divisor),
                   added / divisor);
  return e.over(v, divisor);
}

Value BlockScaledWeights::nan() {
  return arith::ConstantOp::create(
      e.b, e.loc, e.b.getF32FloatAttr(std::numeric_limits<float>::quiet_NaN()));
}

// ---- Weights ----------------------------------------------------------------

Emit::Values BlockScaledWeights::decode(Value row, Value at) {
  if (!packed)
    return decodeE4M3(row, at);
  Emit::Values tables = tablesOf(row, over(at, columnBlock));
  return target.wide() ? lookUp(row, over(at, 2), tables[0])
                       : lookUpBytes(row, over(at, 2), tables);
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
Emit::Values BlockScaledWeights::lookUp(Value row, Value byte, Value table) {
  auto longs = cast<VectorType>(e.vec(8, e.b.getI64Type()));
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
        e.intrinsic(table.getType(), "llvm.x86.avx512.permvar.sf.512",
                    ValueRange{table, bits(e, index, 16, e.b.getI32Type())}));
  }
  return weights;
}

/// The row of tableE2M1 for the scale of a block, in one vector or two.
Emit::Values BlockScaledWeights::tablesOf(Value row, Value block) {
  Value code = arith::BitcastOp::create(e.b, e.loc, e.b.getI8Type(),
                                        e.load(scales, {row, block}, 1));
  code = arith::IndexCastUIOp::create(e.b, e.loc, e.b.getIndexType(), code);
  Value table = tableE2M1(e, target.wide());
  if (target.wide())
    return {e.load(table, {code, e.index(0)}, 16)};
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
    weights.push_back(e.join(eights[0], eights[1]));
  }
  return weights;
}

/// In f16 the bits of e4m3 mean a 256th of them. One that is no number becomes
/// one: see searchesNaN().
Value BlockScaledWeights::wordsE4M3(Value row, Value at) {
  Value code = arith::BitcastOp::create(e.b, e.loc, codeBytes(step),
                                        e.load(codes, {row, at}, step));
  return arith::BitcastOp::create(e.b, e.loc, e.vec(step, e.b.getF16Type()),
                                  e4m3AsF16(e, code));
}

Emit::Values BlockScaledWeights::decodeE4M3(Value row, Value at) {
  Value v = wordsE4M3(row, at);
  Emit::Values weights;
  for (int64_t at : {0, 16})
    weights.push_back(arith::ExtFOp::create(
        e.b, e.loc, e.vec(16, e.b.getF32Type()), e.part(v, at, 16)));
  return weights;
}

/// The largest magnitudes of codes so far, with their signs set.
Value BlockScaledWeights::searched(Value largest, Value row, Value at) {
  Type bytes = largest.getType();
  Value code = arith::BitcastOp::create(
      e.b, e.loc, bytes, e.load(codes, {row, at}, lanesOf(bytes)));
  code = arith::OrIOp::create(e.b, e.loc, code, e.constant(bytes, -0x80));
  return arith::MaxUIOp::create(e.b, e.loc, largest, code);
}

Value BlockScaledWeights::foundNaN(Value largest) {
  Value hit = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::eq,
                                    largest, e.constant(largest.getType(), -1));
  return vector::ReductionOp::create(e.b, e.loc, vector::CombiningKind::OR,
                                     hit);
}

void BlockScaledWeights::ifRowHasNaN(Value row, function_ref<void()> body) {
  Value largest = e.loop(0, k, step, e.zero(codeBytes(step)),
                         [&](Value at, Emit::Range before) -> Emit::Values {
                           return {searched(before[0], row, at)};
                         })[0];
  e.ifThen(foundNaN(largest), body);
}
