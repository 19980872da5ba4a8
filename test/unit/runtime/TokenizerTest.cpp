// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/text/Tokenizer.h"

#include "runtime/text/Detokenizer.h"
#include "runtime/text/Utf8.h"
#include "test/unit/runtime/FakePackage.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <random>

using namespace fathom::rt;
using nlohmann::json;

namespace {

const json &nano() {
  static const json file = json::parse(fathom::test::readWhole(
      std::string(FATHOM_TEST_MODELS) + "/nano/tokenizer.json"));
  return file;
}

std::vector<int32_t> encode(const Tokenizer &tokenizer, std::string_view text,
                            bool added = true) {
  static Tokenizer::Scratch scratch;
  std::vector<int32_t> ids;
  const Status s = tokenizer.encode(text, added, scratch, ids);
  EXPECT_FALSE(s.failed()) << s.message();
  return ids;
}

std::string decode(const Tokenizer &tokenizer,
                   const std::vector<int32_t> &ids) {
  Detokenizer decoder(tokenizer.vocabulary());
  std::string out;
  for (const int32_t id : ids)
    out += decoder.add(id);
  out += decoder.flush();
  return out;
}

double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

TEST(Tokenizer, TrainedModel) {
  Tokenizer tokenizer;
  ASSERT_FALSE(tokenizer.load(nano().dump()).failed());
  const json answers = json::parse(fathom::test::readWhole(
      std::string(FATHOM_TEST_MODELS) + "/nano/answers.json"));
  for (const json &a : answers) {
    const std::string prompt = a["prompt"], answer = a["answer"];
    EXPECT_EQ(json(encode(tokenizer, prompt)), a["prompt_ids"]) << prompt;
    EXPECT_EQ(json(encode(tokenizer, answer)), a["answer_ids"]) << answer;
  }
}

TEST(Tokenizer, AddedTokensAreTextWhenNotAskedFor) {
  Tokenizer tokenizer;
  ASSERT_FALSE(tokenizer.load(nano().dump()).failed());
  const std::string text = "a<｜User｜><think>｜DSML｜b";
  const std::vector<int32_t> with = encode(tokenizer, text),
                             without = encode(tokenizer, text, false);
  EXPECT_EQ(with.size(), 5u);
  for (const int32_t id : without)
    for (const AddedToken &token : tokenizer.vocabulary()->added())
      EXPECT_NE(id, token.id);
  EXPECT_EQ(decode(tokenizer, with), text);
  EXPECT_EQ(decode(tokenizer, without), text);
}

TEST(Tokenizer, IllFormedTextIsReplaced) {
  Tokenizer tokenizer;
  ASSERT_FALSE(tokenizer.load(nano().dump()).failed());
  const std::pair<const char *, const char *> cases[] = {
      {"a\xff"
       "b",
       "a\uFFFDb"},
      {"\xe2\x82 x", "\uFFFD x"},
      {"\xe2\x82", "\uFFFD"},
      {"\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xf0\x9f\x99\x41", "\uFFFD\x41"},
      {"\xc0\x80", "\uFFFD\uFFFD"}};
  for (const auto &[text, expected] : cases)
    EXPECT_EQ(encode(tokenizer, text), encode(tokenizer, expected));
}

/// Characters that are of the same class in Unicode 14 and 16.
std::string randomText(std::mt19937 &random) {
  static const char *parts[] = {
      "a",      "B",      "word", "é",      "e\u0301", "世",     "界", "の",
      "ア",     "7",      "42",   "٣",      " ",       "  ",     "\n", "\r\n",
      "\t",     "!",      "'s",   ".",      "$x",      "->",     "€",  "。",
      "\u00a0", "\u3000", "\x01", "\u200b", "\u0300",  "\u3040", "🙂", "_"};
  std::string out;
  for (size_t n = random() % 40; n > 0; --n)
    out += parts[random() % std::size(parts)];
  return out;
}

TEST(Tokenizer, ScannersFindWhatPatternsSay) {
  json v4 = nano();
  // As the published tokenizer has it.
  json &list = v4["pre_tokenizer"]["pretokenizers"];
  list[0]["pattern"]["Regex"] = "\\p{N}{1,3}";
  json cjk = list[0];
  cjk["pattern"]["Regex"] = "[一-龥぀-ゟ゠-ヿ]+";
  list.insert(list.begin() + 1, cjk);
  std::mt19937 random(1);
  for (const json &file : {nano(), v4}) {
    Tokenizer scanned, matched;
    ASSERT_FALSE(scanned.load(file.dump()).failed());
    const Status s = matched.load(file.dump(), Tokenizer::Patterns::Pcre);
    if (s.code() == FATHOM_UNSUPPORTED)
      GTEST_SKIP() << s.message();
    ASSERT_FALSE(s.failed()) << s.message();
    for (int round = 0; round < 3000; ++round) {
      const std::string text = randomText(random);
      EXPECT_EQ(encode(scanned, text), encode(matched, text)) << text;
      EXPECT_EQ(decode(scanned, encode(scanned, text)), text);
    }
  }
}

TEST(Tokenizer, LongPiecesAsShortOnes) {
  Tokenizer tokenizer;
  ASSERT_FALSE(tokenizer.load(nano().dump()).failed());
  // Pieces on either side of where the algorithm changes; the tokens of a
  // word that ends in what never joins are those of its parts.
  for (const std::string word : {"the", "heaven", "xq"}) {
    std::string text;
    for (int i = 0; i < 40; ++i)
      text += word;
    EXPECT_EQ(decode(tokenizer, encode(tokenizer, text)), text);
  }
}

TEST(Tokenizer, RefusesWhatItCannotEncodeWith) {
  auto with = [](const std::function<void(json &)> &change) {
    json file = nano();
    change(file);
    Tokenizer tokenizer;
    return tokenizer.load(file.dump()).code();
  };
  EXPECT_EQ(with([](json &) {}), FATHOM_OK);
  EXPECT_EQ(with([](json &j) { j["model"]["vocab"].erase("Q"); }),
            FATHOM_BAD_FILE)
      << "a byte without a token";
  EXPECT_EQ(with([](json &j) { j["model"]["vocab"]["R"] = 50; }),
            FATHOM_BAD_FILE)
      << "an id twice";
  EXPECT_EQ(with([](json &j) { j["model"].erase("merges"); }), FATHOM_BAD_FILE);
  for (const char *merge : {"nothing_such x", "t", "t h e"})
    EXPECT_EQ(with([&](json &j) { j["model"]["merges"].push_back(merge); }),
              FATHOM_BAD_FILE)
        << merge;
  EXPECT_EQ(with([](json &j) {
              j["model"]["vocab"][""] = 4089;
              j["model"]["merges"].push_back({"", "t"});
            }),
            FATHOM_BAD_FILE)
      << "a merge that could go on for ever";
  EXPECT_EQ(with([](json &j) { j["normalizer"] = {{"type", "NFKC"}}; }),
            FATHOM_UNSUPPORTED);
  EXPECT_EQ(with([](json &j) { j["pre_tokenizer"] = nullptr; }),
            FATHOM_UNSUPPORTED);
  EXPECT_EQ(with([](json &j) { j["pre_tokenizer"]["pretokenizers"].erase(2); }),
            FATHOM_UNSUPPORTED);
  EXPECT_EQ(with([](json &j) {
              j["added_tokens"][0]["content"] = std::string(300, '<');
            }),
            FATHOM_BAD_FILE);
  auto pattern = [&](const std::string &text) {
    return with([&](json &j) {
      j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = text;
    });
  };
  EXPECT_NE(pattern("(("), FATHOM_OK);
  EXPECT_NE(pattern(std::string(1 << 17, 'a')), FATHOM_OK);
  EXPECT_NE(pattern(std::string(10000, '(') + std::string(10000, ')')),
            FATHOM_OK);
}

TEST(Tokenizer, BoundsBacktracking) {
  json file = nano();
  file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] =
      "(a+)+$|(a|aa)+b";
  Tokenizer tokenizer;
  const Status loaded = tokenizer.load(file.dump());
  if (loaded.code() == FATHOM_UNSUPPORTED)
    GTEST_SKIP() << loaded.message();
  Tokenizer::Scratch scratch;
  std::vector<int32_t> ids;
  const auto start = std::chrono::steady_clock::now();
  const Status s =
      tokenizer.encode(std::string(200, 'a') + "!", true, scratch, ids);
  EXPECT_EQ(s.code(), FATHOM_RESOURCES);
  EXPECT_LT(secondsSince(start), 20);
}

TEST(Tokenizer, BoundsLongWords) {
  Tokenizer tokenizer;
  ASSERT_FALSE(tokenizer.load(nano().dump()).failed());
  Tokenizer::Scratch scratch;
  std::vector<int32_t> ids;
  EXPECT_EQ(
      tokenizer.encode(std::string(Bpe::kMaxPiece + 1, 'a'), true, scratch, ids)
          .code(),
      FATHOM_RESOURCES);
  EXPECT_EQ(decode(tokenizer, encode(tokenizer, std::string(1 << 18, 'a'))),
            std::string(1 << 18, 'a'));
  // Many special tokens are only many tokens.
  std::string thinks;
  for (int i = 0; i < 1000000; ++i)
    thinks += "<think>";
  ids.clear();
  ASSERT_FALSE(tokenizer.encode(thinks, true, scratch, ids).failed());
  EXPECT_EQ(ids.size(), 1000000u);
}

} // namespace
