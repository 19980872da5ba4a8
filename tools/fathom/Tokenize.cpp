// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom tokenize, fathom detokenize: text to token ids and back.
#include "runtime/text/Detokenizer.h"
#include "tools/fathom/TextFiles.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <optional>
#include <time.h>

namespace fathom::tool {

namespace {

using json = nlohmann::ordered_json;

struct Options {
  TokenizerOptions tokenizer;
  std::optional<std::string> text, ids; // may be empty
  std::string file, strings;
  bool json = false, plain = false, stats = false;
};

std::string joined(const std::vector<int32_t> &ids) {
  std::string out;
  for (const int32_t id : ids) {
    if (!out.empty())
      out += ',';
    out += std::to_string(id);
  }
  return out;
}

Failure readStrings(const Options &options, std::vector<std::string> &out) {
  if (!options.strings.empty()) {
    json list;
    if (Failure f = readJson(options.strings, list))
      return f;
    if (!list.is_array())
      return {FATHOM_BAD_FILE, "'" + options.strings + "' is not a list", ""};
    for (const json &entry : list) {
      if (!entry.is_string())
        return {FATHOM_BAD_FILE,
                "'" + options.strings + "': entry " +
                    std::to_string(out.size()) + " is not a string",
                ""};
      out.push_back(entry.get<std::string>());
    }
    return {};
  }
  out.emplace_back(options.text.value_or(""));
  return options.text
             ? Failure()
             : readText(options.file.empty() ? "-" : options.file, out[0]);
}

/// Of this program alone, whoever else uses the machine.
double processorSeconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

Failure tokenize(const Options &options) {
  rt::Tokenizer tokenizer;
  if (Failure f = openTokenizer(options.tokenizer, tokenizer))
    return f;
  std::vector<std::string> texts;
  if (Failure f = readStrings(options, texts))
    return f;
  rt::Tokenizer::Scratch scratch;
  std::vector<std::vector<int32_t>> ids(texts.size());
  size_t bytes = 0, count = 0;
  const double start = processorSeconds();
  for (size_t i = 0; i < texts.size(); ++i) {
    if (Failure f = failure(
            tokenizer.encode(texts[i], !options.plain, scratch, ids[i])))
      return f;
    bytes += texts[i].size();
    count += ids[i].size();
  }
  if (options.stats) {
    const double took = processorSeconds() - start;
    std::fprintf(
        stderr, "%zu bytes, %zu tokens, %.3f s of one core, %.1f MB/s\n", bytes,
        count, took, double(bytes) / 1e6 / std::max(took, 1e-9));
  }
  std::string out;
  if (options.json) {
    for (const std::vector<int32_t> &list : ids)
      out += (out.empty() ? "[" : ", [") + joined(list) + "]";
    out = "{\"schema_version\": 1, \"ids\": [" + out + "]}\n";
  } else {
    for (const std::vector<int32_t> &list : ids)
      out += joined(list) + "\n";
  }
  if (Failure f = printOut(out))
    return f;
  return flushOut();
}

Failure readIds(const Options &options,
                std::vector<std::vector<int32_t>> &out) {
  if (options.strings.empty()) {
    std::string text = options.ids.value_or("");
    if (!options.ids)
      if (Failure f = readText("-", text))
        return f;
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r'))
      text.pop_back();
    out.emplace_back();
    if (text.empty()) // the ids of an empty text
      return {};
    return parseTokens(text, "ids", out[0]);
  }
  json list;
  if (Failure f = readJson(options.strings, list))
    return f;
  auto bad = [&] {
    return Failure{FATHOM_BAD_FILE,
                   "'" + options.strings + "' is not a list of lists of ids",
                   ""};
  };
  if (list.is_object() && list.contains("ids")) // what tokenize prints
    list = json(list["ids"]);
  if (!list.is_array())
    return bad();
  for (const json &entry : list) {
    out.emplace_back();
    if (!entry.is_array())
      return bad();
    for (const json &id : entry) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX)
        return bad();
      out.back().push_back(id.get<int32_t>());
    }
  }
  return {};
}

Failure detokenize(const Options &options) {
  rt::Tokenizer tokenizer;
  if (Failure f = openTokenizer(options.tokenizer, tokenizer))
    return f;
  std::vector<std::vector<int32_t>> ids;
  if (Failure f = readIds(options, ids))
    return f;
  json texts = json::array();
  for (const std::vector<int32_t> &list : ids) {
    rt::Detokenizer decoder(tokenizer.vocabulary());
    std::string text;
    for (const int32_t id : list) {
      if (id >= tokenizer.vocabulary()->size())
        return {FATHOM_USAGE,
                "token id " + std::to_string(id) +
                    " is out of range, the tokenizer has ids 0 to " +
                    std::to_string(tokenizer.vocabulary()->size() - 1),
                ""};
      text += decoder.add(id);
    }
    text += decoder.flush();
    if (options.json)
      texts.push_back(text);
    else if (Failure f = printOut(options.strings.empty() ? text : text + "\n"))
      return f;
  }
  if (options.json)
    if (Failure f = printOut(
            json{{"schema_version", 1}, {"texts", texts}}.dump() + "\n"))
      return f;
  return flushOut();
}

} // namespace

void addTokenize(CLI::App &app, int &code) {
  CLI::App *command =
      app.add_subcommand("tokenize", "Turn text into token ids");
  auto options = std::make_shared<Options>();
  options->tokenizer.addTo(*command);
  CLI::Option *text =
      command->add_option("--text", options->text, "The text itself")
          ->type_name("TEXT");
  CLI::Option *file =
      command
          ->add_option("--file", options->file,
                       "A file with it; default: standard input")
          ->type_name("FILE")
          ->excludes(text);
  command
      ->add_option("--strings", options->strings,
                   "A JSON list of texts, a line of ids for each")
      ->type_name("FILE.json")
      ->excludes(text)
      ->excludes(file);
  command->add_flag("--plain", options->plain,
                    "Spellings of special tokens are ordinary text");
  command->add_flag("--json", options->json,
                    "Print {\"schema_version\": 1, \"ids\": [[...], ...]}");
  command->add_flag("--stats", options->stats, "Size and speed, on stderr");
  command->footer("What is not UTF-8 counts as U+FFFD.\n\n"
                  "Examples:\n"
                  "  fathom tokenize M.fathom --text 'In the beginning'\n"
                  "  fathom tokenize --tokenizer CKPT/tokenizer.json --file "
                  "book.txt --stats\n"
                  "  fathom tokenize M.fathom --strings list.json --json");
  command->callback([options, &code] {
    const Failure failed = tokenize(*options);
    code = failed ? fail(failed) : FATHOM_OK;
  });
}

void addDetokenize(CLI::App &app, int &code) {
  CLI::App *command =
      app.add_subcommand("detokenize", "Turn token ids into text");
  auto options = std::make_shared<Options>();
  options->tokenizer.addTo(*command);
  CLI::Option *ids =
      command
          ->add_option("--ids", options->ids,
                       "Ids separated by commas; default: standard input")
          ->type_name("IDS");
  command
      ->add_option("--strings", options->strings,
                   "A JSON list of lists of ids, or what tokenize --json "
                   "prints")
      ->type_name("FILE.json")
      ->excludes(ids);
  command->add_flag("--json", options->json,
                    "Print {\"schema_version\": 1, \"texts\": [...]}");
  command->footer("Bytes that are not UTF-8 are printed as U+FFFD.\n\n"
                  "Examples:\n"
                  "  fathom detokenize M.fathom --ids 0,443,300\n"
                  "  fathom detokenize M.fathom --strings ids.json --json");
  command->callback([options, &code] {
    const Failure failed = detokenize(*options);
    code = failed ? fail(failed) : FATHOM_OK;
  });
}

} // namespace fathom::tool
