// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Load, store, gather and scatter: row copies.
#include "codegen/CPU/MicroKernels.h"

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

static void sizesOfView(MemRefType buffer, RankedTensorType tile,
                        SmallVectorImpl<int64_t> &sizes) {
  sizes.assign(buffer.getRank() - tile.getRank(), 1);
  llvm::append_range(sizes, tile.getShape());
}

static MemRefType typeOfView(tile::LoadOp op) {
  auto buffer = cast<MemRefType>(op.getBuffer().getType());
  auto tile = cast<RankedTensorType>(op.getResult().getType());
  SmallVector<int64_t> sizes;
  sizesOfView(buffer, tile, sizes);
  SmallVector<int64_t> offsets(buffer.getRank(), ShapedType::kDynamic);
  SmallVector<int64_t> strides(buffer.getRank(), 1);
  return memref::SubViewOp::inferRankReducedResultType(tile.getShape(), buffer,
                                                       offsets, sizes, strides);
}

/// Elements from the first to the last of a tile with the strides of `type`.
static int64_t extentOf(MemRefType type) {
  auto [strides, offset] = type.getStridesAndOffset();
  int64_t last = 0;
  for (auto [size, stride] : llvm::zip(type.getShape(), strides))
    last += (size - 1) * stride;
  return last + 1;
}

bool fathom::cpu::maybeView(tile::LoadOp op) {
  if (op.getBounds().empty())
    return true;
  // Of a bounded load what is beyond the bounds must be zero, in a copy with
  // the strides of the view: worth it where that is not much more than the
  // tile, and the tile is large.
  constexpr int64_t kLeast = 4096, kMostSpread = 4;
  auto tile = cast<RankedTensorType>(op.getResult().getType());
  if (tile.getNumElements() < kLeast || tile.getElementType().isInteger(1))
    return false;
  MemRefType type = typeOfView(op);
  auto [strides, offset] = type.getStridesAndOffset();
  return llvm::none_of(strides, ShapedType::isDynamic) &&
         extentOf(type) <= kMostSpread * tile.getNumElements();
}

MemRefType fathom::cpu::viewType(tile::LoadOp op) {
  auto tile = cast<RankedTensorType>(op.getResult().getType());
  return maybeView(op)
             ? typeOfView(op)
             : MemRefType::get(tile.getShape(), tile.getElementType());
}

static Value view(Emit &e, tile::LoadOp op) {
  auto buffer = cast<MemRefType>(op.getBuffer().getType());
  SmallVector<int64_t> sizes;
  sizesOfView(buffer, cast<RankedTensorType>(op.getResult().getType()), sizes);
  SmallVector<int64_t> offsets(buffer.getRank(), ShapedType::kDynamic);
  SmallVector<int64_t> strides(buffer.getRank(), 1);
  return memref::SubViewOp::create(
      e.b, op.getLoc(), typeOfView(op), op.getBuffer(), op.getIndices(),
      ValueRange{}, ValueRange{}, offsets, sizes, strides);
}

/// Calls `row(place in buffer, place in tile, extent)` for each row of a
/// rectangle; extent is null where the whole row lies inside, 0 where the row
/// itself is out of bounds.
static void
forEachRow(Emit &e, ArrayRef<int64_t> shape, ValueRange indices,
           ValueRange bounds,
           function_ref<void(Emit::Range, Emit::Range, Value)> row) {
  int64_t lead = indices.size() - shape.size();
  Value inner;
  if (!bounds.empty())
    inner = e.clamp(e.sub(bounds.back(), indices.back()), shape.back());
  e.nest(shape.drop_back(), [&](Emit::Range ivs) {
    Emit::Values buffer(indices.begin(), indices.end()), tile(ivs);
    tile.push_back(e.index(0));
    Value extent = inner;
    for (auto [d, iv] : llvm::enumerate(ivs)) {
      buffer[lead + d] = e.add(buffer[lead + d], iv);
      if (bounds.empty())
        continue;
      Value inside = arith::CmpIOp::create(
          e.b, e.loc, arith::CmpIPredicate::slt, buffer[lead + d], bounds[d]);
      extent = arith::SelectOp::create(e.b, e.loc, inside, extent, e.index(0));
    }
    row(buffer, tile, extent);
  });
}

static void copyBounded(Emit &e, tile::LoadOp op, Value to) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  forEachRow(e, type.getShape(), op.getIndices(), op.getBounds(),
             [&](Emit::Range buffer, Emit::Range tile, Value extent) {
               e.copyRow(op.getBuffer(), buffer, to, tile,
                         type.getShape().back(), extent, /*keepRest=*/false);
             });
}

/// A view where all lies inside, else a copy with the view's strides.
static Value viewOrCopy(Emit &e, tile::LoadOp op) {
  MemRefType type = viewType(op);
  int64_t lead = op.getIndices().size() - type.getRank();
  Value inside;
  for (auto [d, bound] : llvm::enumerate(op.getBounds())) {
    Value end = e.add(op.getIndices()[lead + d], type.getDimSize(d));
    Value fits = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::sle,
                                       end, bound);
    inside = inside ? arith::AndIOp::create(e.b, e.loc, inside, fits) : fits;
  }
  auto choice = scf::IfOp::create(e.b, e.loc, TypeRange{type}, inside,
                                  /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(e.b);
  e.b.setInsertionPointToStart(choice.thenBlock());
  scf::YieldOp::create(e.b, e.loc, view(e, op));
  e.b.setInsertionPointToStart(choice.elseBlock());
  auto [strides, offset] = type.getStridesAndOffset();
  Value space = e.alloc({extentOf(type)}, type.getElementType());
  Value copy = memref::ReinterpretCastOp::create(
      e.b, e.loc,
      MemRefType::get(
          type.getShape(), type.getElementType(),
          StridedLayoutAttr::get(e.b.getContext(), /*offset=*/0, strides)),
      space, /*offset=*/0, type.getShape(), strides);
  copyBounded(e, op, copy);
  if (copy.getType() != type)
    copy = memref::CastOp::create(e.b, e.loc, type, copy);
  scf::YieldOp::create(e.b, e.loc, copy);
  return choice.getResult(0);
}

Value fathom::cpu::expandLoad(Emit &e, tile::LoadOp op) {
  if (op.getBounds().empty())
    return view(e, op);
  if (maybeView(op))
    return viewOrCopy(e, op);
  auto type = cast<RankedTensorType>(op.getResult().getType());
  Value result = e.alloc(type.getShape(), type.getElementType());
  copyBounded(e, op, result);
  return result;
}

LogicalResult fathom::cpu::expandOp(Emit &e, tile::StoreOp op, Buffers operands,
                                    Buffers) {
  auto type = cast<RankedTensorType>(op.getValue().getType());
  if (type.getElementType() !=
      cast<MemRefType>(op.getBuffer().getType()).getElementType())
    return op.emitError("the element types of tile and buffer differ");
  forEachRow(e, type.getShape(), op.getIndices(), op.getBounds(),
             [&](Emit::Range buffer, Emit::Range tile, Value extent) {
               e.copyRow(operands[0], tile, op.getBuffer(), buffer,
                         type.getShape().back(), extent, /*keepRest=*/true);
             });
  return success();
}

/// Rows by number: `row(place in buffer, place in tile, length, extent)`.
static void forEachNumber(
    Emit &e, Value buffer, Value rows, Value column, ArrayRef<int64_t> shape,
    function_ref<void(Emit::Range, Emit::Range, int64_t, Value)> valid,
    function_ref<void(Emit::Range, int64_t)> invalid) {
  auto type = cast<MemRefType>(buffer.getType());
  bool scalars = shape.size() == 1;
  int64_t length = scalars ? 1 : shape[1];
  Value extent;
  if (!scalars) {
    int64_t width = type.getDimSize(1);
    if (column)
      extent = e.clamp(e.sub(e.index(width), column), length);
    else if (width < length)
      extent = e.index(width);
  }
  e.loop(0, shape[0], 1, [&](Value i) {
    Value number = e.load(rows, {i}, 1);
    Value isRow = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::sge,
                                        number, e.zero(number.getType()));
    Emit::Values tile{i};
    if (!scalars)
      tile.push_back(e.index(0));
    auto copy = [&] {
      Emit::Values at{
          arith::IndexCastOp::create(e.b, e.loc, e.b.getIndexType(), number)};
      if (!scalars)
        at.push_back(column ? column : e.index(0));
      valid(at, tile, length, extent);
    };
    if (invalid)
      e.ifElse(isRow, copy, [&] { invalid(tile, length); });
    else
      e.ifThen(isRow, copy);
  });
}

LogicalResult fathom::cpu::expandOp(Emit &e, tile::GatherOp op,
                                    Buffers operands, Buffers results) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  forEachNumber(
      e, op.getBuffer(), operands[1], op.getColumn(), type.getShape(),
      [&](Emit::Range from, Emit::Range tile, int64_t length, Value extent) {
        e.copyRow(op.getBuffer(), from, results[0], tile, length, extent,
                  false);
      },
      [&](Emit::Range tile, int64_t length) {
        e.zeroRow(results[0], tile, length);
      });
  return success();
}

LogicalResult fathom::cpu::expandOp(Emit &e, tile::ScatterOp op,
                                    Buffers operands, Buffers) {
  auto type = cast<RankedTensorType>(op.getValue().getType());
  forEachNumber(
      e, op.getBuffer(), operands[2], op.getColumn(), type.getShape(),
      [&](Emit::Range to, Emit::Range tile, int64_t length, Value extent) {
        e.copyRow(operands[0], tile, op.getBuffer(), to, length, extent, true);
      },
      nullptr);
  return success();
}
