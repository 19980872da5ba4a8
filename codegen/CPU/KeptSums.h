// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Products of few tokens with long rows. Every few rows of weights read all
// tokens again, which must come from the first-level cache: so as many columns
// as leave them there are walked in all rows before those behind them, and the
// lanes' sums wait in memory meanwhile. Their order stays what it is.
#pragma once

#include "codegen/CPU/Emit.h"

namespace fathom::cpu {

struct KeptSums {
  Emit &e;
  int64_t columns; // of a row, each `kLanes` sums
  mlir::Value buffer;

  /// How many of `k` columns are walked at once, if what is read again has so
  /// many bytes for each: all, or a power of two that divides them. Each part
  /// has code of its own.
  static int64_t columnsAtOnce(int64_t k, int64_t bytes) {
    constexpr int64_t kFirstLevel = 40960; // and room for what passes by
    constexpr int64_t kMostParts = 4;
    int64_t most = llvm::bit_floor(uint64_t(kFirstLevel / bytes));
    return k % most || k / most > kMostParts ? k : most;
  }

  KeptSums(Emit &e, int64_t rows, int64_t columns);
  /// Sums of `rows` rows from `row` on.
  Emit::Values load(mlir::Value row, int64_t rows) const;
  void store(Emit::Range sums, mlir::Value row) const;
  /// Those of a column become `value`.
  void fill(mlir::Value row, mlir::Value column, mlir::Value value) const;
};

} // namespace fathom::cpu
