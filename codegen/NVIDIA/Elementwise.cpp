// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// arith and math on tiles and scalars.
#include "codegen/NVIDIA/Translator.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace fathom::nvidia {

using namespace cudatile;
using cudatile::Type;
using S = Scalar;

static Attributes rounding(Rounding r) {
  Attributes a;
  a.rounding = r;
  return a;
}
static Attributes signedness(Signedness s, Rounding r = Rounding::Zero) {
  Attributes a = rounding(r);
  a.sign = s;
  return a;
}
static Attributes propagatingNaN() {
  Attributes a;
  a.nan = true;
  return a;
}
static constexpr Signedness kSigned = Signedness::Signed,
                            kUnsigned = Signedness::Unsigned;

//===-- Constants --------------------------------------------------------===//

/// Little-endian bytes; bits of i1 are packed.
static std::string bytesOf(ArrayRef<APInt> numbers, unsigned bits) {
  std::string out;
  if (bits == 1) {
    out.assign(llvm::divideCeil(numbers.size(), 8), '\0');
    for (auto [i, number] : llvm::enumerate(numbers))
      out[i / 8] |= char(number.getBoolValue() << (i % 8));
    return out;
  }
  for (const APInt &number : numbers)
    for (unsigned at = 0; at < bits; at += 8)
      out += char(number.getZExtValue() >> at);
  return out;
}

LogicalResult Translator::constant(arith::ConstantOp op) {
  if (isOfProducts(op))
    return success();
  Type type = tileOf(op.getType());
  auto bits = [&](Attribute number) {
    if (auto real = dyn_cast<FloatAttr>(number)) {
      APFloat value = real.getValue();
      bool inexact; // f4E2M1FN stands as f32
      if (isa<Float4E2M1FNType>(real.getType()))
        value.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven,
                      &inexact);
      return value.bitcastToAPInt();
    }
    return cast<IntegerAttr>(number).getValue();
  };
  auto elements = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!elements || elements.isSplat()) {
    Attribute number =
        elements ? elements.getSplatValue<Attribute>() : op.getValue();
    if (!isa<FloatAttr, IntegerAttr>(number))
      return refuse(op, "a constant that is neither number nor tile");
    // An index constant keeps its low half; sizes fit.
    set(op,
        f.splatBits(type.element.scalar,
                    bits(number).zextOrTrunc(64).getZExtValue(), type.shape));
    return success();
  }
  SmallVector<APInt> numbers;
  for (Attribute number : elements.getValues<Attribute>())
    numbers.push_back(bits(number));
  Attributes a;
  a.constant = bytesOf(numbers, bitsOf(type.element.scalar));
  set(op, f.one(Op::Constant, type, {}, a));
  return success();
}

//===-- Comparisons ------------------------------------------------------===//

LogicalResult Translator::compareFloat(arith::CmpFOp op) {
  using P = arith::CmpFPredicate;
  Value x = get(op.getLhs()), y = get(op.getRhs());
  auto as = [&](Comparison c, bool ordered) {
    set(op, f.compareFloat(c, ordered, x, y));
    return success();
  };
  switch (op.getPredicate()) {
  case P::OEQ:
    return as(Comparison::EQ, true);
  case P::ONE:
    return as(Comparison::NE, true);
  case P::OLT:
    return as(Comparison::LT, true);
  case P::OLE:
    return as(Comparison::LE, true);
  case P::OGT:
    return as(Comparison::GT, true);
  case P::OGE:
    return as(Comparison::GE, true);
  case P::UEQ:
    return as(Comparison::EQ, false);
  case P::UNE:
    return as(Comparison::NE, false);
  case P::ULT:
    return as(Comparison::LT, false);
  case P::ULE:
    return as(Comparison::LE, false);
  case P::UGT:
    return as(Comparison::GT, false);
  case P::UGE:
    return as(Comparison::GE, false);
  case P::ORD:
    set(op, f.binary(Op::AndI, f.compareFloat(Comparison::EQ, true, x, x),
                     f.compareFloat(Comparison::EQ, true, y, y)));
    return success();
  case P::UNO:
    set(op, f.binary(Op::OrI, f.compareFloat(Comparison::NE, false, x, x),
                     f.compareFloat(Comparison::NE, false, y, y)));
    return success();
  case P::AlwaysFalse:
  case P::AlwaysTrue:
    set(op,
        f.splatInt(S::I1, op.getPredicate() == P::AlwaysTrue, x.type.shape));
    return success();
  }
  return refuse(op, "a predicate without translation");
}

static std::pair<Comparison, Signedness> comparison(arith::CmpIPredicate p) {
  using P = arith::CmpIPredicate;
  switch (p) {
  case P::eq:
    return {Comparison::EQ, kSigned};
  case P::ne:
    return {Comparison::NE, kSigned};
  case P::slt:
    return {Comparison::LT, kSigned};
  case P::sle:
    return {Comparison::LE, kSigned};
  case P::sgt:
    return {Comparison::GT, kSigned};
  case P::sge:
    return {Comparison::GE, kSigned};
  case P::ult:
    return {Comparison::LT, kUnsigned};
  case P::ule:
    return {Comparison::LE, kUnsigned};
  case P::ugt:
    return {Comparison::GT, kUnsigned};
  case P::uge:
    return {Comparison::GE, kUnsigned};
  }
  return {Comparison::EQ, kSigned};
}

//===-- Division ---------------------------------------------------------===//

/// The bits that a divisor's exponent is taken from, if its mantissa is
/// cleared: f32, positive (a scale). Null otherwise.
static mlir::Value exponentOf(mlir::Value divisor) {
  auto cast = divisor.getDefiningOp<arith::BitcastOp>();
  auto masked =
      cast ? cast.getIn().getDefiningOp<arith::AndIOp>() : arith::AndIOp();
  DenseIntElementsAttr mask;
  if (!masked || !matchPattern(masked.getRhs(), m_Constant(&mask)) ||
      !mask.getElementType().isInteger(32) || !mask.isSplat() ||
      mask.getSplatValue<APInt>() != 0xFF800000)
    return {};
  return cast.getIn();
}

/// By a power of two the product with its reciprocal, which has the same bits:
/// a division has a slow path for every element. Of infinity 0 is that, too.
LogicalResult Translator::divide(arith::DivFOp op) {
  mlir::Value divisor = op.getRhs();
  auto broadcasts = divisor.getDefiningOp<tile::BroadcastOp>();
  mlir::Value exponent = exponentOf(broadcasts ? broadcasts.getX() : divisor);
  Value x = get(op.getLhs());
  if (!exponent) {
    set(op, f.binary(Op::DivF, x, get(divisor)));
    return success();
  }
  Value bits = get(exponent);
  Attributes a;
  a.sign = Signedness::Signed;
  bits = f.binary(Op::SubI, splatLike(bits, 0x7F000000), bits);
  bits = f.binary(Op::MaxI, bits, splatLike(bits, 0), a);
  Value reciprocal = f.bitcast(bits, S::F32);
  if (broadcasts)
    reciprocal = broadcast(reciprocal, broadcasts);
  set(op, f.binary(Op::MulF, x, reciprocal));
  return success();
}

//===-- arith ------------------------------------------------------------===//

std::optional<LogicalResult> Translator::elementwise(Operation *op) {
  auto binary = [&](Op code, const Attributes &a = {}) {
    set(op->getResult(0),
        f.binary(code, get(op->getOperand(0)), get(op->getOperand(1)), a));
    return success();
  };
  auto unaryTo = [&](Op code, const Attributes &a = {}) {
    set(op->getResult(0), f.one(code, tileOf(op->getResult(0).getType()),
                                get(op->getOperand(0)), a));
    return success();
  };
  // Between integers of any widths, index being 32 bits.
  auto resize = [&](Signedness sign) {
    Value x = get(op->getOperand(0));
    Scalar to = tileOf(op->getResult(0).getType()).element.scalar;
    bool wider = bitsOf(to) > bitsOf(x.type.element.scalar);
    set(op->getResult(0),
        wider ? f.extendInt(x, to, sign) : f.truncateInt(x, to));
    return success();
  };
  using Result = std::optional<LogicalResult>;
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case([&](arith::ConstantOp o) { return constant(o); })
      .Case([&](arith::AddFOp) { return binary(Op::AddF); })
      .Case([&](arith::SubFOp) { return binary(Op::SubF); })
      .Case([&](arith::MulFOp) { return binary(Op::MulF); })
      .Case([&](arith::DivFOp o) { return divide(o); })
      .Case([&](arith::RemFOp) { return binary(Op::RemF); })
      .Case(
          [&](arith::MaximumFOp) { return binary(Op::MaxF, propagatingNaN()); })
      .Case(
          [&](arith::MinimumFOp) { return binary(Op::MinF, propagatingNaN()); })
      .Case([&](arith::MaxNumFOp) { return binary(Op::MaxF); })
      .Case([&](arith::MinNumFOp) { return binary(Op::MinF); })
      .Case([&](arith::NegFOp) { return unaryTo(Op::NegF); })
      .Case([&](arith::AddIOp) { return binary(Op::AddI); })
      .Case([&](arith::SubIOp) { return binary(Op::SubI); })
      .Case([&](arith::MulIOp) { return binary(Op::MulI); })
      .Case([&](arith::AndIOp) { return binary(Op::AndI); })
      .Case([&](arith::OrIOp) { return binary(Op::OrI); })
      .Case([&](arith::XOrIOp) { return binary(Op::XOrI); })
      .Case([&](arith::ShLIOp) { return binary(Op::ShLI); })
      .Case([&](arith::ShRUIOp) {
        return binary(Op::ShRI, signedness(kUnsigned));
      })
      .Case(
          [&](arith::ShRSIOp) { return binary(Op::ShRI, signedness(kSigned)); })
      .Case([&](arith::DivUIOp) {
        return binary(Op::DivI, signedness(kUnsigned));
      })
      .Case(
          [&](arith::DivSIOp) { return binary(Op::DivI, signedness(kSigned)); })
      .Case([&](arith::CeilDivUIOp) {
        return binary(Op::DivI,
                      signedness(kUnsigned, Rounding::PositiveInfinity));
      })
      .Case([&](arith::CeilDivSIOp) {
        return binary(Op::DivI,
                      signedness(kSigned, Rounding::PositiveInfinity));
      })
      .Case([&](arith::FloorDivSIOp) {
        return binary(Op::DivI,
                      signedness(kSigned, Rounding::NegativeInfinity));
      })
      .Case([&](arith::RemUIOp) {
        return binary(Op::RemI, signedness(kUnsigned));
      })
      .Case(
          [&](arith::RemSIOp) { return binary(Op::RemI, signedness(kSigned)); })
      .Case([&](arith::MaxUIOp) {
        return binary(Op::MaxI, signedness(kUnsigned));
      })
      .Case(
          [&](arith::MaxSIOp) { return binary(Op::MaxI, signedness(kSigned)); })
      .Case([&](arith::MinUIOp) {
        return binary(Op::MinI, signedness(kUnsigned));
      })
      .Case(
          [&](arith::MinSIOp) { return binary(Op::MinI, signedness(kSigned)); })
      .Case([&](arith::CmpFOp o) { return compareFloat(o); })
      .Case([&](arith::CmpIOp o) {
        auto [c, sign] = comparison(o.getPredicate());
        set(o, f.compareInt(c, sign, get(o.getLhs()), get(o.getRhs())));
        return success();
      })
      .Case([&](arith::SelectOp o) {
        Value condition = get(o.getCondition()), x = get(o.getTrueValue());
        if (!x.type.shape.empty() && condition.type.shape.empty())
          condition = f.spread(condition, x.type.shape);
        set(o, f.select(condition, x, get(o.getFalseValue())));
        return success();
      })
      .Case([&](arith::BitcastOp o) {
        set(o, f.bitcast(get(o.getIn()), tileOf(o.getType()).element.scalar));
        return success();
      })
      .Case([&](arith::ExtFOp o) { return extend(o); })
      .Case([&](arith::TruncFOp o) { return truncate(o); })
      .Case<arith::ExtUIOp, arith::IndexCastUIOp>(
          [&](auto) { return resize(kUnsigned); })
      .Case<arith::ExtSIOp, arith::TruncIOp, arith::IndexCastOp>(
          [&](auto) { return resize(kSigned); })
      .Case([&](arith::SIToFPOp) {
        return unaryTo(Op::IToF, signedness(kSigned, Rounding::NearestEven));
      })
      .Case([&](arith::UIToFPOp) {
        return unaryTo(Op::IToF, signedness(kUnsigned, Rounding::NearestEven));
      })
      .Case([&](arith::FPToSIOp) {
        return unaryTo(Op::FToI, signedness(kSigned, Rounding::IntegerToZero));
      })
      .Case([&](arith::FPToUIOp) {
        return unaryTo(Op::FToI,
                       signedness(kUnsigned, Rounding::IntegerToZero));
      })
      .Default([](Operation *) { return std::nullopt; });
}

//===-- math -------------------------------------------------------------===//

/// log(1+x) from u = 1+x as rounded: log(u) x / (u-1) takes back the rounding.
Value Translator::log1p(const Value &x) {
  auto number = [&](double v) {
    return f.splatFloat(x.type.element.scalar, v, x.type.shape);
  };
  Value one = number(1), u = f.binary(Op::AddF, x, one);
  Value rest = f.binary(Op::SubF, u, one), log = f.unary(Op::Log, u);
  Value result = f.binary(Op::MulF, log, f.binary(Op::DivF, x, rest));
  Value infinite = f.compareFloat(
      Comparison::EQ, true, u, number(std::numeric_limits<double>::infinity()));
  result = f.select(infinite, u, result);
  return f.select(f.compareFloat(Comparison::EQ, true, rest, number(0)), x,
                  result);
}

/// An addition of 2^23 (f64: 2^52) to a smaller magnitude leaves no fraction;
/// greater ones have none.
Value Translator::roundEven(const Value &x) {
  Scalar scalar = x.type.element.scalar;
  bool wide = scalar == S::F64;
  Scalar integer = wide ? S::I64 : S::I32;
  Value magnitude = f.unary(Op::AbsF, x);
  Value shift = f.splatFloat(scalar, wide ? 0x1p52 : 0x1p23, x.type.shape);
  Value rounded =
      f.binary(Op::SubF, f.binary(Op::AddF, magnitude, shift), shift);
  Value sign = masked(f.bitcast(x, integer),
                      wide ? std::numeric_limits<int64_t>::min() : 0x80000000);
  rounded =
      f.bitcast(f.binary(Op::OrI, f.bitcast(rounded, integer), sign), scalar);
  Value small = f.compareFloat(Comparison::LT, true, magnitude, shift);
  return f.select(small, rounded, x);
}

std::optional<LogicalResult> Translator::math(Operation *op) {
  auto unary = [&](Op code, const Attributes &a = {}) {
    set(op->getResult(0), f.unary(code, get(op->getOperand(0)), a));
    return success();
  };
  using Result = std::optional<LogicalResult>;
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case([&](math::AbsFOp) { return unary(Op::AbsF); })
      .Case([&](math::AbsIOp) { return unary(Op::AbsI); })
      .Case([&](math::CeilOp) { return unary(Op::Ceil); })
      .Case([&](math::FloorOp) { return unary(Op::Floor); })
      .Case([&](math::CosOp) { return unary(Op::Cos); })
      .Case([&](math::SinOp) { return unary(Op::Sin); })
      .Case(
          [&](math::ExpOp) { return unary(Op::Exp, rounding(Rounding::Full)); })
      .Case([&](math::Exp2Op) { return unary(Op::Exp2); })
      .Case([&](math::LogOp) { return unary(Op::Log); })
      .Case([&](math::Log2Op) { return unary(Op::Log2); })
      .Case([&](math::SqrtOp) { return unary(Op::Sqrt); })
      .Case([&](math::RsqrtOp) { return unary(Op::RSqrt); })
      .Case([&](math::TanhOp) {
        return unary(Op::TanH, rounding(Rounding::Full));
      })
      .Case([&](math::PowFOp) {
        set(op->getResult(0),
            f.binary(Op::Pow, get(op->getOperand(0)), get(op->getOperand(1))));
        return success();
      })
      .Case([&](math::FmaOp o) {
        Value x = get(o.getA());
        set(o, f.one(Op::Fma, x.type, {x, get(o.getB()), get(o.getC())}));
        return success();
      })
      .Case([&](math::Log1pOp o) -> LogicalResult {
        set(o, log1p(get(o.getOperand())));
        return success();
      })
      .Case([&](math::RoundEvenOp o) -> LogicalResult {
        mlir::Type element = getElementTypeOrSelf(o.getType());
        if (!element.isF32() && !element.isF64())
          return refuse(o, "only of f32 and f64");
        set(o, roundEven(get(o.getOperand())));
        return success();
      })
      .Default([](Operation *) { return std::nullopt; });
}

} // namespace fathom::nvidia
