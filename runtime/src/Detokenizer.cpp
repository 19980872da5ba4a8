// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/src/Detokenizer.h"

#include "runtime/format/ManifestRead.h"

#include <nlohmann/json.hpp>

namespace fathom::rt {

namespace {

constexpr uint64_t kMaxTokens = uint64_t(1) << 24;
constexpr const char *kReplacement = "\xEF\xBF\xBD"; // U+FFFD

/// GPT-2 writes each byte of a token as a printable character: printable
/// Latin-1 bytes stand for themselves, the other 68 for U+0100 upwards.
std::vector<int> characterToByte() {
  std::vector<int> table(256 + 68, -1);
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) ||
                  byte >= 174;
    table[itself ? byte : next++] = byte;
  }
  return table;
}

/// Length of the UTF-8 sequence at `at`: 0 if it is invalid, -1 if it is valid
/// so far and goes on after the end. Overlong forms and surrogates are invalid.
int sequenceLength(std::string_view text, size_t at) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(at);
  if (first < 0x80)
    return 1;
  if (first < 0xC2 || first > 0xF4)
    return 0;
  const int length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  for (int i = 1; i < length; ++i) {
    if (at + i >= text.size())
      return -1;
    const uint8_t low = i > 1           ? 0x80
                        : first == 0xE0 ? 0xA0
                        : first == 0xF0 ? 0x90
                                        : 0x80;
    const uint8_t high = i > 1           ? 0xBF
                         : first == 0xED ? 0x9F
                         : first == 0xF4 ? 0x8F
                                         : 0xBF;
    if (byte(at + i) < low || byte(at + i) > high)
      return 0;
  }
  return length;
}

/// Code point of a valid sequence.
uint32_t codePoint(std::string_view text, size_t at, int length) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  if (length == 1)
    return byte(at);
  uint32_t code = byte(at) & (0x7F >> length);
  for (int i = 1; i < length; ++i)
    code = code << 6 | (byte(at + i) & 0x3F);
  return code;
}

/// A vocabulary entry to the bytes it stands for.
std::string toBytes(const std::string &entry, const std::vector<int> &table) {
  std::string out;
  for (size_t at = 0; at < entry.size();) {
    const int length = sequenceLength(entry, at);
    if (length <= 0) // the JSON parser has let only UTF-8 through
      return out;
    const uint32_t code = codePoint(entry, at, length);
    if (code < table.size() && table[code] >= 0)
      out += static_cast<char>(table[code]);
    else
      out.append(entry, at, length);
    at += length;
  }
  return out;
}

Status badTokenizer(const std::string &why) {
  return Status(FATHOM_BAD_FILE, "tokenizer.json: " + why);
}

const nlohmann::json *find(const nlohmann::json &object, const char *name) {
  if (!object.is_object())
    return nullptr;
  auto it = object.find(name);
  return it == object.end() ? nullptr : &*it;
}

bool isText(const nlohmann::json *value, const char *expected) {
  return value && value->is_string() &&
         *value->get_ptr<const std::string *>() == expected;
}

/// ByteLevel, by itself or as a member of a sequence.
bool isByteLevel(const nlohmann::json *decoder) {
  if (!decoder)
    return false;
  if (isText(find(*decoder, "type"), "ByteLevel"))
    return true;
  const nlohmann::json *list = find(*decoder, "decoders");
  if (!list || !list->is_array())
    return false;
  for (const nlohmann::json &member : *list)
    if (isText(find(member, "type"), "ByteLevel"))
      return true;
  return false;
}

bool readId(const nlohmann::json *value, uint64_t &id) {
  if (!value || !value->is_number_unsigned())
    return false;
  id = *value->get_ptr<const nlohmann::json::number_unsigned_t *>();
  return id < kMaxTokens;
}

} // namespace

Status Detokenizer::load(std::string_view text) {
  if (!format::detail::checkNesting(text).empty())
    return badTokenizer("nested too deeply");
  const nlohmann::json json = nlohmann::json::parse(
      text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded())
    return badTokenizer("not valid JSON");
  const nlohmann::json *model = find(json, "model");
  if (!model || !isText(find(*model, "type"), "BPE") ||
      !isByteLevel(find(json, "decoder")))
    return Status(FATHOM_UNSUPPORTED,
                  "tokenizer.json: only byte-level BPE can be decoded; token "
                  "ids are printed without text");
  const nlohmann::json *vocabulary = find(*model, "vocab");
  if (!vocabulary || !vocabulary->is_object())
    return badTokenizer("model.vocab is not an object");
  const std::vector<int> table = characterToByte();
  auto set = [&](uint64_t id, const std::string &bytes) {
    if (id >= spans.size())
      spans.resize(id + 1);
    spans[id] = {static_cast<uint32_t>(blob.size()),
                 static_cast<uint32_t>(bytes.size())};
    blob += bytes;
  };
  for (auto it = vocabulary->begin(); it != vocabulary->end(); ++it) {
    uint64_t id = 0;
    if (!readId(&*it, id))
      return badTokenizer("model.vocab: the id of '" + it.key() +
                          "' is not a small number");
    set(id, toBytes(it.key(), table));
  }
  if (const nlohmann::json *added = find(json, "added_tokens")) {
    if (!added->is_array())
      return badTokenizer("added_tokens is not an array");
    for (const nlohmann::json &token : *added) {
      uint64_t id = 0;
      const nlohmann::json *content = find(token, "content");
      if (!readId(find(token, "id"), id) || !content || !content->is_string())
        return badTokenizer("added_tokens: an entry without id and content");
      set(id, *content->get_ptr<const std::string *>()); // literally
    }
  }
  return Status();
}

std::string_view Detokenizer::bytes(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= spans.size())
    return {};
  return std::string_view(blob).substr(spans[id].begin, spans[id].size);
}

void Detokenizer::takeComplete(bool all) {
  ready.clear();
  size_t at = 0;
  while (at < pending.size()) {
    const int length = sequenceLength(pending, at);
    if (length < 0 && !all)
      break;
    if (length > 0) {
      ready.append(pending, at, length);
      at += length;
    } else {
      ready += kReplacement;
      // An incomplete character at the very end is one replacement.
      at = length < 0 ? pending.size() : at + 1;
    }
  }
  pending.erase(0, at);
}

std::string_view Detokenizer::add(int32_t id) {
  pending += bytes(id);
  takeComplete(false);
  return ready;
}

std::string_view Detokenizer::flush() {
  takeComplete(true);
  return ready;
}

} // namespace fathom::rt
