// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/prompt/Conversation.h"

#include "runtime/prompt/Protocol.h"

#include <algorithm>
#include <iterator>

namespace fathom::rt {

namespace {

using Kind = JsonText::Kind;

Status bad(const std::string &where, const std::string &why) {
  return Status(FATHOM_BAD_FILE, where + ": " + why);
}

struct RoleName {
  const char *name;
  Message::Role role;
};
constexpr RoleName kRoles[] = {{"system", Message::Role::System},
                               {"developer", Message::Role::Developer},
                               {"user", Message::Role::User},
                               {"assistant", Message::Role::Assistant},
                               {"tool", Message::Role::Tool},
                               {"latest_reminder", Message::Role::Reminder}};

/// Of an object that has messages: those that are read.
constexpr std::string_view kKeys[] = {"messages",    "tools",
                                      "tool_choice", "response_format",
                                      "think",       "reasoning_effort"};

/// "[Unsupported image_url]": what the published encoder writes.
std::string unsupported(const JsonText &block) {
  return "[Unsupported " + block.string("type") + "]";
}

/// The texts of a list of content blocks.
Status readTexts(const JsonText &list, const std::string &where,
                 std::vector<std::string> &out) {
  for (const JsonText &block : list.items) {
    if (!block.is(Kind::Object))
      return bad(where, "a content block that is not an object");
    out.push_back(block.string("type") == "text" ? block.string("text")
                                                 : unsupported(block));
  }
  return Status();
}

std::string join(const std::vector<std::string> &parts) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i)
    out += (i ? "\n\n" : "") + parts[i];
  return out;
}

/// Content is a string, a list of blocks, or nothing.
Status readContent(const JsonText *content, const std::string &where,
                   std::string &out) {
  if (!content)
    return Status();
  if (content->is(Kind::String)) {
    out = content->text;
    return Status();
  }
  if (!content->is(Kind::Array))
    return bad(where, "content is neither a string nor a list of blocks");
  std::vector<std::string> texts;
  if (Status s = readTexts(*content, where, texts); s.failed())
    return s;
  out = join(texts);
  return Status();
}

/// A user's blocks: texts, and results of tools in between.
Status readBlocks(const JsonText &list, const std::string &where,
                  std::vector<Block> &out) {
  for (const JsonText &block : list.items) {
    if (!block.is(Kind::Object))
      return bad(where, "a content block that is not an object");
    Block made;
    made.toolResult = block.string("type") == "tool_result";
    if (made.toolResult) {
      made.callId = block.string("tool_use_id");
      if (Status s = readContent(block.find("content"), where, made.text);
          s.failed())
        return s;
    } else {
      made.text = block.string("type") == "text" ? block.string("text")
                                                 : unsupported(block);
    }
    out.push_back(std::move(made));
  }
  return Status();
}

Status readToolCalls(const JsonText &list, const std::string &where,
                     std::vector<ToolCall> &out) {
  if (!list.is(Kind::Array))
    return bad(where, "tool_calls is not a list");
  for (const JsonText &entry : list.items) {
    const JsonText *function = entry.find("function");
    if (!function || function->string("name").empty())
      return bad(where, "a tool call without function and name");
    ToolCall call;
    call.id = entry.string("id");
    if (call.id.empty())
      call.id = function->string("id");
    call.name = function->string("name");
    if (const JsonText *arguments = function->find("arguments")) {
      if (arguments->is(Kind::String))
        call.arguments = arguments->text;
      else
        writeJson(*arguments, NumberStyle::Python, call.arguments);
    }
    out.push_back(std::move(call));
  }
  return Status();
}

Status readMessage(const JsonText &json, const std::string &where,
                   Message &out) {
  if (!json.is(Kind::Object))
    return bad(where, "not an object");
  const std::string &role = json.string("role");
  bool known = false;
  for (const RoleName &entry : kRoles)
    if (role == entry.name) {
      out.role = entry.role;
      known = true;
    }
  if (!known)
    return bad(where, "role '" + role.substr(0, 100) +
                          "' is none of system, developer, user, assistant, "
                          "tool, latest_reminder");
  const JsonText *content = json.find("content");
  const JsonText *blocks = json.find("content_blocks");
  if (out.role == Message::Role::User) {
    if (!blocks && content && content->is(Kind::Array))
      blocks = content;
    if (blocks && !blocks->is(Kind::Array))
      return bad(where, "content_blocks is not a list");
    if (blocks) {
      if (Status s = readBlocks(*blocks, where, out.blocks); s.failed())
        return s;
      content = nullptr;
    }
  }
  if (Status s = readContent(content, where, out.content); s.failed())
    return s;
  if (out.role == Message::Role::User && !blocks)
    out.blocks.push_back({false, out.content, ""});
  if (out.role == Message::Role::Tool)
    out.blocks.push_back({true, out.content, json.string("tool_call_id")});
  if (out.role == Message::Role::Developer && out.content.empty())
    return bad(where, "a developer's message without content");
  if (const JsonText *reasoning = json.find("reasoning_content")) {
    if (!reasoning->is(Kind::String))
      return bad(where, "reasoning_content is not a string");
    out.hasReasoning = true;
    out.reasoning = reasoning->text;
  }
  if (const JsonText *calls = json.find("tool_calls")) {
    out.hasToolCalls = true;
    if (Status s = readToolCalls(*calls, where, out.toolCalls); s.failed())
      return s;
  }
  if (const JsonText *tools = json.find("tools"))
    if (Status s = readTools(*tools, out.tools); s.failed())
      return Status(s.code(), where + ": " + s.message());
  if (const JsonText *format = json.find("response_format"))
    out.responseFormat = *format;
  out.task = json.string("task");
  if (!out.task.empty()) {
    std::string names;
    for (const protocol::Task &task : protocol::kTasks)
      names += (names.empty() ? "" : ", ") + std::string(task.name);
    if ((", " + names + ", ").find(", " + out.task + ", ") == std::string::npos)
      return bad(where,
                 "task '" + out.task.substr(0, 100) + "' is none of " + names);
  }
  const JsonText *prefix = json.find("prefix"), *open = json.find("wo_eos");
  out.open = (prefix && prefix->isTrue()) || (open && open->isTrue());
  return Status();
}

Status readResponseFormat(const JsonText &format, Conversation &out) {
  const std::string &type = format.string("type");
  if (type == "text")
    return Status();
  if (type == "json_object") {
    out.jsonObject = true;
    return Status();
  }
  const JsonText *named = format.find("json_schema");
  const JsonText *schema = named ? named->find("schema") : nullptr;
  if (type != "json_schema" || !schema)
    return bad("response_format", "neither text, json_object nor json_schema "
                                  "with a schema");
  out.schema = *schema;
  return Status();
}

/// What is said beside messages and tools of how the model answers.
Status readThink(const JsonText &json, Conversation &out) {
  const JsonText *think = json.find("think"),
                 *effort = json.find("reasoning_effort");
  if (think && !think->is(Kind::String))
    return bad("think", "not a string, such as \"high\"");
  if (think)
    out.think = think->text;
  if (!effort)
    return Status();
  if (think)
    return bad("reasoning_effort", "say it or think, not both");
  // What others are in OpenAI's shape no profile has words for.
  for (const char *known : {"none", "low", "high", "max"})
    if (effort->is(Kind::String) && effort->text == known)
      out.think = effort->text == "none" ? "off" : effort->text;
  if (out.think.empty())
    return bad("reasoning_effort",
               "'" + effort->text.substr(0, 100) +
                   "' is none of none, low, high, max, which a model of "
                   "DeepSeek-V4 may have");
  return Status();
}

} // namespace

Status readTools(const JsonText &json, JsonText &out) {
  if (!json.is(Kind::Array))
    return bad("tools", "not a list");
  out = JsonText();
  out.kind = Kind::Array;
  for (const JsonText &entry : json.items) {
    const JsonText *function = entry.find("function");
    if (!function)
      function = &entry;
    if (function->string("name").empty())
      return bad("tools", "entry " + std::to_string(out.items.size()) +
                              " has no function with a name");
    out.items.push_back(*function);
  }
  return Status();
}

Status readConversation(const JsonText &json, Conversation &out) {
  const JsonText *messages = json.is(Kind::Array) ? &json : nullptr;
  if (json.is(Kind::Object)) {
    messages = json.find("messages");
    if (const JsonText *tools = json.find("tools"))
      if (Status s = readTools(*tools, out.tools); s.failed())
        return s;
    if (const JsonText *choice = json.find("tool_choice")) {
      if (choice->text == "none")
        out.toolChoice = ToolChoice::None;
      else if (choice->text == "required")
        out.toolChoice = ToolChoice::Required;
      else if (choice->text != "auto")
        return bad("tool_choice", "neither auto, none nor required");
    }
    if (const JsonText *format = json.find("response_format"))
      if (Status s = readResponseFormat(*format, out); s.failed())
        return s;
    if (Status s = readThink(json, out); s.failed())
      return s;
    for (const auto &[name, value] : json.members)
      if (!value.is(Kind::Null) && std::find(std::begin(kKeys), std::end(kKeys),
                                             name) == std::end(kKeys))
        out.otherKeys.push_back(name);
  }
  if (!messages || !messages->is(Kind::Array))
    return bad("messages", "neither a list of messages nor an object with one");
  for (size_t i = 0; i < messages->items.size(); ++i) {
    out.messages.emplace_back();
    if (Status s = readMessage(messages->items[i],
                               "messages[" + std::to_string(i) + "]",
                               out.messages.back());
        s.failed())
      return s;
  }
  return Status();
}

} // namespace fathom::rt
