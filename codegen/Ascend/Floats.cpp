// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conversions of narrow floats by operations that give the same values as on
// every other target. None relies on subnormal numbers, which a vector unit may
// flush: whatever appears on the way is normal or zero.
#include "codegen/Ascend/Translator.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace fathom::ascend {

using PI = arith::CmpIPredicate;
using PF = arith::CmpFPredicate;

//===-- To wide ----------------------------------------------------------===//

/// Through f16, two bytes a value: its exponent field is one bit wider and its
/// bias is 8 more. The eight smallest codes are multiples of 2^-9.
Value Translator::decodeE4M3(Value codes) {
  Value code = widen(codes, 16), magnitude = with<arith::AndIOp>(code, 0x7F);
  Type half = withElement(codes, b.getF16Type());
  Value counted = make<arith::SIToFPOp>(half, magnitude);
  Value small = make<arith::MulFOp>(counted, number(counted, 0x1p-9));
  Value normal =
      floats(with<arith::AddIOp>(with<arith::ShLIOp>(magnitude, 7), 8 << 10));
  Value value = select(compare(PF::OLT, counted, 8), small, normal);
  Value nan = number(counted, std::numeric_limits<double>::quiet_NaN());
  value = select(compare(PF::OEQ, counted, 127), nan, value);
  Value sign = with<arith::ShLIOp>(with<arith::AndIOp>(code, 0x80), 8);
  value = floats(make<arith::OrIOp>(bits(value), sign));
  return make<arith::ExtFOp>(withElement(codes, b.getF32Type()), value);
}

/// The code is the exponent field; code 0 is the subnormal 2^-127.
Value Translator::decodeE8M0(Value codes) {
  Value code = widen(codes, 32);
  Value field = with<arith::ShLIOp>(code, 23);
  field = make<arith::MaxSIOp>(field, integer(field, 0x400000));
  Value isNaN = compare(PI::eq, code, 255);
  return floats(select(isNaN, integer(field, 0x7FC00000), field));
}

/// Two codes a byte, low nibble first. The magnitudes 0, 0.5, 1, 1.5, 2, 3, 4,
/// 6 are piecewise linear in the code m: m/2 + max(m-4,0)/2 + max(m-6,0); codes
/// from 8 are the negative ones. Exact in f16.
Value Translator::decodeE2M1(Value bytes) {
  Value byte = widen(bytes, 16);
  Type half = withElement(bytes, b.getF16Type());
  auto decode = [&](Value nibble) {
    Value code = make<arith::SIToFPOp>(half, nibble);
    auto above = [&](Value x, double limit) -> Value {
      Value rest = make<arith::SubFOp>(x, number(x, limit));
      return make<arith::MaximumFOp>(rest, number(x, 0));
    };
    auto times = [&](Value x, double factor) {
      return make<arith::MulFOp>(x, number(x, factor));
    };
    Value negative =
        make<arith::MinimumFOp>(above(code, 7), number(code, 1)); // 1 or 0
    Value m = make<arith::SubFOp>(code, times(negative, 8));
    Value value = make<arith::AddFOp>(times(m, 0.5), times(above(m, 4), 0.5));
    value = make<arith::AddFOp>(value, above(m, 6));
    Value sign = make<arith::SubFOp>(number(code, 1), times(negative, 2));
    return make<arith::MulFOp>(value, sign);
  };
  Value value = interleave(decode(with<arith::AndIOp>(byte, 15)),
                           decode(with<arith::ShRUIOp>(byte, 4)));
  return make<arith::ExtFOp>(withElement(value, b.getF32Type()), value);
}

/// The magnitudes from 1 on, codes m from 2 on, are 0x30 + 4 m; 0.5 is 0x30,
/// and zero is 0. Signs are kept.
Value Translator::recodeE2M1(Value bytes) {
  Value byte = widen(bytes, 16);
  auto recode = [&](Value nibble) {
    Value m = with<arith::AndIOp>(nibble, 7);
    Value code = with<arith::AddIOp>(with<arith::ShLIOp>(m, 2), 0x30);
    auto below = [&](int64_t limit) -> Value {
      Value rest = make<arith::SubIOp>(integer(m, limit), m);
      return make<arith::MaxSIOp>(rest, integer(m, 0));
    };
    code = make<arith::SubIOp>(code, with<arith::ShLIOp>(below(2), 2));
    code = make<arith::SubIOp>(code, with<arith::MulIOp>(below(1), 40));
    Value sign = with<arith::ShLIOp>(with<arith::AndIOp>(nibble, 8), 4);
    return make<arith::OrIOp>(code, sign);
  };
  Value codes = interleave(recode(with<arith::AndIOp>(byte, 15)),
                           recode(with<arith::ShRUIOp>(byte, 4)));
  return make<arith::TruncIOp>(withElement(codes, b.getI8Type()), codes);
}

LogicalResult Translator::extend(arith::ExtFOp op) {
  Type from = getElementTypeOrSelf(op.getIn().getType());
  Type type = converted(op.getType());
  Value x = get(op.getIn());
  if (isa<Float8E4M3FNType, Float8E8M0FNUType>(from)) {
    Type to = getElementTypeOrSelf(type);
    if (!to.isF32() && !to.isBF16())
      return refuse(op, "only to f32 and bf16");
    x = isa<Float8E4M3FNType>(from) ? decodeE4M3(x) : decodeE8M0(x);
    set(op, to.isF32() ? x : make<arith::TruncFOp>(type, x));
    return success();
  }
  set(op, x.getType() == type ? x : make<arith::ExtFOp>(type, x));
  return success();
}

//===-- To narrow --------------------------------------------------------===//

/// Nearest even, saturating at 448 (0x7E), NaN gives 0x7F.
Value Translator::encodeE4M3(Value x) {
  Value whole = bits(x), magnitude = with<arith::AndIOp>(whole, 0x7FFFFFFF);
  // Normal results: 20 bits are rounded away, the bias goes from 127 to 7.
  Value odd = with<arith::AndIOp>(with<arith::ShRUIOp>(magnitude, 20), 1);
  Value moved = with<arith::AddIOp>(magnitude, 0x7FFFF - (120 << 23));
  Value normal = with<arith::ShRUIOp>(make<arith::AddIOp>(moved, odd), 20);
  // Results below 2^-6: adding 2^14 leaves steps of 2^-9 in the last bits.
  Value stepped = make<arith::AddFOp>(floats(magnitude), number(x, 16384));
  Value small = with<arith::AddIOp>(bits(stepped), -0x46800000);
  Value code = select(compare(PI::slt, magnitude, 0x3C800000), small, normal);
  // 464 is the tie between 448 and 480, which is the NaN code.
  code = select(compare(PI::sge, magnitude, 0x43E00000), integer(code, 0x7E),
                code);
  Value sign = with<arith::AndIOp>(with<arith::ShRUIOp>(whole, 24), 0x80);
  code = make<arith::OrIOp>(code, sign);
  code = select(compare(PI::sgt, magnitude, 0x7F800000), integer(code, 0x7F),
                code);
  return make<arith::TruncIOp>(withElement(x, b.getI8Type()), code);
}

/// A positive power of two's exponent field.
Value Translator::encodeE8M0(Value x) {
  Value code = with<arith::AndIOp>(with<arith::ShRUIOp>(bits(x), 23), 0xFF);
  return make<arith::TruncIOp>(withElement(x, b.getI8Type()), code);
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
Value Translator::nearestE2M1(Value x) {
  Value magnitude = make<math::AbsFOp>(x), value = number(x, 0);
  for (const auto &step : kE2M1Steps)
    value =
        select(compare(step.tieUp ? PF::OGE : PF::OGT, magnitude, step.middle),
               number(x, step.value), value);
  Value sign = with<arith::AndIOp>(bits(x), 0x80000000);
  Value isNaN = make<arith::CmpFOp>(PF::UNE, x, x);
  sign = select(isNaN, integer(sign, 0), sign);
  return floats(make<arith::OrIOp>(bits(value), sign));
}

/// Codes of x, two a byte.
Value Translator::encodeE2M1(Value x) {
  auto codeOf = [&](Value v) {
    Value whole = bits(v), magnitude = make<math::AbsFOp>(v);
    Value code = integer(whole, 0);
    for (auto [i, step] : llvm::enumerate(kE2M1Steps))
      code = select(
          compare(step.tieUp ? PF::OGE : PF::OGT, magnitude, step.middle),
          integer(code, i + 1), code);
    Value sign = with<arith::AndIOp>(with<arith::ShRUIOp>(whole, 28), 8);
    Value isNaN = make<arith::CmpFOp>(PF::UNE, v, v);
    sign = select(isNaN, integer(sign, 0), sign);
    return make<arith::OrIOp>(code, sign);
  };
  Value even = codeOf(everySecond(x, 0)), odd = codeOf(everySecond(x, 1));
  Value byte = make<arith::OrIOp>(even, with<arith::ShLIOp>(odd, 4));
  return make<arith::TruncIOp>(withElement(byte, b.getI8Type()), byte);
}

LogicalResult Translator::truncate(arith::TruncFOp op) {
  Type to = getElementTypeOrSelf(op.getType());
  Value x = get(op.getIn());
  if (to.isF32() || to.isBF16() || to.isF16()) {
    set(op, make<arith::TruncFOp>(converted(op.getType()), x));
    return success();
  }
  if (getElementTypeOrSelf(x.getType()).isBF16()) // exact
    x = make<arith::ExtFOp>(withElement(x, b.getF32Type()), x);
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

} // namespace fathom::ascend
