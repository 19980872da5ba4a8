// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A conversation in OpenAI's shape, and how it becomes a prompt.
#pragma once

#include "runtime/prompt/JsonText.h"
#include "runtime/src/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace fathom::rt {

struct ToolCall {
  std::string id, name, arguments; // arguments: JSON, as text
};

/// A piece of a user's message.
struct Block {
  bool toolResult = false;
  std::string text, callId;
};

struct Message {
  enum class Role { System, Developer, User, Assistant, Tool, Reminder };
  Role role = Role::User;
  std::string content;
  std::vector<Block> blocks; // of a user, or a tool's one result
  bool hasReasoning = false;
  std::string reasoning;
  bool hasToolCalls = false;
  std::vector<ToolCall> toolCalls;
  JsonText tools, responseFormat; // functions; a schema
  std::string task;
  bool open = false; // the model goes on where this ends
};

/// What the model is asked to do, beside the messages.
enum class ToolChoice { Auto, None, Required };
struct Conversation {
  std::vector<Message> messages;
  JsonText tools, schema;
  ToolChoice toolChoice = ToolChoice::Auto;
  bool jsonObject = false;
  std::string think;                  // off, low, high, max; "": off
  std::vector<std::string> otherKeys; // beside the messages, and not read
};

/// From untrusted JSON: a list of messages, or an object with "messages" and,
/// as they are wanted, "tools", "tool_choice", "response_format", and "think"
/// or "reasoning_effort".
Status readConversation(const JsonText &json, Conversation &out);
/// A list of tools, as OpenAI writes them or the functions alone.
Status readTools(const JsonText &json, JsonText &out);

/// Where an answer begins.
enum class AnswerStart {
  Nowhere, // the prompt leaves the model no turn
  Turn,    // the model says first whether it thinks
  Reasoning,
  Content,
  ToolCalls // in a block of them
};

struct Prompt {
  std::string text;
  /// Ranges of `text` that are special tokens. The rest is text that people
  /// and tools wrote; a token's spelling in there is only text.
  struct Range {
    size_t begin, end;
  };
  std::vector<Range> special;
  AnswerStart start = AnswerStart::Content;
};

/// Profiles: "preview", "official" (0731, 0813), "recipe" (the service's
/// encoder, deepseek-recipe).
bool isProfile(const std::string &name);

Status renderPrompt(const Conversation &conversation,
                    const std::string &profile, Prompt &out);

} // namespace fathom::rt
