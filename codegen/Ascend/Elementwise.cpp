// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// arith and math on tiles and scalars. What AscendNPU-IR has no vector form of
// is said by other operations with the same result.
#include "codegen/Ascend/Translator.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace fathom::ascend {

static bool isTile(Value value) {
  return isa<RankedTensorType>(value.getType());
}

//===-- Constants --------------------------------------------------------===//

static constexpr int64_t kMostConstants = 1024;

/// A number of a narrow float as what stands for it here.
static Attribute stored(Attribute number, Type element) {
  auto real = dyn_cast<FloatAttr>(number);
  if (!real || real.getType() == element)
    return number;
  if (auto integer = dyn_cast<IntegerType>(element))
    return IntegerAttr::get(integer, real.getValue().bitcastToAPInt());
  APFloat value = real.getValue();
  bool inexact;
  value.convert(cast<FloatType>(element).getFloatSemantics(),
                APFloat::rmNearestTiesToEven, &inexact);
  return FloatAttr::get(element, value);
}

std::optional<Value> Translator::hadamard(DenseElementsAttr elements) {
  auto type = cast<RankedTensorType>(elements.getType());
  if (!type.getElementType().isF32() && !type.getElementType().isBF16())
    return std::nullopt;
  if (type.getRank() != 2 || type.getDimSize(0) != type.getDimSize(1) ||
      type.getDimSize(0) > 1024)
    return std::nullopt;
  auto values = elements.getValues<APFloat>();
  int64_t n = type.getDimSize(0);
  APFloat first = *values.begin();
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      bool negative = llvm::popcount(static_cast<uint64_t>(i & j)) % 2;
      if (values[i * n + j] != (negative ? -first : first))
        return std::nullopt;
    }
  // Two bytes a number: the tile is large, and the numbers are small.
  Value line = make<arith::TruncIOp>(RankedTensorType::get({n}, b.getI16Type()),
                                     iota(n));
  Value parity = make<arith::AndIOp>(broadcast(line, {n, n}, {1}),
                                     broadcast(line, {n, n}, {0}));
  for (int64_t half = 8; half > 0; half /= 2)
    if (half < n)
      parity = make<arith::XOrIOp>(parity, with<arith::ShRUIOp>(parity, half));
  parity = with<arith::AndIOp>(parity, 1);
  Value sign =
      make<arith::SIToFPOp>(withElement(parity, b.getF16Type()), parity);
  sign = make<arith::SubFOp>(number(sign, 1),
                             make<arith::MulFOp>(sign, number(sign, 2)));
  Value wide = make<arith::ExtFOp>(withElement(sign, b.getF32Type()), sign);
  if (!first.isExactlyValue(1))
    wide = make<arith::MulFOp>(wide, number(wide, first.convertToDouble()));
  // As bf16, if that holds it, so that a product can take it so.
  bool inexact;
  first.convert(APFloat::BFloat(), APFloat::rmNearestTiesToEven, &inexact);
  if (type.getElementType().isF32() && inexact)
    return wide;
  Value narrow =
      make<arith::TruncFOp>(withElement(wide, b.getBF16Type()), wide);
  return type.getElementType().isF32() ? make<arith::ExtFOp>(type, narrow)
                                       : narrow;
}

LogicalResult Translator::constant(arith::ConstantOp op) {
  Type type = converted(op.getType()), element = getElementTypeOrSelf(type);
  auto elements = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!elements) {
    set(op, make<arith::ConstantOp>(
                cast<TypedAttr>(stored(op.getValue(), element))));
    return success();
  }
  if (elements.isSplat()) {
    set(op, make<arith::ConstantOp>(DenseElementsAttr::get(
                cast<RankedTensorType>(type),
                stored(elements.getSplatValue<Attribute>(), element))));
    return success();
  }
  if (std::optional<Value> matrix = hadamard(elements)) {
    set(op, *matrix);
    return success();
  }
  // The memory planner knows no constants of many values: put them in one by
  // one.
  if (elements.getNumElements() > kMostConstants)
    return refuse(op, "a constant of more than " + Twine(kMostConstants) +
                          " values that is no Hadamard matrix");
  auto tensor = cast<RankedTensorType>(type);
  Value tile = empty({tensor.getNumElements()}, element);
  for (auto [i, number] : llvm::enumerate(elements.getValues<Attribute>())) {
    Value scalar =
        make<arith::ConstantOp>(cast<TypedAttr>(stored(number, element)));
    tile = make<tensor::InsertOp>(scalar, tile, ValueRange{index(i)});
  }
  set(op, reshape(tile, tensor.getShape()));
  return success();
}

//===-- Comparisons ------------------------------------------------------===//

LogicalResult Translator::compareInt(arith::CmpIOp op) {
  using P = arith::CmpIPredicate;
  Value x = get(op.getLhs()), y = get(op.getRhs());
  P p = op.getPredicate();
  // Vectors compare signed integers: move the smallest unsigned to the
  // smallest signed number.
  if (isTile(x) && (p == P::ult || p == P::ule || p == P::ugt || p == P::uge)) {
    unsigned width = getElementTypeOrSelf(x.getType()).getIntOrFloatBitWidth();
    int64_t sign = int64_t(1) << (width - 1);
    x = with<arith::XOrIOp>(x, sign);
    y = with<arith::XOrIOp>(y, sign);
    p = p == P::ult   ? P::slt
        : p == P::ule ? P::sle
        : p == P::ugt ? P::sgt
                      : P::sge;
  }
  set(op, make<arith::CmpIOp>(p, x, y));
  return success();
}

LogicalResult Translator::compareFloat(arith::CmpFOp op) {
  using P = arith::CmpFPredicate;
  Value x = get(op.getLhs()), y = get(op.getRhs());
  auto self = [&](P p, Value v) { return make<arith::CmpFOp>(p, v, v); };
  bool same = x == y;
  switch (op.getPredicate()) {
  case P::ORD: {
    Value left = self(P::OEQ, x);
    set(op, same ? left : make<arith::AndIOp>(left, self(P::OEQ, y)));
    return success();
  }
  case P::UNO: {
    Value left = self(P::UNE, x);
    set(op, same ? left : make<arith::OrIOp>(left, self(P::UNE, y)));
    return success();
  }
  case P::AlwaysFalse:
  case P::AlwaysTrue:
    return refuse(op, "a comparison that compares nothing");
  default:
    set(op, make<arith::CmpFOp>(op.getPredicate(), x, y));
    return success();
  }
}

//===-- Division ---------------------------------------------------------===//

/// AscendNPU-IR divides integer vectors as f32, which is exact below 2^24. By
/// powers of two it is shifts and masks, exact for all. Nothing where the
/// operation can stay.
std::optional<LogicalResult> Translator::divide(Operation *op) {
  Value x = get(op->getOperand(0));
  APInt divisor;
  if (!matchPattern(op->getOperand(1), m_ConstantInt(&divisor)) ||
      !divisor.isStrictlyPositive()) {
    if (isa<arith::DivUIOp, arith::RemUIOp>(op))
      return refuse(op, "vectors divide unsigned integers by constants only");
    return std::nullopt;
  }
  int64_t by = divisor.getSExtValue();
  bool isSigned = isa<arith::DivSIOp, arith::RemSIOp>(op);
  bool isQuotient = isa<arith::DivSIOp, arith::DivUIOp>(op);
  if (!divisor.isPowerOf2()) {
    if (!isSigned)
      return refuse(op,
                    "vectors divide unsigned integers by powers of two only");
    return std::nullopt;
  }
  int64_t shift = divisor.logBase2();
  if (!isSigned) {
    set(op->getResult(0), isQuotient ? with<arith::ShRUIOp>(x, shift)
                                     : with<arith::AndIOp>(x, by - 1));
    return success();
  }
  // Towards zero: negative numbers are moved up before they are shifted.
  unsigned width = getElementTypeOrSelf(x.getType()).getIntOrFloatBitWidth();
  Value negative = with<arith::ShRSIOp>(x, width - 1);
  Value moved = make<arith::AddIOp>(x, with<arith::AndIOp>(negative, by - 1));
  Value quotient = with<arith::ShRSIOp>(moved, shift);
  set(op->getResult(0),
      isQuotient
          ? quotient
          : make<arith::SubIOp>(x, with<arith::ShLIOp>(quotient, shift)));
  return success();
}

//===-- math -------------------------------------------------------------===//

/// log(1+x) from u = 1+x as rounded: log(u) x / (u-1) takes back the rounding.
Value Translator::log1p(Value x) {
  using P = arith::CmpFPredicate;
  Value u = make<arith::AddFOp>(number(x, 1), x);
  Value rest = make<arith::SubFOp>(u, number(x, 1));
  Value log = make<math::LogOp>(u);
  Value result = make<arith::MulFOp>(log, make<arith::DivFOp>(x, rest));
  Value infinite = compare(P::OEQ, u, std::numeric_limits<double>::infinity());
  result = select(infinite, u, result);
  return select(compare(P::OEQ, rest, 0), x, result);
}

/// An addition of 2^23 to a smaller magnitude leaves no fraction; greater ones
/// have none.
Value Translator::roundEven(Value x) {
  Value magnitude = make<math::AbsFOp>(x), shift = number(x, 0x1p23);
  Value rounded =
      make<arith::SubFOp>(make<arith::AddFOp>(magnitude, shift), shift);
  Value sign = with<arith::AndIOp>(bits(x), 0x80000000);
  rounded = floats(make<arith::OrIOp>(bits(rounded), sign));
  return select(compare(arith::CmpFPredicate::OLT, magnitude, 0x1p23), rounded,
                x);
}

//===-- Dispatch ---------------------------------------------------------===//

std::optional<LogicalResult> Translator::elementwise(Operation *op) {
  using Result = std::optional<LogicalResult>;
  auto clone = [&] {
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(get(operand));
    IRMapping mapping;
    mapping.map(op->getOperands(), operands);
    Operation *made = b.clone(*op, mapping);
    made->setDiscardableAttrs(DictionaryAttr::get(b.getContext()));
    set(op->getResult(0), made->getResult(0));
    return success();
  };
  auto is = [&](Value value) {
    set(op->getResult(0), value);
    return success();
  };
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case([&](arith::ConstantOp o) { return constant(o); })
      .Case([&](arith::CmpIOp o) { return compareInt(o); })
      .Case([&](arith::CmpFOp o) { return compareFloat(o); })
      .Case([&](arith::ExtFOp o) { return extend(o); })
      .Case([&](arith::TruncFOp o) { return truncate(o); })
      .Case<arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp>(
          [&](Operation *o) -> Result {
            if (!isTile(o->getResult(0)))
              return clone();
            Result divided = divide(o);
            return divided ? *divided : clone();
          })
      .Case([&](arith::BitcastOp o) -> Result {
        Value x = get(o.getIn());
        Type type = converted(o.getType());
        return is(x.getType() == type ? x : make<arith::BitcastOp>(type, x));
      })
      .Case([&](arith::SelectOp o) -> Result {
        if (!isTile(o.getTrueValue()) || isTile(o.getCondition()))
          return clone();
        auto made = scf::IfOp::create(
            b, get(o.getCondition()),
            [&](OpBuilder &inner, Location loc) {
              scf::YieldOp::create(inner, loc, get(o.getTrueValue()));
            },
            [&](OpBuilder &inner, Location loc) {
              scf::YieldOp::create(inner, loc, get(o.getFalseValue()));
            });
        return is(made.getResult(0));
      })
      .Case([&](math::RoundEvenOp o) -> Result {
        if (!getElementTypeOrSelf(o.getType()).isF32())
          return refuse(o, "only of f32 and f64");
        return is(roundEven(get(o.getOperand())));
      })
      .Case([&](math::Log1pOp o) -> Result {
        return is(log1p(get(o.getOperand())));
      })
      .Case<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp,
            arith::MaximumFOp, arith::MinimumFOp, arith::MaxNumFOp,
            arith::MinNumFOp, arith::NegFOp, arith::AddIOp, arith::SubIOp,
            arith::MulIOp, arith::AndIOp, arith::OrIOp, arith::XOrIOp,
            arith::ShLIOp, arith::ShRUIOp, arith::ShRSIOp, arith::MaxSIOp,
            arith::MinSIOp, arith::ExtUIOp, arith::ExtSIOp, arith::TruncIOp,
            arith::SIToFPOp, arith::FPToSIOp, math::AbsFOp, math::CeilOp,
            math::FloorOp, math::SinOp, math::CosOp, math::ExpOp, math::Exp2Op,
            math::LogOp, math::Log2Op, math::SqrtOp, math::RsqrtOp,
            math::TanhOp>([&](Operation *) { return clone(); })
      .Case<arith::IndexCastOp, arith::IndexCastUIOp, arith::MaxUIOp,
            arith::MinUIOp, arith::CeilDivUIOp, arith::CeilDivSIOp,
            arith::FloorDivSIOp>([&](Operation *o) -> Result {
        if (isTile(o->getResult(0)))
          return refuse(o, "only of scalars");
        return clone();
      })
      .Default([](Operation *) { return std::nullopt; });
}

} // namespace fathom::ascend
