// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The sums of `dot nt` for many tokens with registers of 256 bits, of which one
// sum has two: a block of sums is walked twice, for half of the lanes each
// time, so that eight sums take eight registers and three loads have four
// multiply-adds.
#pragma once

#include "codegen/CPU/MicroKernels.h"

namespace fathom::cpu {

/// Rows of k floats: the lower eight lanes of 16 of k, of `height` rows next to
/// each other, then of the next 16 of k; behind them the upper eight. Loads
/// follow addresses, and rows share no set of the first-level cache.
class Panels {
public:
  /// Room for `rows` of them, a multiple of `height`; k is one of 16.
  Panels(Emit &e, int64_t rows, int64_t k, int64_t height);
  /// What was made by another, with the same shape.
  Panels(Emit &e, mlir::Value buffer, int64_t rows, int64_t k);

  /// Takes the 16 lanes of `row` from column `at` on.
  void store(mlir::Value lanes, mlir::Value row, mlir::Value at);
  /// Half of the lanes of row number `row` (a multiple of `height`) + `next` in
  /// the sixteen number `at`.
  mlir::Value load(mlir::Value row, int64_t next, mlir::Value at, int64_t half);

  int64_t rows, k, height;
  mlir::Value buffer;

private:
  mlir::Value line(mlir::Value row, mlir::Value at, int64_t half);
  Emit &e;
};

/// Which of 16 lanes two registers have.
enum class LaneOrder {
  Natural, // 0 to 7; 8 to 15
  EvenOdd, // 0, 2, ... 14; 1, 3, ... 15
  Nibbles, // 0, 4, 8, 12, 1, 5, 9, 13; 2, 6, 10, 14, 3, 7, 11, 15
};

/// The totals of 4 or 8 sums, each by the halving tree over its lanes, in one
/// vector, or nothing for an order and a number of sums that have no short way:
/// shuffles stay within the halves of a register where they can.
mlir::Value laneTotals(Emit &e, Emit::Range lower, Emit::Range upper,
                       LaneOrder order);

/// Adds to acc, from row `m` on, the products of `rows` rows with the tokens
/// of the columns that are asked for (null: all), as many at a time as their
/// panels are high: 1 to 8 sums. `weights` gives half of the lanes of a row in
/// the sixteen number `at`; `touch` is told which of all sixteens of all blocks
/// of tokens is next, in the first of their two halves.
void multiplyPanels(
    Emit &e, int64_t rows,
    llvm::function_ref<mlir::Value(int64_t row, mlir::Value at, int64_t half)>
        weights,
    Panels tokens, mlir::Value acc, mlir::Value m, mlir::Value columns,
    LaneOrder order, llvm::function_ref<void(mlir::Value)> touch = nullptr);

/// dot nt of bf16 that way: whether the operands suit it depends on the target,
/// their types and shapes.
bool suitsPanels(Target target, mlir::Value lhs, mlir::Value rhs);
void emitDotPanels(Emit &e, mlir::Value lhs, mlir::Value rhs, mlir::Value acc,
                   mlir::Value columns, Emit::Part some);

} // namespace fathom::cpu
