// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/text/Unicode.h"

#include <algorithm>
#include <vector>

namespace fathom::rt::unicode {

namespace {

struct Range {
  uint32_t first, last;
  Class kind;
};

constexpr Range kRanges[] = {
#include "runtime/text/UnicodeRanges.inc"
};

} // namespace

const Class *classes() {
  static const std::vector<Class> table = [] {
    std::vector<Class> out(0x110000, Class::Other);
    for (const Range &range : kRanges)
      std::fill(out.begin() + range.first, out.begin() + range.last + 1,
                range.kind);
    return out;
  }();
  return table.data();
}

} // namespace fathom::rt::unicode
