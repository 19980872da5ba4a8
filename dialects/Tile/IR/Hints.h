// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a program can say of what it does, beyond what its operations mean, for
// devices that can make something of it.
#pragma once

#include "llvm/ADT/StringRef.h"

namespace fathom::tile {

/// Unit attribute of gather and gather_scaled whose rows are
/// select(valid, splat(first) + iota, -1): all rows from `first` on exist in
/// the buffer, so that they can be read as one rectangle before `valid` is
/// applied.
constexpr llvm::StringLiteral kConsecutiveAttr = "tile.consecutive";

/// Unit attribute of a sum whose addends are shares of something, from 0 to 1
/// (and, by rounding, little more), and whose smallest do not matter: how they
/// are scaled need not wait for the largest.
constexpr llvm::StringLiteral kSharesAttr = "tile.shares";

} // namespace fathom::tile
