// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tokens of an expert taken by loops one after the other, each with a tile of
// fewer tokens than the one before: where one ends the next begins.
#pragma once

#include "llvm/ADT/StringRef.h"

namespace fathom::tile {

/// On such an scf.for: tokens of its tile, which are its step. A target may
/// leave out a loop and give what it covers to one beside it, since a token's
/// result does not depend on the tile it is in.
constexpr llvm::StringLiteral kTokensAttr = "tile.tokens";

} // namespace fathom::tile
