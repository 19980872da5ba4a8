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

/// Orders results by their calls, if all of them have one.
void sortResults(std::vector<Block> &results,
                 const std::map<std::string, size_t> &order) {
  std::multimap<size_t, Block> sorted; // keeps the order of equal ones
  for (const Block &block : results) {
    const auto found = order.find(block.callId);
    if (found == order.end())
      return;
    sorted.emplace(found->second, block);
  }
  results.clear();
  for (auto &[place, block] : sorted)
    results.push_back(std::move(block));
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
    std::vector<const Message *> messages;
    for (const Message &m : conversation.messages)
      if (m.role != Role::System)
        messages.push_back(&m);
    for (size_t i = 0; i < messages.size();) {
      const Message &m = *messages[i];
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
    if (messages.empty() || messages.back()->role != Role::Assistant ||
        !messages.back()->open) {
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

  /// Results of tools and the texts of a user after them are one turn.
  size_t user(const std::vector<const Message *> &messages, size_t i) {
    std::vector<Block> blocks;
    for (; i < messages.size() && messages[i]->role == Role::Tool; ++i)
      blocks.push_back(messages[i]->blocks[0]);
    sortResults(blocks, order);
    for (; i < messages.size() && (messages[i]->role == Role::User ||
                                   messages[i]->role == Role::Developer);
         ++i) {
      std::string text = messages[i]->content;
      for (const Block &block : messages[i]->blocks)
        if (messages[i]->content.empty())
          text += (text.empty() ? "" : "\n\n") + block.text;
      if (!text.empty())
        blocks.push_back({false, std::move(text), ""});
    }
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
    write.special(protocol::kThinkEnd);
    write.text(m.content);
    if (m.hasToolCalls)
      write.toolCalls(m.toolCalls, /*blankLine=*/false);
    if (!m.open || !isLast)
      write.special(protocol::kEnd);
    if (!m.toolCalls.empty()) {
      order.clear();
      for (size_t i = 0; i < m.toolCalls.size(); ++i)
        order[m.toolCalls[i].id] = i;
    }
  }

  const Conversation &conversation;
  bool thinking, tools;
  PromptWriter write;
  std::map<std::string, size_t> order; // of the last calls
};

} // namespace

void renderRecipe(const Conversation &conversation, bool thinking,
                  std::string_view effort, Prompt &out) {
  Recipe(conversation, thinking, out).all(effort);
}

} // namespace fathom::rt
