// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathom/Answer.h"

#include "runtime/prompt/Protocol.h"
#include "tools/fathom/TokenSource.h"

#include <algorithm>
#include <cstdlib>
#include <unistd.h>

namespace fathom::tool {

using json = nlohmann::ordered_json;
using Kind = rt::OutputEvent::Kind;

volatile int Answerer::interrupted = 0;

Listener::~Listener() = default;

bool StopTexts::add(std::string_view text, std::string &out) {
  if (stops.empty()) {
    out += text;
    return false;
  }
  held += text;
  size_t first = held.npos;
  for (const std::string &stop : stops)
    first = std::min(first, held.find(stop));
  if (first != held.npos) {
    out.append(held, 0, first);
    held.clear();
    return true;
  }
  // The longest end that a stop text begins with is kept.
  size_t keep = 0;
  for (const std::string &stop : stops)
    for (size_t n = std::min(held.size(), stop.size() - 1); n > keep; --n)
      if (held.compare(held.size() - n, n, stop, 0, n) == 0)
        keep = n;
  out.append(held, 0, held.size() - keep);
  held.erase(0, held.size() - keep);
  return false;
}

void StopTexts::flush(std::string &out) {
  out += held;
  held.clear();
}

Failure Answerer::open(const EngineOptions &options) {
  if (Failure f = openEngine(options, engine))
    return f;
  fathom_engine_info(engine.get(), &info);
  if (!info.has_tokenizer)
    return {FATHOM_UNSUPPORTED,
            "'" + options.package +
                "' has no tokenizer.json, so it takes no "
                "text",
            "give token ids: fathom run PACKAGE --tokens IDS"};
  TokenizerOptions source;
  source.package = options.package;
  if (Failure f = openTokenizer(source, words))
    return f;
  auto find = [&](std::string_view name) {
    const rt::AddedToken *token = words.vocabulary()->findAdded(name);
    return token ? token->id : -1;
  };
  think = find(rt::protocol::kThink);
  thinkEnd = find(rt::protocol::kThinkEnd);
  dsml = find(rt::protocol::kDsml);
  fathom_session_options wanted = {};
  wanted.max_sequences = 1;
  wanted.max_logit_rows = 1;
  fathom_session *made = nullptr;
  if (Failure f = failure(fathom_session_create(engine.get(), &wanted, &made)))
    return f;
  session.reset(made);
  return {};
}

bool Answerer::isEnd(int32_t id) const {
  return std::find(info.eos_tokens, info.eos_tokens + info.eos_token_count,
                   int64_t(id)) != info.eos_tokens + info.eos_token_count;
}

/// Keeps what the session holds if the prompt begins with it.
Failure Answerer::startFrom(const std::vector<int32_t> &prompt,
                            size_t &cached) {
  cached = 0;
  if (slot >= 0 && inSession.size() < prompt.size() &&
      std::equal(inSession.begin(), inSession.end(), prompt.begin())) {
    cached = inSession.size();
    return {};
  }
  if (slot >= 0)
    if (Failure f = failure(fathom_session_remove(session.get(), slot)))
      return f;
  slot = -1;
  inSession.clear();
  return failure(fathom_session_add(session.get(), &slot));
}

Failure Answerer::answer(const std::vector<int32_t> &prompt,
                         const rt::Prompt &begin, bool raw,
                         const SamplingFlags &flags, Listener &listener,
                         Answer &out) {
  out = Answer();
  if (prompt.empty())
    return {FATHOM_USAGE, "the prompt is empty", ""};
  if (int64_t(prompt.size()) > info.max_context)
    return {FATHOM_RESOURCES,
            "context overrun: the prompt has " + std::to_string(prompt.size()) +
                " tokens, the package was compiled for " +
                std::to_string(info.max_context),
            "shorten it, or compile the model with a larger --max-context"};
  if (Failure f = startFrom(prompt, out.cachedTokens))
    return f;
  TokenSource source(session.get(), info, flags.options, flags.logprobs >= 0,
                     flags.maxNewTokens);
  rt::Detokenizer decoder(words.vocabulary());
  rt::OutputParser parser(raw ? rt::AnswerStart::Content : begin.start);
  StopTexts stops(flags.stops);
  rt::OutputParser::Events events;
  std::string ready;
  auto say = [&](const std::string &text) {
    if (text.empty())
      return;
    if (raw)
      events.push_back({Kind::Content, text, {}});
    else
      parser.text(text, events);
  };
  auto tell = [&]() -> Failure {
    for (const rt::OutputEvent &event : events) {
      if (event.kind == Kind::Reasoning)
        out.reasoning += event.text;
      else if (event.kind == Kind::Content)
        out.content += event.text;
      else if (event.kind == Kind::ToolCall)
        out.calls.push_back(event.call);
      if (Failure f = listener.event(event))
        return f;
    }
    events.clear();
    return {};
  };
  /// True: a stop text has come.
  auto add = [&](std::string_view text) {
    ready.clear();
    const bool stop = stops.add(text, ready);
    say(ready);
    return stop;
  };
  auto mark = [&](int32_t id) {
    if (add(decoder.flush()))
      return true;
    ready.clear();
    stops.flush(ready);
    say(ready);
    parser.mark(id == think      ? rt::OutputParser::Mark::Think
                : id == thinkEnd ? rt::OutputParser::Mark::ThinkEnd
                                 : rt::OutputParser::Mark::Dsml,
                events);
    return false;
  };

  const double start = seconds();
  out.promptTokens = prompt.size();
  Failure failed = source.begin(slot, prompt, out.cachedTokens);
  inSession = source.held();
  if (failed)
    return failed;
  const double answering = seconds();
  out.promptSeconds = answering - start;
  out.stop = "length";
  bool atStopText = false;
  while (int64_t(out.tokens) < flags.maxNewTokens) {
    rt::Sampled sampled;
    failed = source.next(sampled);
    inSession = source.held();
    if (failed)
      return failed;
    const int32_t id = sampled.id;
    ++out.tokens;
    out.reasoningTokens += !raw && parser.inReasoning();
    if (Failure f = listener.token(sampled))
      return f;
    if (isEnd(id)) {
      out.stop = "eos";
      break;
    }
    if (flags.stopsAt(id)) {
      out.stop = "stop";
      break;
    }
    const bool isMark =
        !raw && id >= 0 && (id == think || id == thinkEnd || id == dsml);
    if (isMark ? mark(id) : add(decoder.add(id))) {
      out.stop = "stop";
      atStopText = true;
      break;
    }
    if (Failure f = tell())
      return f;
    if (interrupted) {
      out.stop = "interrupted";
      break;
    }
    if (source.isFull()) {
      out.stop = "context";
      break;
    }
  }
  // What the token of a stop text has behind it is not of the answer, the first
  // bytes of a character as little as whole ones.
  if (!atStopText && !add(decoder.flush())) {
    ready.clear();
    stops.flush(ready);
    say(ready);
  }
  if (!raw)
    parser.finish(events);
  out.answerSeconds = seconds() - answering;
  return tell();
}

void printStatistics(const Answer &a) {
  const size_t fed = a.promptTokens - a.cachedTokens;
  std::fprintf(stderr,
               "prompt %zu tokens (%zu of them known), %.1f tokens/s; answer "
               "%zu tokens, %.1f tokens/s; stopped by %s\n",
               a.promptTokens, a.cachedTokens,
               double(fed) / std::max(a.promptSeconds, 1e-9), a.tokens,
               double(a.tokens) / std::max(a.answerSeconds, 1e-9), a.stop);
}

static json callJson(const rt::ToolCall &call) {
  return {{"id", call.id},
          {"type", "function"},
          {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
}

json messageJson(const Answer &answer) {
  json out = {{"role", "assistant"}, {"content", answer.content}};
  if (!answer.reasoning.empty())
    out["reasoning_content"] = answer.reasoning;
  for (const rt::ToolCall &call : answer.calls)
    out["tool_calls"].push_back(callJson(call));
  return out;
}

Printer::Printer(const rt::Tokenizer &tokenizer, bool json, bool logprobs)
    : tokenizer(tokenizer), json(json), logprobs(logprobs),
      dim(!json && isatty(STDOUT_FILENO) && !std::getenv("NO_COLOR")) {}

Failure Printer::token(const rt::Sampled &sampled) {
  if (!json || !logprobs)
    return {};
  auto one = [&](int32_t id, float logprob) {
    std::string text;
    rt::Detokenizer decoder(tokenizer.vocabulary());
    text += decoder.add(id);
    text += decoder.flush();
    return tool::json{{"id", id}, {"text", text}, {"logprob", logprob}};
  };
  tool::json out = one(sampled.id, sampled.logprob);
  out["top_logprobs"] = tool::json::array();
  for (const auto &[id, logprob] : sampled.top)
    out["top_logprobs"].push_back(one(id, logprob));
  tool::json line = {{"schema_version", 1}, {"event", "token"}};
  line.update(out);
  return printOut(line.dump() + "\n");
}

/// Begins a part of the answer.
Failure Printer::section(bool reasoning) {
  const auto next = reasoning ? Reasoning : Content;
  if (shown == next)
    return {};
  std::string text;
  if (shown == Reasoning)
    text = dim ? "\033[0m\n\n" : "\n</think>\n";
  else if (reasoning)
    text = dim ? "\033[2m" : "<think>\n";
  shown = next;
  return printOut(text);
}

Failure Printer::event(const rt::OutputEvent &event) {
  if (json) {
    static const char *names[] = {"reasoning", "content", "tool_call",
                                  "warning"};
    tool::json out = {{"schema_version", 1}, {"event", names[int(event.kind)]}};
    if (event.kind == Kind::ToolCall)
      out["tool_call"] = callJson(event.call);
    else
      out["text"] = event.text;
    if (Failure f = printOut(out.dump() + "\n"))
      return f;
    return flushOut();
  }
  if (event.kind == Kind::Warning) {
    std::fprintf(stderr, "warning: %s\n", event.text.c_str());
    return {};
  }
  if (Failure f = section(event.kind == Kind::Reasoning))
    return f;
  const std::string text = event.kind == Kind::ToolCall
                               ? "[tool call " + event.call.id + "] " +
                                     event.call.name + " " +
                                     event.call.arguments + "\n"
                               : event.text;
  if (Failure f = printOut(text))
    return f;
  return flushOut();
}

Failure Printer::finish(const Answer &answer) {
  if (!json) {
    std::string text = dim && shown == Reasoning ? "\033[0m\n" : "\n";
    shown = None;
    if (Failure f = printOut(text))
      return f;
    return flushOut();
  }
  const tool::json out = {{"schema_version", 1},
                          {"event", "end"},
                          {"stop", answer.stop},
                          {"message", messageJson(answer)},
                          {"usage",
                           {{"prompt_tokens", answer.promptTokens},
                            {"cached_tokens", answer.cachedTokens},
                            {"completion_tokens", answer.tokens},
                            {"reasoning_tokens", answer.reasoningTokens}}}};
  if (Failure f = printOut(out.dump() + "\n"))
    return f;
  return flushOut();
}

} // namespace fathom::tool
