// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom run with text: options beside the model's and the sampler's.
#pragma once

#include "tools/fathom/SamplingFlags.h"

namespace fathom::tool {

struct TextOptions {
  std::string prompt, messages, system, tools, think, profile;
  bool raw = false;
  void addTo(CLI::App &app);
  bool given() const { return !prompt.empty() || !messages.empty(); }
};

/// Answers one prompt or conversation.
Failure runText(const EngineOptions &engine, const TextOptions &text,
                SamplingFlags &sampling, bool json, bool quiet);

} // namespace fathom::tool
