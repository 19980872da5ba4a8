// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conversations from files, and prompts as token ids.
#pragma once

#include "runtime/prompt/Conversation.h"
#include "tools/fathom/TextFiles.h"

namespace fathom::tool {

/// A file with a conversation, or with a list of objects that have "messages"
/// each.
Failure readConversations(const std::string &path,
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
