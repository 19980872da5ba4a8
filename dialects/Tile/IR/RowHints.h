// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a program can say of the rows that it gathers. Nothing depends on it but
// the way in which a device reads them.
#pragma once

#include "llvm/ADT/StringRef.h"

namespace fathom::tile {

/// Unit attribute of gather and gather_scaled whose rows are
/// select(valid, splat(first) + iota, -1): all rows from `first` on exist in the
/// buffer, so that they can be read as one rectangle before `valid` is applied.
constexpr llvm::StringLiteral kConsecutiveAttr = "tile.consecutive";

} // namespace fathom::tile
