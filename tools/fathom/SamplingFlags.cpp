// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathom/SamplingFlags.h"

#include "tools/OptionNumbers.h"

namespace fathom::tool {

void SamplingFlags::addTo(CLI::App &app) {
  const char *group = "Sampling";
  auto add = [&](const char *name, auto &value, const char *type,
                 const char *text) {
    return app.add_option(name, value, text)->type_name(type)->group(group);
  };
  add("--max-new-tokens", maxNewTokens, "N",
      "Stop after so many, if no end-of-text id comes before")
      ->transform(numberIn(int64_t(0), int64_t(1) << 31))
      ->capture_default_str();
  add("--temperature", options.temperature, "T",
      "0, the default: the likeliest token always")
      ->transform(numberIn<float>());
  add("--top-k", options.topK, "N", "Of the likeliest so many only; 0: all")
      ->transform(numberIn<int32_t>());
  add("--top-p", options.topP, "P",
      "Of the fewest that have this share of probability")
      ->transform(numberIn<float>());
  add("--min-p", options.minP, "P",
      "Of those that have this share of the likeliest one's probability")
      ->transform(numberIn<float>());
  add("--seed", options.seed, "N", "Equal seeds give equal text; default 0")
      ->transform(numberIn<uint64_t>());
  add("--repetition-penalty", options.repetitionPenalty, "X",
      "Divides the logits of tokens that were there")
      ->transform(numberIn<float>());
  add("--frequency-penalty", options.frequencyPenalty, "X",
      "Lowers the logit of a token each time it comes")
      ->transform(numberIn<float>());
  add("--presence-penalty", options.presencePenalty, "X",
      "Lowers the logit of a token that came")
      ->transform(numberIn<float>());
  add("--logit-bias", bias, "ID=X",
      "Adds to a token's logit, -inf: never; may be repeated")
      ->allow_extra_args(false);
  add("--no-repeat-ngram", options.noRepeatNgram, "N",
      "No N tokens in a row twice")
      ->transform(numberIn<int32_t>());
  add("--ngram-window", options.ngramWindow, "N",
      "... within the last N tokens; 0: in all")
      ->transform(numberIn<int32_t>());
  add("--ngram-allowed", options.ngramAllowed, "IDS",
      "... but for these tokens")
      ->transform(numberIn<int32_t>())
      ->delimiter(',')
      ->allow_extra_args(false);
  add("--stop", stops, "TEXT",
      "End before this text, in reasoning or answer; may be repeated")
      ->allow_extra_args(false);
  add("--stop-token", stopTokens, "IDS", "End at these tokens")
      ->transform(numberIn<int32_t>())
      ->delimiter(',')
      ->allow_extra_args(false);
  add("--logprobs", logprobs, "N",
      "With --json: each token's log probability and the N likeliest")
      ->transform(numberIn(0, 100));
}

Failure SamplingFlags::finish(int64_t vocabulary) {
  for (const std::string &text : bias) {
    const size_t equals = text.find('=');
    const std::string by = equals == text.npos ? "" : text.substr(equals + 1);
    int32_t id = -1;
    float value = -std::numeric_limits<float>::infinity();
    if (!readNumber(text.substr(0, equals), id) ||
        (by != "-inf" && !readNumber(by, value)) || id < 0 || id >= vocabulary)
      return {FATHOM_USAGE,
              "--logit-bias '" + text + "' is not ID=X with an id below " +
                  std::to_string(vocabulary),
              ""};
    options.bias.emplace_back(id, value);
  }
  bias.clear();
  for (const int32_t id : stopTokens)
    if (id < 0 || id >= vocabulary)
      return {FATHOM_USAGE,
              "--stop-token " + std::to_string(id) + " is no id below " +
                  std::to_string(vocabulary),
              ""};
  for (const std::string &stop : stops)
    if (stop.empty())
      return {FATHOM_USAGE, "an empty --stop would end every answer", ""};
  options.topLogprobs = logprobs > 0 ? logprobs : 0;
  const rt::Status status = rt::Sampler::check(options, vocabulary);
  return {status.code(), status.message(), ""};
}

} // namespace fathom::tool
