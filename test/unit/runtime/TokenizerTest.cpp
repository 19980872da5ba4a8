// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/text/Tokenizer.h"

#include "runtime/text/Detokenizer.h"
#include "runtime/text/Utf8.h"
#include "test/unit/runtime/FakePackage.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
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

/// A piece of ASCII letters by nano's merges, straightforwardly: again and
/// again the first pair of the lowest rank.
std::vector<int32_t> merged(const std::string &piece) {
  static const auto ranks = [] {
    std::map<std::pair<std::string, std::string>, size_t> out;
    for (const json &merge : nano()["model"]["merges"])
      out.emplace(std::pair(merge[0], merge[1]), out.size());
    return out;
  }();
  std::vector<std::string> parts;
  for (const char c : piece)
    parts.emplace_back(1, c);
  for (;;) {
    size_t best = ranks.size(), at = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ranks.find({parts[i], parts[i + 1]});
      if (found != ranks.end() && found->second < best) {
        best = found->second;
        at = i;
      }
    }
    if (best == ranks.size())
      break;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + at + 1);
  }
  std::vector<int32_t> out;
  for (const std::string &part : parts)
    out.push_back(nano()["model"]["vocab"][part]);
  return out;
}

/// On either side of where a piece is too long to be remembered, and of where
/// the algorithm changes.
TEST(Tokenizer, PiecesOfAnyLength) {
  Tokenizer tokenizer;
  ASSERT_FALSE(tokenizer.load(nano().dump()).failed());
  const char *words[] = {"the", "heaven", "xq", "unto", "LORD", "e", "ing"};
  std::mt19937 random(5);
  for (size_t length = 1; length <= 100; ++length)
    for (int round = 0; round < 10; ++round) {
      std::string text;
      while (text.size() < length)
        text += words[random() % std::size(words)];
      text.resize(length);
      EXPECT_EQ(encode(tokenizer, text), merged(text)) << text;
      EXPECT_EQ(encode(tokenizer, text), merged(text)) << text << " again";
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
  EXPECT_EQ(with([](json &j) { j["model"].erase("merges"); }), FATHOM_BAD_FILE);
  for (const char *merge : {"nothing_such x", "t", "t h e"})
    EXPECT_EQ(with([&](json &j) { j["model"]["merges"].push_back(merge); }),
              FATHOM_BAD_FILE)
        << merge;
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
  EXPECT_NE(pattern("\\C"), FATHOM_OK) << "it would cut characters";
  EXPECT_NE(pattern(std::string(1 << 17, 'a')), FATHOM_OK);
  EXPECT_NE(pattern(std::string(10000, '(') + std::string(10000, ')')),
            FATHOM_OK);
}

TEST(Tokenizer, SaysWhatItCannotEncodeWith) {
  auto expect = [](fathom_code code, const std::string &text,
                   const std::function<void(json &)> &change) {
    json file = nano();
    change(file);
    Tokenizer tokenizer;
    const Status s = tokenizer.load(file.dump());
    EXPECT_EQ(s.code(), code) << text;
    EXPECT_NE(s.message().find(text), std::string::npos)
        << "expected '" << text << "', got '" << s.message() << "'";
  };
  auto split = [](json &j, size_t i) -> json & {
    return j["pre_tokenizer"]["pretokenizers"][i];
  };
  expect(FATHOM_BAD_FILE, "two tokens have the id 50",
         [](json &j) { j["model"]["vocab"]["R"] = 50; });
  // Such merges could go on for ever.
  for (const json &merge : {json{"", "t"}, json{"t", ""}})
    expect(FATHOM_BAD_FILE, "an empty token", [&](json &j) {
      j["model"]["vocab"][""] = 4096;
      j["model"]["merges"].push_back(merge);
    });
  expect(FATHOM_UNSUPPORTED, "single_word",
         [](json &j) { j["added_tokens"][3]["single_word"] = true; });
  expect(FATHOM_UNSUPPORTED, "add_prefix_space",
         [&](json &j) { split(j, 2)["add_prefix_space"] = true; });
  expect(FATHOM_UNSUPPORTED, "does not isolate",
         [&](json &j) { split(j, 0)["behavior"] = "Removed"; });
  expect(FATHOM_UNSUPPORTED, "does not isolate",
         [&](json &j) { split(j, 0)["invert"] = true; });
  expect(FATHOM_UNSUPPORTED, "without a regular expression", [&](json &j) {
    split(j, 0)["pattern"] = {{"String", " "}};
  });
  for (const char *name :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix",
        "byte_fallback", "ignore_merges"}) {
    for (const json &value : {json(0.1), json("##"), json(true)})
      expect(FATHOM_UNSUPPORTED, std::string("model.") + name,
             [&](json &j) { j["model"][name] = value; });
    for (const json &none : {json(), json(false), json("")})
      expect(FATHOM_OK, "", [&](json &j) { j["model"][name] = none; });
  }
  for (const size_t stages : {16, 17})
    expect(stages == 16 ? FATHOM_OK : FATHOM_BAD_FILE,
           stages == 16 ? "" : "too many members", [&](json &j) {
             json &list = j["pre_tokenizer"]["pretokenizers"];
             list.insert(list.begin(), stages - 2, list[0]);
           });
}

TEST(Tokenizer, OfEqualAddedTokensTheFirst) {
  json file = nano();
  json twin = file["added_tokens"][5];
  ASSERT_EQ(twin["content"], "<think>");
  const int32_t id = twin["id"];
  twin["id"] = 4096;
  file["added_tokens"].push_back(twin);
  Tokenizer tokenizer;
  ASSERT_FALSE(tokenizer.load(file.dump()).failed());
  EXPECT_EQ(encode(tokenizer, "<think>"), std::vector<int32_t>{id});
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
