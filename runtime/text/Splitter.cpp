// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/text/Splitter.h"

#include "runtime/text/Unicode.h"
#include "runtime/text/Utf8.h"

namespace fathom::rt {

Splitter::~Splitter() = default;

namespace {

using unicode::Class;

/// A character of the text and what it is.
struct Reader {
  std::string_view text;
  const Class *classes = unicode::classes();

  uint32_t code(size_t at, int &length) const {
    return utf8::codePointAt(text, at, length);
  }
  Class kind(size_t at, int &length) const { return classes[code(at, length)]; }
};

/// \p{N}{1,most}
class Numbers : public Splitter {
public:
  explicit Numbers(size_t most) : most(most) {}

  bool find(std::string_view text, size_t at, Match &match,
            Status &) const override {
    const Reader read = {text};
    int length = 0;
    for (;;) {
      while (at < text.size() && isAsciiOther(text[at]))
        ++at;
      if (at >= text.size())
        return false;
      if (read.kind(at, length) == Class::Number)
        break;
      at += length;
    }
    match.begin = at;
    for (size_t count = 0; at < text.size() && count < most; ++count) {
      if (read.kind(at, length) != Class::Number)
        break;
      at += length;
    }
    match.end = at;
    return true;
  }

private:
  static bool isAsciiOther(char c) {
    return static_cast<uint8_t>(c) < 0x80 && !(c >= '0' && c <= '9');
  }

  size_t most;
};

/// [一-龥぀-ゟ゠-ヿ]+
class Ideographs : public Splitter {
public:
  bool find(std::string_view text, size_t at, Match &match,
            Status &) const override {
    size_t end = 0;
    // All of them begin with one of these bytes.
    while (at < text.size() && (static_cast<uint8_t>(text[at]) < 0xE3 ||
                                static_cast<uint8_t>(text[at]) > 0xE9 ||
                                (end = run(text, at)) == at))
      ++at;
    if (at >= text.size())
      return false;
    match = {at, end};
    return true;
  }

private:
  static size_t run(std::string_view text, size_t at) {
    int length = 0;
    while (at < text.size()) {
      const uint32_t code = utf8::codePointAt(text, at, length);
      if (!(code >= 0x4E00 && code <= 0x9FA5) &&
          !(code >= 0x3040 && code <= 0x30FF))
        break;
      at += length;
    }
    return at;
  }
};

bool isAsciiLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool isAsciiPunctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') ||
         (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}
bool isNewline(char c) { return c == '\r' || c == '\n'; }

/// The words pattern; its alternatives are numbered below.
class Words : public Splitter {
public:
  bool find(std::string_view text, size_t at, Match &match,
            Status &) const override {
    const Reader read = {text};
    while (at < text.size()) {
      const size_t end = matchAt(read, at);
      if (end > at) {
        match = {at, end};
        return true;
      }
      int length = 0;
      read.code(at, length);
      at += length;
    }
    return false;
  }

private:
  static bool isWord(Class kind) {
    return kind == Class::Letter || kind == Class::Mark;
  }
  static bool isSign(Class kind) {
    return kind == Class::Punctuation || kind == Class::Symbol;
  }

  /// End of the letters and marks from `at` on.
  static size_t word(const Reader &read, size_t at) {
    const std::string_view text = read.text;
    int length = 0;
    for (;;) {
      while (at < text.size() && isAsciiLetter(text[at]))
        ++at;
      if (at >= text.size() || static_cast<uint8_t>(text[at]) < 0x80 ||
          !isWord(read.kind(at, length)))
        return at;
      at += length;
    }
  }

  /// [\p{P}\p{S}]+[\r\n]* from `at` on, where the first is known.
  static size_t signs(const Reader &read, size_t at) {
    int length = 0;
    while (at < read.text.size() && isSign(read.kind(at, length)))
      at += length;
    while (at < read.text.size() && isNewline(read.text[at]))
      ++at;
    return at;
  }

  static size_t spaces(const Reader &read, size_t at) {
    const std::string_view text = read.text;
    int length = 0;
    size_t last = at, newline = 0, end = at;
    while (end < text.size() && read.kind(end, length) == Class::Space) {
      last = end;
      if (isNewline(text[end]))
        newline = end + 1;
      end += length;
    }
    if (newline) // 4: \s*[\r\n]+
      return newline;
    // 5: \s+(?!\S), 6: \s+
    return end == text.size() || last == at ? end : last;
  }

  static size_t matchAt(const Reader &read, size_t at) {
    const std::string_view text = read.text;
    const char c = text[at];
    // 1: [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+
    if (isAsciiPunctuation(c) && at + 1 < text.size() &&
        isAsciiLetter(text[at + 1])) {
      size_t end = at + 2;
      while (end < text.size() && isAsciiLetter(text[end]))
        ++end;
      return end;
    }
    int length = 0, second = 0;
    const Class kind = read.kind(at, length);
    // 2: [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+
    if (isWord(kind))
      return word(read, at);
    if (isSign(kind))
      return signs(read, at); // 3 without its blank
    const size_t next = at + length;
    if (next < text.size() && !isNewline(c)) {
      const Class following = read.kind(next, second);
      if (isWord(following))
        return word(read, next);
      if (c == ' ' && isSign(following))
        return signs(read, next); // 3:  ?[\p{P}\p{S}]+[\r\n]*
    }
    return kind == Class::Space ? spaces(read, at) : at;
  }
};

/// Spells line ends and needless escapes one way: files write them as
/// characters or as escapes.
std::string normalise(const std::string &pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\r')
      out += "\\r";
    else if (pattern[i] == '\n')
      out += "\\n";
    else if (pattern[i] == '\\' && i + 1 < pattern.size()) {
      ++i;
      if (pattern[i] != '"')
        out += '\\';
      out += pattern[i];
    } else
      out += pattern[i];
  }
  return out;
}

constexpr const char *kWords =
    R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|)re"
    R"re([^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)re"
    R"re(\s*[\r\n]+|\s+(?!\S)|\s+)re";

} // namespace

Status Splitter::create(const std::string &pattern,
                        std::unique_ptr<Splitter> &out) {
  const std::string text = normalise(pattern);
  if (text == R"(\p{N}{1,3})")
    out = std::make_unique<Numbers>(3);
  else if (text == R"(\p{N})")
    out = std::make_unique<Numbers>(1);
  else if (text == "[一-龥぀-ゟ゠-ヿ]+")
    out = std::make_unique<Ideographs>();
  else if (text == kWords)
    out = std::make_unique<Words>();
  else
    return createByPcre(pattern, out);
  return Status();
}

} // namespace fathom::rt
