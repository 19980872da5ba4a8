// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The options of run and chat by which tokens are chosen and answers end.
#pragma once

#include "runtime/sample/Sampler.h"
#include "tools/fathom/Tool.h"

#include <algorithm>

namespace fathom::tool {

struct SamplingFlags {
  rt::SamplingOptions options;
  std::vector<std::string> bias; // ID=VALUE
  std::vector<std::string> stops;
  std::vector<int32_t> stopTokens;
  int64_t maxNewTokens = 128;
  int32_t logprobs = -1; // -1: none; else so many likeliest tokens, too

  void addTo(CLI::App &app);
  /// Reads `bias` and checks all of it.
  Failure finish(int64_t vocabulary);
  bool stopsAt(int32_t id) const {
    return std::find(stopTokens.begin(), stopTokens.end(), id) !=
           stopTokens.end();
  }
};

} // namespace fathom::tool
