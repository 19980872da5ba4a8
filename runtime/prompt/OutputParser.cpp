// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/prompt/OutputParser.h"

#include "runtime/prompt/Protocol.h"

#include <algorithm>

namespace fathom::rt {

namespace {

constexpr char kMark = '\xFF';
constexpr std::string_view kBlockEnd = "</\xFFtool_calls>",
                           kCallEnd = "</\xFFinvoke>",
                           kValueEnd = "</\xFF"
                                       "parameter>";
/// A tag that is longer is none.
constexpr size_t kMaxTag = 1 << 16;

bool startsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

/// `text` may still become something that begins with `whole`.
bool mayBecome(std::string_view text, std::string_view whole) {
  return text.size() < whole.size() && startsWith(whole, text);
}

bool isBlank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

} // namespace

OutputParser::OutputParser(AnswerStart start)
    : state(start == AnswerStart::ToolCalls   ? State::Block
            : start == AnswerStart::Reasoning ? State::Reasoning
            : start == AnswerStart::Turn      ? State::Turn
                                              : State::Content) {
  if (state == State::Block) {
    raw = "\n\n<\xFFtool_calls>\n";
    at = raw.size();
    place = Place::Calls;
  }
}

void OutputParser::emit(OutputEvent::Kind kind, std::string text, Events &out) {
  if (!text.empty())
    out.push_back({kind, std::move(text), {}});
}

void OutputParser::warn(const std::string &what, Events &out) {
  out.push_back({OutputEvent::Kind::Warning, what, {}});
}

void OutputParser::text(std::string_view text, Events &out) {
  switch (state) {
  case State::Turn:
    if (text.empty())
      return;
    state = State::Content;
    [[fallthrough]];
  case State::Content:
    held += text;
    return content(out);
  case State::Reasoning:
    return emit(OutputEvent::Kind::Reasoning, std::string(text), out);
  case State::Block:
    raw += text;
    if (tagOpen || place != Place::Value)
      block(out);
  }
}

/// Gives out what was held, but for an end like "\n\n<", which a block begins
/// with.
void OutputParser::content(Events &out) {
  size_t keep = held.size();
  if (keep && held[keep - 1] == '<')
    --keep;
  for (int i = 0; i < 2 && keep && held[keep - 1] == '\n'; ++i)
    --keep;
  emit(OutputEvent::Kind::Content, held.substr(0, keep), out);
  held.erase(0, keep);
}

void OutputParser::mark(Mark mark, Events &out) {
  if (state == State::Turn) {
    state = mark == Mark::Think ? State::Reasoning : State::Content;
    if (mark != Mark::Dsml)
      return;
  }
  if (state == State::Reasoning) {
    if (mark == Mark::ThinkEnd)
      state = State::Content;
    else
      text(mark == Mark::Think ? protocol::kThink : protocol::kDsml, out);
    return;
  }
  if (mark != Mark::Dsml)
    return text(mark == Mark::Think ? protocol::kThink : protocol::kThinkEnd,
                out);
  if (state == State::Content) {
    if (held.empty() || held.back() != '<') {
      held += protocol::kDsml;
      return content(out);
    }
    state = State::Block;
    place = Place::Before;
    raw = std::move(held);
    held.clear();
    at = raw.size() - 1;
  }
  raw += kMark;
  tagOpen = true;
}

void OutputParser::finish(Events &out) {
  if (state == State::Block)
    malformed("the answer ends within a block of tool calls", out);
  emit(OutputEvent::Kind::Content, std::move(held), out);
  held.clear();
}

std::string OutputParser::spelled(std::string_view raw) const {
  std::string out;
  for (const char c : raw) {
    if (c == kMark)
      out += protocol::kDsml;
    else
      out += c;
  }
  return out;
}

/// Reads as much of the block as is there.
void OutputParser::block(Events &out) {
  while (state == State::Block && blockStep(out)) {
  }
  if (state != State::Content || raw.empty())
    return;
  // What follows the block is content again, or another block.
  const std::string rest = std::move(raw);
  raw.clear();
  size_t from = 0;
  for (size_t i = 0; i <= rest.size(); ++i) {
    if (i < rest.size() && rest[i] != kMark)
      continue;
    text(std::string_view(rest).substr(from, i - from), out);
    if (i < rest.size())
      mark(Mark::Dsml, out);
    from = i + 1;
  }
}

/// One tag, or one value; false: there is not enough.
bool OutputParser::blockStep(Events &out) {
  if (place == Place::Value)
    return value(out);
  if (place != Place::Before)
    while (at < raw.size() && isBlank(raw[at]))
      ++at;
  const std::string_view rest = std::string_view(raw).substr(at);
  if (rest.empty())
    return false;
  const size_t size = rest.size();
  if (place == Place::Parameters ? parameter(rest, out) : openTag(rest, out))
    return true;
  return state == State::Block && size > kMaxTag &&
         malformed("a tag without an end", out);
}

bool OutputParser::openTag(std::string_view rest, Events &out) {
  constexpr std::string_view open = "<\xFFtool_calls>",
                             invoke = "<\xFFinvoke name=\"";
  if (place == Place::Before) {
    if (startsWith(rest, open)) {
      at += open.size();
      place = Place::Calls;
      return true;
    }
    return !mayBecome(rest, open) &&
           malformed("what follows is not tool_calls", out);
  }
  if (startsWith(rest, kBlockEnd)) {
    raw.erase(0, at + kBlockEnd.size());
    at = searched = 0;
    tagOpen = false;
    state = State::Content;
    return false;
  }
  if (startsWith(rest, invoke)) {
    const size_t end = rest.find("\">", invoke.size());
    if (rest.find(kMark, invoke.size()) < end)
      return malformed("a tag within a tag", out);
    if (end == rest.npos)
      return false;
    call = ToolCall();
    names.clear();
    call.name = spelled(rest.substr(invoke.size(), end - invoke.size()));
    at += end + 2;
    place = Place::Parameters;
    return true;
  }
  return !mayBecome(rest, invoke) && !mayBecome(rest, kBlockEnd) &&
         malformed("neither a call nor the end of the block", out);
}

bool OutputParser::parameter(std::string_view rest, Events &out) {
  constexpr std::string_view open = "<\xFFparameter name=\"",
                             yes = "\" string=\"true\">",
                             no = "\" string=\"false\">";
  if (startsWith(rest, kCallEnd)) {
    at += kCallEnd.size();
    closeCall(out);
    return true;
  }
  if (!startsWith(rest, open))
    return !mayBecome(rest, open) && !mayBecome(rest, kCallEnd) &&
           malformed("neither a parameter nor the end of the call", out);
  const size_t asText = rest.find(yes, open.size()),
               asJson = rest.find(no, open.size()),
               end = std::min(asText, asJson);
  if (rest.find(kMark, open.size()) < end)
    return malformed("a tag within a tag", out);
  if (end == rest.npos)
    return false;
  isText = asText < asJson;
  name = spelled(rest.substr(open.size(), end - open.size()));
  if (std::find(names.begin(), names.end(), name) != names.end())
    return malformed("the parameter '" + name + "' is given twice", out);
  at += end + (isText ? yes.size() : no.size());
  searched = at;
  place = Place::Value;
  tagOpen = false;
  return true;
}

bool OutputParser::value(Events &out) {
  const size_t end = raw.find(kValueEnd, searched);
  if (end == raw.npos) {
    // It may have begun; and what comes without a mark is no end.
    searched =
        std::max(at, raw.size() - std::min(raw.size(), kValueEnd.size() - 1));
    return false;
  }
  const std::string text = spelled(std::string_view(raw).substr(at, end - at));
  call.arguments += call.arguments.empty() ? "{" : ", ";
  writeJsonString(name, call.arguments);
  call.arguments += ": ";
  JsonText parsed;
  if (!isText && parseJson(text, parsed)) {
    call.arguments += text;
  } else {
    if (!isText)
      warn("the parameter '" + name +
               "' is said to be JSON and is not; it is "
               "taken as text",
           out);
    writeJsonString(text, call.arguments);
  }
  names.push_back(name);
  at = end + kValueEnd.size();
  place = Place::Parameters;
  return true;
}

void OutputParser::closeCall(Events &out) {
  call.arguments += call.arguments.empty() ? "{}" : "}";
  call.id = "call_" + std::to_string(calls++);
  out.push_back({OutputEvent::Kind::ToolCall, "", std::move(call)});
  // Calls that are out need not be kept for the case that a later one is
  // malformed.
  raw.erase(0, at);
  at = searched = 0;
  place = Place::Calls;
}

/// Gives the block up: its text is content, and so is what follows it.
bool OutputParser::malformed(const std::string &why, Events &out) {
  warn("malformed tool call: " + why, out);
  held = spelled(raw);
  raw.clear();
  at = searched = 0;
  tagOpen = false;
  state = State::Content;
  content(out);
  return false;
}

} // namespace fathom::rt
