// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Finds added tokens in text: at the leftmost place, the longest one.
#pragma once

#include "runtime/text/Vocabulary.h"

namespace fathom::rt {

class AddedTokens {
public:
  /// `tokens` outlives this; those for which `use` holds are looked for.
  template <typename Use>
  Status build(const std::vector<AddedToken> &tokens, Use use) {
    nodes.assign(1, {});
    for (const AddedToken &token : tokens)
      if (use(token))
        if (Status s = add(token); s.failed())
          return s;
    return Status();
  }

  /// The first token at or after `at`; nullptr: there is none. [begin, end) is
  /// what it takes of the text, blanks included that it strips.
  const AddedToken *find(std::string_view text, size_t at, size_t &begin,
                         size_t &end) const;

private:
  Status add(const AddedToken &token);

  struct Node {
    const AddedToken *token = nullptr;
    std::vector<std::pair<uint8_t, uint32_t>> children; // sorted
  };
  std::vector<Node> nodes;
  uint32_t roots[256] = {}; // the root's children
};

} // namespace fathom::rt
