// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conversions of narrow floats. Where the target has no instruction, integer
// operations that give the same bits as everywhere else.
#include "codegen/NVIDIA/Translator.h"

using namespace mlir;

namespace fathom::nvidia {

using namespace cudatile;
using cudatile::Type;
using S = Scalar;

namespace {
/// The integer that a wide float is made of, and where its fields lie.
struct Layout {
  Scalar integer;
  int mantissa, sign;              // bits; place of the sign bit
  int64_t quietNaN, subnormalHalf; // 2^-127
};
} // namespace

static Layout layoutOf(Scalar scalar) {
  if (scalar == S::BF16)
    return {S::I16, 7, 15, 0x7FC0, 0x0040};
  return {S::I32, 23, 31, 0x7FC00000, 0x00400000};
}

//===-- To wide ----------------------------------------------------------===//

/// Where there is no instruction, fields moved to their places give the value
/// times 2^-120, subnormal codes included.
Value Translator::decodeE4M3(const Value &codes, Scalar to) {
  if (codes.type.element == Element(S::F8E4M3FN))
    return f.convertFloat(codes, to);
  Layout l = layoutOf(to);
  Value code =
      f.extendInt(f.bitcast(codes, S::I8), l.integer, Signedness::Unsigned);
  Value magnitude = masked(code, 0x7F);
  Value bits = f.binary(Op::OrI, shifted(Op::ShLI, magnitude, l.mantissa - 3),
                        shifted(Op::ShLI, masked(code, 0x80), l.sign - 7));
  Value value = f.binary(Op::MulF, f.bitcast(bits, to),
                         f.splatFloat(to, 0x1p120, codes.type.shape));
  Value isNaN = f.compareInt(Comparison::EQ, Signedness::Unsigned, magnitude,
                             splatLike(magnitude, 0x7F));
  return f.select(isNaN, f.splatBits(to, l.quietNaN, codes.type.shape), value);
}

/// The code is the exponent field; code 0 is the subnormal 2^-127.
Value Translator::decodeE8M0(const Value &codes, Scalar to) {
  Layout l = layoutOf(to);
  Value code = f.extendInt(codes, l.integer, Signedness::Unsigned);
  Value bits = shifted(Op::ShLI, code, l.mantissa);
  Attributes a;
  a.sign = Signedness::Unsigned;
  bits = f.binary(Op::MaxI, bits, splatLike(bits, l.subnormalHalf), a);
  Value isNaN = f.compareInt(Comparison::EQ, Signedness::Unsigned, code,
                             splatLike(code, 255));
  return f.bitcast(f.select(isNaN, splatLike(bits, l.quietNaN), bits), to);
}

/// Two codes a byte, low nibble first. Fields moved to their places give the
/// value times 2^-126.
Value Translator::decodeE2M1(const Value &bytes, Scalar to) {
  Value values = to == S::BF16 ? pairsOfE2M1(bytes) : fieldsOfE2M1(bytes, to);
  return f.binary(Op::MulF, values,
                  f.splatFloat(to, 0x1p126, values.type.shape));
}

/// Both values of a byte as one word, each product moving a field of both to
/// their places: a third of the instructions of one value after the other,
/// which the assembler moves about in words, too.
Value Translator::pairsOfE2M1(const Value &bytes) {
  Value b = f.extendInt(bytes, S::I32, Signedness::Unsigned);
  auto fields = [&](int64_t places, int64_t mask) {
    return masked(f.binary(Op::MulI, b, splatLike(b, places)), mask);
  };
  Value words = f.binary(Op::OrI, fields(1 << 6 | 1 << 18, 0x01C001C0),
                         fields(1 << 12 | 1 << 24, 0x80008000));
  Dims wide(bytes.type.shape);
  int64_t count = 1;
  for (int64_t size : wide)
    count *= size;
  wide.back() *= 2;
  Value stored = f.one(Op::Pack, Type::tile(S::I8, {4 * count}),
                       {f.reshape(words, Dims{count})});
  Value pairs = f.one(Op::Unpack, Type::tile(S::BF16, {2 * count}), {stored});
  return f.reshape(pairs, wide);
}

Value Translator::fieldsOfE2M1(const Value &bytes, Scalar to) {
  Layout l = layoutOf(to);
  Value b = f.extendInt(bytes, l.integer, Signedness::Unsigned);
  auto nibble = [&](int at) {
    auto field = [&](int64_t mask, int place) {
      // `place` is where the lowest bit of the mask goes.
      int by = place - at - (mask == 8 ? 3 : 0);
      return shifted(Op::ShLI, masked(b, mask << at), by);
    };
    return f.binary(Op::OrI, field(7, l.mantissa - 1), field(8, l.sign));
  };
  return f.bitcast(interleave(nibble(0), nibble(4)), to);
}

LogicalResult Translator::extend(arith::ExtFOp op) {
  mlir::Type from = getElementTypeOrSelf(op.getIn().getType());
  Scalar to = tileOf(op.getType()).element.scalar;
  Value x = get(op.getIn());
  if (isa<Float8E4M3FNType, Float8E8M0FNUType>(from)) {
    if (to != S::F32 && to != S::BF16)
      return refuse(op, "only to f32 and bf16");
    set(op,
        isa<Float8E4M3FNType>(from) ? decodeE4M3(x, to) : decodeE8M0(x, to));
    return success();
  }
  set(op, f.convertFloat(x, to));
  return success();
}

//===-- To narrow --------------------------------------------------------===//

/// Nearest even, saturating at 448 (0x7E), NaN gives 0x7F.
Value Translator::encodeE4M3(const Value &x) {
  if (target.hasE4M3)
    return f.convertFloat(x, S::F8E4M3FN);
  Value bits = f.bitcast(x, S::I32), magnitude = masked(bits, 0x7FFFFFFF);
  auto add = [&](const Value &v, int64_t c) {
    return f.binary(Op::AddI, v, splatLike(v, c));
  };
  auto above = [&](Comparison c, int64_t limit) {
    return f.compareInt(c, Signedness::Signed, magnitude,
                        splatLike(magnitude, limit));
  };
  // Normal results: 20 bits are rounded away, the bias goes from 127 to 7.
  Value odd = masked(shifted(Op::ShRI, magnitude, 20), 1);
  Value normal = shifted(
      Op::ShRI, f.binary(Op::AddI, add(magnitude, 0x7FFFF - (120 << 23)), odd),
      20);
  // Results below 2^-6: adding 2^14 leaves steps of 2^-9 in the last bits.
  Value moved = f.binary(Op::AddF, f.bitcast(magnitude, S::F32),
                         f.splatFloat(S::F32, 16384, x.type.shape));
  Value small = add(f.bitcast(moved, S::I32), -0x46800000);
  Value code = f.select(above(Comparison::LT, 0x3C800000), small, normal);
  // 464 is the tie between 448 and 480, which is the NaN code.
  code =
      f.select(above(Comparison::GE, 0x43E00000), splatLike(code, 0x7E), code);
  code = f.binary(Op::OrI, code, masked(shifted(Op::ShRI, bits, 24), 0x80));
  code =
      f.select(above(Comparison::GT, 0x7F800000), splatLike(code, 0x7F), code);
  return f.truncateInt(code, S::I8);
}

/// A positive power of two's exponent field.
Value Translator::encodeE8M0(const Value &x) {
  Value bits = f.bitcast(x, S::I32);
  return f.truncateInt(masked(shifted(Op::ShRI, bits, 23), 0xFF), S::I8);
}

/// The middles between values, and whether a tie goes up (to the even code).
static constexpr struct {
  double middle;
  bool tieUp;
  double value;
} kE2M1Steps[7] = {{0.25, false, 0.5}, {0.75, true, 1}, {1.25, false, 1.5},
                   {1.75, true, 2},    {2.5, false, 3}, {3.5, true, 4},
                   {5.0, false, 6}};

/// The e2m1 value nearest to x as f32; NaN gives 0.
Value Translator::nearestE2M1(const Value &x) {
  auto number = [&](double v) { return f.splatFloat(S::F32, v, x.type.shape); };
  Value magnitude = f.unary(Op::AbsF, x), value = number(0);
  for (const auto &step : kE2M1Steps) {
    Value above = f.compareFloat(step.tieUp ? Comparison::GE : Comparison::GT,
                                 true, magnitude, number(step.middle));
    value = f.select(above, number(step.value), value);
  }
  Value sign = masked(f.bitcast(x, S::I32), 0x80000000);
  Value isNaN = f.compareFloat(Comparison::NE, false, x, x);
  sign = f.select(isNaN, splatLike(sign, 0), sign);
  return f.bitcast(f.binary(Op::OrI, f.bitcast(value, S::I32), sign), S::F32);
}

/// Codes of x, two a byte.
Value Translator::encodeE2M1(const Value &x) {
  auto codeOf = [&](const Value &v) {
    Value bits = f.bitcast(v, S::I32), magnitude = f.unary(Op::AbsF, v);
    Value code = splatLike(bits, 0);
    for (auto [i, step] : llvm::enumerate(kE2M1Steps)) {
      Value above = f.compareFloat(
          step.tieUp ? Comparison::GE : Comparison::GT, true, magnitude,
          f.splatFloat(S::F32, step.middle, v.type.shape));
      code = f.select(above, splatLike(code, i + 1), code);
    }
    Value sign = masked(shifted(Op::ShRI, bits, 28), 8);
    Value isNaN = f.compareFloat(Comparison::NE, false, v, v);
    sign = f.select(isNaN, splatLike(sign, 0), sign);
    return f.binary(Op::OrI, code, sign);
  };
  auto [even, odd] = evenOdd(x);
  Value byte =
      f.binary(Op::OrI, codeOf(even), shifted(Op::ShLI, codeOf(odd), 4));
  return f.truncateInt(byte, S::I8);
}

LogicalResult Translator::truncate(arith::TruncFOp op) {
  mlir::Type to = getElementTypeOrSelf(op.getType());
  Value x = get(op.getIn());
  if (to.isF32() || to.isBF16() || to.isF16()) {
    set(op, f.convertFloat(x, tileOf(op.getType()).element.scalar));
    return success();
  }
  if (x.type.element == Element(S::F64))
    return refuse(op, "f64 would be rounded twice");
  x = f.convertFloat(x, S::F32); // from bf16 exact
  if (isa<Float8E4M3FNType>(to))
    set(op, encodeE4M3(x));
  else if (isa<Float8E8M0FNUType>(to))
    set(op, encodeE8M0(x));
  else if (isa<Float4E2M1FNType>(to))
    set(op, nearestE2M1(x));
  else
    return refuse(op, "no conversion to this type");
  return success();
}

} // namespace fathom::nvidia
