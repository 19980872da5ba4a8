// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conversions between f32 and the narrow floats, in integer operations that
// vectorise on every level and give the same bits on all.
#include "codegen/CPU/Emit.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_EXPANDFLOATSPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;
using namespace fathom::cpu;

namespace {
/// The lanes of one conversion, as integers of three widths.
struct Lanes {
  OpBuilder &b;
  Location loc;
  Type shape; // scalar or vector, any element

  Type of(Type element) const {
    if (auto vector = dyn_cast<VectorType>(shape))
      return vector.clone(element);
    return element;
  }
  Type i8() const { return of(b.getI8Type()); }
  Type i16() const { return of(b.getI16Type()); }
  Type i32() const { return of(b.getI32Type()); }
  Type f32() const { return of(b.getF32Type()); }
  Value constant(Type type, int64_t value) const {
    return Emit{b, loc}.constant(type, value);
  }
  Value cast(Type type, Value v) const {
    return arith::BitcastOp::create(b, loc, type, v);
  }
  Value zext(Type type, Value v) const {
    return arith::ExtUIOp::create(b, loc, type, v);
  }
  Value trunc(Type type, Value v) const {
    return arith::TruncIOp::create(b, loc, type, v);
  }
  template <typename Op> Value with(Value v, int64_t c) const {
    return Op::create(b, loc, v, constant(v.getType(), c));
  }
  template <typename Op> Value both(Value v, Value w) const {
    return Op::create(b, loc, v, w);
  }
  Value compare(arith::CmpIPredicate p, Value v, int64_t c) const {
    return arith::CmpIOp::create(b, loc, p, v, constant(v.getType(), c));
  }
  Value select(Value c, Value v, Value w) const {
    return arith::SelectOp::create(b, loc, c, v, w);
  }
};
} // namespace

using arith::AddIOp, arith::AndIOp, arith::OrIOp, arith::ShLIOp, arith::ShRUIOp;
using arith::CmpIPredicate;

static Value extendBF16(const Lanes &l, Value x) {
  Value wide = l.zext(l.i32(), l.cast(l.i16(), x));
  return l.cast(l.f32(), l.with<ShLIOp>(wide, 16));
}

/// Through f16, one step to the left: value = f16 * 256. The two NaN codes
/// would be 480.
static Value extendE4M3(const Lanes &l, Value x) {
  Value code = arith::ExtSIOp::create(l.b, l.loc, l.i16(), l.cast(l.i8(), x));
  Value bits = l.with<AndIOp>(l.with<ShLIOp>(code, 7), -0x4001);
  Value isNaN = l.compare(CmpIPredicate::eq, l.with<AndIOp>(code, 0x7F), 0x7F);
  bits = l.select(isNaN, l.constant(l.i16(), 0x7E00), bits);
  Value half = l.cast(l.of(l.b.getF16Type()), bits);
  Value value = arith::ExtFOp::create(l.b, l.loc, l.f32(), half);
  return l.both<arith::MulFOp>(value, l.constant(l.f32(), 256));
}

/// The code is the exponent field; code 0 is the subnormal 2^-127.
static Value extendE8M0(const Lanes &l, Value x) {
  Value code = l.zext(l.i32(), l.cast(l.i8(), x));
  Value bits = l.with<arith::MaxUIOp>(l.with<ShLIOp>(code, 23), 0x400000);
  Value isNaN = l.compare(CmpIPredicate::eq, code, 255);
  return l.cast(l.f32(),
                l.select(isNaN, l.constant(l.i32(), 0x7FC00000), bits));
}

static Value roundBF16(const Lanes &l, Value x) {
  Value bits = l.cast(l.i32(), x);
  Value odd = l.with<AndIOp>(l.with<ShRUIOp>(bits, 16), 1);
  Value rounded = l.both<AddIOp>(l.with<AddIOp>(bits, 0x7FFF), odd);
  Value magnitude = l.with<AndIOp>(bits, 0x7FFFFFFF);
  Value isNaN = l.compare(CmpIPredicate::sgt, magnitude, 0x7F800000);
  Value kept = l.select(isNaN, l.with<OrIOp>(bits, 0x400000), rounded);
  Value upper = l.trunc(l.i16(), l.with<ShRUIOp>(kept, 16));
  return l.cast(l.of(l.b.getBF16Type()), upper);
}

/// Nearest even, saturating at 448 (0x7E), NaN gives 0x7F.
static Value roundE4M3(const Lanes &l, Value x) {
  Value bits = l.cast(l.i32(), x);
  Value magnitude = l.with<AndIOp>(bits, 0x7FFFFFFF);
  // Normal results: round 20 bits away, change the bias from 127 to 7.
  Value odd = l.with<AndIOp>(l.with<ShRUIOp>(magnitude, 20), 1);
  Value rounded =
      l.both<AddIOp>(l.with<AddIOp>(magnitude, 0x7FFFF - (120 << 23)), odd);
  Value normal = l.with<ShRUIOp>(rounded, 20);
  // Results below 2^-6: adding 2^14 leaves steps of 2^-9 in the last bits.
  Value shifted = l.both<arith::AddFOp>(l.cast(l.f32(), magnitude),
                                        l.constant(l.f32(), 16384));
  Value small = l.with<AddIOp>(l.cast(l.i32(), shifted), -0x46800000);
  Value isSmall = l.compare(CmpIPredicate::slt, magnitude, 0x3C800000);
  Value code = l.select(isSmall, small, normal);
  // 464 is the tie between 448 and 480, which is the NaN code.
  Value large = l.compare(CmpIPredicate::sge, magnitude, 0x43E00000);
  code = l.select(large, l.constant(l.i32(), 0x7E), code);
  Value sign = l.with<AndIOp>(l.with<ShRUIOp>(bits, 24), 0x80);
  code = l.both<OrIOp>(code, sign);
  Value isNaN = l.compare(CmpIPredicate::sgt, magnitude, 0x7F800000);
  code = l.select(isNaN, l.constant(l.i32(), 0x7F), code);
  return l.cast(l.of(Float8E4M3FNType::get(l.b.getContext())),
                l.trunc(l.i8(), code));
}

/// A positive power of two's exponent field (other bits are dropped, a
/// subnormal gives code 0, NaN and infinity 255).
static Value roundE8M0(const Lanes &l, Value x) {
  Value bits = l.cast(l.i32(), x);
  Value code = l.with<AndIOp>(l.with<ShRUIOp>(bits, 23), 0xFF);
  return l.cast(l.of(Float8E8M0FNUType::get(l.b.getContext())),
                l.trunc(l.i8(), code));
}

/// The e2m1 value nearest to x, as f32: no memory holds this type, it only
/// appears as a rounding step. NaN gives 0.
static Value nearestE2M1(const Lanes &l, Value x) {
  Value bits = l.cast(l.i32(), x);
  Value magnitude = l.cast(l.f32(), l.with<AndIOp>(bits, 0x7FFFFFFF));
  static const double middles[7] = {0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0};
  static const double values[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  auto floats = [&](double v) {
    Value scalar =
        arith::ConstantOp::create(l.b, l.loc, l.b.getF32FloatAttr(v));
    return Emit{l.b, l.loc}.splat(scalar, lanesOf(l.shape));
  };
  Value value = floats(0);
  for (int i = 0; i < 7; ++i) {
    auto predicate =
        i % 2 == 0 ? arith::CmpFPredicate::OGT : arith::CmpFPredicate::OGE;
    Value above = arith::CmpFOp::create(l.b, l.loc, predicate, magnitude,
                                        floats(middles[i]));
    value = l.select(above, floats(values[i + 1]), value);
  }
  Value sign = l.with<AndIOp>(bits, std::numeric_limits<int32_t>::min());
  Value isNaN =
      arith::CmpFOp::create(l.b, l.loc, arith::CmpFPredicate::UNO, x, x);
  sign = l.select(isNaN, l.constant(l.i32(), 0), sign);
  return l.cast(l.f32(), l.both<OrIOp>(l.cast(l.i32(), value), sign));
}

namespace {
struct ExpandExtend : OpRewritePattern<arith::ExtFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::ExtFOp op,
                                PatternRewriter &b) const override {
    Lanes l{b, op.getLoc(), op.getType()};
    Type from = getElementTypeOrSelf(op.getIn().getType());
    Value result;
    if (from.isBF16())
      result = extendBF16(l, op.getIn());
    else if (isa<Float8E4M3FNType>(from))
      result = extendE4M3(l, op.getIn());
    else if (isa<Float8E8M0FNUType>(from) &&
             !getElementTypeOrSelf(op.getType()).isF16())
      result = extendE8M0(l, op.getIn());
    else if (isa<Float4E2M1FNType>(from)) {
      auto rounded = op.getIn().getDefiningOp<arith::TruncFOp>();
      if (!rounded || !getElementTypeOrSelf(rounded.getIn().getType()).isF32())
        return failure();
      result = nearestE2M1(l, rounded.getIn());
    } else
      return failure();
    if (result.getType() != op.getType()) {
      Type to = getElementTypeOrSelf(op.getType());
      if (to.isBF16())
        result = roundBF16(l, result); // exact: all fit
      else if (to.isF16())             // so do they here, but for e8m0
        result = arith::TruncFOp::create(b, op.getLoc(), op.getType(), result);
      else
        result = arith::ExtFOp::create(b, op.getLoc(), op.getType(), result);
    }
    b.replaceOp(op, result);
    return success();
  }
};

struct ExpandTruncate : OpRewritePattern<arith::TruncFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::TruncFOp op,
                                PatternRewriter &b) const override {
    Lanes l{b, op.getLoc(), op.getType()};
    Type from = getElementTypeOrSelf(op.getIn().getType()),
         to = getElementTypeOrSelf(op.getType());
    if (!from.isF32() && !from.isBF16())
      return failure(); // from f64 two roundings would be needed
    if (!isa<BFloat16Type, Float8E4M3FNType, Float8E8M0FNUType>(to))
      return failure();
    Value x = from.isBF16() ? extendBF16(l, op.getIn()) : op.getIn();
    Value result = to.isBF16()                 ? roundBF16(l, x)
                   : isa<Float8E4M3FNType>(to) ? roundE4M3(l, x)
                                               : roundE8M0(l, x);
    b.replaceOp(op, result);
    return success();
  }
};

/// Selects of narrow floats as integers: no level has them on vectors.
struct IntegerSelect : OpRewritePattern<arith::SelectOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::SelectOp op,
                                PatternRewriter &b) const override {
    Type element = getElementTypeOrSelf(op.getType());
    if (!isa<BFloat16Type, Float8E4M3FNType, Float8E8M0FNUType>(element))
      return failure();
    Lanes l{b, op.getLoc(), op.getType()};
    Type bits = l.of(b.getIntegerType(element.getIntOrFloatBitWidth()));
    Value chosen = l.select(op.getCondition(), l.cast(bits, op.getTrueValue()),
                            l.cast(bits, op.getFalseValue()));
    b.replaceOp(op, l.cast(op.getType(), chosen));
    return success();
  }
};

struct ExpandFloats : fathom::cpu::impl::ExpandFloatsPassBase<ExpandFloats> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandExtend, ExpandTruncate, IntegerSelect>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    WalkResult left = getOperation().walk([](Operation *op) {
      if (!isa<arith::ArithDialect>(op->getDialect()) ||
          isa<arith::ConstantOp, arith::BitcastOp>(op))
        return WalkResult::advance();
      const bool converts = isa<arith::ExtFOp, arith::TruncFOp>(op);
      auto hasNoCode = [&](Type type) {
        auto element = dyn_cast<FloatType>(getElementTypeOrSelf(type));
        return element &&
               (element.getWidth() < 16 || (converts && element.isBF16()));
      };
      if (llvm::none_of(op->getOperandTypes(), hasNoCode) &&
          llvm::none_of(op->getResultTypes(), hasNoCode))
        return WalkResult::advance();
      if (converts)
        op->emitError("no exact code for this conversion on the CPU");
      else
        op->emitOpError("has no code on the CPU for floats of fewer than 16 "
                        "bits: extend them to f32");
      return WalkResult::interrupt();
    });
    if (left.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
