// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The encoder that comes with the checkpoints, of the preview and of 0731.
// They differ in the efforts; the rest is the same.
#include "runtime/prompt/Encoder.h"

#include "runtime/format/PromptProfile.h"
#include "runtime/prompt/Protocol.h"

#include <map>

namespace fathom::rt {

namespace {

using Role = Message::Role;

bool isAsking(const Message &m) {
  return m.role == Role::User || m.role == Role::Developer;
}

size_t lastAsking(const std::vector<Message> &messages) {
  size_t last = messages.size(); // none
  for (size_t i = 0; i < messages.size(); ++i)
    if (isAsking(messages[i]))
      last = i;
  return last;
}

/// There is no role for tools: their results are blocks of a user's message,
/// and consecutive messages of a user are one.
std::vector<Message> merge(const std::vector<Message> &messages) {
  std::vector<Message> out;
  for (const Message &m : messages) {
    const bool follows = !out.empty() && out.back().role == Role::User;
    if (m.role == Role::Tool && follows) {
      out.back().blocks.push_back(m.blocks[0]);
    } else if (m.role == Role::Tool) {
      out.emplace_back();
      out.back().blocks = m.blocks;
    } else if (m.role == Role::User && follows && out.back().task.empty()) {
      out.back().blocks.insert(out.back().blocks.end(), m.blocks.begin(),
                               m.blocks.end());
    } else {
      out.push_back(m);
    }
  }
  return out;
}

/// Puts results of tools into the order of their calls, where results are.
void sortResults(std::vector<Message> &messages) {
  std::map<std::string, size_t> order;
  for (Message &m : messages) {
    if (m.role == Role::Assistant && !m.toolCalls.empty()) {
      order.clear();
      for (size_t i = 0; i < m.toolCalls.size(); ++i)
        if (!m.toolCalls[i].id.empty())
          order[m.toolCalls[i].id] = i;
    } else if (m.role == Role::User && !order.empty()) {
      std::multimap<size_t, Block> results; // keeps the order of equal ones
      for (const Block &block : m.blocks)
        if (block.toolResult) {
          const auto found = order.find(block.callId);
          results.emplace(found == order.end() ? 0 : found->second, block);
        }
      auto next = results.begin();
      for (Block &block : m.blocks)
        if (block.toolResult)
          block = (next++)->second;
    }
  }
}

/// Without tools, what was thought before the last question goes, and what
/// developers said before it.
std::vector<Message> dropThinking(const std::vector<Message> &messages) {
  const size_t last = lastAsking(messages);
  std::vector<Message> out;
  for (size_t i = 0; i < messages.size(); ++i) {
    const bool before = last != messages.size() && i < last;
    if (before && messages[i].role == Role::Developer)
      continue;
    out.push_back(messages[i]);
    if (before && messages[i].role == Role::Assistant)
      out.back().reasoning.clear();
  }
  return out;
}

class Renderer {
public:
  Renderer(const std::vector<Message> &messages, bool thinking, bool drop,
           Prompt &out)
      : messages(messages), last(lastAsking(messages)), thinking(thinking),
        drop(drop), write(NumberStyle::Python, out) {}

  void all(std::string_view effort) {
    write.special(protocol::kBegin);
    if (!messages.empty())
      write.text(effort);
    for (size_t i = 0; i < messages.size(); ++i)
      message(i);
  }

private:
  void message(size_t index) {
    const Message &m = messages[index];
    switch (m.role) {
    case Role::System:
      content(m);
      break;
    case Role::Developer:
      write.special(protocol::kUser);
      content(m);
      break;
    case Role::User:
      write.special(protocol::kUser);
      write.blocks(m.blocks);
      break;
    case Role::Reminder:
      write.special(protocol::kReminder);
      write.text(m.content);
      break;
    case Role::Assistant:
      assistant(index);
      break;
    case Role::Tool: // merged
      break;
    }
    if (index + 1 < messages.size() &&
        messages[index + 1].role != Role::Assistant &&
        messages[index + 1].role != Role::Reminder)
      return;
    turn(index);
  }

  void content(const Message &m) {
    write.text(m.content);
    if (!m.tools.empty())
      write.tools(m.tools);
    if (!m.responseFormat.empty()) {
      write.text(protocol::kResponseFormat);
      write.json(m.responseFormat);
    }
  }

  void assistant(size_t index) {
    const Message &m = messages[index];
    const bool task = index > 0 && !messages[index - 1].task.empty();
    const bool after = last == messages.size() || index > last;
    if (thinking && !task && (!drop || after)) {
      write.text(m.reasoning);
      write.special(protocol::kThinkEnd);
    }
    write.text(m.content);
    if (!m.toolCalls.empty())
      write.toolCalls(m.toolCalls, /*blankLine=*/true);
    if (!m.open)
      write.special(protocol::kEnd);
  }

  /// The model's turn begins after this message.
  void turn(size_t index) {
    const Message &m = messages[index];
    const std::string_view think =
        thinking ? protocol::kThink : protocol::kThinkEnd;
    if (!m.task.empty()) {
      if (m.task == "action") {
        write.special(protocol::kAssistant);
        write.special(think);
      }
      for (const protocol::Task &task : protocol::kTasks)
        if (task.name == m.task)
          write.special(task.token);
    } else if (isAsking(m)) {
      write.special(protocol::kAssistant);
      write.special(!drop || index >= last ? think : protocol::kThinkEnd);
    }
  }

  const std::vector<Message> &messages;
  size_t last;
  bool thinking, drop;
  PromptWriter write;
};

/// Tools and format of the request go to the first message, which they make a
/// system's.
Status placeTools(const Conversation &conversation,
                  std::vector<Message> &messages) {
  if (conversation.jsonObject)
    return Status(FATHOM_UNSUPPORTED,
                  "this profile has no text for response_format json_object; "
                  "give a json_schema, or use the profile recipe");
  const bool tools = conversation.toolChoice != ToolChoice::None &&
                     !conversation.tools.empty();
  if (!tools && conversation.schema.empty())
    return Status();
  if (messages.empty() || messages[0].role != Role::System) {
    messages.emplace(messages.begin());
    messages[0].role = Role::System;
  }
  if (tools)
    messages[0].tools = conversation.tools;
  if (!conversation.schema.empty())
    messages[0].responseFormat = conversation.schema;
  return Status();
}

/// What the last turn's special tokens leave open. Texts for tools spell some
/// of them before any turn of the model's.
AnswerStart startAfter(const Prompt &prompt) {
  AnswerStart start = AnswerStart::Nowhere;
  for (const Prompt::Range &range : prompt.special) {
    const std::string_view token =
        std::string_view(prompt.text)
            .substr(range.begin, range.end - range.begin);
    if (token == protocol::kEnd || token == protocol::kUser)
      start = AnswerStart::Nowhere;
    else if (token == protocol::kAssistant)
      start = AnswerStart::Turn;
    else if (start == AnswerStart::Turn && token == protocol::kThink)
      start = AnswerStart::Reasoning;
    else if (start != AnswerStart::Nowhere && token == protocol::kThinkEnd)
      start = AnswerStart::Content;
    for (const protocol::Task &task : protocol::kTasks)
      if (token == task.token)
        start = AnswerStart::Content;
  }
  return start;
}

Status unknownThink(const std::string &think, const std::string &profile,
                    const std::string &known) {
  return Status(FATHOM_USAGE, "thinking '" + think + "' is none of " + known +
                                  ", which the profile " + profile + " has");
}

} // namespace

Status effortPrefix(const std::string &profile, const std::string &think,
                    std::string_view &prefix) {
  prefix = "";
  if (profile == format::kPreviewProfile) {
    if (think == "max")
      prefix = protocol::kAbsoluteMaximum;
    else if (think != "off" && think != "high")
      return unknownThink(think, profile, "off, high, max");
    return Status();
  }
  if (think == "high")
    prefix = protocol::kAbsoluteMaximum;
  else if (think == "max")
    prefix = protocol::kBeyondMaximum;
  else if (think != "off" && think != "low")
    return unknownThink(think, profile, "off, low, high, max");
  return Status();
}

bool isProfile(const std::string &name) {
  return name == format::kPreviewProfile || name == format::kOfficialProfile ||
         name == kRecipeProfile;
}

Status renderPrompt(const Conversation &conversation,
                    const std::string &profile, Prompt &out) {
  out = Prompt();
  if (!isProfile(profile))
    return Status(FATHOM_USAGE, "prompt profile '" + profile +
                                    "' is none of preview, official, recipe");
  const std::string think =
      conversation.think.empty() ? "off" : conversation.think;
  std::string_view effort;
  if (Status s = effortPrefix(profile, think, effort); s.failed())
    return s;
  const bool thinking = think != "off";
  if (profile == kRecipeProfile) {
    renderRecipe(conversation, thinking, effort, out);
  } else {
    std::vector<Message> messages = conversation.messages;
    if (Status s = placeTools(conversation, messages); s.failed())
      return s;
    messages = merge(messages);
    sortResults(messages);
    bool drop = true;
    for (const Message &m : messages)
      drop = drop && m.tools.empty();
    if (thinking && drop)
      messages = dropThinking(messages);
    Renderer(messages, thinking, drop, out).all(effort);
  }
  out.start = startAfter(out);
  if (out.start == AnswerStart::Nowhere && !conversation.messages.empty() &&
      conversation.messages.back().open)
    out.start = AnswerStart::Content; // nobody was asked, and yet it goes on
  if (conversation.toolChoice == ToolChoice::Required &&
      !conversation.tools.empty()) {
    PromptWriter(NumberStyle::Rust, out).toolCallsBegin();
    out.start = AnswerStart::ToolCalls;
  }
  return Status();
}

} // namespace fathom::rt
