// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom render: the prompt that a conversation becomes, and its token ids.
#include "tools/fathom/PromptFiles.h"

#include <CLI/CLI.hpp>

namespace fathom::tool {

namespace {

using json = nlohmann::ordered_json;

struct Options {
  TokenizerOptions tokenizer;
  std::string messages, tools, think, profile;
  bool json = false;
};

Failure render(const Options &options) {
  std::vector<rt::Conversation> conversations;
  if (Failure f =
          readConversations(options.messages, Reader::Renders, conversations))
    return f;
  const bool tokens =
      !options.tokenizer.package.empty() || !options.tokenizer.file.empty();
  rt::Tokenizer tokenizer;
  if (tokens)
    if (Failure f = openTokenizer(options.tokenizer, tokenizer))
      return f;
  std::string profile;
  if (Failure f = choosePromptProfile(options.profile,
                                      options.tokenizer.package, profile))
    return f;
  rt::JsonText tools;
  if (!options.tools.empty())
    if (Failure f = readToolsFile(options.tools, tools))
      return f;
  rt::Tokenizer::Scratch scratch;
  json all = json::array();
  for (rt::Conversation &conversation : conversations) {
    if (!options.think.empty())
      conversation.think = options.think;
    if (!options.tools.empty())
      conversation.tools = tools;
    rt::Prompt prompt;
    if (Failure f = failure(rt::renderPrompt(conversation, profile, prompt)))
      return f;
    std::vector<int32_t> ids;
    if (tokens)
      if (Failure f = promptIds(tokenizer, prompt, scratch, ids))
        return f;
    if (options.json) {
      json entry = {{"profile", profile}, {"text", prompt.text}};
      if (tokens)
        entry["ids"] = ids;
      all.push_back(std::move(entry));
      continue;
    }
    std::string out = prompt.text + "\n";
    if (tokens) {
      out += "\nprofile " + profile + ", " + std::to_string(ids.size()) +
             " tokens:\n";
      for (size_t i = 0; i < ids.size(); ++i)
        out += (i ? "," : "") + std::to_string(ids[i]);
      out += "\n";
    }
    if (Failure f = printOut(out))
      return f;
  }
  if (options.json) {
    json out = {{"schema_version", 1}, {"prompts", std::move(all)}};
    if (Failure f = printOut(out.dump() + "\n"))
      return f;
  }
  return flushOut();
}

} // namespace

void addRender(CLI::App &app, int &code) {
  CLI::App *command = app.add_subcommand(
      "render", "Show the prompt that a conversation becomes, and its ids");
  auto options = std::make_shared<Options>();
  options->tokenizer.addTo(*command);
  command
      ->add_option("--messages", options->messages,
                   "JSON: a list of messages, or an object with \"messages\", "
                   "\"tools\" and more (see below), or a list of such objects; "
                   "- for standard input")
      ->type_name("FILE")
      ->required();
  command->add_option("--tools", options->tools, "JSON: a list of tools")
      ->type_name("FILE");
  command
      ->add_option("--mode,--think", options->think,
                   "off, low (official only), high or max; default: off, or "
                   "what the conversation says")
      ->type_name("MODE");
  command
      ->add_option("--profile", options->profile,
                   "preview, official (revisions 0731 and 0813) or recipe (the "
                   "service's); default: the package's")
      ->type_name("NAME");
  command->add_flag(
      "--json", options->json,
      "Print {\"schema_version\": 1, \"prompts\": [{\"profile\", \"text\", "
      "\"ids\"}]}");
  command->footer(
      "Without a package or --tokenizer only the text is printed.\n\n" +
      std::string(kMessageKeys) +
      "\nExamples:\n"
      "  fathom render M.fathom --messages chat.json --mode high\n"
      "  fathom render --profile official --messages chat.json");
  command->callback([options, &code] {
    const Failure failed = render(*options);
    code = failed ? fail(failed) : FATHOM_OK;
  });
}

} // namespace fathom::tool
