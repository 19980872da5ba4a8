// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the kernels of attention share.
#pragma once

#include "passes/DSV4ToTile/Lowering.h"

namespace fathom {

/// An attention as its kernels see it: sizes, and where arguments are.
struct AttentionPlan {
  /// A part of the channels that a tile can hold: nope 448 = 256 + 128 + 64,
  /// rope.
  struct Piece {
    int64_t column, width;
    bool ragged; // wider than what is left of the row
  };

  dsv4::AttentionOp op;
  CacheReader window, compressed; // compressed.type is null where there is none
  int64_t heads, width;
  int64_t block;         // heads of a program
  int64_t step;          // rows of a cache that are taken at once
  int64_t chosen = 0;    // compressed rows in `indices`; 0: all are taken
  bool anyOrder = false; // of what is chosen -1 may stand anywhere
  int64_t rotated = 0;   // channels that are turned back at the end
  int64_t tileWidth;     // of a row in a tile: all pieces, and zeros
  bool headsLast, sumsBySteps, rectangles, countsRows; // as TileShapes
  mlir::SmallVector<Piece> pieces;
  mlir::Type carrier; // of the result; probabilities are rounded to it

  /// Of a kernel that sees queries and rows: q, positions, slots, sink, the
  /// caches' components, then these.
  mlir::SmallVector<Value> operands;
  unsigned indices = 0, cos = 0, sin = 0;
  std::string params;

  AttentionPlan(Lowering &l, dsv4::AttentionOp op, Value indices,
                dsv4::RopeOp rope);
  unsigned add(Value buffer) {
    operands.push_back(buffer);
    return operands.size() - 1;
  }
  /// How many aligned steps a window can touch, and the compressed rows that a
  /// token takes at most make.
  int64_t windowSteps() const;
  int64_t compressedSteps() const;
  /// Whether a step's rows of a cache, from a multiple of the step on, are a
  /// rectangle that lies in the cache.
  bool consecutive(const CacheReader &cache) const {
    return rectangles && cache.type.getRows() % step == 0;
  }
  int64_t headBlocks() const { return llvm::divideCeil(heads, block); }
  int64_t paddedHeads() const { return headBlocks() * block; }
  mlir::SmallVector<int64_t> sumShape(int64_t channels) const {
    if (headsLast)
      return {channels, block};
    return {block, channels};
  }
};

/// One token and block of heads: what a program of these kernels does.
struct AttentionProgram {
  KernelBuilder &k;
  const AttentionPlan &plan;
  Value t, h, position, slot;
  Value q; // [block, tileWidth], as it comes

  AttentionProgram(KernelBuilder &k, const AttentionPlan &plan);
  void loadQuery();

  /// Rows of a step [step], -1 where there is none.
  struct Rows {
    Value rows, valid;
    bool together;  // one behind the other
    Value at, from; // where the step and all steps begin; null: at 0
    /// Those that may be valid, counted from the step's first; null: all.
    KernelBuilder::Range some;
  };
  struct Window {
    Value first, from, base;
  };
  Window windowRange();
  Rows windowRows(const Window &w, Value at);
  struct Compressed {
    Value count, base;
  };
  Compressed compressedRange();
  Rows compressedRows(const Compressed &c, Value at);

  /// Calls take(state, cache, rows) for every step.
  using Step = mlir::function_ref<mlir::SmallVector<Value>(
      ValueRange, const CacheReader &, const Rows &)>;
  mlir::SmallVector<Value> overAll(ValueRange state, Step take);

  /// Rows of the cache, [step, tileWidth].
  Value keys(const CacheReader &cache, const Rows &rows);
  /// Says of a gather of `rows` what is known of them.
  Value marked(Value gathered, const Rows &rows);
  Value consecutive(Value first);
  /// The rows of a step that lie before `end`, from `first` on.
  KernelBuilder::Range among(Value at, Value first, Value end);
  /// Scores [step, block] of the keys of `rows` where `mask` holds, -1e30
  /// elsewhere.
  Value scores(Value keys, Value mask, const Rows &rows);
  Value maskOf(Value valid) {
    return k.broadcast(valid, {1}, {plan.step, plan.block});
  }
  /// Largest score of all rows, [block].
  Value largest();
  /// Scores of all rows and the largest of them: rows of the window and of the
  /// compressed cache (if there is one), each [its rows, block] from its first
  /// step on.
  struct Scores {
    Value largest, window, compressed;
  };
  Scores allScores();
  /// Where the rows of a step begin among all of their cache.
  Value placeOf(const Rows &rows) {
    return rows.from ? k.subi(rows.at, rows.from) : rows.at;
  }
  /// Those of a step, [step, block]; null where none are kept.
  Value scoresOf(const Scores &all, const CacheReader &cache, const Rows &rows);
  /// Not yet divided by their sum.
  Value probabilities(Value scores, Value largest);
  /// The denominator [block] and sumShape(channels) before the first step, and
  /// after one more, of which keys [step, channels] are given.
  mlir::SmallVector<Value> firstSums(Value sink, Value largest,
                                     int64_t channels);
  mlir::SmallVector<Value> addProducts(ValueRange sums, Value probabilities,
                                       Value keys, const Rows &rows);
  /// `scores` [step, block] of the step; null: they are computed.
  mlir::SmallVector<Value> addStep(ValueRange sums, const CacheReader &cache,
                                   const Rows &rows, Value largest,
                                   Value scores = {});
  Value sink();
  mlir::SmallVector<Value> bounds(const AttentionPlan::Piece &p);
  /// Sums over their denominator, [block, channels], rounded; and turned back.
  Value divided(Value y, Value denominator, int64_t channels);
  Value turnedBack(Value y, Value cos, Value sin);
  /// Stores the result that these sums make.
  void finish(ValueRange sums, unsigned out);
};

/// The same in several launches, where the steps of rows are shared out to
/// programs; false where one program a token and block of heads does as well.
bool splitAttention(Lowering &l, AttentionPlan &plan, Value result);

} // namespace fathom
