// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Classes of characters as the patterns of tokenizers know them: \p{L}, \p{M},
// \p{N}, \p{P}, \p{S} and \s, of a pinned version of Unicode.
#pragma once

#include <cstdint>

namespace fathom::rt::unicode {

enum class Class : uint8_t {
  Other, // controls, format characters, unassigned
  Letter,
  Mark,
  Number,
  Punctuation,
  Symbol,
  Space
};

/// One class a code point, 0x110000 of them; made on first use.
const Class *classes();

} // namespace fathom::rt::unicode
