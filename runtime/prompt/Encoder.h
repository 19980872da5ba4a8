// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Between the profiles of the prompt encoder.
#pragma once

#include "runtime/prompt/PromptWriter.h"

namespace fathom::rt {

constexpr const char *kRecipeProfile = "recipe";

/// What a profile puts before everything for an effort. FATHOM_USAGE for an
/// effort that it does not know.
Status effortPrefix(const std::string &profile, const std::string &think,
                    std::string_view &prefix);

/// As deepseek-recipe 0.2.0 renders it.
void renderRecipe(const Conversation &conversation, bool thinking,
                  std::string_view effort, Prompt &out);

} // namespace fathom::rt
