// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights as bf16 operands: FP4 and FP8 are decoded, with their scales, in
// registers into vectors of 32, in whatever order of k the decoding yields
// cheaply; activations are permuted to match, once per tile.
#pragma once

#include "codegen/CPU/MicroKernels.h"

namespace fathom::cpu {

/// A tile of weights [rows, k] and how it is stored.
struct NarrowWeights {
  enum class Kind { BF16, FP8, FP4 };
  Kind kind;
  mlir::Value codes, scales; // no scales with BF16
  int64_t rows, k;

  /// The operand of a dot whose shape suits the 512-bit kernels, or none. The
  /// answer depends on the types and k, for scaled weights also on their rows,
  /// never on the number of tokens.
  static std::optional<NarrowWeights> of(mlir::Value lhs, mlir::Value rhs);
  static std::optional<NarrowWeights> of(mlir::Value codes, mlir::Value scales,
                                         mlir::Value x);

  /// Weights of a row that are decoded together, one 64-byte load (BF16: 32).
  int64_t unit() const {
    return kind == Kind::FP4 ? 128 : kind == Kind::FP8 ? 64 : 32;
  }
  int64_t vectors() const { return unit() / 32; }
  /// Weights of a row that share one scale lookup.
  int64_t group() const {
    return kind == Kind::FP8 ? std::min<int64_t>(k, 128) : unit();
  }
};

/// What decoding needs beside the codes: constants, and for FP8 the tables of
/// one group with its scale applied.
struct Decoder {
  Emit &e;
  const NarrowWeights &w;
  mlir::Value tables[4]; // FP4: words; FP8: low bytes, high bytes, of 2 x 64
  mlir::Value spread;    // FP4: where the bytes of four scales go

  Decoder(Emit &e, const NarrowWeights &w);
  /// FP8: sets the tables for the group that starts at column k.
  void startGroup(mlir::Value k);
  /// Makes the tables of all groups here, once, for startGroup to load.
  void stageGroups();
  /// Calls body for every unit of k, with the tables set for it.
  Emit::Values
  forUnits(Emit::Range init,
           llvm::function_ref<Emit::Values(mlir::Value, Emit::Range)> body);
  /// vectors() x vector<32xbf16> of `row` from column k on.
  Emit::Values decode(mlir::Value row, mlir::Value k) const;

private:
  mlir::Value staged; // tables of all groups, four rows each
  void makeTables(mlir::Value k);
  mlir::Value scaleWords(mlir::Value row, mlir::Value k) const;
};

/// i1: the scales leave every weight within the normal numbers of bf16, which
/// Decoder::scaled needs.
mlir::Value scalesAreModerate(Emit &e, const NarrowWeights &w);

/// Tokens of x [tokens, k] bf16 in the order of Decoder: a buffer
/// [tokens/width * k/2, 2*width]; row (j*k/32 + v)*16 + p holds, for the
/// tokens of group j, the pair p of the v-th vector. `width` is 1 or 4n <= 16.
mlir::Value packTokens(Emit &e, const NarrowWeights &w, mlir::Value x,
                       int64_t width);

/// The same in groups as AMX takes them, or token by token; what an earlier dot
/// has packed from x for weights of the same kind is taken again.
mlir::Value packForAMX(Emit &e, const NarrowWeights &w, mlir::Value x);
mlir::Value packInRows(Emit &e, const NarrowWeights &w, mlir::Value x);
int64_t tokensOfGroup(mlir::Value x);

/// Software prefetch of a matrix whose programs walk it block by block: k
/// within the tile, its next rows, the next tile of k, the next block of rows.
class Prefetch {
public:
  Prefetch(Emit &e, mlir::Value tile);

  // ---- Walks over a few rows at a time, along all of k ----

  /// Bytes between a touch and the use.
  static constexpr int64_t kAheadBytes = 4096;
  /// How many rows of `tile` so many bytes are, a multiple of `step`, and all
  /// at most.
  static int64_t rowsOf(mlir::Value tile, int64_t bytes, int64_t step);
  static int64_t rowsAhead(mlir::Value tile, int64_t step) {
    return rowsOf(tile, kAheadBytes, step);
  }
  /// Touches what lies `rows` rows (at most as many as the tile has) after
  /// (row, column) of the tile.
  void touchRows(mlir::Value row, mlir::Value column, int64_t rows);

  // ---- Walks over strips: each line of k over all rows of the strip ----

  /// The strip of `height` rows from `row` of the tile on is walked; touchNext
  /// is about the one `distance` rows further on. Behind the last rows of a
  /// matrix that the place in the grid chose from a table, the table's next
  /// matrix begins, as the next program's does.
  void startStrip(mlir::Value row, int64_t height, int64_t distance);
  /// Touches the next strip in the order of its addresses, so that the
  /// hardware's own prefetchers go along: in `steps` calls all of it, with
  /// `step` from 0 on; or so each of `streams` equal parts of it.
  void touchNext(mlir::Value step, int64_t steps, mlir::Value stream = {},
                 int64_t streams = 1, int locality = kSecondLevel);
  /// For the first strip, which nothing has touched: what comes `kNearBytes`
  /// later in the row number `row` of the strip.
  void touchNear(mlir::Value row, mlir::Value column);
  static constexpr int64_t kNearBytes = 128;

  /// Where a touch brings a line, in words of memref.prefetch.
  static constexpr int kFirstLevel = 3, kSecondLevel = 2;

private:
  /// Rows and columns of the matrix where `row` of the tile lies, a row beyond
  /// its end in the next tile.
  std::pair<mlir::Value, mlir::Value> place(mlir::Value row);
  void prefetch(mlir::Value from, mlir::Value row, mlir::Value column,
                int locality);
  int64_t columnsOfLine() const;

  Emit &e;
  mlir::Value matrix, row0, column0; // null: not a view, nothing to do
  tile::SelectBufferOp ofTable;      // null: the matrix is no table's
  int64_t tileRows = 0, tileColumns = 0, matrixColumns = 0;
  int64_t height = 0;
  mlir::Value strip, nextMatrix, nextRow, nextColumn;
};

/// What a walk over strips of a few rows, along all of k, touches: the strip
/// some bytes further on, a part of it with each of `steps` steps, so that
/// touches do not wait for line buffers, from each of its `streams` equal parts
/// in turn; with `soon` the very next strip, too, into the first level, if it
/// is small beside that.
class Strips {
public:
  Strips(Emit &e, mlir::Value tile, int64_t height, int64_t bytes,
         int64_t streams, int64_t steps, bool soon = false);
  void start(mlir::Value row);
  void touch(mlir::Value step);

private:
  Emit &e;
  Prefetch prefetch;
  std::optional<Prefetch> next;
  int64_t height, distance, streams, steps;
};

/// What a walk over weights of tile.dot_scaled touches, for one token or
/// several: how far ahead and from how many places, as measured
/// (PERFORMANCE.md).
Strips stripsOfScaled(Emit &e, mlir::Value codes, int64_t height, bool one,
                      int64_t steps, bool soon = false);

} // namespace fathom::cpu
