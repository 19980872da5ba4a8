// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// `fathom chat` with a model that calls two tools at once.
#include "runtime/format/ManifestJson.h"
#include "test/unit/runtime/FakePackage.h"

#include <cstdlib>
#include <gtest/gtest.h>

using namespace fathom::format;
using namespace fathom::test;
using nlohmann::json;

namespace {

constexpr int64_t kTalkContext = 1024, kTalkVocabulary = 272;

/// Nano's bytes and added tokens, and what the model says: ids 265 to 271, with
/// ｜DSML｜, 263, between them.
json talkingTokenizer() {
  json file = json::parse(
      readWhole(std::string(FATHOM_TEST_MODELS) + "/nano/tokenizer.json"));
  json vocabulary;
  for (const auto &item : file["model"]["vocab"].items())
    if (item.value() < 259)
      vocabulary[item.key()] = item.value();
  int32_t id = 259;
  for (json &added : file["added_tokens"])
    if (added["id"] > 258)
      added["id"] = id++;
  for (const char *text :
       {"ĊĊ<", "tool_calls>Ċ<", "invokeĠname=\"one\">Ċ</", "invoke>Ċ<",
        "invokeĠname=\"two\">Ċ</", "invoke>Ċ</", "tool_calls>"})
    vocabulary[text] = id++;
  EXPECT_EQ(id, kTalkVocabulary);
  file["model"]["vocab"] = vocabulary;
  file["model"]["merges"] = json::array();
  return file;
}

Manifest talkingManifest() {
  using Kind = Arg::Kind;
  Manifest m = fakeManifest();
  const std::string library = readWhole(FATHOM_TALKING_KERNELS);
  m.libraries[0].blake3 = blake3Hex(library.data(), library.size());
  m.libraries[0].bytes = library.size();
  m.model.vocabularySize = kTalkVocabulary;
  m.model.mtpLayers = 0;
  m.model.eosTokens = {1};
  m.limits.maxContext = kTalkContext;
  m.tables.clear();
  m.caches.resize(1);
  m.caches[0].rows = kTalkContext;
  m.extraFiles = {"tokenizer.json"};
  m.entries.resize(1);
  Entry &step = m.entries[0];
  step.outputs[0].rowBytes = kTalkVocabulary * 4;
  step.specialisations.erase(step.specialisations.begin());
  auto launch = [](const char *kernel, Count count,
                   std::vector<std::pair<Kind, uint32_t>> args) {
    Launch out;
    out.kernel = kernel;
    out.grid[0] = {{count, 1, 1}};
    out.grid[1] = out.grid[2] = GridAxis(1);
    for (const auto &[kind, index] : args) {
      Arg arg;
      arg.kind = kind;
      arg.index = index;
      out.args.push_back(arg);
    }
    return out;
  };
  step.specialisations[0].launches = {launch("talk_store", Count::Tokens,
                                             {{Kind::Cache, 0},
                                              {Kind::Input, 0},
                                              {Kind::Input, 1},
                                              {Kind::Input, 2}}),
                                      launch("talk_logits", Count::Rows,
                                             {{Kind::Cache, 0},
                                              {Kind::Input, 1},
                                              {Kind::Input, 2},
                                              {Kind::Input, 3},
                                              {Kind::Output, 0}})};
  return m;
}

class ChatTest : public testing::Test {
protected:
  void SetUp() override {
    package = writePackage(directory, talkingManifest());
    writeFile(package + "/host-x86-64-v3.so",
              readWhole(FATHOM_TALKING_KERNELS));
    writeFile(package + "/tokenizer.json", talkingTokenizer().dump());
  }
  /// The messages after these lines; standard output and error are kept.
  json saved(const std::string &lines) {
    writeFile(directory.path("in"),
              lines + "/save " + directory.path("saved") + "\n");
    const std::string command =
        std::string(FATHOM_TOOL) + " chat " + package + " --threads 1 --json" +
        " <" + directory.path("in") + " >" + directory.path("out") + " 2>" +
        directory.path("err");
    const int status = std::system(command.c_str());
    out = readWhole(directory.path("out"));
    err = readWhole(directory.path("err"));
    EXPECT_EQ(status, 0) << err;
    return json::parse(readWhole(directory.path("saved")), nullptr, false);
  }
  /// "role content" of each.
  static std::vector<std::string> spelled(const json &messages) {
    std::vector<std::string> out;
    for (const json &m : messages)
      out.push_back(m["role"].get<std::string>() + " " +
                    m["content"].get<std::string>());
    return out;
  }
  size_t answers() const {
    size_t count = 0;
    for (size_t at = 0; (at = out.find("\"event\":\"end\"", at)) != out.npos;
         ++at)
      ++count;
    return count;
  }

  TemporaryDirectory directory;
  std::string package, out, err;
};

TEST_F(ChatTest, ResultsOfAllCallsGoToTheModelTogether) {
  const json messages = saved("Hi\nfirst\n/think off\n/second\nfirst again\n");
  EXPECT_EQ(err, "");
  EXPECT_EQ(answers(), 2u);
  EXPECT_EQ(spelled(messages),
            (std::vector<std::string>{"user Hi", "assistant ", "tool first",
                                      "tool /second", "assistant ",
                                      "tool first again"}));
  ASSERT_EQ(messages[1]["tool_calls"].size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const json &call = messages[1]["tool_calls"][i];
    EXPECT_EQ(call["function"]["name"], i ? "two" : "one");
    EXPECT_EQ(messages[2 + i]["tool_call_id"], call["id"]);
  }
  EXPECT_NE(messages[2]["tool_call_id"], messages[3]["tool_call_id"]);
}

TEST_F(ChatTest, AllCallsWaitAgainAfterAFailure) {
  const json messages = saved("Hi\nfirst\n" + std::string(2000, 'x') +
                              "\nanother first\nanother second\n");
  EXPECT_NE(err.find("context overrun"), std::string::npos) << err;
  EXPECT_NE(err.find("results of the calls again, from the first on"),
            std::string::npos)
      << err;
  EXPECT_EQ(answers(), 2u);
  EXPECT_EQ(
      spelled(messages),
      (std::vector<std::string>{"user Hi", "assistant ", "tool another first",
                                "tool another second", "assistant "}));
}

TEST_F(ChatTest, NoCallWaitsAfterABeginning) {
  const json messages = saved("Hi\nfirst\n/clear\nHo\n");
  EXPECT_EQ(answers(), 2u);
  EXPECT_EQ(spelled(messages),
            (std::vector<std::string>{"user Ho", "assistant "}));
}

} // namespace
