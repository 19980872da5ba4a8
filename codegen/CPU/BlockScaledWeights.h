// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights of tile.dot_scaled as f32, where a scale covers 32 of a row or a
// multiple of that: e2m1 as the exact product of weight and scale, e4m3 as the
// weight alone, since all rows share the scales of their columns: tokens take
// them.
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
  int64_t rows, k, columnBlock;

  BlockScaledWeights(Emit &e, Target target, mlir::Value codes,
                     mlir::Value scales);

  /// Weights of a row that decode() yields, in two vectors.
  static constexpr int64_t step = 32;
  /// Of e4m3 decode() yields so many times too little.
  static constexpr int64_t owed = 256;

  /// `step` weights of a row from column `at` on. FP4 is times its scale and in
  /// the order of weave(); for FP8 see `owed`.
  Emit::Values decode(mlir::Value row, mlir::Value at);
  /// For FP8 the same in one vector of f16.
  mlir::Value wordsE4M3(mlir::Value row, mlir::Value at);
  /// 16 lanes in the order in which FP4 is decoded cheaply, or back.
  mlir::Value weave(mlir::Value v, bool back = false);

  // ---- Weights that are no numbers ----

  /// Whether decode() makes numbers of them, so that rows are searched for them
  /// beside their products, which takes an eighth of what it takes to decode
  /// them.
  bool searchesNaN() const { return !packed; }
  /// Of the search: a vector of zeros first, each step's, and i1. A step has as
  /// many columns as the vector.
  mlir::Type codeBytes(int64_t columns) {
    return e.vec(columns, e.b.getI8Type());
  }
  mlir::Value searched(mlir::Value before, mlir::Value row, mlir::Value at);
  mlir::Value foundNaN(mlir::Value searched);
  /// Runs `body` if there is one in the row.
  void ifRowHasNaN(mlir::Value row, llvm::function_ref<void()> body);

  mlir::Value nan(); // f32
  mlir::Value over(mlir::Value v, int64_t divisor);

private:
  Emit::Values tablesOf(mlir::Value row, mlir::Value block);
  Emit::Values lookUp(mlir::Value row, mlir::Value byte, mlir::Value table);
  Emit::Values lookUpBytes(mlir::Value row, mlir::Value byte,
                           Emit::Range tables);
  Emit::Values decodeE4M3(mlir::Value row, mlir::Value at);
};

} // namespace fathom::cpu
