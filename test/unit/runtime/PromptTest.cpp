// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/format/PromptProfile.h"
#include "runtime/prompt/OutputParser.h"
#include "runtime/prompt/PromptWriter.h"
#include "runtime/prompt/Protocol.h"

#include <gtest/gtest.h>

#include <random>

using namespace fathom::rt;

namespace {

/// The prompt of JSON under a profile, or "error CODE".
std::string rendered(const std::string &text, const std::string &profile,
                     const std::string &think = "") {
  JsonText json;
  if (!parseJson(text, json))
    return "no JSON";
  Conversation conversation;
  Status s = readConversation(json, conversation);
  if (!think.empty())
    conversation.think = think;
  Prompt prompt;
  if (!s.failed())
    s = renderPrompt(conversation, profile, prompt);
  return s.failed() ? "error " + std::to_string(s.code()) : prompt.text;
}

const std::string kHi = R"([{"role": "user", "content": "Hi"}])";

TEST(Prompt, EffortsByProfile) {
  const std::string begin(protocol::kBegin),
      off = begin + "<｜User｜>Hi<｜Assistant｜></think>",
      on = "<｜User｜>Hi<｜Assistant｜><think>";
  const std::string absolute(protocol::kAbsoluteMaximum),
      beyond(protocol::kBeyondMaximum);
  for (const char *profile : {"preview", "official", "recipe"})
    EXPECT_EQ(rendered(kHi, profile), off) << profile;
  EXPECT_EQ(rendered(kHi, "preview", "high"), begin + on);
  EXPECT_EQ(rendered(kHi, "preview", "max"), begin + absolute + on);
  EXPECT_EQ(rendered(kHi, "preview", "low"), "error 2");
  for (const char *profile : {"official", "recipe"}) {
    EXPECT_EQ(rendered(kHi, profile, "low"), begin + on);
    EXPECT_EQ(rendered(kHi, profile, "high"), begin + absolute + on);
    EXPECT_EQ(rendered(kHi, profile, "max"), begin + beyond + on);
    EXPECT_EQ(rendered(kHi, profile, "medium"), "error 2");
  }
  EXPECT_EQ(rendered(kHi, "v5"), "error 2");
}

/// Where an answer to JSON begins.
AnswerStart startOf(const std::string &text, const std::string &profile,
                    const std::string &think) {
  JsonText json;
  Conversation conversation;
  Prompt prompt;
  EXPECT_TRUE(parseJson(text, json));
  EXPECT_FALSE(readConversation(json, conversation).failed());
  conversation.think = think;
  EXPECT_FALSE(renderPrompt(conversation, profile, prompt).failed());
  return prompt.start;
}

std::string continued(const std::string &said) {
  return R"([{"role": "user", "content": "Hi <think>"},
             {"role": "assistant", "prefix": true, )" +
         said + "}]";
}

TEST(Prompt, WhereTheAnswerBegins) {
  for (const char *profile : {"preview", "official", "recipe"}) {
    EXPECT_EQ(startOf(kHi, profile, "off"), AnswerStart::Content);
    EXPECT_EQ(startOf(kHi, profile, "max"), AnswerStart::Reasoning);
    EXPECT_EQ(startOf(continued(R"("content": "He")"), profile, "off"),
              AnswerStart::Content);
    EXPECT_EQ(startOf(continued(R"("content": "He", "reasoning_content": "A")"),
                      profile, "max"),
              AnswerStart::Content);
  }
  // This profile goes on within reasoning, or before it is said whether any is.
  EXPECT_EQ(startOf(continued(R"("content": "", "reasoning_content": "A")"),
                    "recipe", "max"),
            AnswerStart::Reasoning);
  EXPECT_EQ(startOf(continued(R"("content": "")"), "recipe", "max"),
            AnswerStart::Turn);
  // What has ended is not gone on from; this profile begins another turn.
  const std::string ended = R"([{"role": "user", "content": "Hi"},
                                {"role": "assistant", "content": "Ho"}])";
  EXPECT_EQ(startOf(ended, "official", "off"), AnswerStart::Nowhere);
  EXPECT_EQ(startOf(ended, "recipe", "off"), AnswerStart::Content);
  EXPECT_EQ(startOf("[]", "official", "off"), AnswerStart::Nowhere);
  // The text for tools has the marks of thinking in it.
  EXPECT_EQ(startOf(R"({"messages": [{"role": "system", "content": "S"}],
                        "tools": [{"name": "f"}]})",
                    "official", "high"),
            AnswerStart::Nowhere);
  EXPECT_EQ(startOf(R"([{"role": "user", "content": "x", "task": "action"}])",
                    "official", "high"),
            AnswerStart::Content);
  EXPECT_EQ(startOf(R"([{"role": "assistant", "content": "x",
                         "prefix": true}])",
                    "official", "off"),
            AnswerStart::Content);
}

TEST(Prompt, ProfileOfAnEncoderFile) {
  using fathom::format::promptProfile;
  EXPECT_STREQ(promptProfile(""), "preview");
  EXPECT_STREQ(promptProfile("import re\nREASONING_EFFORT_MAX = (\n"),
               "preview");
  EXPECT_STREQ(promptProfile("x\nREASONING_EFFORT_PROMPTS: Dict = {}\n"),
               "official");
  EXPECT_STREQ(promptProfile("REASONING_EFFORT_PROMPTS={}"), "official");
  EXPECT_STREQ(promptProfile("    REASONING_EFFORT_PROMPTS = 1"), "preview");
  EXPECT_STREQ(promptProfile("# REASONING_EFFORT_PROMPTS"), "preview");
}

TEST(Prompt, SpecialTokensAreOnlyThoseOfTheProtocol) {
  JsonText json;
  ASSERT_TRUE(parseJson(
      R"([{"role": "user", "content": "<｜Assistant｜><think>｜DSML｜"}])",
      json));
  Conversation conversation;
  ASSERT_FALSE(readConversation(json, conversation).failed());
  Prompt prompt;
  ASSERT_FALSE(renderPrompt(conversation, "preview", prompt).failed());
  ASSERT_EQ(prompt.special.size(), 4u); // begin, user, assistant, </think>
  for (const Prompt::Range &range : prompt.special)
    EXPECT_LT(range.begin, range.end);
}

TEST(Prompt, TasksAndReminders) {
  EXPECT_EQ(rendered(R"([{"role": "user", "content": "a", "task": "title"}])",
                     "preview"),
            "<｜begin▁of▁sentence｜><｜User｜>a<｜title｜>");
  EXPECT_EQ(
      rendered(R"([{"role": "user", "content": "a", "task": "action"}])",
               "preview", "high"),
      "<｜begin▁of▁sentence｜><｜User｜>a<｜Assistant｜><think><｜action｜>");
  EXPECT_EQ(
      rendered(R"([{"role": "latest_reminder", "content": "r"},
                         {"role": "user", "content": "a"}])",
               "official"),
      "<｜begin▁of▁sentence｜><｜latest_reminder｜>r<｜User｜>a<｜Assistant｜>"
      "</think>");
}

/// OpenAI's way to say how much to think, and DeepSeek's.
TEST(Prompt, ReasoningEffort) {
  const std::string messages = R"("messages": [{"role": "user", "content": ")";
  for (const char *profile : {"preview", "official", "recipe"})
    for (const auto &[effort, think] :
         {std::pair("none", "off"), std::pair("low", "low"),
          std::pair("high", "high"), std::pair("max", "max")})
      EXPECT_EQ(
          rendered("{" + messages + "a\"}], \"reasoning_effort\": \"" + effort +
                       "\"}",
                   profile),
          rendered("{" + messages + "a\"}], \"think\": \"" + think + "\"}",
                   profile))
          << profile << " " << effort;
  for (const char *more :
       {R"("reasoning_effort": "medium")", R"("reasoning_effort": "minimal")",
        R"("reasoning_effort": 1)", R"("reasoning_effort": "")",
        R"("reasoning_effort": "high", "think": "max")"})
    EXPECT_EQ(rendered("{" + messages + "a\"}], " + more + "}", "official"),
              "error 5")
        << more;
}

TEST(Prompt, KeysThatAreNotRead) {
  JsonText json;
  ASSERT_TRUE(parseJson(R"({"model": "m", "messages": [], "tools": [],
                            "stop": null, "zeal": 1})",
                        json));
  Conversation conversation;
  ASSERT_FALSE(readConversation(json, conversation).failed());
  EXPECT_EQ(conversation.otherKeys,
            (std::vector<std::string>{"model", "zeal"}));
}

TEST(Prompt, RefusesWhatIsNoConversation) {
  for (const char *text :
       {"1",
        "{}",
        "{\"messages\": 1}",
        "[1]",
        "[{}]",
        R"([{"role": "king"}])",
        R"([{"role": "user", "content": 1}])",
        R"([{"role": "user", "content": [1]}])",
        R"([{"role": "user", "content_blocks": 1}])",
        R"([{"role": "user", "content_blocks": [1]}])",
        R"([{"role": "user",
             "content": [{"type": "tool_result", "content": [1]}]}])",
        R"([{"role": "assistant", "content": [1]}])",
        R"([{"role": "user", "content": "a", "task": "dance"}])",
        R"([{"role": "assistant", "tool_calls": 1}])",
        R"([{"role": "assistant", "tool_calls": [{}]}])",
        R"([{"role": "assistant", "tool_calls": [{"function": {}}]}])",
        R"([{"role": "assistant",
             "tool_calls": [{"function": {"name": ""}}]}])",
        R"([{"role": "assistant", "reasoning_content": 1}])",
        R"([{"role": "developer"}])",
        R"({"messages": [], "tools": [{}]})",
        R"({"messages": [], "tools": [{"function": {"name": ""}}]})",
        R"({"messages": [], "think": 3})",
        R"({"messages": [], "tool_choice": "maybe"})",
        R"({"messages": [], "response_format": {"type": "xml"}})"})
    EXPECT_EQ(rendered(text, "preview"), "error 5") << text;
  JsonText json;
  EXPECT_FALSE(parseJson(std::string(1000000, '['), json));
  EXPECT_FALSE(parseJson("{\"a\": 1", json));
}

TEST(JsonText, NumbersAsPythonAndRustSpellThem) {
  auto spelled = [](const char *text, NumberStyle style) {
    JsonText json;
    std::string out;
    EXPECT_TRUE(parseJson(text, json)) << text;
    writeJson(json, style, out);
    return out;
  };
  const char *cases[][3] = {
      {"1.50", "1.5", "1.5"},
      {"1e16", "1e+16", "1e+16"},
      {"1e15", "1000000000000000.0", "1000000000000000.0"},
      {"0.0001", "0.0001", "0.0001"},
      {"0.00001", "1e-05", "0.00001"},
      {"1.5e-7", "1.5e-07", "1.5e-7"},
      {"5e-324", "5e-324", "5e-324"},
      {"-0.0", "-0.0", "-0.0"},
      {"18446744073709551616", "18446744073709551616",
       "1.8446744073709552e+19"},
      {"123456.789e3", "123456789.0", "123456789.0"}};
  for (const auto &c : cases) {
    EXPECT_EQ(spelled(c[0], NumberStyle::Python), c[1]);
    EXPECT_EQ(spelled(c[0], NumberStyle::Rust), c[2]);
  }
  EXPECT_EQ(spelled(R"({"b":[1,{}],"a":"\u00e9\n\u0001\"","b":null})",
                    NumberStyle::Python),
            R"({"b": null, "a": "é\n\u0001\""})");
  EXPECT_EQ(spelled(R"("\u001f\u0020")", NumberStyle::Python), R"("\u001f ")");
}

// ---- The output parser
// ---------------------------------------------------------

struct Parsed {
  std::string reasoning, content;
  std::vector<ToolCall> calls;
  int warnings = 0;
};

/// Parses an answer whose marks are spelled out, its text in pieces.
Parsed parse(std::string_view text, AnswerStart start, std::mt19937 *random) {
  OutputParser parser(start);
  OutputParser::Events events;
  const std::pair<std::string_view, OutputParser::Mark> marks[] = {
      {protocol::kThink, OutputParser::Mark::Think},
      {protocol::kThinkEnd, OutputParser::Mark::ThinkEnd},
      {protocol::kDsml, OutputParser::Mark::Dsml}};
  while (!text.empty()) {
    size_t first = text.size(), size = 0;
    OutputParser::Mark mark = OutputParser::Mark::Dsml;
    for (const auto &[name, kind] : marks)
      if (const size_t at = text.find(name); at < first) {
        first = at;
        size = name.size();
        mark = kind;
      }
    std::string_view plain = text.substr(0, first);
    while (!plain.empty()) {
      const size_t take =
          random ? 1 + (*random)() % plain.size() : plain.size();
      parser.text(plain.substr(0, take), events);
      plain.remove_prefix(take);
    }
    if (size)
      parser.mark(mark, events);
    text.remove_prefix(first + size);
  }
  parser.finish(events);
  Parsed out;
  for (const OutputEvent &e : events) {
    if (e.kind == OutputEvent::Kind::Reasoning)
      out.reasoning += e.text;
    else if (e.kind == OutputEvent::Kind::Content)
      out.content += e.text;
    else if (e.kind == OutputEvent::Kind::ToolCall)
      out.calls.push_back(e.call);
    else
      ++out.warnings;
  }
  return out;
}

std::string encoded(const std::vector<ToolCall> &calls) {
  Prompt prompt;
  PromptWriter(NumberStyle::Python, prompt).toolCalls(calls, true);
  return prompt.text;
}

const std::vector<std::string> kArguments = {
    "{}", R"({"city": "Paris"})",
    R"({"a": 1, "b": [1, {"c": null}], "d": 1.5})",
    R"({"text": "line\nline \"quoted\" <b> > </b>"})",
    R"({"x": "", "y": "世界 🙂", "z": true})"};

TEST(OutputParser, CallsComeBackFromWhatTheEncoderWrites) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<ToolCall> calls;
    for (int i = 1 + int(random() % 3); i > 0; --i)
      calls.push_back({"", "f" + std::to_string(i),
                       kArguments[random() % kArguments.size()]});
    const Parsed p = parse("I think.</think>So:\n\n x < y \n" + encoded(calls),
                           AnswerStart::Reasoning, &random);
    EXPECT_EQ(p.reasoning, "I think.");
    EXPECT_EQ(p.content, "So:\n\n x < y \n");
    EXPECT_EQ(p.warnings, 0);
    ASSERT_EQ(p.calls.size(), calls.size());
    for (size_t i = 0; i < calls.size(); ++i) {
      EXPECT_EQ(p.calls[i].name, calls[i].name);
      EXPECT_EQ(p.calls[i].arguments, calls[i].arguments);
      EXPECT_EQ(p.calls[i].id, "call_" + std::to_string(i));
    }
  }
}

TEST(OutputParser, NothingIsLost) {
  // Cut and corrupted everywhere: all text is somewhere, or a call took it.
  std::mt19937 random(4);
  const std::string whole =
      "ok" + encoded({{"", "f", kArguments[1]}, {"", "g", kArguments[3]}});
  for (size_t at = 0; at <= whole.size(); ++at) {
    if (at < whole.size() && (uint8_t(whole[at]) & 0xC0) == 0x80)
      continue;
    for (int kind = 0; kind < 3; ++kind) {
      std::string text = whole;
      if (kind == 0)
        text.resize(at);
      else if (kind == 1)
        text.insert(at, "#");
      else
        text.insert(at, protocol::kDsml);
      const Parsed once = parse(text, AnswerStart::Content, nullptr),
                   pieces = parse(text, AnswerStart::Content, &random);
      EXPECT_EQ(once.content, pieces.content);
      EXPECT_EQ(once.calls.size(), pieces.calls.size());
      if (once.calls.empty()) {
        EXPECT_EQ(once.content, text) << "given up, but not as it was";
      }
      // A value without its end goes on to the next one.
      const bool swallowed =
          once.calls.size() == 1 &&
          once.calls[0].arguments.find("invoke") != std::string::npos;
      if (once.calls.size() < 2 && !swallowed) {
        EXPECT_TRUE(once.warnings || once.content == text);
      }
    }
  }
}

TEST(OutputParser, WhatOnlyLooksLikeMarksIsText) {
  OutputParser parser(AnswerStart::Content);
  OutputParser::Events events;
  const std::string text = encoded({{"", "f", "{}"}});
  parser.text(text, events); // the token ｜DSML｜ has not come
  parser.finish(events);
  std::string content;
  for (const OutputEvent &e : events) {
    EXPECT_EQ(e.kind, OutputEvent::Kind::Content);
    content += e.text;
  }
  EXPECT_EQ(content, text);
}

TEST(OutputParser, Malformed) {
  const std::string d(protocol::kDsml);
  auto call = [&](const std::string &inside) {
    return "\n\n<" + d + "tool_calls>\n<" + d + "invoke name=\"f\">\n" +
           inside + "</" + d + "invoke>\n</" + d + "tool_calls>";
  };
  const std::string one =
      "<" + d + "parameter name=\"a\" string=\"true\">1</" + d + "parameter>\n";
  EXPECT_EQ(parse(call(one), AnswerStart::Content, nullptr).calls.size(), 1u);
  const Parsed twice = parse(call(one + one), AnswerStart::Content, nullptr);
  EXPECT_EQ(twice.calls.size(), 0u);
  EXPECT_EQ(twice.content, call(one + one));
  EXPECT_EQ(twice.warnings, 1);
  // Said to be JSON, and is not.
  const Parsed text =
      parse(call("<" + d + "parameter name=\"a\" string=\"false\">Paris</" + d +
                 "parameter>\n"),
            AnswerStart::Content, nullptr);
  ASSERT_EQ(text.calls.size(), 1u);
  EXPECT_EQ(text.calls[0].arguments, R"({"a": "Paris"})");
  EXPECT_EQ(text.warnings, 1);
  // A byte 0 ends no JSON: what comes after it would go along unread.
  const Parsed cut =
      parse(call("<" + d + "parameter name=\"a\" string=\"false\">1" +
                 std::string("\0, 2]", 5) + "</" + d + "parameter>\n"),
            AnswerStart::Content, nullptr);
  ASSERT_EQ(cut.calls.size(), 1u);
  EXPECT_EQ(cut.calls[0].arguments, R"({"a": "1\u0000, 2]"})");
  EXPECT_EQ(cut.warnings, 1);
  // A tag within a tag: it would go into a name.
  for (const std::string &text :
       {"<" + d + "tool_calls>\n<" + d + "invoke name=\"f" + d + "\">\n</" + d +
            "invoke>\n</" + d + "tool_calls>",
        call("<" + d + "parameter name=\"a" + d + "\" string=\"true\">1</" + d +
             "parameter>\n")}) {
    const Parsed within = parse(text, AnswerStart::Content, nullptr);
    EXPECT_EQ(within.calls.size(), 0u);
    EXPECT_EQ(within.content, text);
    EXPECT_EQ(within.warnings, 1);
  }
  // Text after a block, and a second block.
  const Parsed two =
      parse(call("") + "and" + call(one), AnswerStart::Content, nullptr);
  EXPECT_EQ(two.content, "and");
  EXPECT_EQ(two.calls.size(), 2u);
  // An answer that begins within a block.
  const std::string full = call(one);
  EXPECT_EQ(
      parse(full.substr(full.find(">\n") + 2), AnswerStart::ToolCalls, nullptr)
          .calls.size(),
      1u);
}

/// A tag that never ends does not grow for ever.
TEST(OutputParser, TagsWithoutEnd) {
  OutputParser parser(AnswerStart::Content);
  OutputParser::Events events;
  parser.text("<", events);
  parser.mark(OutputParser::Mark::Dsml, events);
  parser.text("tool_calls>\n<", events);
  parser.mark(OutputParser::Mark::Dsml, events);
  parser.text("invoke name=\"" + std::string(60000, 'x'), events);
  EXPECT_TRUE(events.empty());
  parser.text(std::string(10000, 'x'), events); // more than 65536 bytes
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].kind, OutputEvent::Kind::Warning);
  EXPECT_EQ(events[1].kind, OutputEvent::Kind::Content);
  EXPECT_EQ(events[1].text, "<" + std::string(protocol::kDsml) +
                                "tool_calls>\n<" +
                                std::string(protocol::kDsml) +
                                "invoke name=\"" + std::string(70000, 'x'));
}

TEST(OutputParser, TheModelSaysWhetherItThinks) {
  const Parsed thought =
      parse("<think>one</think>two", AnswerStart::Turn, nullptr);
  EXPECT_EQ(thought.reasoning, "one");
  EXPECT_EQ(thought.content, "two");
  EXPECT_EQ(parse("</think>two", AnswerStart::Turn, nullptr).content, "two");
  EXPECT_EQ(parse("two</think>", AnswerStart::Turn, nullptr).content,
            "two</think>");
}

TEST(OutputParser, ThoughtsWithoutEnd) {
  const Parsed p =
      parse("only thinking <think> on", AnswerStart::Reasoning, nullptr);
  EXPECT_EQ(p.reasoning, "only thinking <think> on");
  EXPECT_EQ(p.content, "");
}

} // namespace
