// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Choosing the largest entries of a list that a program walks in tiles.
#pragma once

#include "passes/DSV4ToTile/KernelBuilder.h"

#include <functional>

namespace fathom {

/// Scores as integers in the same order: NaN as minus infinity, both zeros
/// alike.
Value orderOf(KernelBuilder &k, Value scores);

struct Selection {
  /// Tiles of `width` entries, all i32 but for `valid`.
  struct Entries {
    Value order, block, valid;
  };
  KernelBuilder &k;
  Value count;   // entries
  int64_t width; // entries of a tile
  std::function<Entries(Value)> at;

  /// Calls emit(entries, place) for every tile: of the `n` largest entries
  /// (among equals the first), place counts from 0 in the order of the list;
  /// it is -1 for all others. More than n entries are valid.
  void choose(int64_t n, llvm::function_ref<void(const Entries &, Value)> emit);

private:
  Value kthLargest(int64_t n);
  Value countOf(mlir::arith::CmpIPredicate predicate, Value threshold);
  Value spread(Value one) { return k.spread(one, width); }
  Value sum(Value mask) {
    return k.total(tile::ReduceKind::Add, k.toInt(mask)); // [1]
  }
};

/// Writes values whose place is not negative to out[first + place].
void scatterChosen(KernelBuilder &k, Value values, Value out, Value first,
                   Value place);

} // namespace fathom
