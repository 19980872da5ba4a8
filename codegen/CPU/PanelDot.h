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

/// Adds to acc, from row `m` on, the products of `rows` rows with all tokens,
/// as many at a time as their panels are high. `weights` gives half of the
/// lanes of a row in the sixteen number `at`; `inOrder` puts 16 lanes of sums
/// into the order of k if both operands have another.
void multiplyPanels(
    Emit &e, int64_t rows,
    llvm::function_ref<mlir::Value(int64_t row, mlir::Value at, int64_t half)>
        weights,
    Panels tokens, mlir::Value acc, mlir::Value m,
    llvm::function_ref<mlir::Value(mlir::Value)> inOrder);

/// dot nt of bf16 that way: whether the operands suit it depends on the target,
/// their types and shapes.
bool suitsPanels(Target target, mlir::Value lhs, mlir::Value rhs);
void emitDotPanels(Emit &e, mlir::Value lhs, mlir::Value rhs, mlir::Value acc);

} // namespace fathom::cpu
