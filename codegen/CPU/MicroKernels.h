// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loops for tile operations on buffers. Each function writes at the builder's
// place; `operands` are the operation's operands with tensors replaced by
// buffers (any strides, the last dimension contiguous), `results` fresh
// buffers. Failure is reported on the operation: a shape or type without code.
#pragma once

#include "codegen/CPU/Emit.h"
#include "dialects/Tile/IR/Tile.h"

namespace fathom::cpu {

/// What sizes register blocks; the results' bits do not depend on it.
struct Target {
  bool wide; // 32 registers of 16 floats (x86-64-v4), else 16 of 8
};

/// Type of the view that an unbounded load is.
mlir::MemRefType viewType(tile::LoadOp op);
mlir::Value expandLoad(Emit &e, tile::LoadOp op);

using Buffers = llvm::ArrayRef<mlir::Value>;
mlir::LogicalResult expandOp(Emit &e, tile::StoreOp op, Buffers operands,
                             Buffers results);
mlir::LogicalResult expandOp(Emit &e, tile::GatherOp op, Buffers operands,
                             Buffers results);
mlir::LogicalResult expandOp(Emit &e, tile::GatherScaledOp op, Buffers operands,
                             Buffers results);
mlir::LogicalResult expandOp(Emit &e, tile::ScatterOp op, Buffers operands,
                             Buffers results);
mlir::LogicalResult expandOp(Emit &e, tile::ReduceOp op, Buffers operands,
                             Buffers results);
mlir::LogicalResult expandOp(Emit &e, tile::ScanOp op, Buffers operands,
                             Buffers results);
mlir::LogicalResult expandOp(Emit &e, tile::InterleaveOp op, Buffers operands,
                             Buffers results);
mlir::LogicalResult expandOp(Emit &e, tile::DeinterleaveOp op, Buffers operands,
                             Buffers results);
mlir::LogicalResult expandOp(Emit &e, tile::UnpackFP4Op op, Buffers operands,
                             Buffers results);
mlir::LogicalResult expandOp(Emit &e, tile::PackFP4Op op, Buffers operands,
                             Buffers results);
mlir::LogicalResult expandOp(Emit &e, tile::DotOp op, Target target,
                             Buffers operands);
mlir::LogicalResult expandOp(Emit &e, tile::DotScaledOp op, Target target,
                             Buffers operands);

/// acc (MxN f32) += lhs (MxK) x rhs (NxK)^T for buffers of f32 or bf16; rows
/// of lhs and acc from `lhsRow`/`accRow` on.
void emitDotNT(Emit &e, Target target, mlir::Value lhs, mlir::Value rhs,
               mlir::Value acc, mlir::Value accRow, int64_t rows);

/// Packed e2m1 bytes (vector<n x i8>) to 2n f32, low nibble first.
mlir::Value decodeFP4(Emit &e, mlir::Value bytes);

/// The same for 16 bytes, in byte shuffles: weights 0..15 and 16..31.
std::pair<mlir::Value, mlir::Value> decodeFP4x32(Emit &e, mlir::Value bytes);

} // namespace fathom::cpu
