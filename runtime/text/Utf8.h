// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// UTF-8, well-formed or not. What is ill-formed counts as U+FFFD the way that
// Unicode recommends (and Python and Rust do): one for each longest piece that
// begins like a character.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace fathom::rt::utf8 {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD"; // U+FFFD

struct Sequence {
  enum Kind { Valid, Invalid, Incomplete /* goes on after the end */ };
  Kind kind;
  int length; // in bytes, at least 1
};

/// What begins at `at`, which is before the end.
inline Sequence sequenceAt(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(at);
  if (first < 0x80)
    return {Sequence::Valid, 1};
  if (first < 0xC2 || first > 0xF4)
    return {Sequence::Invalid, 1};
  const int length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  for (int i = 1; i < length; ++i) {
    if (at + i >= text.size())
      return {Sequence::Incomplete, i};
    // Overlong forms, surrogates and what is above U+10FFFF are ill-formed.
    const uint8_t low = i > 1           ? 0x80
                        : first == 0xE0 ? 0xA0
                        : first == 0xF0 ? 0x90
                                        : 0x80;
    const uint8_t high = i > 1           ? 0xBF
                         : first == 0xED ? 0x9F
                         : first == 0xF4 ? 0x8F
                                         : 0xBF;
    if (byte(at + i) < low || byte(at + i) > high)
      return {Sequence::Invalid, i};
  }
  return {Sequence::Valid, length};
}

/// The character at `at` of well-formed text, and its length.
inline uint32_t codePointAt(std::string_view text, size_t at, int &length) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(at);
  if (first < 0x80) {
    length = 1;
    return first;
  }
  length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  uint32_t code = first & (0x7F >> length);
  for (int i = 1; i < length; ++i)
    code = code << 6 | (byte(at + i) & 0x3F);
  return code;
}

/// End of the ASCII characters from `at` on, or a place before it.
inline size_t skipAscii(std::string_view text, size_t at) {
  uint64_t word;
  for (; at + 8 <= text.size(); at += 8) {
    std::memcpy(&word, text.data() + at, 8);
    if (word & 0x8080808080808080)
      break;
  }
  return at;
}

inline bool isValid(std::string_view text) {
  for (size_t at = skipAscii(text, 0); at < text.size();) {
    const Sequence s = sequenceAt(text, at);
    if (s.kind != Sequence::Valid)
      return false;
    at = skipAscii(text, at + s.length);
  }
  return true;
}

/// Appends `text`, U+FFFD for what is ill-formed. Unless `all`, an incomplete
/// end is left; returns how many bytes were taken.
inline size_t appendValid(std::string &out, std::string_view text, bool all) {
  size_t at = 0;
  while (at < text.size()) {
    const Sequence s = sequenceAt(text, at);
    if (s.kind == Sequence::Incomplete && !all)
      break;
    if (s.kind == Sequence::Valid)
      out.append(text, at, s.length);
    else
      out += kReplacement;
    at += s.length;
  }
  return at;
}

} // namespace fathom::rt::utf8
