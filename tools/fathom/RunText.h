// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom run with text: options beside the model's and the sampler's.
#pragma once

#include "tools/fathom/SamplingFlags.h"

#include <optional>

namespace fathom::tool {

/// Of the options, as --help shows it.
constexpr const char *kTextGroup = "Text";

struct TextOptions {
  std::optional<std::string> prompt; // may be empty
  std::string messages, system, tools, think, profile;
  bool raw = false;
  void addTo(CLI::App &app);
  bool given() const { return prompt || !messages.empty(); }
};

/// Answers one prompt or conversation.
Failure runText(const EngineOptions &engine, const TextOptions &text,
                SamplingFlags &sampling, bool json, bool quiet);

} // namespace fathom::tool
