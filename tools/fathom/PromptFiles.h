// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conversations from files, and prompts as token ids.
#pragma once

#include "runtime/prompt/Conversation.h"
#include "tools/fathom/TextFiles.h"

namespace fathom::tool {

/// What the keys of an object in such a file are, for --help.
constexpr const char *kMessageKeys =
    "Beside \"messages\" an object may have \"tools\", \"tool_choice\" (auto, "
    "none,\nrequired), \"response_format\" (text, json_object, json_schema), "
    "and \"think\" or\nOpenAI's \"reasoning_effort\" (none, low, high, max; "
    "none is off). \"model\",\n\"stream\", \"n\" and what else only a service "
    "needs is passed over with a note;\nother keys are refused, with the "
    "option "
    "that does what they ask, if there is one.\n";

/// Whether an answer is wanted, or the prompt alone: to that, keys of an answer
/// such as "temperature" mean nothing.
enum class Reader { Answers, Renders };

/// A file with a conversation, or with a list of objects that have "messages"
/// each.
Failure readConversations(const std::string &path, Reader reader,
                          std::vector<rt::Conversation> &out);
/// A file with a list of tools.
Failure readToolsFile(const std::string &path, rt::JsonText &out);

/// `given`, or what the package's manifest or the checkpoint's encoder file
/// say; preview where neither is there.
Failure choosePromptProfile(const std::string &given,
                            const std::string &package, std::string &out);

/// Special tokens as such, the rest as text.
Failure promptIds(const rt::Tokenizer &tokenizer, const rt::Prompt &prompt,
                  rt::Tokenizer::Scratch &scratch, std::vector<int32_t> &out);

} // namespace fathom::tool
