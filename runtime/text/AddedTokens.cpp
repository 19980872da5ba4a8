// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/text/AddedTokens.h"

#include "runtime/text/Unicode.h"
#include "runtime/text/Utf8.h"

#include <algorithm>

namespace fathom::rt {

namespace {

/// A match is looked for at every place, so its length bounds the time.
constexpr size_t kMaxContent = 256;

uint32_t child(const std::vector<std::pair<uint8_t, uint32_t>> &children,
               uint8_t byte) {
  auto it = std::lower_bound(children.begin(), children.end(), byte,
                             [](const std::pair<uint8_t, uint32_t> &c,
                                uint8_t b) { return c.first < b; });
  return it != children.end() && it->first == byte ? it->second : 0;
}

bool isSpaceAt(std::string_view text, size_t at, int &length) {
  return unicode::classes()[utf8::codePointAt(text, at, length)] ==
         unicode::Class::Space;
}

} // namespace

Status AddedTokens::add(const AddedToken &token) {
  if (token.content.size() > kMaxContent)
    return badTokenizer("added token " + std::to_string(token.id) + " has " +
                        std::to_string(token.content.size()) +
                        " bytes, more than " + std::to_string(kMaxContent));
  if (token.singleWord)
    return Status(FATHOM_UNSUPPORTED, "tokenizer.json: added token '" +
                                          token.content +
                                          "' asks for single_word");
  uint32_t node = 0;
  for (const char c : token.content) {
    const uint8_t byte = static_cast<uint8_t>(c);
    auto &children = nodes[node].children;
    uint32_t next = child(children, byte);
    if (!next) {
      next = static_cast<uint32_t>(nodes.size());
      children.insert(std::upper_bound(children.begin(), children.end(),
                                       std::make_pair(byte, uint32_t(0))),
                      {byte, next});
      if (node == 0)
        roots[byte] = next;
      nodes.emplace_back();
    }
    node = next;
  }
  if (!nodes[node].token) // of two the first, as HF has it
    nodes[node].token = &token;
  return Status();
}

const AddedToken *AddedTokens::find(std::string_view text, size_t at,
                                    size_t &begin, size_t &end) const {
  const size_t from = at;
  const AddedToken *found = nullptr;
  for (; at < text.size() && !found; ++at) {
    uint32_t node = roots[static_cast<uint8_t>(text[at])];
    for (size_t next = at + 1; node; ++next) {
      if (nodes[node].token) {
        found = nodes[node].token;
        begin = at;
        end = next;
      }
      node = next < text.size()
                 ? child(nodes[node].children, static_cast<uint8_t>(text[next]))
                 : 0;
    }
  }
  if (!found)
    return nullptr;
  int length = 0;
  while (found->rightStrip && end < text.size() && isSpaceAt(text, end, length))
    end += length;
  while (found->leftStrip && begin > from) {
    size_t before = begin - 1;
    while (before > from && (static_cast<uint8_t>(text[before]) & 0xC0) == 0x80)
      --before;
    if (!isSpaceAt(text, before, length))
      break;
    begin = before;
  }
  return found;
}

} // namespace fathom::rt
