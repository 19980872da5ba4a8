// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loads and stores. A rectangle is a strided view of a flat pointer, copied
// into a buffer of its own; where bounds cut it, the buffer is zero first and
// only what lies below them is copied. Rows by number are copied one by one.
#include "codegen/Ascend/Translator.h"

#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <algorithm>
#include <numeric>

using namespace mlir;

namespace fathom::ascend {

static SmallVector<int64_t> stridesOf(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = stride;
    if (d > 0)
      stride *= shape[d];
  }
  return strides;
}

static SmallVector<OpFoldResult> numbers(OpBuilder &b, ArrayRef<int64_t> list) {
  return getAsIndexOpFoldResult(b.getContext(), list);
}

//===-- What is known of indices -----------------------------------------===//

/// The greatest value of an index, where that is plain to see.
static std::optional<int64_t> greatest(Value value) {
  if (std::optional<int64_t> fixed = getConstantIntValue(value))
    return fixed;
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    auto loop = dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp());
    if (!loop || value != loop.getInductionVar())
      return std::nullopt;
    std::optional<int64_t> lower = getConstantIntValue(loop.getLowerBound()),
                           upper = getConstantIntValue(loop.getUpperBound()),
                           step = getConstantIntValue(loop.getStep());
    if (!lower || !upper || !step || *step < 1 || *upper <= *lower)
      return std::nullopt;
    return *lower + (*upper - 1 - *lower) / *step * *step;
  }
  Operation *op = value.getDefiningOp();
  if (!isa_and_nonnull<arith::DivUIOp, arith::MulIOp, arith::AddIOp>(op))
    return std::nullopt;
  std::optional<int64_t> x = greatest(op->getOperand(0)),
                         by = isa<arith::DivUIOp>(op)
                                  ? getConstantIntValue(op->getOperand(1))
                                  : greatest(op->getOperand(1));
  if (!x || !by || *x < 0 || *by < 0 || (isa<arith::DivUIOp>(op) && *by == 0))
    return std::nullopt;
  return isa<arith::DivUIOp>(op)  ? *x / *by
         : isa<arith::MulIOp>(op) ? *x * *by
                                  : *x + *by;
}

/// Whether `size` elements from `index` lie below `bound` for certain.
static bool liesBelow(Value index, Value bound, int64_t size) {
  auto sum = bound.getDefiningOp<arith::AddIOp>();
  if (sum && sum.getLhs() == index &&
      getConstantIntValue(sum.getRhs()).value_or(0) >= size)
    return true;
  std::optional<int64_t> limit = getConstantIntValue(bound);
  std::optional<int64_t> most = greatest(index);
  return limit && most && *most + size <= *limit;
}

//===-- Views ------------------------------------------------------------===//

Translator::Buffer Translator::bufferOf(Value memref) {
  return buffers.lookup(memref);
}

Value Translator::offsetOf(const Buffer &buffer, ValueRange indices) {
  Value sum = buffer.start;
  for (auto [index, stride] :
       llvm::zip(indices, stridesOf(buffer.type.getShape()))) {
    Value term =
        stride == 1 ? Value(index)
                    : b.createOrFold<arith::MulIOp>(index, this->index(stride));
    sum = sum ? b.createOrFold<arith::AddIOp>(sum, term) : term;
  }
  return sum ? sum : index(0);
}

Value Translator::rectangle(const Buffer &buffer, Value offset, Shape shape,
                            Shape strides) {
  auto layout =
      StridedLayoutAttr::get(b.getContext(), ShapedType::kDynamic, strides);
  auto type = MemRefType::get(
      shape, cast<MemRefType>(buffer.base.getType()).getElementType(), layout);
  return make<memref::ReinterpretCastOp>(
      type, buffer.base, OpFoldResult(offset), numbers(b, shape),
      numbers(b, strides));
}

Value Translator::partOf(Value memref, ArrayRef<OpFoldResult> offsets,
                         ArrayRef<OpFoldResult> sizes) {
  SmallVector<OpFoldResult> ones(sizes.size(), b.getIndexAttr(1));
  return make<memref::SubViewOp>(memref, offsets, sizes, ones);
}

Value Translator::zeroed(Shape shape, Type element) {
  Value buffer = make<memref::AllocOp>(MemRefType::get(shape, element));
  Value zero = make<arith::ConstantOp>(b.getZeroAttr(element));
  linalg::FillOp::create(b, ValueRange{zero}, ValueRange{buffer});
  return buffer;
}

OpFoldResult Translator::within(Value index, Value bound, int64_t size) {
  if (liesBelow(index, bound, size))
    return b.getIndexAttr(size);
  std::optional<int64_t> limit = getConstantIntValue(bound),
                         start = getConstantIntValue(index);
  if (limit && start)
    return b.getIndexAttr(std::clamp<int64_t>(*limit - *start, 0, size));
  Value left = make<arith::SubIOp>(get(bound), get(index));
  left = make<arith::MaxSIOp>(left, this->index(0));
  return Value(make<arith::MinSIOp>(left, this->index(size)));
}

Translator::Access Translator::access(Value memref, ValueRange indices,
                                      ValueRange bounds, Shape shape,
                                      bool withMiddle) {
  Buffer buffer = bufferOf(memref);
  SmallVector<Value> at;
  for (Value i : indices)
    at.push_back(get(i));
  SmallVector<int64_t> strides = stridesOf(buffer.type.getShape());
  Access result;
  ValueRange covered = indices.take_back(shape.size());
  for (auto [d, size] : llvm::enumerate(shape)) {
    result.sizes.push_back(bounds.empty()
                               ? OpFoldResult(b.getIndexAttr(size))
                               : within(covered[d], bounds[d], size));
    result.whole &= getConstantIntValue(result.sizes.back()) == size;
  }
  result.shape.assign(shape.begin(), shape.end());
  strides.erase(strides.begin(), strides.end() - shape.size());
  if (!withMiddle) { // what cuts it off cuts all rows off
    Value rows =
              getValueOrCreateConstantIndexOp(b, b.getLoc(), result.sizes[0]),
          one = getValueOrCreateConstantIndexOp(b, b.getLoc(), result.sizes[1]);
    result.sizes[0] =
        getAsOpFoldResult(b.createOrFold<arith::MulIOp>(rows, one));
    result.sizes.erase(result.sizes.begin() + 1);
    result.shape.erase(result.shape.begin() + 1);
    strides.erase(strides.begin() + 1);
  }
  result.known = getConstantIntValues(result.sizes);
  if (result.known && llvm::is_contained(*result.known, 0))
    result.known = std::nullopt;
  result.view = rectangle(
      buffer, offsetOf(buffer, at),
      result.known ? Shape(*result.known) : Shape(result.shape), strides);
  return result;
}

/// A buffer as a tile: nothing else refers to it.
static Value asTile(ImplicitLocOpBuilder &b, Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  return bufferization::ToTensorOp::create(
      b, RankedTensorType::get(type.getShape(), type.getElementType()), buffer,
      /*restrict=*/true, /*writable=*/true);
}

static void storeInto(ImplicitLocOpBuilder &b, Value tile, Value view) {
  bufferization::MaterializeInDestinationOp::create(
      b, /*result=*/Type(), tile, view, /*restrict=*/false, /*writable=*/true);
}

//===-- Rectangles -------------------------------------------------------===//

/// How many leading dimensions of one element say nothing: a view is a matrix
/// at most, where that is possible. (With a bound they say something.)
static size_t needless(ArrayRef<int64_t> shape, ValueRange bounds) {
  size_t count = 0;
  while (bounds.empty() && shape.size() - count > 2 && shape[count] == 1)
    ++count;
  return count;
}

/// A column of three dimensions, of which the 910B's tool gives each element,
/// and each to which it is repeated, a block of 32 bytes; of two it does not.
static bool isColumn(ArrayRef<int64_t> shape) {
  return shape.size() == 3 && shape[0] > 1 && shape[1] == 1 && shape[2] == 1;
}

LogicalResult Translator::load(tile::LoadOp op) {
  auto whole = cast<RankedTensorType>(converted(op.getResult().getType()));
  Shape shape =
      whole.getShape().drop_front(needless(whole.getShape(), op.getBounds()));
  Access from = access(op.getBuffer(), op.getIndices(), op.getBounds(), shape,
                       /*withMiddle=*/!isColumn(shape));
  auto type = RankedTensorType::get(from.shape, whole.getElementType());
  SmallVector<OpFoldResult> start(type.getRank(), b.getIndexAttr(0)),
      ones(type.getRank(), b.getIndexAttr(1));
  Value tile;
  if (from.known) {
    // Without bounds, or a part that is known: a tile of its own among zeros.
    // (Where a program is a turn of a loop, the 950's tool loses the rank of a
    // buffer of which a part is copied.)
    Value buffer = make<memref::AllocOp>(
        MemRefType::get(*from.known, type.getElementType()));
    memref::CopyOp::create(b, from.view, buffer);
    tile = asTile(b, buffer);
    if (!from.whole)
      tile = make<tensor::InsertSliceOp>(
          tile, make<arith::ConstantOp>(cast<TypedAttr>(b.getZeroAttr(type))),
          start, from.sizes, ones);
  } else {
    Value buffer = zeroed(type.getShape(), type.getElementType());
    memref::CopyOp::create(b, partOf(from.view, start, from.sizes),
                           partOf(buffer, start, from.sizes));
    tile = asTile(b, buffer);
  }
  set(op, reshape(tile, whole.getShape()));
  return success();
}

static constexpr int64_t kFew = 16;

LogicalResult Translator::store(tile::StoreOp op) {
  Value tile = get(op.getValue());
  Shape shape = cast<RankedTensorType>(tile.getType()).getShape();
  tile = reshape(tile, shape.drop_front(needless(shape, op.getBounds())));
  auto type = cast<RankedTensorType>(tile.getType());
  Access to =
      access(op.getBuffer(), op.getIndices(), op.getBounds(), type.getShape());
  // A few elements one by one: parts of such tiles do not survive the reshapes
  // that the 950's tool moves past them.
  if (!to.whole && type.getRank() == 1 && type.getDimSize(0) <= kFew) {
    auto loop = scf::ForOp::create(
        b, index(0),
        getValueOrCreateConstantIndexOp(b, b.getLoc(), to.sizes[0]), index(1));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value place = loop.getInductionVar();
    Value element = make<tensor::ExtractOp>(tile, ValueRange{place});
    memref::StoreOp::create(b, element, to.view, ValueRange{place});
    return success();
  }
  if (!to.whole && type.getRank() == 1 && to.known) {
    // A known part of a line is whole rows of a matrix.
    int64_t size = to.known->front(),
            width = std::gcd(size, type.getDimSize(0));
    tile = reshape(tile, {type.getDimSize(0) / width, width});
    tile = make<tensor::ExtractSliceOp>(tile, numbers(b, {0, 0}),
                                        numbers(b, {size / width, width}),
                                        numbers(b, {1, 1}));
    tile = reshape(tile, {size});
  } else if (!to.whole) {
    SmallVector<OpFoldResult> start(type.getRank(), b.getIndexAttr(0)),
        ones(type.getRank(), b.getIndexAttr(1));
    tile = make<tensor::ExtractSliceOp>(tile, start, to.sizes, ones);
    if (!to.known)
      to.view = partOf(to.view, start, to.sizes);
  }
  storeInto(b, tile, to.view);
  return success();
}

//===-- Rows -------------------------------------------------------------===//

void Translator::forEachRow(Value rows,
                            function_ref<void(Value place, Value number)> row) {
  int64_t count = cast<RankedTensorType>(rows.getType()).getDimSize(0);
  auto loop = scf::ForOp::create(b, index(0), index(count), index(1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value place = loop.getInductionVar();
  Value number = make<tensor::ExtractOp>(rows, ValueRange{place});
  Value valid = compare(arith::CmpIPredicate::sge, number, 0);
  auto branch = scf::IfOp::create(b, valid, /*withElseRegion=*/false);
  b.setInsertionPointToStart(&branch.getThenRegion().front());
  row(place, make<arith::IndexCastOp>(b.getIndexType(), number));
}

Value Translator::gatherElements(Value memref, Value rows) {
  Buffer buffer = bufferOf(memref);
  Shape shape = cast<RankedTensorType>(rows.getType()).getShape();
  Type element = cast<MemRefType>(buffer.base.getType()).getElementType();
  auto loop = scf::ForOp::create(b, index(0), index(shape[0]), index(1),
                                 ValueRange{empty(shape, element)});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value place = loop.getInductionVar();
  Value number = make<tensor::ExtractOp>(rows, ValueRange{place});
  Value valid = compare(arith::CmpIPredicate::sge, number, 0);
  Value safe = make<arith::MaxSIOp>(number, integer(number, 0));
  safe = make<arith::IndexCastOp>(b.getIndexType(), safe);
  Value value =
      make<memref::LoadOp>(buffer.base, ValueRange{offsetOf(buffer, safe)});
  Value zero = make<arith::ConstantOp>(b.getZeroAttr(element));
  Value tile = make<tensor::InsertOp>(
      select(valid, value, zero), loop.getRegionIterArg(0), ValueRange{place});
  scf::YieldOp::create(b, tile);
  return loop.getResult(0);
}

Value Translator::gatherRows(Value memref, Value rows, Value column,
                             Shape shape) {
  if (shape.size() == 1)
    return gatherElements(memref, rows);
  Buffer buffer = bufferOf(memref);
  int64_t width = buffer.type.getDimSize(1);
  Value tile =
      zeroed(shape, cast<MemRefType>(buffer.base.getType()).getElementType());
  OpFoldResult columns = b.getIndexAttr(shape[1]);
  Value first = column ? column : index(0);
  // `column` is a value of the function already: what is plain to see there.
  std::optional<int64_t> most = greatest(first);
  if (!most || *most + shape[1] > width) {
    Value left = make<arith::SubIOp>(index(width), first);
    left = make<arith::MaxSIOp>(left, index(0));
    columns = Value(make<arith::MinSIOp>(left, index(shape[1])));
  }
  forEachRow(rows, [&](Value place, Value number) {
    Value from = rectangle(buffer, offsetOf(buffer, {number, first}),
                           {1, shape[1]}, {width, 1});
    OpFoldResult one = b.getIndexAttr(1), zero = b.getIndexAttr(0);
    memref::CopyOp::create(b, partOf(from, {zero, zero}, {one, columns}),
                           partOf(tile, {place, zero}, {one, columns}));
  });
  return asTile(b, tile);
}

LogicalResult Translator::gather(tile::GatherOp op) {
  set(op,
      gatherRows(op.getBuffer(), get(op.getRows()),
                 op.getColumn() ? get(op.getColumn()) : Value(),
                 cast<RankedTensorType>(op.getResult().getType()).getShape()));
  return success();
}

/// Codes and scales are gathered alike; a code is zero, and with it the value,
/// where the row is none.
LogicalResult Translator::gatherScaled(tile::GatherScaledOp op) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  int64_t rows = type.getDimSize(0), width = type.getDimSize(1);
  int64_t block = op.getBlock(),
          scaleColumns = std::max<int64_t>(1, width / block);
  bool packed =
      cast<MemRefType>(op.getCodes().getType()).getElementType().isInteger(8);
  Value column = op.getColumn() ? get(op.getColumn()) : Value();
  auto divided = [&](int64_t by) -> Value {
    if (!column)
      return Value();
    return b.createOrFold<arith::DivUIOp>(column, index(by));
  };
  Value numbers = get(op.getRows());
  Value codes = gatherRows(op.getCodes(), numbers, packed ? divided(2) : column,
                           {rows, packed ? width / 2 : width});
  Value scales =
      gatherRows(op.getScales(), numbers, divided(block), {rows, scaleColumns});
  Value value = scaled(packed ? decodeE2M1(codes) : decodeE4M3(codes),
                       decodeE8M0(scales));
  if (!type.getElementType().isF32()) // exact
    value = make<arith::TruncFOp>(type, value);
  set(op, value);
  return success();
}

LogicalResult Translator::scatter(tile::ScatterOp op) {
  Buffer buffer = bufferOf(op.getBuffer());
  Value tile = get(op.getValue());
  Shape shape = cast<RankedTensorType>(tile.getType()).getShape();
  Value first = op.getColumn() ? get(op.getColumn()) : Value();
  OpFoldResult columns;
  if (shape.size() == 2) {
    int64_t width = buffer.type.getDimSize(1);
    columns = b.getIndexAttr(shape[1]);
    first = first ? first : index(0);
    std::optional<int64_t> most = greatest(first);
    if (!most || *most + shape[1] > width) {
      Value left = make<arith::SubIOp>(index(width), first);
      left = make<arith::MaxSIOp>(left, index(0));
      columns = Value(make<arith::MinSIOp>(left, index(shape[1])));
    }
  }
  forEachRow(get(op.getRows()), [&](Value place, Value number) {
    if (shape.size() == 1) {
      Value value = make<tensor::ExtractOp>(tile, ValueRange{place});
      memref::StoreOp::create(b, value, buffer.base,
                              ValueRange{offsetOf(buffer, number)});
      return;
    }
    OpFoldResult one = b.getIndexAttr(1), zero = b.getIndexAttr(0);
    SmallVector<OpFoldResult> from{place, zero}, start{zero, zero},
        sizes{one, columns}, ones{one, one};
    Value row = make<tensor::ExtractSliceOp>(tile, from, sizes, ones);
    Value to = rectangle(buffer, offsetOf(buffer, {number, first}),
                         {1, shape[1]}, {buffer.type.getDimSize(1), 1});
    storeInto(b, row, partOf(to, start, sizes));
  });
  return success();
}

//===-- Single elements and tables ---------------------------------------===//

Value Translator::elementAt(const Buffer &buffer, ValueRange indices) {
  SmallVector<Value> at;
  for (Value i : indices)
    at.push_back(get(i));
  return offsetOf(buffer, at);
}

LogicalResult Translator::loadScalar(memref::LoadOp op) {
  Buffer buffer = bufferOf(op.getMemRef());
  Value value = make<memref::LoadOp>(
      buffer.base, ValueRange{elementAt(buffer, op.getIndices())});
  if (isa<Float8E4M3FNType, Float8E8M0FNUType>(op.getType()))
    return refuse(op, "a single narrow float");
  set(op, value);
  return success();
}

LogicalResult Translator::storeScalar(memref::StoreOp op) {
  Buffer buffer = bufferOf(op.getMemRef());
  memref::StoreOp::create(b, get(op.getValue()), buffer.base,
                          ValueRange{elementAt(buffer, op.getIndices())});
  return success();
}

/// A table is the addresses of its buffers and the first of them, from which
/// the others lie a number of elements away.
LogicalResult Translator::selectBuffer(tile::SelectBufferOp op) {
  auto type = cast<MemRefType>(op.getType());
  auto [first, addresses] = tables.lookup(op.getTable());
  Value from = make<memref::LoadOp>(addresses, ValueRange{index(0)});
  Value to = make<memref::LoadOp>(addresses, ValueRange{get(op.getIndex())});
  Value distance = make<arith::SubIOp>(to, from);
  unsigned bytes = type.getElementTypeBitWidth() / 8;
  if (bytes > 1) // exact: buffers are aligned to their elements
    distance = with<arith::ShRSIOp>(distance, llvm::Log2_32(bytes));
  buffers[op] = {first, make<arith::IndexCastOp>(b.getIndexType(), distance),
                 type};
  return success();
}

} // namespace fathom::ascend
