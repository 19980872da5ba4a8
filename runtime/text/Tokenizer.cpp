// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/text/Tokenizer.h"

#include "runtime/text/Utf8.h"

#include <unordered_map>

namespace fathom::rt {

namespace {

constexpr size_t kMaxStages = 16;

/// The pattern of a ByteLevel pre-tokenizer that splits by itself.
constexpr const char *kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|)"
    R"(\s+(?!\S)|\s+)";

Status unsupported(const std::string &what) {
  return Status(FATHOM_UNSUPPORTED, "tokenizer.json: " + what +
                                        " is not supported; only byte-level "
                                        "BPE as DeepSeek's tokenizers have it "
                                        "can encode text");
}

bool isSet(const nlohmann::json &object, const char *name) {
  const nlohmann::json *value = findMember(object, name);
  return value && !value->is_null() &&
         !(value->is_boolean() && !value->get<bool>());
}

/// The two sides of a merge: "a b", or ["a", "b"].
bool readMerge(const nlohmann::json &merge, std::string_view &left,
               std::string_view &right) {
  if (merge.is_string()) {
    const std::string_view text = *merge.get_ptr<const std::string *>();
    const size_t blank = text.find(' ');
    if (blank == text.npos)
      return false;
    left = text.substr(0, blank);
    right = text.substr(blank + 1);
    return true;
  }
  if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() ||
      !merge[1].is_string())
    return false;
  left = *merge[0].get_ptr<const std::string *>();
  right = *merge[1].get_ptr<const std::string *>();
  return true;
}

} // namespace

Status Tokenizer::load(std::string_view text, Patterns patterns) {
  nlohmann::json json;
  if (Status s = Vocabulary::parse(text, json); s.failed())
    return s;
  auto made = std::make_shared<Vocabulary>();
  if (Status s = made->read(json); s.failed())
    return s;
  words = std::move(made);
  if (Status s = readModel(*findMember(json, "model")); s.failed())
    return s;
  if (const nlohmann::json *normalizer = findMember(json, "normalizer"))
    if (Status s = readNormalizer(*normalizer); s.failed())
      return s;
  const nlohmann::json *pre = findMember(json, "pre_tokenizer");
  stages.clear();
  if (!pre || pre->is_null())
    return unsupported("a file without pre_tokenizer");
  if (Status s = readPreTokenizer(*pre, patterns); s.failed())
    return s;
  // The normaliser changes nothing, so both kinds see the same text; the order
  // remains.
  if (Status s = early.build(words->added(),
                             [](const AddedToken &t) { return !t.normalized; });
      s.failed())
    return s;
  return late.build(words->added(),
                    [](const AddedToken &t) { return t.normalized; });
}

Status Tokenizer::readModel(const nlohmann::json &model) {
  for (const char *name :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix",
        "byte_fallback", "ignore_merges"})
    if (isSet(model, name) && !isText(findMember(model, name), ""))
      return unsupported(std::string("model.") + name);
  const nlohmann::json &vocabulary = *findMember(model, "vocab");
  std::unordered_map<std::string_view, int32_t> ids;
  std::vector<bool> taken(words->size());
  ids.reserve(vocabulary.size());
  for (auto it = vocabulary.begin(); it != vocabulary.end(); ++it) {
    const int32_t id = it.value().get<int32_t>();
    if (taken[id])
      return badTokenizer("model.vocab: two tokens have the id " +
                          std::to_string(id));
    taken[id] = true;
    ids.emplace(it.key(), id);
  }
  std::fill(std::begin(bpe.byteTokens), std::end(bpe.byteTokens), -1);
  for (const auto &[key, id] : ids)
    if (const std::string_view bytes = words->bytes(id); bytes.size() == 1)
      bpe.byteTokens[uint8_t(bytes[0])] = id;
  for (int byte = 0; byte < 256; ++byte)
    if (bpe.byteTokens[byte] < 0 && byte != 0xC0 && byte != 0xC1 && byte < 0xF5)
      return badTokenizer("model.vocab has no token for the byte " +
                          std::to_string(byte) +
                          ", so not every text could be encoded");
  const nlohmann::json *merges = findMember(model, "merges");
  if (!merges || !merges->is_array())
    return badTokenizer("model.merges is not an array");
  bpe.reserve(merges->size());
  uint32_t rank = 0;
  std::string both;
  for (const nlohmann::json &merge : *merges) {
    auto bad = [&](const std::string &why) {
      return badTokenizer("model.merges[" + std::to_string(rank) + "]: " + why);
    };
    std::string_view left, right;
    if (!readMerge(merge, left, right))
      return bad("not two tokens");
    both.assign(left).append(right);
    const auto a = ids.find(left), b = ids.find(right), c = ids.find(both);
    for (const auto &[found, name] : {std::pair(a, left), std::pair(b, right),
                                      std::pair(c, std::string_view(both))})
      if (found == ids.end())
        return bad("'" + std::string(name.substr(0, 100)) +
                   "' is not in the vocabulary");
    // An empty side would let a merge repeat for ever.
    if (left.empty() || right.empty())
      return bad("an empty token");
    bpe.addMerge(a->second, b->second, rank++, c->second);
  }
  return Status();
}

Status Tokenizer::readNormalizer(const nlohmann::json &normalizer) {
  if (normalizer.is_null())
    return Status();
  const nlohmann::json *list = findMember(normalizer, "normalizers");
  if (textOf(normalizer, "type") != "Sequence" || !list || !list->is_array())
    return unsupported("normalizer " + textOf(normalizer, "type"));
  for (const nlohmann::json &member : *list)
    if (Status s = readNormalizer(member); s.failed())
      return s;
  return Status();
}

Status Tokenizer::readPreTokenizer(const nlohmann::json &pre,
                                   Patterns patterns) {
  const std::string &type = textOf(pre, "type");
  if (type == "Sequence") {
    const nlohmann::json *list = findMember(pre, "pretokenizers");
    if (!list || !list->is_array() || list->empty())
      return badTokenizer("pre_tokenizer: a sequence without members");
    for (size_t i = 0; i < list->size(); ++i) {
      const bool last = i + 1 == list->size();
      if ((textOf((*list)[i], "type") == "ByteLevel") != last)
        return unsupported("a pre_tokenizer whose last member, and only that, "
                           "is not ByteLevel");
      if (Status s = readPreTokenizer((*list)[i], patterns); s.failed())
        return s;
    }
    return Status();
  }
  std::string pattern;
  if (type == "ByteLevel") {
    if (isSet(pre, "add_prefix_space"))
      return unsupported("add_prefix_space");
    const nlohmann::json *split = findMember(pre, "use_regex");
    if (split && split->is_boolean() && !split->get<bool>())
      return Status();
    pattern = kByteLevelPattern;
  } else if (type == "Split") {
    const nlohmann::json *given = findMember(pre, "pattern");
    if (!given || textOf(*given, "Regex").empty())
      return unsupported("pre_tokenizer Split without a regular expression");
    if (textOf(pre, "behavior") != "Isolated" || isSet(pre, "invert"))
      return unsupported("pre_tokenizer Split that does not isolate");
    pattern = textOf(*given, "Regex");
  } else {
    return unsupported("pre_tokenizer " + type);
  }
  if (stages.size() == kMaxStages)
    return badTokenizer("pre_tokenizer has too many members");
  stages.emplace_back();
  Status s = patterns == Patterns::Pcre
                 ? Splitter::createByPcre(pattern, stages.back())
                 : Splitter::create(pattern, stages.back());
  return s.failed()
             ? Status(s.code(), "tokenizer.json: pre_tokenizer: " + s.message())
             : Status();
}

Status Tokenizer::encode(std::string_view text, bool added, Scratch &scratch,
                         std::vector<int32_t> &out) const {
  std::string valid;
  if (!utf8::isValid(text)) {
    utf8::appendValid(valid, text, /*all=*/true);
    text = valid;
  }
  return added ? encodeAdded(&early, text, scratch, out)
               : encodeText(text, 0, scratch, out);
}

/// Cuts at added tokens, first at those of `early`, then of `late`.
Status Tokenizer::encodeAdded(const AddedTokens *finder, std::string_view text,
                              Scratch &scratch,
                              std::vector<int32_t> &out) const {
  auto rest = [&](std::string_view part) {
    return finder == &early ? encodeAdded(&late, part, scratch, out)
                            : encodeText(part, 0, scratch, out);
  };
  size_t at = 0, begin = 0, end = 0;
  while (const AddedToken *token = finder->find(text, at, begin, end)) {
    if (begin > at)
      if (Status s = rest(text.substr(at, begin - at)); s.failed())
        return s;
    out.push_back(token->id);
    at = end;
  }
  return at < text.size() ? rest(text.substr(at)) : Status();
}

Status Tokenizer::encodeText(std::string_view text, size_t stage,
                             Scratch &scratch,
                             std::vector<int32_t> &out) const {
  if (stage == stages.size())
    return encodePiece(text, scratch, out);
  size_t at = 0;
  Match match;
  Status error;
  while (at < text.size() && stages[stage]->find(text, at, match, error)) {
    if (match.begin > at)
      if (Status s = encodeText(text.substr(at, match.begin - at), stage + 1,
                                scratch, out);
          s.failed())
        return s;
    if (Status s = encodeText(text.substr(match.begin, match.end - match.begin),
                              stage + 1, scratch, out);
        s.failed())
      return s;
    at = match.end;
  }
  if (error.failed())
    return error;
  return at < text.size() ? encodeText(text.substr(at), stage + 1, scratch, out)
                          : Status();
}

Status Tokenizer::encodePiece(std::string_view piece, Scratch &scratch,
                              std::vector<int32_t> &out) const {
  if (piece.size() > Bpe::kMaxPiece)
    return Status(FATHOM_RESOURCES,
                  "a word of " + std::to_string(piece.size()) +
                      " bytes without a place to split it is longer than the " +
                      std::to_string(Bpe::kMaxPiece) + " allowed");
  bpe.encode(piece, scratch, out);
  return Status();
}

} // namespace fathom::rt
