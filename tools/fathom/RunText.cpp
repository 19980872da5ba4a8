// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathom/RunText.h"

#include "tools/fathom/Answer.h"

#include <CLI/CLI.hpp>

namespace fathom::tool {

void TextOptions::addTo(CLI::App &app) {
  const char *group = kTextGroup;
  CLI::Option *one = app.add_option("--prompt", prompt,
                                    "What the user says; - for standard input")
                         ->type_name("TEXT")
                         ->group(group);
  app.add_option("--messages", messages,
                 "JSON: a list of messages in OpenAI's shape, or an object "
                 "with \"messages\", \"tools\" and more (see below)")
      ->type_name("FILE")
      ->group(group)
      ->excludes(one);
  app.add_option("--system", system, "What the system says first")
      ->type_name("TEXT")
      ->group(group);
  app.add_option("--tools", tools, "JSON: a list of tools")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--think", think,
                 "off, low (official only), high or max; default: off")
      ->type_name("MODE")
      ->group(group);
  app.add_option("--profile", profile,
                 "Encode prompts as preview, official or recipe; default: as "
                 "the package says")
      ->type_name("NAME")
      ->group(group);
  app.add_flag("--raw", raw,
               "The prompt is the text itself, special tokens as they are "
               "spelled in it; nothing is added, and the answer is not taken "
               "apart")
      ->group(group);
}

namespace {

Failure makePrompt(const EngineOptions &engine, const TextOptions &text,
                   const rt::Tokenizer &tokenizer,
                   rt::Tokenizer::Scratch &scratch, rt::Prompt &prompt,
                   std::vector<int32_t> &ids) {
  std::string said = text.prompt.value_or("");
  if (said == "-")
    if (Failure f = readText("-", said))
      return f;
  if (text.raw) {
    if (!text.messages.empty() || !text.system.empty() || !text.tools.empty() ||
        !text.think.empty())
      return {FATHOM_USAGE,
              "--raw takes only --prompt; what the system says, tools and "
              "thinking belong to an encoded prompt",
              ""};
    return failure(tokenizer.encode(said, /*added=*/true, scratch, ids));
  }
  std::vector<rt::Conversation> conversations(1);
  rt::Conversation &conversation = conversations[0];
  if (!text.messages.empty()) {
    conversations.clear();
    if (Failure f =
            readConversations(text.messages, Reader::Answers, conversations))
      return f;
    if (conversations.size() != 1)
      return {FATHOM_USAGE,
              "'" + text.messages + "' has " +
                  std::to_string(conversations.size()) +
                  " conversations, run takes one",
              ""};
  } else {
    rt::Message message;
    message.content = said;
    message.blocks.push_back({false, said, ""});
    conversation.messages.push_back(std::move(message));
  }
  rt::Conversation &chosen = conversations[0];
  if (!text.system.empty()) {
    rt::Message message;
    message.role = rt::Message::Role::System;
    message.content = text.system;
    chosen.messages.insert(chosen.messages.begin(), std::move(message));
  }
  if (!text.tools.empty())
    if (Failure f = readToolsFile(text.tools, chosen.tools))
      return f;
  if (!text.think.empty())
    chosen.think = text.think;
  std::string profile;
  if (Failure f = choosePromptProfile(text.profile, engine.package, profile))
    return f;
  if (Failure f = failure(rt::renderPrompt(chosen, profile, prompt)))
    return f;
  if (prompt.start == rt::AnswerStart::Nowhere)
    return {FATHOM_USAGE, "the conversation leaves the model no turn",
            "end it with a user's message, or give the assistant's last one "
            "\"prefix\": true to have it continued"};
  return promptIds(tokenizer, prompt, scratch, ids);
}

} // namespace

Failure runText(const EngineOptions &engine, const TextOptions &text,
                SamplingFlags &sampling, bool json, bool quiet) {
  Answerer model;
  if (Failure f = model.open(engine))
    return f;
  if (Failure f = sampling.finish(model.model().vocabulary_size))
    return f;
  rt::Prompt prompt;
  std::vector<int32_t> ids;
  if (Failure f = makePrompt(engine, text, model.tokenizer(), model.scratch,
                             prompt, ids))
    return f;
  Printer printer(model.tokenizer(), json, sampling.logprobs >= 0);
  Answer answer;
  if (Failure f =
          model.answer(ids, prompt, text.raw, sampling, printer, answer))
    return f;
  if (Failure f = printer.finish(answer))
    return f;
  if (!quiet && !json)
    printStatistics(answer);
  return {};
}

} // namespace fathom::tool
