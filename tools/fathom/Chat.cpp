// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom chat: questions and answers in turn.
#include "runtime/text/Utf8.h"
#include "tools/fathom/Answer.h"

#include <CLI/CLI.hpp>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace fathom::tool {

namespace {

using json = nlohmann::ordered_json;

struct ChatOptions {
  EngineOptions engine;
  SamplingFlags sampling;
  std::string system, tools, think, profile;
  bool json = false;
};

constexpr const char *kHelp =
    "/help            this list\n"
    "/think MODE      off, low, high or max from now on\n"
    "/system TEXT     what the system says; begins anew\n"
    "/clear           begins anew\n"
    "/save FILE       writes the conversation as JSON messages\n"
    "/exit            ends, as does the end of the input\n"
    "Ctrl-C stops an answer. Where the model calls a tool, the next line is "
    "its result.\n";

extern "C" void stopAnswer(int) { Answerer::interrupted = 1; }

class Chat {
public:
  explicit Chat(ChatOptions &options)
      : options(options), terminal(isatty(STDIN_FILENO) != 0) {
    conversation.think = options.think;
  }

  Failure execute() {
    if (Failure f = model.open(options.engine))
      return f;
    if (Failure f = options.sampling.finish(model.model().vocabulary_size))
      return f;
    if (Failure f = choosePromptProfile(options.profile, options.engine.package,
                                        profile))
      return f;
    if (!options.tools.empty())
      if (Failure f = readToolsFile(options.tools, conversation.tools))
        return f;
    begin();
    rt::Prompt probe; // a mode that the profile does not know is found now
    if (Failure f = failure(rt::renderPrompt(conversation, profile, probe)))
      return f;
    struct sigaction action = {};
    action.sa_handler = stopAnswer;
    sigaction(SIGINT, &action, nullptr); // without SA_RESTART: a read ends
    if (terminal && !options.json)
      std::fprintf(stderr, "profile %s; /help lists commands\n",
                   profile.c_str());
    std::string line;
    while (readLine(line)) {
      if (line == "/exit" || line == "/quit")
        break;
      Failure refused;
      if (command(line, refused)) {
        if (refused)
          (void)fail(refused);
        continue;
      }
      if (line.empty() && !asked())
        continue;
      if (Failure f = turn(line)) {
        // What went wrong with one turn need not end the conversation, but
        // nobody would hear the next answer where this one could not be said.
        if (std::ferror(stdout) ||
            (f.code != FATHOM_USAGE && f.code != FATHOM_RESOURCES))
          return f;
        (void)fail(f);
      }
    }
    if (std::ferror(stdin))
      return systemFailure("cannot read standard input", readError);
    return flushOut();
  }

private:
  void begin() {
    conversation.messages.clear();
    if (!options.system.empty()) {
      rt::Message message;
      message.role = rt::Message::Role::System;
      message.content = options.system;
      conversation.messages.push_back(std::move(message));
    }
    answered = conversation.messages.size();
    calls.clear();
  }

  /// The call whose result comes next; null: the user speaks.
  const rt::ToolCall *asked() const {
    const size_t given = conversation.messages.size() - answered;
    return given < calls.size() ? &calls[given] : nullptr;
  }

  /// False at the end of the input.
  bool readLine(std::string &line) {
    line.clear();
    for (;;) {
      if (terminal && !options.json) {
        const std::string ask =
            asked() ? "result of " + asked()->name + "> " : "> ";
        std::fputs(ask.c_str(), stderr);
      }
      Answerer::interrupted = 0;
      char *text = nullptr;
      size_t capacity = 0;
      errno = 0;
      const ssize_t size = getline(&text, &capacity, stdin);
      readError = errno;
      if (size > 0) // what is no UTF-8 counts as U+FFFD, as in files
        rt::utf8::appendValid(line, std::string_view(text, size_t(size)),
                              /*all=*/true);
      std::free(text);
      if (size < 0 && readError == EINTR) { // Ctrl-C while nothing is answered
        std::clearerr(stdin);
        std::fputs("\n(/exit ends)\n", stderr);
        continue;
      }
      if (size < 0)
        return false;
      while (!line.empty() && (line.back() == '\n' || line.back() == '\r'))
        line.pop_back();
      return true;
    }
  }

  /// False: the line is none, but something said. A tool's result may begin
  /// with a slash, too.
  bool command(const std::string &line, Failure &refused) {
    const size_t blank = line.find(' ');
    const std::string name = line.substr(0, blank);
    const std::string rest = blank == line.npos ? "" : line.substr(blank + 1);
    if (name == "/help") {
      std::fputs(kHelp, stderr);
    } else if (name == "/clear") {
      begin();
    } else if (name == "/system") {
      options.system = rest;
      begin();
    } else if (name == "/think") {
      rt::Conversation changed = conversation;
      changed.think = rest;
      rt::Prompt probe;
      refused = failure(rt::renderPrompt(changed, profile, probe));
      if (!refused)
        conversation.think = rest;
    } else if (name == "/save") {
      refused = save(rest);
    } else if (!asked() && !name.empty() && name[0] == '/') {
      refused = {FATHOM_USAGE, "there is no command " + name,
                 "/help lists them"};
    } else {
      return false;
    }
    return true;
  }

  Failure save(const std::string &path) {
    json out = json::array();
    static const char *roles[] = {"system",    "developer", "user",
                                  "assistant", "tool",      "latest_reminder"};
    for (const rt::Message &m : conversation.messages) {
      json entry = {{"role", roles[int(m.role)]}, {"content", m.content}};
      if (m.hasReasoning)
        entry["reasoning_content"] = m.reasoning;
      if (m.role == rt::Message::Role::Tool)
        entry["tool_call_id"] = m.blocks[0].callId;
      for (const rt::ToolCall &call : m.toolCalls)
        entry["tool_calls"].push_back(
            {{"id", call.id},
             {"type", "function"},
             {"function",
              {{"name", call.name}, {"arguments", call.arguments}}}});
      out.push_back(std::move(entry));
    }
    return writeAnew(
        path, out.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
  }

  /// One thing said by the user, or one result of a tool; then the answer.
  Failure turn(const std::string &line) {
    rt::Message message;
    message.content = line;
    if (const rt::ToolCall *call = asked()) {
      message.role = rt::Message::Role::Tool;
      message.blocks.push_back({true, line, call->id});
    } else {
      message.blocks.push_back({false, line, ""});
    }
    conversation.messages.push_back(std::move(message));
    if (asked()) // results of all calls go to the model together
      return {};
    rt::Prompt prompt;
    std::vector<int32_t> ids;
    Printer printer(model.tokenizer(), options.json,
                    options.sampling.logprobs >= 0);
    Answer answer;
    Failure failed = failure(rt::renderPrompt(conversation, profile, prompt));
    if (!failed)
      failed = promptIds(model.tokenizer(), prompt, model.scratch, ids);
    if (!failed)
      failed = model.answer(ids, prompt, /*raw=*/false, options.sampling,
                            printer, answer);
    if (failed) { // as after the last answer: all of its calls wait again
      conversation.messages.resize(answered);
      if (!calls.empty())
        failed.help = "give the results of the calls again, from the first on";
      return failed;
    }
    if (Failure f = printer.finish(answer))
      return f;
    if (terminal && !options.json)
      printStatistics(answer);
    rt::Message said;
    said.role = rt::Message::Role::Assistant;
    said.content = answer.content;
    said.hasReasoning = !answer.reasoning.empty();
    said.reasoning = answer.reasoning;
    said.hasToolCalls = !answer.calls.empty();
    said.toolCalls = answer.calls;
    conversation.messages.push_back(std::move(said));
    calls = answer.calls;
    answered = conversation.messages.size();
    return {};
  }

  ChatOptions &options;
  bool terminal;
  Answerer model;
  std::string profile;
  rt::Conversation conversation;
  size_t answered = 0; // how many messages there were after the last answer
  std::vector<rt::ToolCall> calls; // of that answer
  int readError = 0;
};

} // namespace

void addChat(CLI::App &app, int &code) {
  CLI::App *command =
      app.add_subcommand("chat", "Talk with a model, one line a turn");
  auto options = std::make_shared<ChatOptions>();
  options->sampling.maxNewTokens = 4096;
  options->engine.addTo(*command);
  options->sampling.addTo(*command);
  command->add_option("--system", options->system, "What the system says first")
      ->type_name("TEXT");
  command->add_option("--tools", options->tools, "JSON: a list of tools")
      ->type_name("FILE");
  command
      ->add_option("--think", options->think,
                   "off, low (official only), high or max; default: off")
      ->type_name("MODE");
  command
      ->add_option("--profile", options->profile,
                   "Encode prompts as preview, official or recipe; default: as "
                   "the package says")
      ->type_name("NAME");
  command->get_option("--logprobs")
      ->needs(command->add_flag("--json", options->json,
                                "Print events, one JSON object a line, each "
                                "with schema_version 1"));
  command->footer(std::string(kHelp) +
                  "\nExamples:\n"
                  "  fathom chat M.fathom\n"
                  "  fathom chat M.fathom --think high --temperature 1 "
                  "--top-p 0.95");
  command->callback([options, &code] {
    Chat chat(*options);
    const Failure failed = chat.execute();
    code = failed ? fail(failed) : FATHOM_OK;
  });
}

} // namespace fathom::tool
