// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom run: continues a text from token ids, greedily.
#include "tools/fathom/Tool.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>

namespace fathom::tool {

namespace {

struct RunOptions {
  EngineOptions engine;
  std::string tokens;
  int64_t maxNewTokens = 128;
  bool json = false;
};

/// Control characters and backslashes spelled out, so that a token is a line.
std::string oneLine(const std::string &text) {
  std::string out;
  for (char c : text) {
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\\')
      out += "\\\\";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char code[8];
      std::snprintf(code, sizeof(code), "\\x%02x", c);
      out += code;
    } else
      out += c;
  }
  return out;
}

class Run {
public:
  explicit Run(const RunOptions &options) : options(options) {}

  Failure execute() {
    std::vector<int32_t> prompt;
    if (Failure f = parseTokens(options.tokens, "--tokens", prompt))
      return f;
    if (Failure f = openEngine(options.engine, engine))
      return f;
    fathom_engine_info(engine.get(), &info);
    if (Failure f = openDetokenizer())
      return f;
    fathom_session_options wanted = {};
    wanted.max_sequences = 1;
    wanted.max_logit_rows = 1;
    fathom_session *made = nullptr;
    if (Failure f =
            failure(fathom_session_create(engine.get(), &wanted, &made)))
      return f;
    session.reset(made);
    if (Failure f = failure(fathom_session_add(session.get(), &slot)))
      return f;
    if (Failure f = generate(prompt))
      return f;
    return finish(prompt);
  }

private:
  /// Text is an extra: a tokenizer of another kind is a remark, not an error.
  Failure openDetokenizer() {
    if (!info.has_tokenizer)
      return {};
    fathom_detokenizer *made = nullptr;
    const fathom_status status = fathom_detokenizer_create(engine.get(), &made);
    detokenizer.reset(made);
    if (status.code == FATHOM_UNSUPPORTED) {
      std::fprintf(stderr, "note: %s\n", status.message);
      return {};
    }
    return failure(status);
  }

  bool ends(int32_t id) const {
    for (size_t i = 0; i < info.eos_token_count; ++i)
      if (info.eos_tokens[i] == id)
        return true;
    return false;
  }

  Failure generate(const std::vector<int32_t> &prompt) {
    fathom_tokens feed = {slot, prompt.data(), int64_t(prompt.size()), 1};
    int32_t id = 0;
    stop = "length";
    while (int64_t(generated.size()) < options.maxNewTokens) {
      if (fathom_session_length(session.get(), slot) + feed.count >
              info.max_context &&
          !generated.empty()) {
        stop = "context";
        return {};
      }
      const float *logits = nullptr;
      if (Failure f =
              failure(fathom_step(session.get(), &feed, 1, nullptr, &logits)))
        return f;
      id = argmax(logits, info.vocabulary_size);
      if (Failure f = emit(id))
        return f;
      if (ends(id)) {
        stop = "eos";
        return {};
      }
      feed = {slot, &id, 1, 1};
    }
    return {};
  }

  Failure emit(int32_t id) {
    generated.push_back(id);
    std::string piece;
    if (detokenizer) {
      const char *data = nullptr;
      size_t size = 0;
      if (Failure f = failure(
              fathom_detokenizer_add(detokenizer.get(), id, &data, &size)))
        return f;
      piece.assign(data, size);
      text += piece;
    }
    if (options.json)
      return {};
    std::string line = std::to_string(id);
    if (detokenizer)
      line += "\t" + oneLine(piece);
    if (Failure f = printOut(line + "\n"))
      return f;
    return flushOut();
  }

  Failure finish(const std::vector<int32_t> &prompt) {
    if (detokenizer) {
      const char *data = nullptr;
      size_t size = 0;
      if (Failure f = failure(
              fathom_detokenizer_flush(detokenizer.get(), &data, &size)))
        return f;
      text.append(data, size);
    }
    if (options.json) {
      nlohmann::ordered_json out;
      out["prompt"] = prompt;
      out["tokens"] = generated;
      if (detokenizer)
        out["text"] = text;
      out["stop"] = stop;
      if (Failure f = printOut(out.dump() + "\n"))
        return f;
    } else {
      if (detokenizer && !generated.empty())
        if (Failure f = printOut("\n" + text + "\n"))
          return f;
      if (stop == "context")
        std::fprintf(stderr,
                     "note: stopped at the package's context limit of %lld "
                     "tokens\n",
                     static_cast<long long>(info.max_context));
    }
    return flushOut();
  }

  const RunOptions &options;
  EnginePtr engine;
  DetokenizerPtr detokenizer;
  SessionPtr session; // goes before its engine
  fathom_model_info info = {};
  int32_t slot = 0;
  std::vector<int32_t> generated;
  std::string text, stop;
};

} // namespace

void addRun(CLI::App &app, int &code) {
  CLI::App *command =
      app.add_subcommand("run", "Continue a text from token ids, greedily");
  auto options = std::make_shared<RunOptions>();
  options->engine.addTo(*command);
  command
      ->add_option("--tokens", options->tokens,
                   "Ids of the text so far, separated by commas")
      ->type_name("IDS")
      ->required();
  command
      ->add_option("--max-new-tokens", options->maxNewTokens,
                   "Stop after so many, if no end-of-text id comes before")
      ->type_name("N")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 31))
      ->capture_default_str();
  command->add_flag("--json", options->json,
                    "Print one JSON object at the end: prompt, tokens, text, "
                    "stop (eos, length or context)");
  command->footer(
      "Prints a line for each new token as it comes: its id and, where the\n"
      "package has a tokenizer, a tab and its text; then the text as a whole.\n"
      "Equally likely ids: the lowest.\n\n"
      "Examples:\n"
      "  fathom run M.fathom --tokens 0,443,300 --max-new-tokens 32\n"
      "  fathom run M.fathom --tokens 5,17,3 --threads 2 --json");
  command->callback([options, &code] {
    Run run(*options);
    const Failure failed = run.execute();
    code = failed ? fail(failed) : FATHOM_OK;
  });
}

} // namespace fathom::tool
