// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A model that answers prompts: what run and chat have in common.
#pragma once

#include "runtime/prompt/OutputParser.h"
#include "runtime/text/Detokenizer.h"
#include "tools/fathom/PromptFiles.h"
#include "tools/fathom/SamplingFlags.h"

namespace fathom::tool {

/// Holds back what may be the beginning of a stop text.
class StopTexts {
public:
  explicit StopTexts(const std::vector<std::string> &stops) : stops(stops) {}
  /// Appends to `out` what is no part of a stop text; true: one was found.
  bool add(std::string_view text, std::string &out);
  void flush(std::string &out);

private:
  const std::vector<std::string> &stops;
  std::string held;
};

/// Is told of an answer as it comes.
class Listener {
public:
  virtual ~Listener();
  virtual Failure token(const rt::Sampled &) { return {}; }
  virtual Failure event(const rt::OutputEvent &event) = 0;
};

struct Answer {
  std::string reasoning, content;
  std::vector<rt::ToolCall> calls;
  const char *stop = ""; // eos, stop, length, context, interrupted
  size_t promptTokens = 0, cachedTokens = 0, tokens = 0, reasoningTokens = 0;
  double promptSeconds = 0, answerSeconds = 0;
};

class Answerer {
public:
  Failure open(const EngineOptions &options);

  const fathom_model_info &model() const { return info; }
  const rt::Tokenizer &tokenizer() const { return words; }
  rt::Tokenizer::Scratch scratch;

  /// Goes on from `prompt`. `raw`: all of it is content. Tokens that the last
  /// call left in the session are not computed again. Where a device chose some
  /// steps ahead and so went on beyond an end, all are.
  Failure answer(const std::vector<int32_t> &prompt, const rt::Prompt &begin,
                 bool raw, const SamplingFlags &flags, Listener &listener,
                 Answer &out);

  /// Set by a signal: the answer that is being given ends.
  static volatile int interrupted;

private:
  Failure startFrom(const std::vector<int32_t> &prompt, size_t &cached);
  bool isEnd(int32_t id) const;

  EnginePtr engine;
  SessionPtr session; // goes before its engine
  fathom_model_info info = {};
  rt::Tokenizer words;
  int32_t think = -1, thinkEnd = -1, dsml = -1;
  int32_t slot = -1;
  std::vector<int32_t> inSession;
};

/// Tokens and times, on stderr.
void printStatistics(const Answer &answer);
/// role, content, reasoning_content, tool_calls.
nlohmann::ordered_json messageJson(const Answer &answer);

/// Shows an answer: on a terminal reasoning is dimmed; or as events in JSON,
/// one a line.
class Printer : public Listener {
public:
  Printer(const rt::Tokenizer &tokenizer, bool json, bool logprobs);
  Failure token(const rt::Sampled &sampled) override;
  Failure event(const rt::OutputEvent &event) override;
  Failure finish(const Answer &answer);

private:
  Failure section(bool reasoning);

  const rt::Tokenizer &tokenizer;
  bool json, logprobs, dim;
  enum { None, Reasoning, Content } shown = None;
};

} // namespace fathom::tool
