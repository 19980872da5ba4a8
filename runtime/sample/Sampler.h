// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Chooses the next token from logits. The choice depends on the logits, the
// sequence so far, the options and the seed alone: its random numbers are
// those of the place in the sequence, so that equal seeds give equal text
// whatever the batch and the number of threads.
#pragma once

#include "runtime/src/Status.h"

#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fathom::rt {

/// In the order in which they apply: bias and penalties change logits, then
/// the temperature does, then min-p, top-k and top-p leave tokens out.
struct SamplingOptions {
  std::vector<std::pair<int32_t, float>> bias; // added to a token's logit
  /// Divides positive logits of tokens that the sequence has, multiplies
  /// negative ones.
  float repetitionPenalty = 1;
  /// Subtracted for each time that a token was generated, and once.
  float frequencyPenalty = 0, presencePenalty = 0;
  /// No n tokens in a row may come again, in the last `ngramWindow` tokens (0:
  /// in all); tokens of the list may.
  int32_t noRepeatNgram = 0, ngramWindow = 0;
  std::vector<int32_t> ngramAllowed;
  float temperature = 0; // 0: the likeliest token, of equal ones the lowest id
  float minP = 0;        // relative to the likeliest
  int32_t topK = 0;      // 0: all
  float topP = 1;
  uint64_t seed = 0;
  int32_t topLogprobs = 0;
};

struct Sampled {
  int32_t id = 0;
  float logprob = 0; // of the model's own distribution, unchanged
  std::vector<std::pair<int32_t, float>> top; // topLogprobs of them
};

class Sampler {
public:
  /// FATHOM_USAGE for what makes no sense.
  static Status check(const SamplingOptions &options, int64_t vocabulary);

  /// The model's likeliest token whatever the sequence: what a device chooses
  /// without a host.
  static bool isLikeliestOnly(const SamplingOptions &options) {
    return options.bias.empty() && options.repetitionPenalty == 1 &&
           options.frequencyPenalty == 0 && options.presencePenalty == 0 &&
           options.noRepeatNgram == 0 && options.temperature == 0;
  }

  Sampler(const SamplingOptions &options, int64_t vocabulary)
      : options(options), vocabulary(vocabulary) {}

  /// Tells of tokens of the sequence: its prompt, then what was chosen.
  void addPrompt(const std::vector<int32_t> &ids);
  void add(int32_t id);

  /// Chooses the token that comes after all that were told of. `logprobs`:
  /// fill logprob and top, too.
  Sampled next(const float *logits, bool logprobs);

  /// The probabilities from which next() draws, by id; for tests.
  std::vector<double> probabilities(const float *logits);

private:
  struct Candidate {
    float logit;
    int32_t id;
    double weight;
  };

  void take(const float *logits);
  void change(const float *logits);
  void forbidRepeats();
  void keepLikely();
  int32_t likeliest() const;
  double uniform() const;

  SamplingOptions options;
  int64_t vocabulary;
  std::vector<int32_t> history;
  std::unordered_map<int32_t, int32_t> seen, generated; // how often
  std::vector<float> changed;
  std::vector<Candidate> candidates;
};

} // namespace fathom::rt
