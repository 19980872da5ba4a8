// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Token ids to text as they come.
#pragma once

#include "runtime/text/Vocabulary.h"

#include <memory>

namespace fathom::rt {

class Detokenizer {
public:
  Detokenizer() = default;
  explicit Detokenizer(std::shared_ptr<const Vocabulary> vocabulary)
      : vocabulary(std::move(vocabulary)) {}

  /// Reads the text of a tokenizer.json (untrusted).
  Status load(std::string_view json);

  /// Adds a token; returns the text that is complete now. Bytes that cannot be
  /// UTF-8 become U+FFFD, as does what is incomplete at flush(). Ids without
  /// text add nothing. The view is valid until the next call.
  std::string_view add(int32_t id) { return addBytes(bytes(id)); }
  std::string_view addBytes(std::string_view bytes);
  std::string_view flush();

  /// How many ids there are.
  int32_t size() const { return vocabulary ? vocabulary->size() : 0; }

  /// The bytes of one token.
  std::string_view bytes(int32_t id) const {
    return vocabulary ? vocabulary->bytes(id) : std::string_view();
  }

private:
  std::shared_ptr<const Vocabulary> vocabulary;
  std::string pending, ready;
};

} // namespace fathom::rt
