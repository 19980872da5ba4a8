// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights of tile.dot_scaled as f32, where a scale covers 32 of a row or a
// multiple of that: every one is the exact product of weight and scale.
#pragma once

#include "codegen/CPU/MicroKernels.h"

namespace fathom::cpu {

/// A tile of weights [rows, k] of e2m1, two in a byte, or e4m3, each with the
/// scale of its block.
struct BlockScaledWeights {
  Emit &e;
  Target target;
  mlir::Value codes, scales;
  bool packed; // e2m1
  int64_t rows, k, rowBlock, columnBlock;
  mlir::Value factors; // what scaleOf() reads

  BlockScaledWeights(Emit &e, Target target, mlir::Value codes,
                     mlir::Value scales);

  /// Weights of a row that decode() yields, in two vectors.
  static constexpr int64_t step = 32;
  /// The largest code of a scale of e4m3 that AVX2 takes, 2^119: there the 256
  /// that a decoded weight owes goes into the scale.
  static constexpr int64_t largestScale = 246;

  // ---- Scales: allocate, stage some rows, then ask for one ----

  /// Room for the scales of `count` rows of scales.
  void allocFactors(int64_t count);
  /// Puts rows of scales from `first` on there, in the form that decode()
  /// takes.
  void stageScales(mlir::Value first, int64_t count);
  /// What decode() takes for a row of the tile and its place among those that
  /// were staged: the scale of block `block` of columns.
  Emit::Values scaleOf(mlir::Value row, mlir::Value staged, mlir::Value block);

  // ---- Weights ----

  /// `step` weights of a row from column `at` on, times their scale. FP4 is in
  /// the order of weave().
  Emit::Values decode(mlir::Value row, mlir::Value at, Emit::Range scale);
  /// 16 lanes in the order in which FP4 is decoded cheaply, or back.
  mlir::Value weave(mlir::Value v, bool back = false);

  // ---- Weights that are no numbers ----

  /// Whether decode() makes numbers of them, so that rows are searched for them
  /// beside their products: with AVX2 that takes an eighth of what it takes to
  /// decode them.
  bool searchesNaN() const { return !packed && !target.wide(); }
  /// Of the search: a vector of zeros first, each step's, and i1.
  mlir::Type codeBytes() { return e.vec(step, e.b.getI8Type()); }
  mlir::Value searched(mlir::Value before, mlir::Value row, mlir::Value at);
  mlir::Value foundNaN(mlir::Value searched);
  /// Runs `body` if there is one in the row.
  void ifRowHasNaN(mlir::Value row, llvm::function_ref<void()> body);

  mlir::Value nan(); // f32
  mlir::Value times(mlir::Value v, int64_t factor);
  mlir::Value over(mlir::Value v, int64_t divisor);

private:
  bool byTable() const { return packed && !target.wide(); }
  mlir::Value exponents(mlir::Value codes);
  Emit::Values tablesOf(mlir::Value row, mlir::Value block);
  Emit::Values lookUp(mlir::Value row, mlir::Value byte, mlir::Value scale);
  Emit::Values lookUpBytes(mlir::Value row, mlir::Value byte,
                           Emit::Range tables);
  Emit::Values decodeE4M3(mlir::Value row, mlir::Value at);
};

} // namespace fathom::cpu
