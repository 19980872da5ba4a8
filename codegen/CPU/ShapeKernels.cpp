// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reduce, scan, interleave and the e2m1 packing.
#include "codegen/CPU/MicroKernels.h"

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

static Value combine(Emit &e, tile::ReduceKind kind, Value a, Value c) {
  bool isFloat = isa<FloatType>(getElementTypeOrSelf(a.getType()));
  if (kind == tile::ReduceKind::Add)
    return isFloat ? Value(arith::AddFOp::create(e.b, e.loc, a, c))
                   : Value(arith::AddIOp::create(e.b, e.loc, a, c));
  bool isMax = kind == tile::ReduceKind::Max;
  // One compare and one select: a single instruction. A NaN on the left is
  // dropped, one on the right stays.
  Value keep;
  if (isFloat)
    keep = arith::CmpFOp::create(
        e.b, e.loc,
        isMax ? arith::CmpFPredicate::OGT : arith::CmpFPredicate::OLT, a, c);
  else
    keep = arith::CmpIOp::create(
        e.b, e.loc,
        isMax ? arith::CmpIPredicate::sgt : arith::CmpIPredicate::slt, a, c);
  return arith::SelectOp::create(e.b, e.loc, keep, a, c);
}

static Emit::Values without(Emit::Range all, int64_t dim) {
  Emit::Values result(all);
  result.erase(result.begin() + dim);
  return result;
}

/// Last dimension: 16 running lanes, then a halving tree.
static void reduceLast(Emit &e, tile::ReduceKind kind, Value x,
                       ArrayRef<int64_t> shape, Value result) {
  int64_t length = shape.back(), lanes = std::min(length, kLanes);
  e.nest(shape.drop_back(), [&](Emit::Range ivs) {
    Emit::Values at(ivs);
    at.push_back(e.index(0));
    Value first = e.load(x, at, lanes);
    if (length > lanes)
      first =
          e.loop(lanes, length, lanes, {first}, [&](Value i, Emit::Range sums) {
            at.back() = i;
            return Emit::Values{
                combine(e, kind, sums[0], e.load(x, at, lanes))};
          })[0];
    Value total =
        e.tree(first, [&](Value a, Value c) { return combine(e, kind, a, c); });
    e.store(total, result, ivs);
  });
}

/// Another dimension: columns side by side, rows in sequence.
static void reduceRows(Emit &e, tile::ReduceKind kind, Value x,
                       ArrayRef<int64_t> shape, int64_t dim, Value result) {
  int64_t lanes = std::min(shape.back(), kLanes);
  SmallVector<int64_t> outer(shape.drop_back());
  outer[dim] = 1;
  e.nest(outer, [&](Emit::Range ivs) {
    e.loop(0, shape.back(), lanes, [&](Value column) {
      Emit::Values at(ivs);
      at.push_back(column);
      at[dim] = e.index(0);
      Value total = e.load(x, at, lanes);
      if (shape[dim] > 1)
        total =
            e.loop(1, shape[dim], 1, {total}, [&](Value i, Emit::Range sums) {
              at[dim] = i;
              return Emit::Values{
                  combine(e, kind, sums[0], e.load(x, at, lanes))};
            })[0];
      e.store(total, result, without(at, dim));
    });
  });
}

LogicalResult fathom::cpu::expandOp(Emit &e, tile::ReduceOp op,
                                    Buffers operands, Buffers results) {
  auto type = cast<RankedTensorType>(op.getX().getType());
  Type element = type.getElementType();
  if (!element.isF32() && !element.isF64() && !element.isInteger(32))
    return op.emitError("reduce is compiled for f32, f64 and i32 tiles, not ")
           << type;
  int64_t dim = op.getDim();
  if (dim == type.getRank() - 1)
    reduceLast(e, op.getKind(), operands[0], type.getShape(), results[0]);
  else
    reduceRows(e, op.getKind(), operands[0], type.getShape(), dim, results[0]);
  return success();
}

LogicalResult fathom::cpu::expandOp(Emit &e, tile::ScanOp op, Buffers operands,
                                    Buffers results) {
  auto type = cast<RankedTensorType>(op.getX().getType());
  int64_t dim = op.getDim(), rank = type.getRank();
  SmallVector<int64_t> outer(type.getShape());
  outer[dim] = 1;
  e.nest(outer, [&](Emit::Range ivs) {
    Emit::Values at(ivs);
    Value none = e.zero(type.getElementType());
    e.loop(0, type.getDimSize(dim), 1, {none}, [&](Value i, Emit::Range sums) {
      at[dim] = i;
      Value sum = arith::AddIOp::create(e.b, e.loc, sums[0],
                                        e.load(operands[0], at, 1));
      e.store(sum, results[0], at);
      return Emit::Values{sum};
    });
  });
  (void)rank;
  return success();
}

/// Calls `body` with the place of each group of `lanes` elements of rows.
static void forEachGroup(Emit &e, ArrayRef<int64_t> shape, int64_t lanes,
                         function_ref<void(Emit::Range, Value)> body) {
  e.nest(shape.drop_back(), [&](Emit::Range ivs) {
    e.loop(0, shape.back(), lanes, [&](Value i) {
      Emit::Values at(ivs);
      at.push_back(i);
      body(at, i);
    });
  });
}

/// Elements that change places together: bits lie one a byte, which vectors do
/// not know.
static int64_t lanesToMove(RankedTensorType type) {
  return type.getElementType().isInteger(1)
             ? 1
             : std::min<int64_t>(type.getShape().back(), 8);
}

static Emit::Values scaledLast(Emit &e, Emit::Range at, int64_t factor) {
  Emit::Values result(at);
  result.back() = e.times(at.back(), factor);
  return result;
}

LogicalResult fathom::cpu::expandOp(Emit &e, tile::InterleaveOp op,
                                    Buffers operands, Buffers results) {
  auto type = cast<RankedTensorType>(op.getEven().getType());
  int64_t lanes = lanesToMove(type);
  forEachGroup(e, type.getShape(), lanes, [&](Emit::Range at, Value) {
    Value even = e.load(operands[0], at, lanes),
          odd = e.load(operands[1], at, lanes);
    Emit::Values to = scaledLast(e, at, 2);
    if (lanes > 1)
      return e.store(vector::InterleaveOp::create(e.b, e.loc, even, odd),
                     results[0], to);
    e.store(even, results[0], to);
    to.back() = e.add(to.back(), 1);
    e.store(odd, results[0], to);
  });
  return success();
}

LogicalResult fathom::cpu::expandOp(Emit &e, tile::DeinterleaveOp op,
                                    Buffers operands, Buffers results) {
  auto type = cast<RankedTensorType>(op.getEven().getType());
  int64_t lanes = lanesToMove(type);
  forEachGroup(e, type.getShape(), lanes, [&](Emit::Range at, Value) {
    Emit::Values from = scaledLast(e, at, 2);
    if (lanes > 1) {
      auto parts = vector::DeinterleaveOp::create(
          e.b, e.loc, e.load(operands[0], from, 2 * lanes));
      e.store(parts.getRes1(), results[0], at);
      e.store(parts.getRes2(), results[1], at);
      return;
    }
    e.store(e.load(operands[0], from, 1), results[0], at);
    from.back() = e.add(from.back(), 1);
    e.store(e.load(operands[0], from, 1), results[1], at);
  });
  return success();
}

/// Codes as bytes 0..15, low nibble first: vector<n x i8> to vector<2n x i8>.
static Value nibbles(Emit &e, Value bytes) {
  int64_t n = lanesOf(bytes.getType());
  OpBuilder &b = e.b;
  Type words = VectorType::get({n}, b.getI16Type());
  if (!isa<VectorType>(bytes.getType()))
    bytes = vector::BroadcastOp::create(
        b, e.loc, VectorType::get({1}, b.getI8Type()), bytes);
  // Of 0x00HL make 0x0H0L: the bytes of the words are the codes in order.
  Value word = arith::ExtUIOp::create(b, e.loc, words, bytes);
  Value shifted = arith::ShLIOp::create(b, e.loc, word, e.constant(words, 4));
  Value both = arith::OrIOp::create(b, e.loc, word, shifted);
  both = arith::AndIOp::create(b, e.loc, both, e.constant(words, 0x0F0F));
  return vector::BitCastOp::create(
      b, e.loc, VectorType::get({2 * n}, b.getI8Type()), both);
}

Value fathom::cpu::decodeFP4(Emit &e, Value bytes) {
  OpBuilder &b = e.b;
  Value codes = nibbles(e, bytes);
  int64_t n = lanesOf(codes.getType());
  Type words = VectorType::get({n}, b.getI16Type());
  Value half;
  if (n == 16) {
    // The upper bytes of the values as f16 (the lower are zero), by look-up.
    static const int8_t table[16] = {0x00,  0x38,  0x3C,  0x3E,  0x40,  0x42,
                                     0x44,  0x46,  -0x80, -0x48, -0x44, -0x42,
                                     -0x40, -0x3E, -0x3C, -0x3A};
    auto type = VectorType::get({16}, b.getI8Type());
    Value values = arith::ConstantOp::create(
        b, e.loc, DenseElementsAttr::get(type, ArrayRef<int8_t>(table, 16)));
    Value upper = e.intrinsic(type, "llvm.x86.ssse3.pshuf.b.128",
                              ValueRange{values, codes});
    half = arith::ExtUIOp::create(b, e.loc, words, upper);
    half = arith::ShLIOp::create(b, e.loc, half, e.constant(words, 8));
    Type halves = VectorType::get({n}, b.getF16Type());
    half = arith::BitcastOp::create(b, e.loc, halves, half);
    return arith::ExtFOp::create(b, e.loc, VectorType::get({n}, b.getF32Type()),
                                 half);
  }
  // Exponent and mantissa bits in place, then the difference of biases.
  Value word = arith::ExtUIOp::create(b, e.loc, words, codes);
  auto bits = [&](int64_t mask, int64_t shift) -> Value {
    Value part = arith::AndIOp::create(b, e.loc, word, e.constant(words, mask));
    return arith::ShLIOp::create(b, e.loc, part, e.constant(words, shift));
  };
  half = arith::OrIOp::create(b, e.loc, bits(7, 9), bits(8, 12));
  half = arith::BitcastOp::create(b, e.loc,
                                  VectorType::get({n}, b.getF16Type()), half);
  Type floats = VectorType::get({n}, b.getF32Type());
  Value value = arith::ExtFOp::create(b, e.loc, floats, half);
  return arith::MulFOp::create(b, e.loc, value, e.constant(floats, 1 << 14));
}

static Value byteTable(Emit &e, ArrayRef<int8_t> table) {
  // A byte shuffle looks up within each half of the register.
  SmallVector<int8_t> twice(table);
  if (table.size() == 16)
    llvm::append_range(twice, table);
  auto type = VectorType::get({32}, e.b.getI8Type());
  return arith::ConstantOp::create(
      e.b, e.loc, DenseElementsAttr::get(type, ArrayRef<int8_t>(twice)));
}

Value fathom::cpu::shuffleBytes(Emit &e, Value bytes, Value control) {
  return e.intrinsic(bytes.getType(), "llvm.x86.avx2.pshuf.b",
                     ValueRange{bytes, control});
}

Value fathom::cpu::unpack(Emit &e, Value a, Value c, bool upper) {
  int64_t n = lanesOf(a.getType()), half = n / 2, part = n / 4;
  SmallVector<int64_t> order;
  for (int64_t base : {int64_t(0), half})
    for (int64_t i = 0; i < part; ++i) {
      int64_t at = base + (upper ? part : 0) + i;
      order.push_back(at);
      order.push_back(n + at);
    }
  return vector::ShuffleOp::create(e.b, e.loc, a, c, order);
}

std::pair<Value, Value> fathom::cpu::decodeFP4x32(Emit &e, Value bytes) {
  OpBuilder &b = e.b;
  auto bytes32 = VectorType::get({32}, b.getI8Type());
  auto words16 = VectorType::get({16}, b.getI16Type());
  SmallVector<int64_t> twice;
  for (int64_t i = 0; i < 32; ++i)
    twice.push_back(i % 16);
  Value both = vector::ShuffleOp::create(b, e.loc, bytes, bytes, twice);
  // Bytes become words, every other pair of bytes in the other half, so that
  // the unpacking within halves below ends in ascending order.
  static const int8_t spread[32] = {0,  -128, 1,  -128, 4,  -128, 5,  -128,
                                    8,  -128, 9,  -128, 12, -128, 13, -128,
                                    2,  -128, 3,  -128, 6,  -128, 7,  -128,
                                    10, -128, 11, -128, 14, -128, 15, -128};
  Value words = vector::BitCastOp::create(
      b, e.loc, words16, shuffleBytes(e, both, byteTable(e, spread)));
  Value shifted =
      arith::ShLIOp::create(b, e.loc, words, e.constant(words16, 4));
  words = arith::OrIOp::create(b, e.loc, words, shifted);
  words = arith::AndIOp::create(b, e.loc, words, e.constant(words16, 0x0F0F));
  Value codes = vector::BitCastOp::create(b, e.loc, bytes32, words);
  // The two bytes of each value as bf16.
  static const int8_t high[16] = {0x00, 0x3F, 0x3F, 0x3F, 0x40, 0x40,
                                  0x40, 0x40, -128, -65,  -65,  -65,
                                  -64,  -64,  -64,  -64};
  static const int8_t low[16] = {0, 0, -128, -64, 0, 64, -128, -64,
                                 0, 0, -128, -64, 0, 64, -128, -64};
  Value upper = shuffleBytes(e, byteTable(e, high), codes);
  Value lower = shuffleBytes(e, byteTable(e, low), codes);
  Value none = e.zero(words16);
  auto sixteen = [&](bool second) -> Value {
    Value values = vector::BitCastOp::create(b, e.loc, words16,
                                             unpack(e, lower, upper, second));
    auto floats8 = VectorType::get({8}, b.getF32Type());
    auto eight = [&](bool part) -> Value {
      return vector::BitCastOp::create(b, e.loc, floats8,
                                       unpack(e, none, values, part));
    };
    return vector::ShuffleOp::create(
        b, e.loc, eight(false), eight(true),
        llvm::to_vector(llvm::seq<int64_t>(0, 16)));
  };
  return {sixteen(false), sixteen(true)};
}

LogicalResult fathom::cpu::expandOp(Emit &e, tile::UnpackFP4Op op,
                                    Buffers operands, Buffers results) {
  auto type = cast<RankedTensorType>(op.getX().getType());
  Type element =
      cast<RankedTensorType>(op.getResult().getType()).getElementType();
  int64_t lanes = std::min<int64_t>(type.getShape().back(), 8);
  forEachGroup(e, type.getShape(), lanes, [&](Emit::Range at, Value) {
    Value values = decodeFP4(e, e.load(operands[0], at, lanes));
    if (!element.isF32())
      values = arith::TruncFOp::create(
          e.b, e.loc, VectorType::get({2 * lanes}, element), values);
    e.store(values, results[0], scaledLast(e, at, 2));
  });
  return success();
}

/// Codes 0..15 of f32 lanes, as i32: the sum of seven comparisons with the
/// middles between values; a tie goes to the even code.
static Value encodeFP4(Emit &e, Value x) {
  OpBuilder &b = e.b;
  Type floats = x.getType(), ints = e.vec(lanesOf(floats), b.getI32Type());
  Value magnitude = math::AbsFOp::create(b, e.loc, x);
  static const double middles[7] = {0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0};
  Value code = e.zero(ints);
  for (int i = 0; i < 7; ++i) {
    Value middle =
        arith::ConstantOp::create(b, e.loc, b.getF32FloatAttr(middles[i]));
    middle = e.splat(middle, lanesOf(floats));
    auto predicate =
        i % 2 == 0 ? arith::CmpFPredicate::OGT : arith::CmpFPredicate::OGE;
    Value above = arith::CmpFOp::create(b, e.loc, predicate, magnitude, middle);
    code = arith::AddIOp::create(b, e.loc, code,
                                 arith::ExtUIOp::create(b, e.loc, ints, above));
  }
  Value bits = arith::BitcastOp::create(b, e.loc, ints, x);
  Value sign = arith::ShRUIOp::create(b, e.loc, bits, e.constant(ints, 28));
  sign = arith::AndIOp::create(b, e.loc, sign, e.constant(ints, 8));
  Value ordered =
      arith::CmpFOp::create(b, e.loc, arith::CmpFPredicate::ORD, x, x);
  Value signedCode = arith::OrIOp::create(b, e.loc, code, sign);
  return arith::SelectOp::create(b, e.loc, ordered, signedCode,
                                 e.zero(ints)); // NaN: 0
}

LogicalResult fathom::cpu::expandOp(Emit &e, tile::PackFP4Op op,
                                    Buffers operands, Buffers results) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  int64_t lanes = std::min<int64_t>(type.getShape().back(), 8);
  Type bytes = e.vec(lanes, e.b.getI8Type());
  forEachGroup(e, type.getShape(), lanes, [&](Emit::Range at, Value) {
    Emit::Values from = scaledLast(e, at, 2);
    Value low, high;
    if (lanes > 1) {
      auto parts = vector::DeinterleaveOp::create(
          e.b, e.loc, encodeFP4(e, e.load(operands[0], from, 2 * lanes)));
      low = parts.getRes1(), high = parts.getRes2();
    } else {
      low = encodeFP4(e, e.load(operands[0], from, 1));
      from.back() = e.add(from.back(), 1);
      high = encodeFP4(e, e.load(operands[0], from, 1));
    }
    high =
        arith::ShLIOp::create(e.b, e.loc, high, e.constant(high.getType(), 4));
    Value both = arith::OrIOp::create(e.b, e.loc, low, high);
    e.store(arith::TruncIOp::create(e.b, e.loc, bytes, both), results[0], at);
  });
  return success();
}
