// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom run: answers a prompt, or continues a text from token ids.
#include "tools/fathom/PromptFiles.h"
#include "tools/fathom/RunText.h"
#include "tools/fathom/TokenSource.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>

namespace fathom::tool {

namespace {

struct RunOptions {
  EngineOptions engine;
  TextOptions text;
  SamplingFlags sampling;
  std::string tokens;
  bool json = false, quiet = false;
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
  explicit Run(RunOptions &options) : options(options) {}

  Failure execute() {
    std::vector<int32_t> prompt;
    if (Failure f = parseTokens(options.tokens, "--tokens", prompt))
      return f;
    if (Failure f = openEngine(options.engine, engine))
      return f;
    fathom_engine_info(engine.get(), &info);
    if (Failure f = options.sampling.finish(info.vocabulary_size))
      return f;
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
    TokenSource source(session.get(), info, options.sampling.options,
                       /*logprobs=*/false, options.sampling.maxNewTokens);
    stop = "length";
    if (options.sampling.maxNewTokens == 0)
      return {};
    if (Failure f = source.begin(slot, prompt))
      return f;
    rt::Sampled sampled;
    while (int64_t(generated.size()) < options.sampling.maxNewTokens) {
      if (source.isFull() && !generated.empty()) {
        stop = "context";
        return {};
      }
      if (Failure f = source.next(sampled))
        return f;
      if (Failure f = emit(sampled.id))
        return f;
      if (ends(sampled.id)) {
        stop = "eos";
        return {};
      }
      if (options.sampling.stopsAt(sampled.id)) {
        stop = "stop";
        return {};
      }
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
      out["schema_version"] = 1;
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

  RunOptions &options;
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
      app.add_subcommand("run", "Answer a prompt, or go on from token ids");
  auto options = std::make_shared<RunOptions>();
  options->engine.addTo(*command);
  options->text.addTo(*command);
  options->sampling.addTo(*command);
  CLI::Option *tokens =
      command
          ->add_option("--tokens", options->tokens,
                       "Instead of text: ids of the text so far, separated by "
                       "commas")
          ->type_name("IDS");
  // What only text has: nothing is encoded, and nothing is taken apart.
  for (CLI::Option *other : command->get_options())
    if (other->get_group() == kTextGroup || other->check_lname("stop") ||
        other->check_lname("logprobs"))
      tokens->excludes(other);
  CLI::Option *json = command->add_flag(
      "--json", options->json,
      "Text: events, one JSON object a line (reasoning, content, "
      "tool_call, warning, token, end). Tokens: one object at "
      "the end: prompt, tokens, text, stop. Each has "
      "schema_version 1");
  command->get_option("--logprobs")->needs(json);
  command->add_flag("--quiet", options->quiet, "No statistics on stderr");
  command->footer(
      "The answer goes to stdout as it comes, statistics to stderr. With\n"
      "--tokens a line for each new token: its id, a tab and its text; then\n"
      "the text as a whole.\n\n" +
      std::string(kMessageKeys) +
      "\nExamples:\n"
      "  fathom run M.fathom --prompt 'What is 12 + 30?' --think high\n"
      "  fathom run M.fathom --messages chat.json --tools tools.json --json\n"
      "  fathom run M.fathom --raw --prompt 'In the beginning' "
      "--temperature 0.8 --seed 7\n"
      "  fathom run M.fathom --tokens 0,443,300 --max-new-tokens 32");
  command->callback([options, tokens, &code] {
    Failure failed;
    if (options->text.given() == (tokens->count() > 0))
      failed = {FATHOM_USAGE, "give one of --prompt, --messages and --tokens",
                "`fathom run --help` has examples"};
    else if (options->text.given())
      failed = runText(options->engine, options->text, options->sampling,
                       options->json, options->quiet);
    else
      failed = Run(*options).execute();
    code = failed ? fail(failed) : FATHOM_OK;
  });
}

} // namespace fathom::tool
