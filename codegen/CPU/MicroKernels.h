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

/// Instruction sets that kernels are written for, each with all before it.
/// x86-64-v4-bf16 is x86-64-v4 with AVX512-BF16 and AVX512-VBMI;
/// x86-64-v4-amx adds AMX-TILE and AMX-BF16.
enum class Level { V3, V4, V4BF16, V4AMX };

/// What a level is called, and none for another name.
std::optional<Level> levelOf(llvm::StringRef name);

struct Target {
  Level level = Level::V3;
  /// 32 registers of 16 floats, else 16 of 8: sizes register blocks, does not
  /// change bits.
  bool wide() const { return level >= Level::V4; }
  /// Dots nt of bf16, and of FP4 and FP8 by bf16, with vdpbf16ps, or on tiles:
  /// each has its own order of sums.
  bool dotBF16() const { return level == Level::V4BF16; }
  bool amx() const { return level == Level::V4AMX; }
  /// Whether a program that takes tokens of an expert by tiles has one of so
  /// many. A vector kernel multiplies all of up to eight that the tile could
  /// hold, so small ones pay, and of a large tile no more than there are, so
  /// that one is enough; a register of AMX has one shape in a whole function,
  /// so that there are no more than two.
  bool takesTokens(int64_t tokens) const {
    return amx() ? tokens >= 4 : tokens != 16;
  }
};

/// All products of codes of e2m1 and scales, a constant with the same bytes in
/// every kernel of a level: the linker keeps one.
inline constexpr llvm::StringLiteral kTableE2M1 = "fathom_e2m1_times_scales";

/// Type of the view that an unbounded load is, or of what a bounded one is: a
/// copy, or for large tiles, with the strides of the buffer, a copy or a view.
mlir::MemRefType viewType(tile::LoadOp op);
/// Whether a load may be a view of its buffer.
bool maybeView(tile::LoadOp op);
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
/// `columns`, here and below: how many of the result are asked for, at least 0
/// and at most all; null: all. `some`: rows of lhs that matter, likewise.
mlir::LogicalResult expandOp(Emit &e, tile::DotOp op, Target target,
                             Buffers operands, mlir::Value columns,
                             Emit::Part some);
mlir::LogicalResult expandOp(Emit &e, tile::DotScaledOp op, Target target,
                             Buffers operands, mlir::Value columns);

/// acc (MxN f32) += lhs (MxK) x rhs (NxK)^T for buffers of f32 or bf16; rows
/// of acc from `accRow` on.
void emitDotNT(Emit &e, Target target, mlir::Value lhs, mlir::Value rhs,
               mlir::Value acc, mlir::Value accRow, int64_t rows,
               mlir::Value columns = {}, Emit::Part some = {});

/// Adds a block of totals, row after row in one vector, to acc.
void addBlock(Emit &e, mlir::Value totals, mlir::Value acc, mlir::Value row,
              mlir::Value column, int64_t rows, int64_t columns);

/// The same with the lane totals of a block of sums.
void addTotals(Emit &e, llvm::ArrayRef<mlir::Value> sums, mlir::Value acc,
               mlir::Value row, mlir::Value column, int64_t rows,
               int64_t columns);

/// Dots whose weights suit NarrowWeights, with the sums of these files.
struct NarrowWeights;
void emitDotAMX(Emit &e, const NarrowWeights &w, mlir::Value x, mlir::Value acc,
                mlir::Value columns);
void emitDotBF16(Emit &e, const NarrowWeights &w, mlir::Value x,
                 mlir::Value acc, mlir::Value columns);

/// tile.dot_scaled in f32, fast; whether the operands suit it depends on their
/// types and how many weights share a scale. `otherwise` writes what takes
/// tokens and scales whose products are not exact, with the same sums.
bool suitsBlockScaled(mlir::Value codes, mlir::Value scales);
void emitDotBlockScaled(Emit &e, Target target, mlir::Value codes,
                        mlir::Value scales, mlir::Value x, mlir::Value acc,
                        mlir::Value columns,
                        llvm::function_ref<void()> otherwise);

/// rows x columns elements of a buffer from (row, column) on as a tile of AMX.
mlir::Value loadTile(Emit &e, mlir::Value buffer, mlir::Value row,
                     mlir::Value column, int64_t rows, int64_t columns);

/// tn of bf16 on tiles: acc (MxN) += lhs (KxM)^T x rhs (KxN); whether the
/// operands suit it depends on their types, K and N alone.
bool suitsAMXColumns(mlir::Value lhs, mlir::Value rhs);
void emitDotColumnsAMX(Emit &e, mlir::Value lhs, mlir::Value rhs,
                       mlir::Value acc);

/// Codes of e4m3 (i8) as words, the bits of f16, of a 256th of their values;
/// the one that is no number becomes a number.
mlir::Value e4m3AsF16(Emit &e, mlir::Value codes);

/// vpshufb: bytes of each half of 256 bits by number, and lanes of a and c in
/// turn, of the lower or upper part of each half.
mlir::Value shuffleBytes(Emit &e, mlir::Value bytes, mlir::Value control);
mlir::Value unpack(Emit &e, mlir::Value a, mlir::Value c, bool upper);

/// Packed e2m1 bytes (vector<n x i8>) to 2n f32, low nibble first.
mlir::Value decodeFP4(Emit &e, mlir::Value bytes);

/// The same for 16 bytes, in byte shuffles: weights 0..15 and 16..31.
std::pair<mlir::Value, mlir::Value> decodeFP4x32(Emit &e, mlir::Value bytes);

} // namespace fathom::cpu
