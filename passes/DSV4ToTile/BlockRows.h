// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where the tokens of a compressor's block are: in this step, or in the state.
#pragma once

#include "passes/DSV4ToTile/Lowering.h"

namespace fathom {

/// The token that ends a block, and what is known of all.
struct BlockEnd {
  Value t, position, slot;
  Value slots; // of all tokens of the step
  int64_t ratio, stateRows;
};

/// `n` tokens from number `first` on of the block that ends `back` tokens
/// before `end`: rows of the step or of the state, -1 where a token is not
/// there; neither where it is before position 0.
struct BlockRows {
  KernelBuilder &k;
  Value step, state, exists; // [n]

  BlockRows(KernelBuilder &k, const BlockEnd &end, int64_t back, Value first,
            int64_t n);
  /// [n, width]: rows that are nowhere are zero in both gathers.
  Value read(Value now, Value kept, Value column, int64_t width) const;
};

} // namespace fathom
