// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loads and stores. Rectangles are tiles of strided views that may start at any
// element (traversal strides of 1), so that nothing has to divide for TMA; the
// sizes of the view are the bounds, beyond which loads give zero and stores do
// nothing. Gathers are gather views, scatters masked pointers.
#include "codegen/NVIDIA/Translator.h"

#include "dialects/Tile/IR/Hints.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;

namespace fathom::nvidia {

using namespace cudatile;
using cudatile::Type;
using S = Scalar;

/// For a leading dimension that a kernel is not told: what is accessed without
/// bounds lies inside.
static constexpr int64_t kUnknownRows = std::numeric_limits<int32_t>::max();

static SmallVector<int64_t> stridesOf(MemRefType type) {
  SmallVector<int64_t> strides(type.getRank());
  int64_t stride = 1;
  for (int64_t d = type.getRank(); d-- > 0;) {
    strides[d] = stride;
    if (d > 0)
      stride *= type.getDimSize(d);
  }
  return strides;
}

/// Whether numbers of elements need 64 bits.
static bool isLarge(MemRefType type) {
  return !type.hasStaticShape() ||
         type.getNumElements() > std::numeric_limits<int32_t>::max();
}

Translator::Buffer Translator::bufferOf(mlir::Value memref) {
  return {values.lookup(memref), rootOf(memref),
          cast<MemRefType>(memref.getType())};
}

Attributes Translator::ordered(const Buffer &buffer) const {
  Attributes a;
  a.token = tokens.lookup(buffer.root);
  return a;
}

void Translator::follow(const Buffer &buffer, const Value &token) {
  if (tokens.contains(buffer.root))
    tokens[buffer.root] = token;
}

//===-- Rectangles -------------------------------------------------------===//

Value Translator::tensorView(const Buffer &buffer, ValueRange bounds) {
  SmallVector<Size> sizes, strides;
  for (int64_t d : buffer.type.getShape())
    sizes.push_back(ShapedType::isDynamic(d) ? kUnknownRows : d);
  size_t first = sizes.size() - bounds.size();
  for (auto [i, bound] : llvm::enumerate(bounds)) {
    std::optional<int64_t> fixed = getConstantIntValue(bound);
    if (fixed && *fixed > 0)
      sizes[first + i] = *fixed;
    else
      sizes[first + i] = get(bound);
  }
  for (int64_t s : stridesOf(buffer.type))
    strides.push_back(s);
  return f.tensorView(buffer.base, sizes, strides);
}

/// The tile covers the last dimensions; leading ones are single elements.
static SmallVector<int64_t> fullTile(ArrayRef<int64_t> tile, int64_t rank) {
  SmallVector<int64_t> full(rank - tile.size(), 1);
  full.append(tile.begin(), tile.end());
  return full;
}

Value Translator::rectangle(Operation *op, const Buffer &buffer, Shape tile,
                            ValueRange bounds) {
  if (Value made = views.lookup(op))
    return made;
  SmallVector<int32_t> everywhere(buffer.type.getRank(), 1);
  std::optional<Padding> padding;
  if (!bounds.empty() && isa<tile::LoadOp>(op))
    padding = Padding::Zero;
  return f.stridedView(tensorView(buffer, bounds),
                       fullTile(tile, buffer.type.getRank()), everywhere,
                       padding);
}

void Translator::makeViews() {
  auto known = [](mlir::Value value) {
    return isa<BlockArgument>(value)
               ? isa<tile::KernelOp>(value.getParentBlock()->getParentOp())
               : getConstantIntValue(value).value_or(0) > 0;
  };
  auto make = [&](Operation *op, mlir::Value memref, mlir::Value tile,
                  ValueRange bounds) {
    if (isa<BlockArgument>(memref) && llvm::all_of(bounds, known) &&
        checkTypes(op))
      views[op] =
          rectangle(op, bufferOf(memref),
                    cast<RankedTensorType>(tile.getType()).getShape(), bounds);
  };
  kernel.walk([&](Operation *op) {
    if (auto load = dyn_cast<tile::LoadOp>(op))
      make(op, load.getBuffer(), load.getResult(), load.getBounds());
    else if (auto store = dyn_cast<tile::StoreOp>(op))
      make(op, store.getBuffer(), store.getValue(), store.getBounds());
  });
}

LogicalResult Translator::load(tile::LoadOp op) {
  Buffer buffer = bufferOf(op.getBuffer());
  ArrayRef<int64_t> shape =
      cast<RankedTensorType>(op.getResult().getType()).getShape();
  ValueList index;
  for (mlir::Value i : op.getIndices())
    index.push_back(get(i));
  auto [tile, token] = f.loadView(rectangle(op, buffer, shape, op.getBounds()),
                                  index, ordered(buffer));
  follow(buffer, token);
  set(op, f.reshape(tile, shape));
  return success();
}

LogicalResult Translator::store(tile::StoreOp op) {
  Buffer buffer = bufferOf(op.getBuffer());
  Value tile = get(op.getValue()),
        view = rectangle(op, buffer, tile.type.shape, op.getBounds());
  ValueList index;
  for (mlir::Value i : op.getIndices())
    index.push_back(get(i));
  follow(buffer, f.storeView(f.reshape(tile, view.type.shape), view, index,
                             ordered(buffer)));
  return success();
}

//===-- Rows -------------------------------------------------------------===//

/// Rows that a gather view takes: each is an index that the thread which asks
/// for them holds in a register, and it has few. Fewer rows are not worth a
/// view.
static constexpr int64_t kGatherRows = 16;

/// Where the rows of a gather lie behind each other, the first of them.
Value Translator::firstOf(Operation *gather) {
  if (!gather->hasAttr(tile::kConsecutiveAttr))
    return {};
  mlir::Value rows = gather->getOperand(isa<tile::GatherOp>(gather) ? 1 : 2);
  auto select = rows.getDefiningOp<arith::SelectOp>();
  auto sum = select ? select.getTrueValue().getDefiningOp<arith::AddIOp>()
                    : arith::AddIOp();
  if (!sum || !sum.getRhs().getDefiningOp<tile::IotaOp>())
    return {};
  auto first = sum.getLhs().getDefiningOp<mlir::tensor::SplatOp>();
  return first ? get(first.getInput()) : Value();
}

/// Rows from .. from+n-1 of those that a gather wants, of a view that takes
/// fewer at once.
Value Translator::gatherSome(const Buffer &buffer, const Value &view,
                             const Value &rows, const Value &column,
                             int64_t from, int64_t n) {
  int64_t most = view.type.shape[0];
  if (n > most)
    return f.cat(gatherSome(buffer, view, rows, column, from, n / 2),
                 gatherSome(buffer, view, rows, column, from + n / 2, n / 2),
                 0);
  Value some = rows;
  if (rows.type.shape[0] != n)
    some = f.extract(rows, ArrayRef<int64_t>{from / n}, Dims{n});
  auto [tile, token] = f.loadView(view, {some, column}, ordered(buffer));
  follow(buffer, token);
  return tile;
}

/// Pointers to columns from `column` on of these rows, and which of them lie in
/// the buffer.
Translator::Elements Translator::elementsOf(const Buffer &buffer,
                                            const Value &rows,
                                            const Value &column, Shape shape) {
  int64_t width = buffer.type.getDimSize(1);
  Dims narrow{shape[0], 1}, flat{1, shape[1]};
  Value start = f.reshape(rows, narrow);
  if (isLarge(buffer.type))
    start = f.extendInt(start, S::I64, Signedness::Signed);
  start = f.binary(Op::MulI, start, splatLike(start, width));
  Value at = f.broadcast(f.offset(f.spread(buffer.base, narrow), start), shape);
  Value columns = f.reshape(f.iota(flat[1]), flat);
  if (column)
    columns = f.binary(Op::AddI, columns, f.spread(column, flat));
  columns = f.broadcast(columns, shape);
  return {f.offset(at, columns),
          f.compareInt(Comparison::LT, Signedness::Signed, columns,
                       splatLike(columns, width))};
}

/// Whether all that is made of a value, its conversion aside, are sums.
static bool isSummand(Operation *user) {
  return isa<arith::ExtFOp>(user) &&
         llvm::all_of(user->getUsers(),
                      [](Operation *o) { return isa<arith::AddFOp>(o); });
}

/// Few rows of a sum where TMA takes them one by one: the thread that would ask
/// for each of them spills.
bool Translator::readsByPointers(Operation *gather) const {
  constexpr int64_t kFewRows = 32;
  auto type = cast<RankedTensorType>(gather->getResult(0).getType());
  return target.hasTMA && target.number < 100 &&
         type.getDimSize(0) <= kFewRows &&
         llvm::all_of(gather->getUsers(), isSummand);
}

FailureOr<Value> Translator::gatherRows(Operation *gather, mlir::Value memref,
                                        const Value &rows, const Value &column,
                                        Shape shape) {
  Buffer buffer = bufferOf(memref);
  Scalar scalar = buffer.base.type.element.scalar;
  Value zero = splatLike(rows, 0);
  Value valid = f.compareInt(Comparison::GE, Signedness::Signed, rows, zero);
  // What a negative number would read is for no device to decide.
  Value safe = f.binary(Op::MaxI, rows, zero);
  Attributes a = ordered(buffer);
  if (shape.size() == 1) {
    a.mask = valid;
    a.padding = f.splatBits(scalar, 0, shape);
    auto [tile, token] =
        f.loadPtr(f.offset(f.spread(buffer.base, shape), safe), a);
    follow(buffer, token);
    return tile;
  }
  if ((shape[0] < kGatherRows || readsByPointers(gather)) &&
      !gather->hasAttr(tile::kConsecutiveAttr)) {
    Elements at = elementsOf(buffer, safe, column, shape);
    a.mask = f.binary(Op::AndI, at.inside,
                      f.broadcast(f.reshape(valid, {shape[0], 1}), shape));
    a.padding = f.splatBits(scalar, 0, shape);
    auto [tile, token] = f.loadPtr(at.pointers, a);
    follow(buffer, token);
    return tile;
  }
  Value tile;
  if (Value first = firstOf(gather)) {
    Value view =
        f.stridedView(tensorView(buffer, {}), shape, {1, 1}, Padding::Zero);
    auto [rectangle, token] = f.loadView(view, {first, column}, a);
    follow(buffer, token);
    tile = rectangle;
  } else {
    Dims some{std::min(shape[0], kGatherRows), shape[1]};
    Value view = f.gatherView(tensorView(buffer, {}), some, 0, Padding::Zero);
    tile = gatherSome(buffer, view, safe, column, 0, shape[0]);
  }
  Dims narrow{shape[0], 1};
  Value mask = f.broadcast(f.reshape(valid, narrow), shape);
  return f.select(mask, tile, f.splatBits(scalar, 0, shape));
}

LogicalResult Translator::gather(tile::GatherOp op) {
  Value column = op.getColumn() ? get(op.getColumn()) : f.splatInt(S::I32, 0);
  FailureOr<Value> tile =
      gatherRows(op, op.getBuffer(), get(op.getRows()), column,
                 cast<RankedTensorType>(op.getResult().getType()).getShape());
  if (failed(tile))
    return failure();
  set(op, *tile);
  return success();
}

/// Codes and scales are gathered alike; a code is zero, and with it the value,
/// where the row is none.
LogicalResult Translator::gatherScaled(tile::GatherScaledOp op) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  Scalar to = tileOf(type).element.scalar;
  int64_t rows = type.getDimSize(0), width = type.getDimSize(1);
  int64_t block = op.getBlock(),
          scaleColumns = std::max<int64_t>(1, width / block);
  bool packed =
      cast<MemRefType>(op.getCodes().getType()).getElementType().isInteger(8);
  Value column = op.getColumn() ? get(op.getColumn()) : f.splatInt(S::I32, 0);
  auto divided = [&](int64_t by) {
    Attributes a;
    a.sign = Signedness::Unsigned;
    a.rounding = Rounding::Zero;
    return f.binary(Op::DivI, column, f.splatInt(S::I32, by), a);
  };
  FailureOr<Value> codes = gatherRows(op, op.getCodes(), get(op.getRows()),
                                      packed ? divided(2) : column,
                                      {rows, packed ? width / 2 : width});
  FailureOr<Value> scales = gatherRows(op, op.getScales(), get(op.getRows()),
                                       divided(block), {rows, scaleColumns});
  if (failed(codes) || failed(scales))
    return failure();
  Value value = packed ? decodeE2M1(*codes, to) : decodeE4M3(*codes, to);
  Value scale = f.reshape(decodeE8M0(*scales, to), {rows, scaleColumns, 1});
  scale = f.broadcast(scale, {rows, scaleColumns, width / scaleColumns});
  set(op, f.binary(Op::MulF, value, f.reshape(scale, {rows, width})));
  return success();
}

LogicalResult Translator::scatter(tile::ScatterOp op) {
  Buffer buffer = bufferOf(op.getBuffer());
  Value tile = get(op.getValue()), rows = get(op.getRows());
  Value mask = f.compareInt(Comparison::GE, Signedness::Signed, rows,
                            splatLike(rows, 0));
  Value at;
  if (tile.type.shape.size() == 1) {
    at = f.offset(f.spread(buffer.base, tile.type.shape), rows);
  } else {
    Elements elements =
        elementsOf(buffer, rows, op.getColumn() ? get(op.getColumn()) : Value(),
                   tile.type.shape);
    at = elements.pointers;
    mask = f.binary(Op::AndI,
                    f.broadcast(f.reshape(mask, Dims{tile.type.shape[0], 1}),
                                tile.type.shape),
                    elements.inside);
  }
  Attributes a = ordered(buffer);
  a.mask = mask;
  follow(buffer, f.storePtr(at, tile, a));
  return success();
}

//===-- Single elements and tables ---------------------------------------===//

Value Translator::address(const Buffer &buffer, ValueRange indices) {
  Scalar scalar = isLarge(buffer.type) ? S::I64 : S::I32;
  Value sum;
  for (auto [index, stride] : llvm::zip(indices, stridesOf(buffer.type))) {
    Value term = f.extendInt(get(index), scalar, Signedness::Signed);
    if (stride != 1)
      term = f.binary(Op::MulI, term, f.splatInt(scalar, stride));
    sum = sum ? f.binary(Op::AddI, sum, term) : term;
  }
  return sum ? f.offset(buffer.base, sum) : buffer.base;
}

LogicalResult Translator::loadScalar(memref::LoadOp op) {
  Buffer buffer = bufferOf(op.getMemRef());
  auto [value, token] =
      f.loadPtr(address(buffer, op.getIndices()), ordered(buffer));
  follow(buffer, token);
  Scalar scalar = tileOf(op.getType()).element.scalar;
  set(op, op.getType().isIndex() ? f.truncateInt(value, scalar) : value);
  return success();
}

LogicalResult Translator::storeScalar(memref::StoreOp op) {
  Buffer buffer = bufferOf(op.getMemRef());
  Value value = get(op.getValue());
  if (op.getValue().getType().isIndex())
    value = f.extendInt(value, S::I64, Signedness::Signed);
  follow(buffer,
         f.storePtr(address(buffer, op.getIndices()), value, ordered(buffer)));
  return success();
}

LogicalResult Translator::selectBuffer(tile::SelectBufferOp op) {
  auto type = cast<MemRefType>(op.getType());
  FailureOr<Scalar> scalar = scalarOf(type.getElementType());
  if (failed(scalar))
    return refuse(op, "buffers of a type that has no translation");
  Value entry = f.offset(values.lookup(op.getTable()), get(op.getIndex()));
  Value pointer = f.one(Op::IntToPtr, Type::tile(pointerTo(*scalar)),
                        f.loadPtr(entry).first);
  set(op, f.assumeDivBy(pointer, kPointerAlignment));
  return success();
}

} // namespace fathom::nvidia
