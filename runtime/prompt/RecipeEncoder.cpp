// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The encoder of the service, as deepseek-recipe 0.2.0 has it. It differs from
// the one that comes with the checkpoints: what systems say comes first,
// joined; the model's turn always follows; an assistant's reasoning is kept
// with tools, or where the model goes on from it, and dropped otherwise.
#include "runtime/prompt/Encoder.h"

#include "runtime/prompt/Protocol.h"

#include <map>

namespace fathom::rt {

namespace {

using Role = Message::Role;

/// name, description and parameters of a function, whatever else it has.
JsonText definition(const JsonText &function) {
  JsonText out;
  out.kind = JsonText::Kind::Object;
  const JsonText *parameters = function.find("parameters");
  out.members.emplace_back("name", JsonText::of(function.string("name")));
  out.members.emplace_back("description",
                           JsonText::of(function.string("description")));
  out.members.emplace_back("parameters", parameters ? *parameters : JsonText());
  return out;
}

/// What a user says in several messages is one.
std::vector<Message> withoutSystem(const std::vector<Message> &messages) {
  std::vector<Message> out;
  for (const Message &m : messages) {
    if (m.role == Role::System)
      continue;
    Message made = m;
    if (m.role == Role::User || m.role == Role::Developer) {
      made.role = Role::User;
      std::string said = m.role == Role::Developer ? m.content : "";
      for (const Block &block : m.blocks)
        if (!block.text.empty())
          said += (said.empty() ? "" : "\n\n") + block.text;
      if (!out.empty() && out.back().role == Role::User) {
        std::string &before = out.back().content;
        before += (before.empty() || said.empty() ? "" : "\n\n") + said;
        continue;
      }
      made.content = std::move(said);
    }
    out.push_back(std::move(made));
  }
  return out;
}

/// Of as many messages as an assistant made calls, right after it, results
/// come first, by the ids of their calls.
void sortResults(std::vector<Message> &messages) {
  std::vector<size_t> counts; // where calls were before anything moved
  for (const Message &m : messages)
    counts.push_back(m.toolCalls.size());
  for (size_t i = 0; i < messages.size(); ++i) {
    const size_t count = counts[i];
    if (count < 2 || i + count >= messages.size())
      continue;
    std::multimap<std::pair<bool, std::string>, Message> sorted;
    for (size_t k = i + 1; k <= i + count; ++k) {
      const bool result = messages[k].role == Role::Tool;
      sorted.emplace(
          std::make_pair(!result, result ? messages[k].blocks[0].callId : ""),
          messages[k]);
    }
    size_t place = i + 1;
    for (auto &[key, message] : sorted)
      messages[place++] = std::move(message);
  }
}

std::vector<ToolCall> byId(const std::vector<ToolCall> &calls) {
  std::multimap<std::string, ToolCall> sorted;
  for (const ToolCall &call : calls)
    sorted.emplace(call.id, call);
  std::vector<ToolCall> out;
  for (auto &[id, call] : sorted)
    out.push_back(std::move(call));
  return out;
}

class Recipe {
public:
  Recipe(const Conversation &conversation, bool thinking, Prompt &out)
      : conversation(conversation), thinking(thinking),
        tools(conversation.toolChoice != ToolChoice::None &&
              !conversation.tools.empty()),
        write(NumberStyle::Rust, out) {}

  void all(std::string_view effort) {
    write.special(protocol::kBegin);
    if (thinking)
      write.text(effort);
    system();
    std::vector<Message> messages = withoutSystem(conversation.messages);
    sortResults(messages);
    for (size_t i = 0; i < messages.size();) {
      const Message &m = messages[i];
      if (m.role == Role::Assistant) {
        assistant(m, i + 1 == messages.size());
        ++i;
      } else if (m.role == Role::Reminder) {
        write.special(protocol::kReminder);
        write.text(m.content);
        ++i;
      } else {
        i = user(messages, i);
      }
    }
    if (messages.empty() || messages.back().role != Role::Assistant ||
        !messages.back().open) {
      write.special(protocol::kAssistant);
      write.special(thinking ? protocol::kThink : protocol::kThinkEnd);
    }
  }

private:
  void system() {
    bool first = true;
    for (const Message &m : conversation.messages) {
      if (m.role != Role::System || m.content.empty())
        continue;
      if (!first)
        write.text("\n\n");
      write.text(m.content);
      first = false;
    }
    if (tools) {
      JsonText list;
      for (const JsonText &function : conversation.tools.items)
        list.items.push_back(definition(function));
      write.tools(list);
    }
    if (conversation.jsonObject)
      write.text(protocol::kJsonObject);
    if (!conversation.schema.is(JsonText::Kind::Null)) {
      write.text(protocol::kResponseFormat);
      write.json(conversation.schema);
    }
  }

  /// Results of tools and what a user says after them are one turn.
  size_t user(const std::vector<Message> &messages, size_t i) {
    std::vector<Block> blocks;
    for (; i < messages.size() && messages[i].role == Role::Tool; ++i)
      blocks.push_back(messages[i].blocks[0]);
    for (; i < messages.size() && messages[i].role == Role::User; ++i)
      blocks.push_back({false, messages[i].content, ""});
    write.special(protocol::kUser);
    write.blocks(blocks);
    return i;
  }

  void assistant(const Message &m, bool isLast) {
    write.special(protocol::kAssistant);
    if (m.hasReasoning && (tools || m.open)) {
      write.special(protocol::kThink);
      write.text(m.reasoning);
    }
    // Where nothing is said yet, the model may go on thinking.
    if (!thinking || !m.open || !m.content.empty())
      write.special(protocol::kThinkEnd);
    write.text(m.content);
    std::vector<ToolCall> calls = byId(m.toolCalls);
    if (m.hasToolCalls)
      write.toolCalls(calls, /*blankLine=*/false);
    if (!m.open || !isLast)
      write.special(protocol::kEnd);
  }

  const Conversation &conversation;
  bool thinking, tools;
  PromptWriter write;
};

} // namespace

void renderRecipe(const Conversation &conversation, bool thinking,
                  std::string_view effort, Prompt &out) {
  Recipe(conversation, thinking, out).all(effort);
}

} // namespace fathom::rt
