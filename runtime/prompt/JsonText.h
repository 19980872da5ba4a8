// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// JSON that keeps what prompts depend on: the order of keys, and numbers as
// they were written, so that they can be spelled as the published encoders
// spell them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fathom::rt {

struct JsonText {
  enum class Kind { Null, False, True, Number, String, Array, Object };
  Kind kind = Kind::Null;
  std::string text; // of a string; a number as written
  std::vector<JsonText> items;
  std::vector<std::pair<std::string, JsonText>> members;

  bool is(Kind other) const { return kind == other; }
  bool isTrue() const { return kind == Kind::True; }
  /// A member that is there and not null.
  const JsonText *find(std::string_view name) const;
  /// A member that is a string, else "".
  const std::string &string(std::string_view name) const;
  /// What Python calls false: null, false, 0, "", [], {}.
  bool empty() const;

  static JsonText of(std::string text);
};

/// Untrusted text; false: not JSON, or nested too deeply. Of equal keys the
/// last value counts, at the place of the first.
bool parseJson(std::string_view text, JsonText &out);

/// How numbers are spelled: as Python's json.dumps does, or as Rust's
/// serde_json does.
enum class NumberStyle { Python, Rust };

/// json.dumps(value, ensure_ascii=False): ", " and ": " between things.
void writeJson(const JsonText &value, NumberStyle style, std::string &out);
/// A string with its quotes.
void writeJsonString(std::string_view text, std::string &out);

} // namespace fathom::rt
