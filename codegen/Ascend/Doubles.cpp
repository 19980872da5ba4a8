// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// f64 on vectors that have none: the sum of two f32. Sums and products of f32
// are split into what is rounded and what the rounding lost (Knuth, Dekker);
// operations on pairs keep some 48 bits, which is what the angles of rotary
// embeddings need it for.
#include "codegen/Ascend/Translator.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace fathom::ascend {

using P = arith::CmpFPredicate;

Translator::Pair Translator::twoSum(Value a, Value c) {
  Value sum = make<arith::AddFOp>(a, c), part = make<arith::SubFOp>(sum, a);
  Value lostA = make<arith::SubFOp>(a, make<arith::SubFOp>(sum, part));
  Value lostC = make<arith::SubFOp>(c, part);
  return {sum, make<arith::AddFOp>(lostA, lostC)};
}

/// For |a| >= |c|.
Translator::Pair Translator::quickTwoSum(Value a, Value c) {
  Value sum = make<arith::AddFOp>(a, c);
  return {sum, make<arith::SubFOp>(c, make<arith::SubFOp>(sum, a))};
}

/// Without a fused multiplication and addition: factors of 12 bits each.
Translator::Pair Translator::twoProduct(Value a, Value c) {
  auto split = [&](Value x) -> Pair {
    Value scaled = make<arith::MulFOp>(x, number(x, 4097));
    Value high = make<arith::SubFOp>(scaled, make<arith::SubFOp>(scaled, x));
    return {high, make<arith::SubFOp>(x, high)};
  };
  Value product = make<arith::MulFOp>(a, c);
  Pair x = split(a), y = split(c);
  auto times = [&](Value v, Value w) { return make<arith::MulFOp>(v, w); };
  Value lost = make<arith::SubFOp>(times(x.high, y.high), product);
  lost = make<arith::AddFOp>(lost, times(x.high, y.low));
  lost = make<arith::AddFOp>(lost, times(x.low, y.high));
  lost = make<arith::AddFOp>(lost, times(x.low, y.low));
  return {product, lost};
}

Translator::Pair Translator::add(Pair a, Pair c) {
  Pair high = twoSum(a.high, c.high), low = twoSum(a.low, c.low);
  high = quickTwoSum(high.high, make<arith::AddFOp>(high.low, low.high));
  return quickTwoSum(high.high, make<arith::AddFOp>(high.low, low.low));
}

Translator::Pair Translator::multiply(Pair a, Pair c) {
  Pair product = twoProduct(a.high, c.high);
  Value cross = make<arith::AddFOp>(make<arith::MulFOp>(a.high, c.low),
                                    make<arith::MulFOp>(a.low, c.high));
  return quickTwoSum(product.high, make<arith::AddFOp>(product.low, cross));
}

Translator::Pair Translator::pairOf(Value value) { return pairs.lookup(value); }

std::optional<LogicalResult> Translator::doubles(Operation *op) {
  auto isDouble = [](Value value) {
    return getElementTypeOrSelf(value.getType()).isF64();
  };
  if (op->getNumRegions() > 0 || (!llvm::any_of(op->getOperands(), isDouble) &&
                                  !llvm::any_of(op->getResults(), isDouble)))
    return std::nullopt;
  auto pair = [&](unsigned i) { return pairOf(op->getOperand(i)); };
  auto is = [&](Pair value) {
    pairs[op->getResult(0)] = value;
    return success();
  };
  auto negated = [&](Pair x) -> Pair {
    return {make<arith::NegFOp>(x.high), make<arith::NegFOp>(x.low)};
  };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](arith::ConstantOp o) -> LogicalResult {
        auto elements = dyn_cast<SplatElementsAttr>(o.getValue());
        auto scalar = dyn_cast<FloatAttr>(o.getValue());
        if (!elements && !scalar)
          return refuse(o, "a constant of many values in f64");
        double number =
            elements ? elements.getSplatValue<APFloat>().convertToDouble()
                     : scalar.getValueAsDouble();
        float high = static_cast<float>(number);
        auto half = [&](float part) -> Value {
          Attribute element = b.getF32FloatAttr(part);
          if (!elements)
            return make<arith::ConstantOp>(cast<TypedAttr>(element));
          return make<arith::ConstantOp>(DenseElementsAttr::get(
              cast<RankedTensorType>(o.getType()).clone(b.getF32Type()),
              element));
        };
        return is({half(high), half(static_cast<float>(number - high))});
      })
      .Case([&](arith::ExtFOp o) -> LogicalResult {
        Value x = get(o.getIn());
        if (!getElementTypeOrSelf(x.getType()).isF32())
          return refuse(o, "to f64 from f32 only");
        return is({x, number(x, 0)});
      })
      .Case([&](arith::TruncFOp o) -> LogicalResult {
        if (!getElementTypeOrSelf(o.getType()).isF32())
          return refuse(o, "from f64 to f32 only");
        set(o, make<arith::AddFOp>(pair(0).high, pair(0).low));
        return success();
      })
      .Case([&](arith::FPToSIOp o) -> LogicalResult {
        // The halves of other numbers cannot be cut off one by one: 3 - 1e-9.
        if (!o.getIn().getDefiningOp<math::RoundEvenOp>())
          return refuse(o, "from f64 to integers of rounded numbers only");
        set(o, make<arith::FPToSIOp>(o.getType(), pair(0).high));
        return success();
      })
      .Case([&](arith::AddFOp) { return is(add(pair(0), pair(1))); })
      .Case([&](arith::SubFOp) { return is(add(pair(0), negated(pair(1)))); })
      .Case([&](arith::MulFOp) { return is(multiply(pair(0), pair(1))); })
      .Case([&](arith::NegFOp) { return is(negated(pair(0))); })
      .Case([&](arith::SelectOp o) {
        Value condition = get(o.getCondition());
        return is({select(condition, pair(1).high, pair(2).high),
                   select(condition, pair(1).low, pair(2).low)});
      })
      .Case([&](math::RoundEvenOp) {
        // The nearest to the high part may be one away from the nearest.
        Value near = roundEven(pair(0).high);
        Value rest = make<arith::AddFOp>(
            make<arith::SubFOp>(pair(0).high, near), pair(0).low);
        Value zero = number(near, 0), one = number(near, 1);
        Value up = select(compare(P::OGT, rest, 0.5), one, zero);
        Value down = select(compare(P::OLT, rest, -0.5), one, zero);
        near = make<arith::SubFOp>(make<arith::AddFOp>(near, up), down);
        return is({near, zero});
      })
      .Default([&](Operation *o) { return refuse(o, "not in f64"); });
}

} // namespace fathom::ascend
