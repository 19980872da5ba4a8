// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathom/TokenSource.h"

#include <algorithm>
#include <cstring>

namespace fathom::tool {

/// Few enough that text comes steadily and little is computed in vain.
constexpr int64_t kStepsAhead = 8;

TokenSource::TokenSource(fathom_session *session,
                         const fathom_model_info &model,
                         const rt::SamplingOptions &options, bool logprobs,
                         int64_t most)
    : session(session), maxContext(model.max_context), most(most),
      logprobs(logprobs),
      ahead(!logprobs && rt::Sampler::isLikeliestOnly(options) &&
            std::strcmp(model.driver, "host") != 0),
      sampler(options, model.vocabulary_size) {}

Failure TokenSource::begin(int32_t to, const std::vector<int32_t> &all,
                           size_t cached) {
  slot = to;
  sampler.addPrompt(all);
  inSequence.assign(all.begin(), all.begin() + ptrdiff_t(cached));
  return feed(all.data() + cached, int64_t(all.size() - cached));
}

Failure TokenSource::feed(const int32_t *ids, int64_t count) {
  const fathom_tokens tokens = {slot, ids, count, 1};
  if (Failure f = failure(fathom_step(session, &tokens, 1, nullptr, &logits)))
    return f;
  inSequence.insert(inSequence.end(), ids, ids + count);
  return {};
}

Failure TokenSource::chooseAhead() {
  int32_t ids[kStepsAhead];
  const int64_t steps = std::min(
      {kStepsAhead, most - given, maxContext - int64_t(inSequence.size())});
  if (Failure f =
          failure(fathom_generate(session, &slot, &last, 1, steps, ids)))
    return f;
  inSequence.push_back(last);
  inSequence.insert(inSequence.end(), ids, ids + steps - 1);
  chosen.assign(ids, ids + steps);
  return {};
}

Failure TokenSource::next(rt::Sampled &out) {
  if (!logits && chosen.empty()) {
    if (Failure f = ahead ? chooseAhead() : feed(&last, 1))
      return f;
  }
  if (logits) {
    out = sampler.next(logits, logprobs);
    logits = nullptr;
  } else {
    out = {chosen.front(), 0, {}};
    chosen.pop_front();
  }
  last = out.id;
  sampler.add(last);
  ++given;
  return {};
}

bool TokenSource::isFull() const {
  return chosen.empty() && int64_t(inSequence.size()) >= maxContext;
}

} // namespace fathom::tool
