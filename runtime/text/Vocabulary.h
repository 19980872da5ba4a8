// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The tokens of a byte-level BPE tokenizer.json: the bytes of each id, and the
// added tokens, which stand for their text literally.
#pragma once

#include "runtime/src/Status.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::rt {

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false, normalized = false;
  bool singleWord = false, leftStrip = false, rightStrip = false;
};

class Vocabulary {
public:
  /// Reads untrusted text as JSON of bounded depth.
  static Status parse(std::string_view text, nlohmann::json &out);
  Status read(const nlohmann::json &tokenizer);

  /// The bytes of a token; none for an id that has none.
  std::string_view bytes(int32_t id) const {
    if (id < 0 || static_cast<size_t>(id) >= spans.size())
      return {};
    return std::string_view(blob).substr(spans[id].begin, spans[id].size);
  }
  /// One more than the largest id.
  int32_t size() const { return static_cast<int32_t>(spans.size()); }
  const std::vector<AddedToken> &added() const { return addedTokens; }
  /// The added token with this text; none: nullptr.
  const AddedToken *findAdded(std::string_view content) const;

private:
  void set(uint64_t id, std::string_view bytes);
  Status readAdded(const nlohmann::json &list);

  struct Span {
    uint32_t begin = 0, size = 0;
  };
  std::string blob;        // bytes of all tokens
  std::vector<Span> spans; // by id
  std::vector<AddedToken> addedTokens;
};

/// A member of an object; absent, or not an object: nullptr.
const nlohmann::json *findMember(const nlohmann::json &object,
                                 const char *name);
bool isText(const nlohmann::json *value, const char *expected);
/// A member that is a string, else "".
const std::string &textOf(const nlohmann::json &object, const char *name);

/// "tokenizer.json: WHY", FATHOM_BAD_FILE.
Status badTokenizer(const std::string &why);

} // namespace fathom::rt
