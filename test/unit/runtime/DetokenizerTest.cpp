// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/text/Detokenizer.h"

#include "test/unit/runtime/FakePackage.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using fathom::rt::Detokenizer;

namespace {

/// Ids: 0 "Hello", 1 " world", 2 and 3 and 4 the bytes of U+20AC, 5 "\n",
/// 6 "<end>" (added), 9 a stray byte 0xff.
const char *kTokenizer = R"({
  "added_tokens": [{"id": 6, "content": "<｜Ġend｜>", "special": true}],
  "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE", "vocab": {
    "Hello": 0, "Ġworld": 1, "â": 2, "Ĥ": 3, "¬": 4, "Ċ": 5, "ÿ": 9}}})";

std::string all(Detokenizer &decoder, std::initializer_list<int> ids) {
  std::string out;
  for (int id : ids)
    out += decoder.add(id);
  out += decoder.flush();
  return out;
}

TEST(Detokenizer, Text) {
  Detokenizer decoder;
  ASSERT_FALSE(decoder.load(kTokenizer).failed());
  EXPECT_EQ(all(decoder, {0, 1, 5}), "Hello world\n");
  EXPECT_EQ(all(decoder, {6}), "<｜Ġend｜>") << "added tokens are literal";
  EXPECT_EQ(all(decoder, {7, -1, 1000000}), "") << "ids without text";
}

TEST(Detokenizer, NeverSplitsACharacter) {
  Detokenizer decoder;
  ASSERT_FALSE(decoder.load(kTokenizer).failed());
  EXPECT_EQ(decoder.add(2), "");
  EXPECT_EQ(decoder.add(3), "");
  EXPECT_EQ(decoder.add(4), "€");
  EXPECT_EQ(decoder.flush(), "");
  EXPECT_EQ(all(decoder, {2, 3}), "\uFFFD") << "cut short at the end";
  EXPECT_EQ(all(decoder, {2, 0}), "\uFFFDHello") << "cut short by another";
  EXPECT_EQ(all(decoder, {9, 0}), "\uFFFDHello") << "no UTF-8 at all";
}

TEST(Detokenizer, EveryByte) {
  // All 256 bytes as one-character tokens, by GPT-2's table.
  nlohmann::json vocabulary = nlohmann::json::object();
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 33 && byte <= 126) ||
                        (byte >= 161 && byte <= 172) || byte >= 174;
    const int code = itself ? byte : next++;
    std::string key;
    if (code < 0x80)
      key = char(code);
    else
      key = {char(0xC0 | code >> 6), char(0x80 | (code & 0x3F))};
    vocabulary[key] = byte;
  }
  EXPECT_EQ(next, 256 + 68);
  const nlohmann::json j = {
      {"decoder",
       {{"type", "Sequence"}, {"decoders", {{{"type", "ByteLevel"}}}}}},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}}}};
  Detokenizer decoder;
  ASSERT_FALSE(decoder.load(j.dump()).failed());
  for (int byte = 0; byte < 256; ++byte)
    EXPECT_EQ(decoder.bytes(byte), std::string(1, char(byte)));
}

TEST(Detokenizer, Refuses) {
  const std::string good = kTokenizer;
  auto with = [&](const std::string &from, const std::string &to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return Detokenizer().load(text).code();
  };
  EXPECT_EQ(with("BPE", "Unigram"), FATHOM_UNSUPPORTED);
  EXPECT_EQ(with("ByteLevel", "WordPiece"), FATHOM_UNSUPPORTED);
  EXPECT_EQ(with("\"Hello\": 0", "\"Hello\": -1"), FATHOM_BAD_FILE);
  EXPECT_EQ(with("\"Hello\": 0", "\"Hello\": 99999999999"), FATHOM_BAD_FILE);
  EXPECT_EQ(with("\"Hello\": 0", "\"Hello\": []"), FATHOM_BAD_FILE);
  EXPECT_EQ(with("\"id\": 6", "\"id\": \"6\""), FATHOM_BAD_FILE);
  EXPECT_EQ(with("\"vocab\"", "\"words\""), FATHOM_BAD_FILE);
  EXPECT_EQ(Detokenizer().load("{").code(), FATHOM_BAD_FILE);
  EXPECT_EQ(Detokenizer().load("").code(), FATHOM_BAD_FILE);
  EXPECT_EQ(Detokenizer().load("[]").code(), FATHOM_UNSUPPORTED);
  EXPECT_EQ(Detokenizer().load(std::string(1000000, '[')).code(),
            FATHOM_BAD_FILE);
}

TEST(Detokenizer, TrainedModel) {
  const std::string models = FATHOM_TEST_MODELS;
  Detokenizer decoder;
  ASSERT_FALSE(
      decoder.load(fathom::test::readWhole(models + "/nano/tokenizer.json"))
          .failed());
  const nlohmann::json answers = nlohmann::json::parse(
      fathom::test::readWhole(models + "/nano/answers.json"));
  ASSERT_EQ(answers.size(), 38u);
  for (const nlohmann::json &a : answers) {
    std::string text;
    for (int id : a["answer_ids"])
      text += decoder.add(id);
    text += decoder.flush();
    EXPECT_EQ(text, a["answer"].get<std::string>());
  }
}

} // namespace
