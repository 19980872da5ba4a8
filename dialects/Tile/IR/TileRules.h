// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rules that many operations share. A failure is a diagnostic that names the
// operand or result, what was expected and what was found.
#pragma once

#include "dialects/Tile/IR/Tile.h"

#include <string>

namespace fathom::tile {

/// "4x16"; "scalar" for rank 0.
std::string shapeText(llvm::ArrayRef<int64_t> shape);
mlir::RankedTensorType tileOf(mlir::Value value);

/// Every tensor that `op` takes or gives has static power-of-two dimensions.
llvm::LogicalResult verifyTiles(mlir::Operation *op);
/// A memref in row-major order, whose leading dimension alone may be dynamic.
bool isBuffer(mlir::Type type);
constexpr llvm::StringLiteral kBufferRule =
    "a memref of identity layout with at most the leading dimension dynamic";

llvm::LogicalResult requireRank(mlir::Operation *op, llvm::StringRef name,
                                mlir::Value tile, int64_t least);
llvm::LogicalResult requireShape(mlir::Operation *op, llvm::StringRef name,
                                 mlir::Value tile,
                                 llvm::ArrayRef<int64_t> expected,
                                 llvm::StringRef rule);
llvm::LogicalResult requireElement(mlir::Operation *op, llvm::StringRef name,
                                   mlir::Type found, mlir::Type expected,
                                   llvm::StringRef rule);
/// A dimension number of a tile.
llvm::LogicalResult requireDim(mlir::Operation *op, int64_t dim, int64_t rank);

/// The kernel argument behind a memref or table value: through selection from
/// a table and views; null if it comes from elsewhere.
mlir::BlockArgument rootOf(mlir::Value value);

/// Every operation of the kernel says what it reads and writes, and that is an
/// argument: nothing else would be known to its launches.
llvm::LogicalResult verifyEffects(KernelOp kernel);

/// Which arguments a kernel reads and writes, by itself or by what it calls.
struct ArgumentUse {
  llvm::SmallVector<mlir::Operation *> reader, writer; // null: none
};
ArgumentUse argumentUse(KernelOp kernel);

} // namespace fathom::tile
