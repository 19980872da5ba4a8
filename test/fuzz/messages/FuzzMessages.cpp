// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Input: a conversation in JSON. Whatever is accepted renders under every
// profile, with special tokens where the prompt says.
#include "runtime/prompt/Conversation.h"
#include "test/fuzz/Accepted.h"

#include <cstdlib>

using namespace fathom::rt;

static void require(bool condition) {
  if (!condition)
    std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  JsonText json;
  if (!parseJson({reinterpret_cast<const char *>(data), size}, json))
    return 0;
  std::string once, again;
  writeJson(json, NumberStyle::Python, once);
  JsonText second;
  require(parseJson(once, second));
  writeJson(second, NumberStyle::Python, again);
  require(once == again);
  Conversation conversation;
  if (readConversation(json, conversation).failed())
    return 0;
  for (const char *profile : {"preview", "official", "recipe"})
    for (const char *think : {"off", "high", "max"}) {
      conversation.think = think;
      Prompt prompt;
      if (renderPrompt(conversation, profile, prompt).failed())
        continue;
      fathom::fuzz::accepted = true;
      size_t end = 0;
      for (const Prompt::Range &range : prompt.special) {
        require(range.begin >= end && range.begin < range.end &&
                range.end <= prompt.text.size());
        end = range.end;
      }
    }
  return 0;
}
