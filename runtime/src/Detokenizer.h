// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Token ids to text: the decoding half of a byte-level BPE tokenizer.json.
#pragma once

#include "runtime/src/Status.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::rt {

class Detokenizer {
public:
  /// Reads the text of a tokenizer.json (untrusted).
  Status load(std::string_view json);

  /// Adds a token; returns the text that is complete now. Bytes that cannot be
  /// UTF-8 become U+FFFD, as does what is incomplete at flush(). Ids without
  /// text add nothing. The view is valid until the next call.
  std::string_view add(int32_t id);
  std::string_view flush();

  /// The bytes of one token.
  std::string_view bytes(int32_t id) const;

private:
  void takeComplete(bool all);

  struct Span {
    uint32_t begin = 0, size = 0;
  };
  std::string blob;        // bytes of all tokens
  std::vector<Span> spans; // by id
  std::string pending, ready;
};

} // namespace fathom::rt
