// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What moves tiles. Tags refer to ../docs/Rationale.md's table of rules.
#include "dialects/Tile/IR/TileRules.h"

using namespace mlir;
using namespace fathom::tile;

LogicalResult TableType::verify(function_ref<InFlightDiagnostic()> emit,
                                int64_t count, MemRefType buffer) {
  // table_c1
  if (count < 1)
    return emit() << "a table must have at least 1 buffer, found " << count;
  // table_c2
  if (!buffer.hasStaticShape() || !buffer.getLayout().isIdentity())
    return emit() << "buffers of a table must have static shapes and identity "
                     "layout, found "
                  << buffer;
  return success();
}

LogicalResult SelectBufferOp::verify() {
  // select_buffer_c1
  Type expected = getTable().getType().getBuffer();
  if (getResult().getType() == expected)
    return success();
  return emitOpError() << "result must be the table's buffer type " << expected
                       << ", found " << getResult().getType();
}

/// The rules that load and store share.
static LogicalResult verifyRectangle(Operation *op, StringRef name, Value tile,
                                     Value memref, size_t indices,
                                     size_t bounds) {
  auto buffer = cast<MemRefType>(memref.getType());
  auto type = tileOf(tile);
  // load_c1, store_c1
  if (failed(verifyTiles(op)) || failed(requireRank(op, name, tile, 1)))
    return failure();
  // load_c2, store_c2
  if (failed(requireElement(op, name, type.getElementType(),
                            buffer.getElementType(), "the buffer's")))
    return failure();
  // load_c3, store_c3
  if (indices != static_cast<size_t>(buffer.getRank()))
    return op->emitOpError()
           << "must have one index per dimension of the buffer ("
           << buffer.getRank() << "), found " << indices;
  // load_c4, store_c4
  if (type.getRank() > buffer.getRank())
    return op->emitOpError() << "'" << name << "' must have at most the rank "
                             << "of the buffer (" << buffer.getRank()
                             << "), found " << type.getRank();
  // load_c5, store_c5
  if (bounds != 0 && bounds != static_cast<size_t>(type.getRank()))
    return op->emitOpError()
           << "must have no bounds or one per dimension of the tile ("
           << type.getRank() << "), found " << bounds;
  if (bounds != 0)
    return success();
  // load_c6, store_c6
  ArrayRef<int64_t> last = buffer.getShape().take_back(type.getRank());
  for (auto [size, dim] : llvm::zip(type.getShape(), last))
    if (!ShapedType::isDynamic(dim) && size > dim)
      return op->emitOpError()
             << "without bounds '" << name << "' must fit into the buffer ("
             << shapeText(last) << "), found " << shapeText(type.getShape());
  return success();
}

LogicalResult LoadOp::verify() {
  return verifyRectangle(*this, "result", getResult(), getBuffer(),
                         getIndices().size(), getBounds().size());
}

LogicalResult StoreOp::verify() {
  return verifyRectangle(*this, "value", getValue(), getBuffer(),
                         getIndices().size(), getBounds().size());
}

/// The rules that gather and scatter share.
static LogicalResult verifyRows(Operation *op, StringRef name, Value tile,
                                Value memref, Value rows, bool hasColumn) {
  auto buffer = cast<MemRefType>(memref.getType());
  // gather_c1, scatter_c1
  if (failed(verifyTiles(op)))
    return failure();
  // gather_c2, scatter_c2
  if (buffer.getRank() < 1 || buffer.getRank() > 2)
    return op->emitOpError()
           << "operand 'buffer' must have rank 1 or 2, found " << buffer;
  // gather_c3, scatter_c3
  auto rowsType = tileOf(rows);
  if (rowsType.getRank() != 1)
    return op->emitOpError()
           << "operand 'rows' must have rank 1, found " << rowsType;
  // gather_c4, scatter_c4
  auto type = tileOf(tile);
  if (type.getRank() != buffer.getRank() ||
      type.getDimSize(0) != rowsType.getDimSize(0))
    return op->emitOpError()
           << "'" << name << "' must have the rank of the buffer ("
           << buffer.getRank() << ") and as many rows as 'rows' ("
           << rowsType.getDimSize(0) << "), found " << type;
  // gather_c5, scatter_c5
  if (failed(requireElement(op, name, type.getElementType(),
                            buffer.getElementType(), "the buffer's")))
    return failure();
  // gather_c6, scatter_c6
  if (hasColumn && buffer.getRank() == 1)
    return op->emitOpError()
           << "operand 'column' must be absent for a buffer of rank 1";
  return success();
}

LogicalResult GatherOp::verify() {
  return verifyRows(*this, "result", getResult(), getBuffer(), getRows(),
                    getColumn() != Value());
}

LogicalResult GatherScaledOp::verify() {
  // gather_scaled_c1
  if (failed(verifyTiles(*this)))
    return failure();
  // gather_scaled_c2
  auto codes = cast<MemRefType>(getCodes().getType()),
       scales = cast<MemRefType>(getScales().getType());
  bool packed = codes.getElementType().isInteger(8);
  if (codes.getRank() != 2 ||
      (!packed && !isa<Float8E4M3FNType>(codes.getElementType())))
    return emitOpError() << "operand 'codes' must have rank 2 and be of "
                            "f8E4M3FN or i8, found "
                         << codes;
  // gather_scaled_c3
  if (scales.getRank() != 2 || !isa<Float8E8M0FNUType>(scales.getElementType()))
    return emitOpError() << "operand 'scales' must have rank 2 and be of "
                            "f8E8M0FNU, found "
                         << scales;
  // gather_scaled_c4
  auto rows = tileOf(getRows()), type = tileOf(getResult());
  if (rows.getRank() != 1 || type.getRank() != 2 ||
      rows.getDimSize(0) != type.getDimSize(0))
    return emitOpError() << "'result' must have rank 2 and a row for each of "
                            "'rows', found "
                         << type << " for " << rows;
  // gather_scaled_c5
  int64_t block = getBlock(), width = codes.getDimSize(1) * (packed ? 2 : 1);
  if (block < 1 || !llvm::isPowerOf2_64(block) ||
      block * scales.getDimSize(1) < width)
    return emitOpError() << "attribute 'block' must be a power of two, enough "
                            "for the "
                         << width << " values of a row, found " << block;
  // gather_scaled_c6
  if (type.getDimSize(1) > width)
    return emitOpError() << "'result' must have at most the " << width
                         << " columns of a row, found " << type.getDimSize(1);
  return success();
}

LogicalResult ScatterOp::verify() {
  return verifyRows(*this, "value", getValue(), getBuffer(), getRows(),
                    getColumn() != Value());
}
