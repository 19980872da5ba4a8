// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/text/Vocabulary.h"

#include "runtime/format/ManifestRead.h"
#include "runtime/text/Utf8.h"

namespace fathom::rt {

namespace {

constexpr uint64_t kMaxTokens = uint64_t(1) << 24;

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

/// A vocabulary entry to the bytes it stands for.
std::string toBytes(const std::string &entry, const std::vector<int> &table) {
  std::string out;
  for (size_t at = 0; at < entry.size();) {
    int length = 0; // the JSON parser has let only UTF-8 through
    const uint32_t code = utf8::codePointAt(entry, at, length);
    if (code < table.size() && table[code] >= 0)
      out += static_cast<char>(table[code]);
    else
      out.append(entry, at, length);
    at += length;
  }
  return out;
}

/// ByteLevel, by itself or as a member of a sequence.
bool isByteLevel(const nlohmann::json *decoder) {
  if (!decoder)
    return false;
  if (isText(findMember(*decoder, "type"), "ByteLevel"))
    return true;
  const nlohmann::json *list = findMember(*decoder, "decoders");
  if (!list || !list->is_array())
    return false;
  for (const nlohmann::json &member : *list)
    if (isText(findMember(member, "type"), "ByteLevel"))
      return true;
  return false;
}

bool readId(const nlohmann::json *value, uint64_t &id) {
  if (!value || !value->is_number_unsigned())
    return false;
  id = *value->get_ptr<const nlohmann::json::number_unsigned_t *>();
  return id < kMaxTokens;
}

bool isTrue(const nlohmann::json &object, const char *name) {
  const nlohmann::json *value = findMember(object, name);
  return value && value->is_boolean() && value->get<bool>();
}

} // namespace

const nlohmann::json *findMember(const nlohmann::json &object,
                                 const char *name) {
  if (!object.is_object())
    return nullptr;
  auto it = object.find(name);
  return it == object.end() ? nullptr : &*it;
}

bool isText(const nlohmann::json *value, const char *expected) {
  return value && value->is_string() &&
         *value->get_ptr<const std::string *>() == expected;
}

const std::string &textOf(const nlohmann::json &object, const char *name) {
  static const std::string none;
  const nlohmann::json *value = findMember(object, name);
  return value && value->is_string() ? *value->get_ptr<const std::string *>()
                                     : none;
}

Status badTokenizer(const std::string &why) {
  return Status(FATHOM_BAD_FILE, "tokenizer.json: " + why);
}

Status Vocabulary::parse(std::string_view text, nlohmann::json &out) {
  if (std::string why = format::detail::checkJsonText(text); !why.empty())
    return badTokenizer(why);
  out = nlohmann::json::parse(text.begin(), text.end(), nullptr,
                              /*allow_exceptions=*/false);
  if (out.is_discarded())
    return badTokenizer("not valid JSON");
  return Status();
}

void Vocabulary::set(uint64_t id, std::string_view bytes) {
  if (id >= spans.size())
    spans.resize(id + 1);
  spans[id] = {static_cast<uint32_t>(blob.size()),
               static_cast<uint32_t>(bytes.size())};
  blob += bytes;
}

Status Vocabulary::read(const nlohmann::json &tokenizer) {
  const nlohmann::json *model = findMember(tokenizer, "model");
  if (!model || !isText(findMember(*model, "type"), "BPE") ||
      !isByteLevel(findMember(tokenizer, "decoder")))
    return Status(FATHOM_UNSUPPORTED,
                  "tokenizer.json: only byte-level BPE is supported; token "
                  "ids are printed without text");
  const nlohmann::json *vocabulary = findMember(*model, "vocab");
  if (!vocabulary || !vocabulary->is_object())
    return badTokenizer("model.vocab is not an object");
  const std::vector<int> table = characterToByte();
  for (auto it = vocabulary->begin(); it != vocabulary->end(); ++it) {
    uint64_t id = 0;
    if (!readId(&*it, id))
      return badTokenizer("model.vocab: the id of '" + it.key() +
                          "' is not a small number");
    set(id, toBytes(it.key(), table));
  }
  const nlohmann::json *list = findMember(tokenizer, "added_tokens");
  return list ? readAdded(*list) : Status();
}

Status Vocabulary::readAdded(const nlohmann::json &list) {
  if (!list.is_array())
    return badTokenizer("added_tokens is not an array");
  for (const nlohmann::json &entry : list) {
    uint64_t id = 0;
    AddedToken token;
    token.content = textOf(entry, "content");
    if (!readId(findMember(entry, "id"), id) || token.content.empty())
      return badTokenizer("added_tokens: an entry without id and content");
    token.id = static_cast<int32_t>(id);
    token.special = isTrue(entry, "special");
    token.normalized = isTrue(entry, "normalized");
    token.singleWord = isTrue(entry, "single_word");
    token.leftStrip = isTrue(entry, "lstrip");
    token.rightStrip = isTrue(entry, "rstrip");
    set(id, token.content); // literally
    addedTokens.push_back(std::move(token));
  }
  return Status();
}

const AddedToken *Vocabulary::findAdded(std::string_view content) const {
  for (const AddedToken &token : addedTokens)
    if (token.content == content)
      return &token;
  return nullptr;
}

} // namespace fathom::rt
