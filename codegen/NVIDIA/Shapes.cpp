// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shapes, reductions and packed e2m1.
#include "codegen/NVIDIA/Translator.h"

#include "dialects/Tile/IR/Hints.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace fathom::nvidia {

using namespace cudatile;
using cudatile::Type;
using S = Scalar;

static ArrayRef<int64_t> shapeOf(mlir::Value tile) {
  return cast<RankedTensorType>(tile.getType()).getShape();
}

Value Translator::broadcast(const Value &x, tile::BroadcastOp like) {
  ArrayRef<int64_t> shape = shapeOf(like.getResult());
  Dims withOnes(shape);
  for (int64_t d : like.getDims())
    withOnes[d] = 1;
  return f.broadcast(f.reshape(x, withOnes), shape);
}

/// Bits of what changes nothing under the combiner.
static FailureOr<uint64_t> neutral(Scalar scalar, tile::ReduceKind kind) {
  bool most = kind == tile::ReduceKind::Min;
  if (kind == tile::ReduceKind::Add)
    return 0;
  switch (scalar) {
  case S::F32:
    return most ? 0x7F800000 : 0xFF800000;
  case S::BF16:
    return most ? 0x7F80 : 0xFF80;
  case S::I32:
    return most ? 0x7FFFFFFF : 0x80000000;
  default:
    return failure();
  }
}

static Op combiner(Scalar scalar, tile::ReduceKind kind) {
  bool real = isFloat(scalar);
  switch (kind) {
  case tile::ReduceKind::Add:
    return real ? Op::AddF : Op::AddI;
  case tile::ReduceKind::Max:
    return real ? Op::MaxF : Op::MaxI;
  case tile::ReduceKind::Min:
    return real ? Op::MinF : Op::MinI;
  }
  return Op::AddF;
}

/// The sum of x as integers, of which none may overflow, in f32.
Value Translator::integerSum(const Value &x, uint32_t dim, Scalar integer) {
  Attributes towardsZero;
  towardsZero.rounding = Rounding::IntegerToZero;
  Value sum = f.reduce(
      f.one(Op::FToI, Type::tile(integer, x.type.shape), {x}, towardsZero), dim,
      {integer, 0}, [&](const Value &e, const Value &acc) {
        return f.binary(Op::AddI, e, acc);
      });
  return f.one(Op::IToF, Type::tile(S::F32, sum.type.shape), {sum});
}

/// The sum along a dimension, the same bits in every order of adding. In which
/// order a reduction adds is the assembler's affair, and it is another in a
/// tile of another shape or another kernel, so for another number of tokens.
/// Addends become integers, whose sum is exact: in 64 bits, or in 32 where
/// those few leave a unit of 2^-24 of the largest. A sum with an infinity is
/// NaN.
Value Translator::sumOf(const Value &x, uint32_t dim) {
  const int64_t n = x.type.shape[dim];
  if (n <= 2) // one order, or two that agree
    return f.reduce(x, dim, {S::F32, 0}, [&](const Value &e, const Value &acc) {
      return f.binary(Op::AddF, e, acc);
    });
  const Scalar integer = n <= 64 ? S::I32 : S::I64;
  const int64_t bits = n <= 64 ? 31 : 62;
  Attributes nan, isUnsigned;
  nan.nan = true;
  isUnsigned.sign = Signedness::Unsigned;
  Value most =
      f.reduce(x, dim, {S::F32, 0}, [&](const Value &e, const Value &acc) {
        return f.binary(Op::MaxF, f.unary(Op::AbsF, e), f.unary(Op::AbsF, acc),
                        nan);
      });
  // With exponents as the fields of f32: the scale takes the largest addend
  // below 2^bits / n, if it is no larger than can be undone.
  constexpr int64_t kOne = 1 << 23, kBias = 127;
  Value field = masked(f.bitcast(most, S::I32), 0xFF * kOne);
  const int64_t top = (2 * kBias + bits - 1 - llvm::Log2_64_Ceil(n)) * kOne;
  Value up = f.binary(Op::MinI,
                      f.binary(Op::SubI, splatLike(field, int32_t(top)), field),
                      splatLike(field, (2 * kBias - 1) * kOne), isUnsigned);
  Value down = f.binary(Op::SubI, splatLike(field, 2 * kBias * kOne), up);
  Dims withOne(x.type.shape);
  withOne[dim] = 1;
  Value scaled = f.binary(
      Op::MulF, x,
      f.broadcast(f.reshape(f.bitcast(up, S::F32), withOne), x.type.shape));
  if (integer == S::I32) { // to the nearest: a half away from zero, then cut
    Value half = f.binary(Op::OrI, masked(f.bitcast(x, S::I32), 0x80000000),
                          f.splatInt(S::I32, 0x3F000000, x.type.shape));
    scaled = f.binary(Op::AddF, scaled, f.bitcast(half, S::F32));
  }
  Value sum = integerSum(scaled, dim, integer);
  Value rounded = f.binary(Op::MulF, sum, f.bitcast(down, S::F32));
  Value isFinite = f.compareInt(Comparison::LT, Signedness::Signed, field,
                                splatLike(field, 0xFF * kOne));
  return f.select(isFinite, rounded,
                  f.splatBits(S::F32, 0x7FC00000, most.type.shape));
}

/// The same of addends of at most 1: as multiples of 2^-48, of which 64 bits
/// hold 32767.
Value Translator::sumOfShares(const Value &x, uint32_t dim) {
  Value units =
      f.binary(Op::MulF, x, f.splatFloat(S::F32, 0x1p48f, x.type.shape));
  Value sum = integerSum(units, dim, S::I64);
  return f.binary(Op::MulF, sum,
                  f.splatFloat(S::F32, 0x1p-48f, sum.type.shape));
}

/// The sums of the rows of a bf16 tile, as a product with ones: in the tensor
/// cores' order, which depends on the length of a row alone.
Value Translator::sumOfRows(const Value &x) {
  constexpr int64_t kColumns = 16; // all the same
  const int64_t rows = x.type.shape[0], n = x.type.shape[1];
  Value sums = f.mma(x, f.splatFloat(S::BF16, 1, {n, kColumns}),
                     f.splatFloat(S::F32, 0, {rows, kColumns}));
  Attributes nan;
  nan.nan = true;
  return f.reduce(sums, 1, {S::F32, 0xFF800000},
                  [&](const Value &e, const Value &acc) {
                    return f.binary(Op::MaxF, e, acc, nan);
                  });
}

LogicalResult Translator::reduce(tile::ReduceOp op) {
  Value x = get(op.getX());
  if (op.getKind() == tile::ReduceKind::Add &&
      x.type.element == Element(S::F32)) {
    auto widened = op.getX().getDefiningOp<arith::ExtFOp>();
    const bool rows = x.type.shape.size() == 2 && op.getDim() == 1 &&
                      x.type.shape[0] % 64 == 0 && x.type.shape[1] >= 16;
    if (rows && widened &&
        cast<RankedTensorType>(widened.getIn().getType())
            .getElementType()
            .isBF16())
      set(op, sumOfRows(get(widened.getIn())));
    else if (op->hasAttr(tile::kSharesAttr))
      set(op, sumOfShares(x, op.getDim()));
    else
      set(op, sumOf(x, op.getDim()));
    return success();
  }
  Scalar scalar = x.type.element.scalar;
  FailureOr<uint64_t> identity = neutral(scalar, op.getKind());
  if (failed(identity))
    return refuse(op, Twine("not of ") + nameOf(scalar));
  Attributes a;
  a.nan = true;
  set(op, f.reduce(x, op.getDim(), {scalar, *identity},
                   [&](const Value &e, const Value &acc) {
                     return f.binary(combiner(scalar, op.getKind()), e, acc, a);
                   }));
  return success();
}

LogicalResult Translator::scan(tile::ScanOp op) {
  set(op, f.scan(get(op.getX()), op.getDim(), /*reverse=*/false, {S::I32, 0},
                 [&](const Value &e, const Value &acc) {
                   return f.binary(Op::AddI, e, acc);
                 }));
  return success();
}

std::pair<Value, Value> Translator::evenOdd(const Value &x) {
  Dims half(x.type.shape);
  half.back() /= 2;
  Dims pairs(half), one(half);
  pairs.push_back(2);
  one.push_back(1);
  Value split = f.reshape(x, pairs);
  auto part = [&](int64_t which) {
    Dims slice(pairs.size(), 0);
    slice.back() = which;
    return f.reshape(f.extract(split, ArrayRef<int64_t>(slice), one), half);
  };
  return {part(0), part(1)};
}

Value Translator::interleave(const Value &even, const Value &odd) {
  Dims one(even.type.shape), whole(even.type.shape);
  one.push_back(1);
  whole.back() *= 2;
  return f.reshape(
      f.cat(f.reshape(even, one), f.reshape(odd, one), one.size() - 1), whole);
}

LogicalResult Translator::deinterleave(tile::DeinterleaveOp op) {
  auto [even, odd] = evenOdd(get(op.getX()));
  set(op.getEven(), even);
  set(op.getOdd(), odd);
  return success();
}

LogicalResult Translator::extractElement(mlir::tensor::ExtractOp op) {
  Value x = get(op.getTensor());
  ValueList at;
  for (mlir::Value index : op.getIndices())
    at.push_back(get(index));
  Dims ones(at.size(), 1);
  set(op, f.reshape(f.extract(x, ValueRef(at), ones), {}));
  return success();
}

//===-- Slices -----------------------------------------------------------===//

/// Whether an offset is a multiple of n for certain.
static bool divides(int64_t n, mlir::Value offset) {
  if (auto number = getConstantIntValue(offset))
    return *number % n == 0;
  if (auto argument = dyn_cast<BlockArgument>(offset)) {
    auto loop = dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp());
    return loop && argument == loop.getInductionVar() &&
           divides(n, loop.getLowerBound()) && divides(n, loop.getStep());
  }
  if (auto product = offset.getDefiningOp<arith::MulIOp>())
    return divides(n, product.getLhs()) || divides(n, product.getRhs());
  if (auto sum = offset.getDefiningOp<arith::AddIOp>())
    return divides(n, sum.getLhs()) && divides(n, sum.getRhs());
  if (auto difference = offset.getDefiningOp<arith::SubIOp>()) {
    // How far a loop has come from where it began.
    if (auto argument = dyn_cast<BlockArgument>(difference.getLhs()))
      if (auto loop = dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp()))
        if (argument == loop.getInductionVar() &&
            loop.getLowerBound() == difference.getRhs())
          return divides(n, loop.getStep());
    return divides(n, difference.getLhs()) && divides(n, difference.getRhs());
  }
  return false;
}

/// A slice that differs from the whole in one dimension, where it starts at a
/// multiple of its size; nothing for any other.
FailureOr<Translator::Slice>
Translator::sliceOf(OffsetSizeAndStrideOpInterface op, Shape whole,
                    Shape part) {
  if (whole.size() != part.size() || whole.empty() || !op.hasUnitStride())
    return failure();
  Slice slice{unsigned(whole.size() - 1), f.splatInt(S::I32, 0)};
  unsigned differing = 0;
  for (auto [d, offset] : llvm::enumerate(op.getMixedOffsets())) {
    std::optional<int64_t> number = getConstantIntValue(offset);
    if (whole[d] == part[d]) {
      if (number.value_or(1) != 0)
        return failure();
      continue;
    }
    int64_t n = part[d];
    if (++differing > 1 ||
        (number ? *number % n != 0 : !divides(n, cast<mlir::Value>(offset))))
      return failure();
    slice.dim = d;
    if (number) {
      slice.number = f.splatInt(S::I32, *number / n);
      continue;
    }
    Attributes a;
    a.sign = Signedness::Unsigned;
    a.rounding = Rounding::Zero;
    slice.number = f.binary(Op::DivI, get(cast<mlir::Value>(offset)),
                            f.splatInt(S::I32, n), a);
  }
  return slice;
}

static constexpr const char *kOddSlice =
    "a slice of several dimensions, or not at a multiple of its size";

LogicalResult Translator::extractSlice(mlir::tensor::ExtractSliceOp op) {
  ArrayRef<int64_t> shape = shapeOf(op.getResult());
  if (shape == shapeOf(op.getSource())) { // wherever it says that it lies
    set(op, get(op.getSource()));
    return success();
  }
  FailureOr<Slice> slice = sliceOf(op, shapeOf(op.getSource()), shape);
  if (failed(slice))
    return refuse(op, kOddSlice);
  ValueList numbers(shape.size(), f.splatInt(S::I32, 0));
  numbers[slice->dim] = slice->number;
  set(op, f.extract(get(op.getSource()), ValueRef(numbers), shape));
  return success();
}

/// Whether a slice lies at a place that is known.
static bool isFixed(mlir::tensor::InsertSliceOp op) {
  return llvm::all_of(op.getMixedOffsets(), [](OpFoldResult offset) {
    return getConstantIntValue(offset).has_value();
  });
}

/// The dimension that an insertion is along.
static unsigned dimensionOf(mlir::tensor::InsertSliceOp op) {
  ArrayRef<int64_t> whole = shapeOf(op.getDest()),
                    part = shapeOf(op.getSource());
  unsigned d = 0;
  while (d + 1 < whole.size() && whole[d] == part[d])
    ++d;
  return d;
}

/// Whether all that sees the result of `op` is an insertion of the same kind.
static bool isContinued(mlir::tensor::InsertSliceOp op) {
  if (!op->hasOneUse())
    return false;
  auto next = dyn_cast<mlir::tensor::InsertSliceOp>(*op->user_begin());
  return next && next.getDest() == op.getResult() && isFixed(next) &&
         dimensionOf(next) == dimensionOf(op);
}

/// Elements from .. to of a dimension of a tile: of the first of `parts` that
/// has them, else of `base`.
Value Translator::assembled(ArrayRef<Part> parts, const Value &base,
                            unsigned dim, int64_t from, int64_t to) {
  auto cut = [&](const Value &x, int64_t at) {
    Dims shape(x.type.shape), slice(shape.size(), 0);
    if (shape[dim] == to - from)
      return x;
    shape[dim] = to - from;
    slice[dim] = at / (to - from);
    return f.extract(x, ArrayRef<int64_t>(slice), shape);
  };
  for (const Part &part : parts) {
    int64_t end = part.from + part.value.type.shape[dim];
    if (part.from <= from && to <= end)
      return cut(part.value, from - part.from);
    if (part.from < to && from < end) {
      int64_t middle = (from + to) / 2;
      return f.cat(assembled(parts, base, dim, from, middle),
                   assembled(parts, base, dim, middle, to), dim);
    }
  }
  return cut(base, from);
}

/// At fixed places: all insertions of a chain at its end, as a tree of
/// concatenations. Else the part everywhere, taken where its slice is.
LogicalResult Translator::insertSlice(mlir::tensor::InsertSliceOp op) {
  if (isFixed(op)) {
    if (isContinued(op))
      return success();
    SmallVector<Part> parts;
    unsigned dim = dimensionOf(op);
    mlir::tensor::InsertSliceOp first = op;
    while (true) {
      if (failed(sliceOf(first, shapeOf(first.getDest()),
                         shapeOf(first.getSource()))))
        return refuse(first, kOddSlice);
      parts.push_back({get(first.getSource()),
                       *getConstantIntValue(first.getMixedOffsets()[dim])});
      auto before =
          first.getDest().getDefiningOp<mlir::tensor::InsertSliceOp>();
      if (!before || !isFixed(before) || !isContinued(before))
        break;
      first = before;
    }
    Value base = get(first.getDest());
    set(op, assembled(parts, base, dim, 0, base.type.shape[dim]));
    return success();
  }
  ArrayRef<int64_t> shape = shapeOf(op.getSource());
  FailureOr<Slice> slice = sliceOf(op, shapeOf(op.getDest()), shape);
  if (failed(slice))
    return refuse(op, kOddSlice);
  Value whole = get(op.getDest());
  int64_t slices = whole.type.shape[slice->dim] / shape[slice->dim];
  Dims split(shape), single(shape), mask(shape.size() + 1, 1);
  split.insert(split.begin() + slice->dim, slices);
  single.insert(single.begin() + slice->dim, 1);
  mask[slice->dim] = slices;
  Value part = f.broadcast(f.reshape(get(op.getSource()), single), split);
  Value here = f.compareInt(Comparison::EQ, Signedness::Signed, f.iota(slices),
                            f.spread(slice->number, slices));
  here = f.broadcast(f.reshape(here, mask), split);
  Value merged = f.select(here, part, f.reshape(whole, split));
  set(op, f.reshape(merged, whole.type.shape));
  return success();
}

std::optional<LogicalResult> Translator::shapes(Operation *op) {
  using Result = std::optional<LogicalResult>;
  auto is = [&](const Value &value) {
    set(op->getResult(0), value);
    return success();
  };
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case(
          [&](tile::BroadcastOp o) { return is(broadcast(get(o.getX()), o)); })
      .Case([&](tile::ReshapeOp o) {
        return is(f.reshape(get(o.getX()), shapeOf(o.getResult())));
      })
      .Case([&](tile::TransposeOp o) {
        SmallVector<int32_t> permutation(o.getPermutation());
        return is(f.permute(get(o.getX()), permutation));
      })
      .Case([&](tile::IotaOp o) {
        return is(f.iota(shapeOf(o.getResult()).front()));
      })
      .Case([&](tile::ReduceOp o) { return reduce(o); })
      .Case([&](tile::ScanOp o) { return scan(o); })
      .Case([&](tile::DeinterleaveOp o) { return deinterleave(o); })
      .Case([&](tile::InterleaveOp o) {
        return is(interleave(get(o.getEven()), get(o.getOdd())));
      })
      .Case([&](tile::UnpackFP4Op o) {
        return is(
            decodeE2M1(get(o.getX()), tileOf(o.getType()).element.scalar));
      })
      .Case([&](tile::PackFP4Op o) { return is(encodeE2M1(get(o.getX()))); })
      .Case([&](mlir::tensor::SplatOp o) {
        return is(f.spread(get(o.getInput()), shapeOf(o.getResult())));
      })
      .Case([&](mlir::tensor::EmptyOp o) {
        Type type = tileOf(o.getType());
        return is(f.splatBits(type.element.scalar, 0, type.shape));
      })
      .Case([&](mlir::tensor::ExtractOp o) { return extractElement(o); })
      .Case([&](mlir::tensor::ExtractSliceOp o) { return extractSlice(o); })
      .Case([&](mlir::tensor::InsertSliceOp o) { return insertSlice(o); })
      .Default([](Operation *) { return std::nullopt; });
}

} // namespace fathom::nvidia
