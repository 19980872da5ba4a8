// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "frontends/Support/StrictJson.h"

#include "frontends/Support/FrontendError.h"

#include "llvm/ADT/StringSet.h"

#include <optional>
#include <vector>

using namespace llvm;

namespace fathom {

namespace {

constexpr size_t kDeepest = 32;
// A parsed value takes far more memory than its text ("0," is two bytes). The
// largest header that the safetensors format allows, a million tensors, has
// about this many.
constexpr size_t kMostValues = 10'000'000;

/// Walks over the tokens of a text that may or may not be JSON and finds what
/// the parser would not: deep nesting, repeated keys, too many values.
/// Everything else that is wrong is left for the parser to say.
class Scanner {
public:
  explicit Scanner(StringRef text) : text(text) {}

  /// The complaint, if there is one.
  std::optional<std::string> run() {
    while (at < text.size()) {
      char c = text[at];
      if (c == '"') {
        if (std::optional<std::string> complaint = string())
          return complaint;
        continue;
      }
      ++at;
      if ((c == '{' || c == '[' || c == ',') && ++values > kMostValues)
        return "it has more than " + std::to_string(kMostValues) + " values";
      if (c == '{' || c == '[') {
        if (open.size() == kDeepest)
          return "it is nested more than " + std::to_string(kDeepest) +
                 " levels deep";
        open.emplace_back();
        open.back().isObject = open.back().expectsKey = c == '{';
      } else if (c == '}' || c == ']') {
        if (open.empty())
          return std::nullopt; // malformed
        open.pop_back();
      } else if (c == ',' && !open.empty()) {
        open.back().expectsKey = open.back().isObject;
      }
    }
    return std::nullopt;
  }

private:
  struct Level {
    bool isObject = false, expectsKey = false;
    StringSet<> keys;
  };

  std::optional<std::string> string() {
    size_t begin = at++;
    bool escaped = false;
    while (at < text.size() && text[at] != '"') {
      if (text[at] == '\\') {
        escaped = true;
        ++at;
      }
      ++at;
    }
    if (at >= text.size()) {
      at = text.size();
      return std::nullopt; // unterminated
    }
    ++at;
    if (open.empty() || !open.back().expectsKey)
      return std::nullopt;
    open.back().expectsKey = false;
    StringRef token = text.slice(begin, at);
    std::string key = token.drop_front().drop_back().str();
    if (escaped) {
      // Two spellings of one key are still the same key.
      Expected<json::Value> decoded = json::parse(token);
      if (!decoded) {
        consumeError(decoded.takeError());
        return std::nullopt;
      }
      if (std::optional<StringRef> value = decoded->getAsString())
        key = value->str();
    }
    if (!open.back().keys.insert(key).second)
      return "the key " + quoted(key) + " occurs twice";
    return std::nullopt;
  }

  StringRef text;
  size_t at = 0, values = 0;
  std::vector<Level> open;
};

Error badJson(StringRef where, std::string why) {
  return makeError(FailureKind::BadFile, "not valid JSON", where.str(),
                   std::move(why),
                   "the file is damaged or not what its name says; download "
                   "it again");
}

} // namespace

Expected<json::Object> parseJsonObject(StringRef text, StringRef where) {
  if (std::optional<std::string> complaint = Scanner(text).run())
    return badJson(where, *complaint);
  Expected<json::Value> value = json::parse(text);
  if (!value)
    return badJson(where, toString(value.takeError()));
  if (json::Object *object = value->getAsObject())
    return std::move(*object);
  return badJson(where, "it must be an object ({...}), but is " +
                            describeKind(*value).str());
}

StringRef describeKind(const json::Value &value) {
  switch (value.kind()) {
  case json::Value::Null:
    return "null";
  case json::Value::Boolean:
    return "a boolean";
  case json::Value::Number:
    return "a number";
  case json::Value::String:
    return "a string";
  case json::Value::Array:
    return "an array";
  case json::Value::Object:
    return "an object";
  }
  return "nothing";
}

} // namespace fathom
