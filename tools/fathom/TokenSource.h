// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The tokens by which one sequence goes on. Where the likeliest one is wanted
// and a device computes, it chooses by itself for some steps at a time.
#pragma once

#include "runtime/sample/Sampler.h"
#include "tools/fathom/Tool.h"

#include <deque>

namespace fathom::tool {

class TokenSource {
public:
  /// At most `most` tokens are asked for. With logprobs, each step's logits are
  /// looked at here.
  TokenSource(fathom_session *session, const fathom_model_info &model,
              const rt::SamplingOptions &options, bool logprobs, int64_t most);

  /// Feeds tokens to the sequence in `slot`, the last of `all` that it then
  /// has: `cached` of them it has already.
  Failure begin(int32_t slot, const std::vector<int32_t> &all,
                size_t cached = 0);
  /// The next token, after feeding the one before it.
  Failure next(rt::Sampled &out);
  /// There is no room to feed the token that next() gave last.
  bool isFull() const;
  /// What the sequence holds: more than next() has told of where a device went
  /// on beyond an end.
  const std::vector<int32_t> &held() const { return inSequence; }

private:
  Failure feed(const int32_t *ids, int64_t count);
  Failure chooseAhead();

  fathom_session *session;
  int64_t maxContext, most, given = 0;
  bool logprobs, ahead;
  rt::Sampler sampler;
  int32_t slot = -1, last = -1;
  std::vector<int32_t> inSequence;
  std::deque<int32_t> chosen;
  const float *logits = nullptr; // of the last token; null: used
};

} // namespace fathom::tool
