// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Operations that move elements, and reductions.
#include "codegen/Ascend/Translator.h"

#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace fathom::ascend {

static ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}
static Type elementOf(Value value) {
  return getElementTypeOrSelf(value.getType());
}

//===-- Moving -----------------------------------------------------------===//

/// One step where dimensions only join or split, else through one dimension:
/// row-major order is all that counts.
Value Translator::reshape(Value x, Shape shape) {
  auto from = cast<RankedTensorType>(x.getType());
  if (from.getShape() == shape)
    return x;
  auto to = RankedTensorType::get(shape, from.getElementType());
  // There and back is nothing.
  if (Operation *def = x.getDefiningOp();
      isa_and_nonnull<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(def) &&
      shapeOf(def->getOperand(0)) == shape)
    return def->getOperand(0);
  if (std::optional<SmallVector<ReassociationIndices>> groups =
          getReassociationIndicesForReshape(from, to)) {
    if (from.getRank() > to.getRank())
      return make<tensor::CollapseShapeOp>(to, x, *groups);
    return make<tensor::ExpandShapeOp>(to, x, *groups);
  }
  return reshape(reshape(x, {from.getNumElements()}), shape);
}

Value Translator::broadcast(Value x, Shape shape, Shape dims) {
  // Nothing repeated: as an operation it keeps AscendNPU-IR going for ever.
  auto type = cast<RankedTensorType>(x.getType());
  if (type.getNumElements() ==
      RankedTensorType::get(shape, type.getElementType()).getNumElements())
    return reshape(x, shape);
  return linalg::BroadcastOp::create(b, x, empty(shape, elementOf(x)), dims)
      .getResult()[0];
}

Value Translator::transpose(Value x, Shape permutation) {
  Dims shape;
  for (int64_t d : permutation)
    shape.push_back(shapeOf(x)[d]);
  // Dimensions of one element move for nothing.
  Dims moving;
  for (int64_t d : permutation)
    if (shapeOf(x)[d] != 1)
      moving.push_back(d);
  if (llvm::is_sorted(moving))
    return reshape(x, shape);
  return linalg::TransposeOp::create(b, x, empty(shape, elementOf(x)),
                                     permutation)
      .getResult()[0];
}

Value Translator::splat(Value scalar, Shape shape) {
  return linalg::FillOp::create(b, ValueRange{scalar},
                                ValueRange{empty(shape, scalar.getType())})
      .getResult(0);
}

Value Translator::iota(int64_t size) {
  if (size == 1)
    return integer(empty({1}, b.getI32Type()), 0);
  Value init = empty({size}, b.getI32Type());
  AffineMap map = b.getMultiDimIdentityMap(1);
  return linalg::GenericOp::create(
             b, TypeRange{init.getType()}, ValueRange{}, ValueRange{init},
             ArrayRef<AffineMap>{map},
             ArrayRef<utils::IteratorType>{utils::IteratorType::parallel},
             [](OpBuilder &inner, Location loc, ValueRange) {
               Value i = linalg::IndexOp::create(inner, loc, 0);
               i = arith::IndexCastOp::create(inner, loc, inner.getI32Type(),
                                              i);
               linalg::YieldOp::create(inner, loc, i);
             })
      .getResult(0);
}

/// Offsets, sizes and strides of every second element of the last dimension.
static std::array<SmallVector<OpFoldResult>, 3>
secondElements(OpBuilder &b, ArrayRef<int64_t> half, int64_t first) {
  std::array<SmallVector<OpFoldResult>, 3> slice;
  for (auto [d, size] : llvm::enumerate(half)) {
    bool last = d + 1 == half.size();
    slice[0].push_back(b.getIndexAttr(last ? first : 0));
    slice[1].push_back(b.getIndexAttr(size));
    slice[2].push_back(b.getIndexAttr(last ? 2 : 1));
  }
  return slice;
}

/// Before it is extended: less to move, and the 950's tool cannot fuse the two.
Value Translator::everySecond(Value x, int64_t first) {
  if (Value narrow = narrowed(x); narrow != x) {
    Value part = everySecond(narrow, first);
    return make<arith::ExtFOp>(withElement(part, b.getF32Type()), part);
  }
  Dims half(shapeOf(x));
  half.back() /= 2;
  auto slice = secondElements(b, half, first);
  return make<tensor::ExtractSliceOp>(x, slice[0], slice[1], slice[2]);
}

Value Translator::interleave(Value even, Value odd) {
  Dims whole(shapeOf(even));
  whole.back() *= 2;
  Value result = empty(whole, elementOf(even));
  const Value parts[2] = {even, odd};
  for (auto [first, part] : llvm::enumerate(parts)) {
    auto slice = secondElements(b, shapeOf(even), first);
    result =
        make<tensor::InsertSliceOp>(part, result, slice[0], slice[1], slice[2]);
  }
  return result;
}

//===-- Reductions -------------------------------------------------------===//

/// What changes nothing.
static TypedAttr neutral(OpBuilder &b, tile::ReduceKind kind, Type type) {
  if (kind == tile::ReduceKind::Add)
    return cast<TypedAttr>(b.getZeroAttr(type));
  bool isMax = kind == tile::ReduceKind::Max;
  if (auto real = dyn_cast<FloatType>(type))
    return b.getFloatAttr(
        real, APFloat::getInf(real.getFloatSemantics(), /*Negative=*/isMax));
  unsigned width = type.getIntOrFloatBitWidth();
  return b.getIntegerAttr(type, isMax ? APInt::getSignedMinValue(width)
                                      : APInt::getSignedMaxValue(width));
}

static Value combine(OpBuilder &b, Location loc, tile::ReduceKind kind, Value x,
                     Value y) {
  bool isFloat = isa<FloatType>(x.getType());
  switch (kind) {
  case tile::ReduceKind::Add:
    return isFloat ? Value(arith::AddFOp::create(b, loc, x, y))
                   : Value(arith::AddIOp::create(b, loc, x, y));
  case tile::ReduceKind::Max:
    return isFloat ? Value(arith::MaximumFOp::create(b, loc, x, y))
                   : Value(arith::MaxSIOp::create(b, loc, x, y));
  case tile::ReduceKind::Min:
    return isFloat ? Value(arith::MinimumFOp::create(b, loc, x, y))
                   : Value(arith::MinSIOp::create(b, loc, x, y));
  }
  return x;
}

LogicalResult Translator::reduce(tile::ReduceOp op) {
  Value x = get(op.getX());
  Dims shape(shapeOf(x));
  shape.erase(shape.begin() + op.getDim());
  if (shapeOf(x)[op.getDim()] == 1) {
    set(op, reshape(x, shape));
    return success();
  }
  Value first = make<arith::ConstantOp>(neutral(b, op.getKind(), elementOf(x)));
  auto made = linalg::ReduceOp::create(
      b, x, splat(first, shape), ArrayRef<int64_t>{int64_t(op.getDim())},
      [&](OpBuilder &inner, Location loc, ValueRange args) {
        linalg::YieldOp::create(
            inner, loc, combine(inner, loc, op.getKind(), args[0], args[1]));
      });
  set(op, made.getResult(0));
  return success();
}

/// One element after the other: what AscendNPU-IR makes of its own integer
/// prefix sum, too.
LogicalResult Translator::scan(tile::ScanOp op) {
  Value x = get(op.getX());
  Shape shape = shapeOf(x);
  auto dim = static_cast<size_t>(op.getDim());
  SmallVector<Value> place(shape.size());
  // The scanned dimension is the innermost loop, and carries the sum.
  SmallVector<size_t> order;
  for (size_t d = 0; d < shape.size(); ++d)
    if (d != dim)
      order.push_back(d);
  auto inner = [&](Value tile) {
    Value zero = make<arith::ConstantOp>(b.getZeroAttr(elementOf(x)));
    auto loop = scf::ForOp::create(b, index(0), index(shape[dim]), index(1),
                                   ValueRange{tile, zero});
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    place[dim] = loop.getInductionVar();
    Value sum = make<arith::AddIOp>(loop.getRegionIterArg(1),
                                    make<tensor::ExtractOp>(x, place));
    Value next = make<tensor::InsertOp>(sum, loop.getRegionIterArg(0), place);
    scf::YieldOp::create(b, ValueRange{next, sum});
    return Value(loop.getResult(0));
  };
  std::function<Value(Value, size_t)> outer = [&](Value tile,
                                                  size_t depth) -> Value {
    if (depth == order.size())
      return inner(tile);
    size_t d = order[depth];
    if (shape[d] == 1) {
      place[d] = index(0);
      return outer(tile, depth + 1);
    }
    auto loop = scf::ForOp::create(b, index(0), index(shape[d]), index(1),
                                   ValueRange{tile});
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    place[d] = loop.getInductionVar();
    scf::YieldOp::create(b, outer(loop.getRegionIterArg(0), depth + 1));
    return loop.getResult(0);
  };
  set(op, outer(empty(shape, elementOf(x)), 0));
  return success();
}

//===-- Slices -----------------------------------------------------------===//

/// Pieces at known places are slices as they are, and on the 950 all are: its
/// tool joins split ones in ways that it cannot follow.
static bool isPlain(OffsetSizeAndStrideOpInterface op, const Target &target) {
  return target.hasFP8 || llvm::none_of(op.getMixedOffsets(), [](auto offset) {
           return isa<Value>(offset) && !getConstantIntValue(offset);
         });
}

/// Offsets with values of the function.
template <typename Get>
static SmallVector<OpFoldResult> mapped(SmallVector<OpFoldResult> list,
                                        Get get) {
  for (OpFoldResult &entry : list)
    if (std::optional<int64_t> fixed = getConstantIntValue(entry))
      entry = IntegerAttr::get(IndexType::get(entry.getContext()), *fixed);
    else
      entry = get(cast<Value>(entry));
  return list;
}

/// A piece of a tile along one dimension, by number: the tile with that
/// dimension split has one more, and only that has an offset. An offset within
/// a dimension would make the planner give every element a block of its own.
FailureOr<Translator::Slice>
Translator::sliceOf(OffsetSizeAndStrideOpInterface op, Shape whole,
                    Shape part) {
  Slice slice;
  std::optional<size_t> cut;
  for (size_t d = 0; d < whole.size() && whole.size() == part.size(); ++d)
    if (whole[d] != part[d]) {
      if (cut || whole[d] % part[d] != 0)
        return failure();
      cut = d;
    }
  if (whole.size() != part.size() || !op.hasUnitStride() || !cut)
    return failure();
  for (auto [d, offset] : llvm::enumerate(op.getMixedOffsets())) {
    bool isCut = d == *cut;
    if (isCut) {
      Value at = getValueOrCreateConstantIndexOp(b, b.getLoc(), offset);
      if (isa<Value>(offset))
        at = get(at);
      slice.offsets.push_back(
          OpFoldResult(b.createOrFold<arith::DivUIOp>(at, index(part[d]))));
      slice.sizes.push_back(b.getIndexAttr(1));
      slice.whole.push_back(whole[d] / part[d]);
      slice.part.push_back(1);
    } else if (getConstantIntValue(offset) != 0) {
      return failure();
    }
    slice.offsets.push_back(b.getIndexAttr(0));
    slice.sizes.push_back(b.getIndexAttr(part[d]));
    slice.whole.push_back(part[d]);
    slice.part.push_back(part[d]);
  }
  slice.ones.assign(slice.sizes.size(), b.getIndexAttr(1));
  return slice;
}

static constexpr llvm::StringLiteral kOddSlice =
    "only pieces of one dimension, one after the other";

LogicalResult Translator::extractSlice(tensor::ExtractSliceOp op) {
  Shape part = shapeOf(op.getResult());
  if (shapeOf(op.getSource()) == part) {
    set(op, get(op.getSource()));
    return success();
  }
  auto mine = [&](Value value) { return get(value); };
  if (isPlain(op, target)) {
    set(op, make<tensor::ExtractSliceOp>(
                cast<RankedTensorType>(converted(op.getType())),
                get(op.getSource()), mapped(op.getMixedOffsets(), mine),
                op.getMixedSizes(), op.getMixedStrides()));
    return success();
  }
  FailureOr<Slice> slice = sliceOf(op, shapeOf(op.getSource()), part);
  if (failed(slice))
    return refuse(op, kOddSlice);
  Value whole = reshape(get(op.getSource()), slice->whole);
  Value piece = make<tensor::ExtractSliceOp>(whole, slice->offsets,
                                             slice->sizes, slice->ones);
  set(op, reshape(piece, part));
  return success();
}

LogicalResult Translator::insertSlice(tensor::InsertSliceOp op) {
  Shape part = shapeOf(op.getSource()), all = shapeOf(op.getDest());
  if (part == all) {
    set(op, get(op.getSource()));
    return success();
  }
  auto mine = [&](Value value) { return get(value); };
  if (isPlain(op, target)) {
    set(op,
        make<tensor::InsertSliceOp>(get(op.getSource()), get(op.getDest()),
                                    mapped(op.getMixedOffsets(), mine),
                                    op.getMixedSizes(), op.getMixedStrides()));
    return success();
  }
  FailureOr<Slice> slice = sliceOf(op, all, part);
  if (failed(slice))
    return refuse(op, kOddSlice);
  Value whole = reshape(get(op.getDest()), slice->whole);
  Value piece = reshape(get(op.getSource()), slice->part);
  whole = make<tensor::InsertSliceOp>(piece, whole, slice->offsets,
                                      slice->sizes, slice->ones);
  set(op, reshape(whole, all));
  return success();
}

//===-- Dispatch ---------------------------------------------------------===//

std::optional<LogicalResult> Translator::shapes(Operation *op) {
  using Result = std::optional<LogicalResult>;
  auto is = [&](Value value) {
    set(op->getResult(0), value);
    return success();
  };
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case([&](tile::BroadcastOp o) {
        return is(
            broadcast(get(o.getX()), shapeOf(o.getResult()), o.getDims()));
      })
      .Case([&](tile::ReshapeOp o) {
        return is(reshape(get(o.getX()), shapeOf(o.getResult())));
      })
      .Case([&](tile::TransposeOp o) {
        return is(transpose(get(o.getX()), o.getPermutation()));
      })
      .Case([&](tile::IotaOp o) {
        return is(iota(shapeOf(o.getResult()).front()));
      })
      .Case([&](tile::ReduceOp o) { return reduce(o); })
      .Case([&](tile::ScanOp o) { return scan(o); })
      .Case([&](tile::DeinterleaveOp o) {
        set(o.getEven(), everySecond(get(o.getX()), 0));
        set(o.getOdd(), everySecond(get(o.getX()), 1));
        return success();
      })
      .Case([&](tile::InterleaveOp o) {
        return is(interleave(get(o.getEven()), get(o.getOdd())));
      })
      .Case([&](tile::UnpackFP4Op o) -> Result {
        Value value = decodeE2M1(get(o.getX()));
        if (!elementOf(o.getResult()).isF32())
          value = make<arith::TruncFOp>(o.getResult().getType(), value);
        return is(value);
      })
      .Case([&](tile::PackFP4Op o) { return is(encodeE2M1(get(o.getX()))); })
      .Case([&](tensor::SplatOp o) {
        return is(splat(get(o.getInput()), shapeOf(o.getResult())));
      })
      .Case([&](tensor::EmptyOp o) {
        return is(empty(shapeOf(o.getResult()),
                        elementOf(o.getResult()).isF64()
                            ? Type(b.getF32Type())
                            : getElementTypeOrSelf(converted(o.getType()))));
      })
      .Case([&](tensor::ExtractOp o) {
        SmallVector<Value> at;
        for (Value i : o.getIndices())
          at.push_back(get(i));
        return is(make<tensor::ExtractOp>(get(o.getTensor()), at));
      })
      .Case([&](tensor::ExtractSliceOp o) { return extractSlice(o); })
      .Case([&](tensor::InsertSliceOp o) { return insertSlice(o); })
      .Default([](Operation *) { return std::nullopt; });
}

} // namespace fathom::ascend
