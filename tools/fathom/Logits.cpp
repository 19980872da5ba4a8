// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom logits: the logits of every token of given sequences, as .npy. The
// instrument by which a compiled model is compared with a reference.
#include "tools/OptionNumbers.h"
#include "tools/fathom/Npy.h"
#include "tools/fathom/Tool.h"

#include <CLI/CLI.hpp>

#include <algorithm>

namespace fathom::tool {

namespace {

struct LogitsOptions {
  EngineOptions engine;
  std::string tokensFile, output;
  int64_t chunk = 0;
  bool separate = false, mtp = false;
};

/// Logits in memory at a time; a step's worth is always allowed.
constexpr int64_t kCallBytes = int64_t(256) << 20;

/// A line of the file while it is fed.
struct Line {
  const std::vector<int32_t> *ids;
  int64_t firstRow; // in the output
  int64_t fed = 0;
  int32_t slot = -1;
  int64_t take = 0; // in the current call
  int64_t size() const { return int64_t(ids->size()); }
};

class Logits {
public:
  explicit Logits(const LogitsOptions &options)
      : options(options), progress("logits") {}

  Failure execute() {
    if (Failure f = readTokensFile(options.tokensFile, sequences))
      return f;
    if (Failure f = openEngine(options.engine, engine))
      return f;
    fathom_engine_info(engine.get(), &info);
    if (Failure f = checkSequences())
      return f;
    const int64_t together =
        options.separate
            ? 1
            : std::min<int64_t>(info.max_sequences, int64_t(sequences.size()));
    if (Failure f = openSession(together))
      return f;
    int64_t rows = 0;
    std::vector<Line> lines;
    for (const std::vector<int32_t> &ids : sequences) {
      lines.push_back({&ids, rows});
      rows += int64_t(ids.size()) - (options.mtp ? 1 : 0);
      allTokens += int64_t(ids.size());
    }
    if (Failure f = output.open(options.output, rows, info.vocabulary_size))
      return f;
    for (size_t first = 0; first < lines.size(); first += size_t(together)) {
      const size_t last = std::min(lines.size(), first + size_t(together));
      if (Failure f = turn(&lines[first], last - first))
        return f;
    }
    return output.finish();
  }

private:
  /// Before anything is computed, with the line rather than the slot named.
  Failure checkSequences() {
    if (options.mtp && info.mtp_layers < 1)
      return {FATHOM_UNSUPPORTED,
              "'" + options.engine.package + "' has no MTP layer",
              "leave --mtp out, or compile a checkpoint that has one"};
    for (size_t i = 0; i < sequences.size(); ++i) {
      const std::string where =
          "'" + options.tokensFile + "', sequence " + std::to_string(i + 1);
      if (int64_t(sequences[i].size()) > info.max_context)
        return {FATHOM_RESOURCES,
                where + ": context overrun: " +
                    std::to_string(sequences[i].size()) +
                    " tokens, the package was compiled for " +
                    std::to_string(info.max_context),
                "compile the model with a larger --max-context"};
      for (size_t t = 0; t < sequences[i].size(); ++t)
        if (sequences[i][t] >= info.vocabulary_size)
          return {FATHOM_USAGE,
                  where + ", token " + std::to_string(t + 1) + ": id " +
                      std::to_string(sequences[i][t]) +
                      " is out of range, the vocabulary has ids 0 to " +
                      std::to_string(info.vocabulary_size - 1),
                  ""};
    }
    return {};
  }

  Failure openSession(int64_t together) {
    callTokens =
        std::max(info.max_step_tokens, kCallBytes / (4 * info.vocabulary_size));
    int64_t most = 0;
    for (const std::vector<int32_t> &ids : sequences)
      most += int64_t(ids.size());
    callTokens = std::min(callTokens, most);
    fathom_session_options wanted = {};
    wanted.max_sequences = together;
    wanted.max_logit_rows = callTokens;
    wanted.kept_tokens = options.mtp ? callTokens : 0;
    fathom_session *made = nullptr;
    Failure f = failure(fathom_session_create(engine.get(), &wanted, &made));
    session.reset(made);
    return f;
  }

  /// Feeds some lines as one ragged batch, from their beginnings to their ends.
  Failure turn(Line *lines, size_t count) {
    for (size_t i = 0; i < count; ++i)
      if (Failure f =
              failure(fathom_session_add(session.get(), &lines[i].slot)))
        return f;
    for (;;) {
      int64_t room = callTokens;
      for (size_t i = 0; i < count; ++i) {
        Line &line = lines[i];
        line.take = std::min(line.size() - line.fed, room);
        if (options.chunk)
          line.take = std::min(line.take, options.chunk);
        room -= line.take;
      }
      if (room == callTokens)
        break;
      if (Failure f = call(lines, count))
        return f;
      doneTokens += callTokens - room;
      progress.update(doneTokens, allTokens);
    }
    for (size_t i = 0; i < count; ++i)
      if (Failure f =
              failure(fathom_session_remove(session.get(), lines[i].slot)))
        return f;
    return {};
  }

  Failure call(Line *lines, size_t count) {
    std::vector<fathom_tokens> main, next;
    std::vector<Line *> fed;
    for (size_t i = 0; i < count; ++i) {
      Line &line = lines[i];
      if (line.take == 0)
        continue;
      const int32_t *ids = line.ids->data() + line.fed;
      main.push_back({line.slot, ids, line.take, options.mtp ? 0 : line.take});
      // The MTP layer takes position t with the id of t + 1: all but the last.
      const int64_t pairs = std::min(line.take, line.size() - 1 - line.fed);
      next.push_back({line.slot, ids + 1, pairs, pairs});
      fed.push_back(&line);
    }
    const float *rows = nullptr;
    if (Failure f = failure(fathom_step(session.get(), main.data(), main.size(),
                                        nullptr, &rows)))
      return f;
    if (options.mtp)
      if (Failure f = failure(fathom_mtp(session.get(), 0, next.data(),
                                         next.size(), nullptr, &rows)))
        return f;
    for (size_t i = 0; i < fed.size(); ++i) {
      Line &line = *fed[i];
      const int64_t wanted = options.mtp ? next[i].logits : main[i].logits;
      if (Failure f = output.write(line.firstRow + line.fed, wanted, rows))
        return f;
      rows += wanted * info.vocabulary_size;
      line.fed += line.take;
    }
    return {};
  }

  const LogitsOptions &options;
  EnginePtr engine;
  SessionPtr session; // goes before its engine
  fathom_model_info info = {};
  std::vector<std::vector<int32_t>> sequences;
  NpyWriter output;
  Progress progress;
  int64_t callTokens = 0, doneTokens = 0, allTokens = 0;
};

} // namespace

void addLogits(CLI::App &app, int &code) {
  CLI::App *command = app.add_subcommand(
      "logits", "Write the logits of every token of given sequences as .npy");
  auto options = std::make_shared<LogitsOptions>();
  options->engine.addTo(*command);
  command
      ->add_option("--tokens-file", options->tokensFile,
                   "One sequence a line, ids separated by commas")
      ->type_name("FILE")
      ->required();
  command
      ->add_option("-o,--output", options->output,
                   "float32 .npy [tokens of all lines, vocabulary]")
      ->type_name("OUT.npy")
      ->required();
  command
      ->add_option("--chunk", options->chunk,
                   "Tokens of every sequence in a step; 0: all at once")
      ->type_name("N")
      ->transform(numberIn(int64_t(0), int64_t(1) << 31))
      ->capture_default_str();
  command->add_flag("--separate", options->separate,
                    "One line after the other, not as one ragged batch");
  command->add_flag("--mtp", options->mtp,
                    "Logits of the MTP layer instead: for position t of a "
                    "line, from the streams of t and the id of t+1; "
                    "[tokens - lines, vocabulary]");
  command->footer(
      "How the lines are divided into steps and batches changes no bit of the\n"
      "result in bf16 and published numerics. More lines than the package has\n"
      "sequences are processed in turns.\n\n"
      "Examples:\n"
      "  fathom logits M.fathom --tokens-file ids.txt -o logits.npy\n"
      "  fathom logits M.fathom --tokens-file ids.txt -o mtp.npy --mtp "
      "--chunk 7");
  command->callback([options, &code] {
    Failure failed;
    {
      Logits logits(*options);
      failed = logits.execute();
    } // removes an unfinished file, ends the progress line
    code = failed ? fail(failed) : FATHOM_OK;
  });
}

} // namespace fathom::tool
