// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a model says, taken apart as it comes: reasoning, content, and calls of
// tools in OpenAI's shape. Marks are tokens, so text that merely looks like
// them is text. Nothing is lost: what is no well-formed block of calls comes
// out as content, with a warning.
#pragma once

#include "runtime/prompt/Conversation.h"

#include <string_view>

namespace fathom::rt {

struct OutputEvent {
  enum class Kind { Reasoning, Content, ToolCall, Warning };
  Kind kind;
  std::string text; // not of a tool call
  ToolCall call;
};

class OutputParser {
public:
  enum class Mark { Think, ThinkEnd, Dsml };
  using Events = std::vector<OutputEvent>;

  explicit OutputParser(AnswerStart start);

  /// Text that is no mark, of well-formed UTF-8.
  void text(std::string_view text, Events &out);
  void mark(Mark mark, Events &out);
  /// The answer has ended.
  void finish(Events &out);

  bool inReasoning() const { return state == State::Reasoning; }

private:
  enum class State { Turn, Reasoning, Content, Block };
  enum class Place { Before, Calls, Parameters, Value };

  void content(Events &out);
  void emit(OutputEvent::Kind kind, std::string text, Events &out);
  void warn(const std::string &what, Events &out);
  void block(Events &out);
  bool blockStep(Events &out);
  bool openTag(std::string_view rest, Events &out);
  bool parameter(std::string_view rest, Events &out);
  bool value(Events &out);
  void closeCall(Events &out);
  bool malformed(const std::string &why, Events &out);
  std::string spelled(std::string_view raw) const;

  State state;
  std::string held; // content that may turn out to begin a block
  // A block: its text, in which the byte 0xFF, which no UTF-8 has, stands for
  // the token ｜DSML｜; what is read; and from where on a mark is looked for.
  std::string raw;
  size_t at = 0, searched = 0;
  bool tagOpen = false; // a mark whose '>' has not come
  Place place = Place::Before;
  ToolCall call;
  std::string name; // of the parameter being read
  bool isText = false;
  std::vector<std::string> names; // of the call's parameters
  int calls = 0;
};

} // namespace fathom::rt
