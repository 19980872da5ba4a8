// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/prompt/JsonText.h"

#include <nlohmann/json.hpp>

#include <charconv>
#include <unordered_map>

namespace fathom::rt {

namespace {

constexpr size_t kMaxDepth = 128;
/// From here on, equal keys are looked up rather than searched for.
constexpr size_t kFewMembers = 16;

/// Builds values as the parser meets them.
class Builder : public nlohmann::json_sax<nlohmann::json> {
public:
  explicit Builder(JsonText &root) : root(root) {}

  bool null() override { return add(JsonText::Kind::Null); }
  bool boolean(bool value) override {
    return add(value ? JsonText::Kind::True : JsonText::Kind::False);
  }
  bool number_integer(number_integer_t value) override {
    return add(JsonText::Kind::Number, std::to_string(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return add(JsonText::Kind::Number, std::to_string(value));
  }
  bool number_float(number_float_t, const string_t &text) override {
    return add(JsonText::Kind::Number, text);
  }
  bool string(string_t &text) override {
    return add(JsonText::Kind::String, std::move(text));
  }
  bool binary(binary_t &) override { return false; }
  bool start_object(size_t) override { return open(JsonText::Kind::Object); }
  bool start_array(size_t) override { return open(JsonText::Kind::Array); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t &name) override {
    Frame &frame = stack.back();
    auto &members = frame.value->members;
    if (members.size() == kFewMembers)
      for (size_t i = 0; i < members.size(); ++i)
        frame.places.emplace(members[i].first, i);
    frame.place = members.size();
    if (members.size() < kFewMembers) {
      for (size_t i = 0; i < members.size(); ++i)
        if (members[i].first == name)
          frame.place = i;
    } else {
      frame.place = frame.places.emplace(name, members.size()).first->second;
    }
    if (frame.place == members.size())
      members.emplace_back(std::move(name), JsonText());
    return true;
  }
  bool parse_error(size_t, const std::string &,
                   const nlohmann::detail::exception &) override {
    return false;
  }

private:
  struct Frame {
    JsonText *value;
    size_t place = 0; // of an object's current member
    std::unordered_map<std::string, size_t> places;
  };

  JsonText &next() {
    if (stack.empty())
      return root;
    JsonText &parent = *stack.back().value;
    if (parent.kind == JsonText::Kind::Array) {
      parent.items.emplace_back();
      return parent.items.back();
    }
    JsonText &member = parent.members[stack.back().place].second;
    member = JsonText();
    return member;
  }

  bool add(JsonText::Kind kind, std::string text = "") {
    JsonText &value = next();
    value.kind = kind;
    value.text = std::move(text);
    return true;
  }

  bool open(JsonText::Kind kind) {
    if (stack.size() == kMaxDepth)
      return false;
    JsonText &value = next();
    value.kind = kind;
    stack.push_back({&value, 0, {}});
    return true;
  }

  bool close() {
    stack.pop_back();
    return true;
  }

  JsonText &root;
  std::vector<Frame> stack;
};

/// The shortest digits that give the number back, laid out as the style has it.
std::string spellFloat(double value, NumberStyle style) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value,
                                 std::chars_format::scientific)
                       .ptr;
  const std::string_view text(buffer, end - buffer);
  const bool negative = text[0] == '-';
  const size_t mark = text.find('e');
  std::string digits;
  for (const char c : text.substr(negative, mark - negative))
    if (c != '.')
      digits += c;
  int exponent = 0;
  const char *first = buffer + mark + 1;
  std::from_chars(*first == '+' ? first + 1 : first, end, exponent);
  const int point = exponent + 1; // of the decimal point, from the first digit
  const int least = style == NumberStyle::Python ? -4 : -5;
  std::string out = negative ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (point > 16 || point <= least) {
    out += digits.substr(0, 1);
    if (count > 1)
      out += "." + digits.substr(1);
    out += exponent < 0 ? "e-" : "e+";
    const std::string size = std::to_string(std::abs(exponent));
    if (style == NumberStyle::Python && size.size() < 2)
      out += '0';
    return out + size;
  }
  if (point <= 0)
    return out + "0." + std::string(-point, '0') + digits;
  if (count <= point)
    return out + digits + std::string(point - count, '0') + ".0";
  return out + digits.substr(0, point) + "." + digits.substr(point);
}

std::string spellNumber(const std::string &text, NumberStyle style) {
  const bool whole = text.find_first_of(".eE") == std::string::npos;
  // Python has whole numbers of any size.
  if (whole && style == NumberStyle::Python)
    return text;
  if (whole) {
    int64_t small = 0;
    uint64_t large = 0;
    const char *end = text.data() + text.size();
    if (std::from_chars(text.data(), end, small).ec == std::errc() ||
        std::from_chars(text.data(), end, large).ec == std::errc())
      return text;
  }
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return spellFloat(value, style);
}

} // namespace

const JsonText *JsonText::find(std::string_view name) const {
  for (const auto &[key, value] : members)
    if (key == name)
      return value.kind == Kind::Null ? nullptr : &value;
  return nullptr;
}

const std::string &JsonText::string(std::string_view name) const {
  static const std::string none;
  const JsonText *value = find(name);
  return value && value->kind == Kind::String ? value->text : none;
}

bool JsonText::empty() const {
  switch (kind) {
  case Kind::Null:
  case Kind::False:
    return true;
  case Kind::True:
    return false;
  case Kind::Number:
    return text.find_first_of("123456789") == std::string::npos;
  case Kind::String:
    return text.empty();
  case Kind::Array:
    return items.empty();
  case Kind::Object:
    return members.empty();
  }
  return true;
}

JsonText JsonText::of(std::string text) {
  JsonText out;
  out.kind = Kind::String;
  out.text = std::move(text);
  return out;
}

bool parseJson(std::string_view text, JsonText &out) {
  out = JsonText();
  Builder builder(out);
  if (text.find('\0') != text.npos) // the parser's end of text
    return false;
  return nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
}

void writeJsonString(std::string_view text, std::string &out) {
  static const char *hex = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\b':
      out += "\\b";
      break;
    case '\f':
      out += "\\f";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      if (static_cast<unsigned char>(c) < 0x20) {
        out += "\\u00";
        out += hex[c >> 4];
        out += hex[c & 15];
      } else {
        out += c;
      }
    }
  }
  out += '"';
}

void writeJson(const JsonText &value, NumberStyle style, std::string &out) {
  const char *separator = "";
  switch (value.kind) {
  case JsonText::Kind::Null:
    out += "null";
    return;
  case JsonText::Kind::False:
    out += "false";
    return;
  case JsonText::Kind::True:
    out += "true";
    return;
  case JsonText::Kind::Number:
    out += spellNumber(value.text, style);
    return;
  case JsonText::Kind::String:
    writeJsonString(value.text, out);
    return;
  case JsonText::Kind::Array:
    out += '[';
    for (const JsonText &item : value.items) {
      out += separator;
      writeJson(item, style, out);
      separator = ", ";
    }
    out += ']';
    return;
  case JsonText::Kind::Object:
    out += '{';
    for (const auto &[key, member] : value.members) {
      out += separator;
      writeJsonString(key, out);
      out += ": ";
      writeJson(member, style, out);
      separator = ", ";
    }
    out += '}';
    return;
  }
}

} // namespace fathom::rt
