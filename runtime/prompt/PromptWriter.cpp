// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/prompt/PromptWriter.h"

#include "runtime/prompt/Protocol.h"

namespace fathom::rt {

void PromptWriter::tools(const JsonText &functions) {
  text("\n\n");
  std::string_view rest = protocol::kTools;
  for (size_t brace = rest.find('{'); brace != rest.npos;
       brace = rest.find('{')) {
    text(rest.substr(0, brace));
    switch (rest[brace + 1]) {
    case 'D':
      special(protocol::kDsml);
      break;
    case 'T':
      special(protocol::kThink);
      break;
    case 'E':
      special(protocol::kThinkEnd);
      break;
    default:
      for (size_t i = 0; i < functions.items.size(); ++i) {
        if (i)
          text("\n");
        json(functions.items[i]);
      }
    }
    rest.remove_prefix(brace + 3);
  }
  text(rest);
}

void PromptWriter::tag(std::string_view open, std::string_view rest) {
  text(open);
  special(protocol::kDsml);
  text(rest);
}

void PromptWriter::toolCallsBegin() {
  text("\n\n");
  tag("<", "tool_calls>\n");
}

void PromptWriter::parameters(const ToolCall &call, bool blankLine) {
  JsonText arguments;
  if (!parseJson(call.arguments, arguments) ||
      !arguments.is(JsonText::Kind::Object)) {
    arguments = JsonText();
    arguments.members.emplace_back("arguments", JsonText::of(call.arguments));
  }
  for (const auto &[name, value] : arguments.members) {
    const bool isText = value.is(JsonText::Kind::String);
    tag("<", "parameter name=\"");
    text(name);
    text(isText ? "\" string=\"true\">" : "\" string=\"false\">");
    if (isText)
      text(value.text);
    else
      json(value);
    tag("</", "parameter>\n");
  }
  if (arguments.members.empty() && blankLine)
    text("\n");
}

void PromptWriter::toolCalls(const std::vector<ToolCall> &calls,
                             bool blankLine) {
  toolCallsBegin();
  for (const ToolCall &call : calls) {
    tag("<", "invoke name=\"");
    text(call.name);
    text("\">\n");
    parameters(call, blankLine);
    tag("</", "invoke>\n");
  }
  tag("</", "tool_calls>");
}

void PromptWriter::blocks(const std::vector<Block> &blocks) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (i)
      text("\n\n");
    if (blocks[i].toolResult)
      text("<tool_result>");
    text(blocks[i].text);
    if (blocks[i].toolResult)
      text("</tool_result>");
  }
}

} // namespace fathom::rt
