// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the profiles of the encoder share: special tokens that are noted as
// such, tools, tool calls.
#pragma once

#include "runtime/prompt/Conversation.h"

#include <string_view>

namespace fathom::rt {

class PromptWriter {
public:
  PromptWriter(NumberStyle numbers, Prompt &out) : numbers(numbers), out(out) {}

  void text(std::string_view text) { out.text += text; }
  void special(std::string_view token) {
    out.special.push_back({out.text.size(), out.text.size() + token.size()});
    out.text += token;
  }
  void json(const JsonText &value) { writeJson(value, numbers, out.text); }
  /// "\n\n## Tools ..." with one schema a line.
  void tools(const JsonText &functions);
  /// "\n\n<｜DSML｜tool_calls> ...". `blankLine` stands where a call has no
  /// parameters.
  void toolCalls(const std::vector<ToolCall> &calls, bool blankLine);
  void toolCallsBegin();
  void blocks(const std::vector<Block> &blocks);

private:
  /// "<" or "</", ｜DSML｜, the rest.
  void tag(std::string_view open, std::string_view rest);
  void parameters(const ToolCall &call, bool blankLine);

  NumberStyle numbers;
  Prompt &out;
};

} // namespace fathom::rt
