// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Input: what a model says. The bytes 1, 2 and 3 stand for the tokens <think>,
// </think> and ｜DSML｜, 4 cuts the text. Without a call, all of it must come
// out as it was; and cuts must not matter.
#include "runtime/prompt/OutputParser.h"
#include "runtime/prompt/Protocol.h"
#include "runtime/text/Utf8.h"

#include <cstdlib>

using namespace fathom::rt;

static void require(bool condition) {
  if (!condition)
    std::abort();
}

namespace {

struct Result {
  std::string text; // reasoning and content
  std::vector<std::string> calls;
};

Result parse(const std::string &input, AnswerStart start, bool whole) {
  OutputParser parser(start);
  OutputParser::Events events;
  std::string text;
  auto flush = [&] {
    if (!text.empty())
      parser.text(text, events);
    text.clear();
  };
  for (const char c : input) {
    if (c < 1 || c > 4) {
      text += c;
      continue;
    }
    if (c == 4) {
      if (!whole && utf8::isValid(text))
        flush();
      continue;
    }
    flush();
    parser.mark(c == 1   ? OutputParser::Mark::Think
                : c == 2 ? OutputParser::Mark::ThinkEnd
                         : OutputParser::Mark::Dsml,
                events);
  }
  flush();
  parser.finish(events);
  Result out;
  for (const OutputEvent &e : events) {
    if (e.kind == OutputEvent::Kind::ToolCall)
      out.calls.push_back(e.call.name + e.call.arguments);
    else if (e.kind != OutputEvent::Kind::Warning)
      out.text += e.text;
  }
  return out;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string input;
  utf8::appendValid(input, {reinterpret_cast<const char *>(data), size}, true);
  for (const AnswerStart start : {AnswerStart::Content, AnswerStart::Reasoning,
                                  AnswerStart::Turn, AnswerStart::ToolCalls}) {
    const Result whole = parse(input, start, true);
    const Result cut = parse(input, start, false);
    require(whole.text == cut.text && whole.calls == cut.calls);
    for (const std::string &call : whole.calls) {
      JsonText arguments;
      require(parseJson(call.substr(call.find('{')), arguments) ||
              call.find('{') != call.rfind('{')); // a name may have one
    }
    if (!whole.calls.empty() || start != AnswerStart::Content)
      continue;
    std::string expected;
    for (const char c : input) {
      if (c == 1)
        expected += protocol::kThink;
      else if (c == 2)
        expected += protocol::kThinkEnd;
      else if (c == 3)
        expected += protocol::kDsml;
      else if (c != 4)
        expected += c;
    }
    // An empty block is well formed, and is no text.
    require(whole.text == expected ||
            expected.find("tool_calls>") != expected.npos);
  }
  return 0;
}
