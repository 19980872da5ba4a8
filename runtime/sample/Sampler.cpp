// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/sample/Sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace fathom::rt {

namespace {

/// Below, there is only the likeliest token.
constexpr float kColdest = 1e-5f;
constexpr float kNever = -std::numeric_limits<float>::infinity();

/// The finaliser of SplitMix64: every bit of the result depends on every bit.
uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
  x = (x ^ x >> 27) * 0x94D049BB133111EB;
  return x ^ x >> 31;
}

Status bad(const std::string &what) { return Status(FATHOM_USAGE, what); }

} // namespace

Status Sampler::check(const SamplingOptions &o, int64_t vocabulary) {
  if (!(o.temperature >= 0 && o.temperature <= 100))
    return bad("the temperature is not in 0 .. 100");
  if (!(o.topP > 0 && o.topP <= 1))
    return bad("top-p is not in (0, 1]");
  if (!(o.minP >= 0 && o.minP <= 1))
    return bad("min-p is not in 0 .. 1");
  if (o.topK < 0 || o.noRepeatNgram < 0 || o.ngramWindow < 0)
    return bad("a count is negative");
  if (!(o.repetitionPenalty > 0 && o.repetitionPenalty <= 100))
    return bad("the repetition penalty is not in (0, 100]");
  for (const float penalty : {o.frequencyPenalty, o.presencePenalty})
    if (!(penalty >= -100 && penalty <= 100))
      return bad("a penalty is not in -100 .. 100");
  if (o.topLogprobs < 0 || o.topLogprobs > 100)
    return bad("top logprobs are not in 0 .. 100");
  auto known = [&](int32_t id) { return id >= 0 && id < vocabulary; };
  for (const auto &[id, bias] : o.bias)
    if (!known(id) || std::isnan(bias))
      return bad("the bias of token " + std::to_string(id) +
                 " makes no sense; the vocabulary has ids 0 to " +
                 std::to_string(vocabulary - 1));
  for (const int32_t id : o.ngramAllowed)
    if (!known(id))
      return bad("token " + std::to_string(id) + " is not in the vocabulary");
  return Status();
}

void Sampler::addPrompt(const std::vector<int32_t> &ids) {
  history.insert(history.end(), ids.begin(), ids.end());
  for (const int32_t id : ids)
    ++seen[id];
}

void Sampler::add(int32_t id) {
  history.push_back(id);
  ++seen[id];
  ++generated[id];
}

/// The model's own, of which what is no number is never chosen.
void Sampler::take(const float *logits) {
  changed.assign(logits, logits + vocabulary);
  for (float &logit : changed)
    if (std::isnan(logit))
      logit = kNever;
}

void Sampler::change(const float *logits) {
  take(logits);
  if (options.repetitionPenalty != 1)
    for (const auto &[id, count] : seen)
      if (id >= 0 && id < vocabulary)
        changed[id] = changed[id] > 0 ? changed[id] / options.repetitionPenalty
                                      : changed[id] * options.repetitionPenalty;
  if (options.frequencyPenalty != 0 || options.presencePenalty != 0)
    for (const auto &[id, count] : generated)
      if (id >= 0 && id < vocabulary)
        changed[id] -=
            options.frequencyPenalty * float(count) + options.presencePenalty;
  for (const auto &[id, bias] : options.bias)
    changed[id] += bias;
  if (options.noRepeatNgram > 0)
    forbidRepeats();
}

void Sampler::forbidRepeats() {
  const size_t before = static_cast<size_t>(options.noRepeatNgram) - 1;
  if (history.size() < before + 1)
    return;
  const size_t size = history.size();
  const size_t window =
      options.ngramWindow ? std::min<size_t>(size, options.ngramWindow) : size;
  const int32_t *tail = history.data() + size - before;
  for (size_t i = size - window; i + before < size; ++i)
    if (std::equal(tail, tail + before, history.data() + i)) {
      const int32_t id = history[i + before];
      if (id >= 0 && id < vocabulary &&
          std::find(options.ngramAllowed.begin(), options.ngramAllowed.end(),
                    id) == options.ngramAllowed.end())
        changed[id] = kNever;
    }
}

int32_t Sampler::likeliest() const {
  int32_t best = 0;
  for (int32_t i = 1; i < vocabulary; ++i)
    if (changed[i] > changed[best])
      best = i;
  return best;
}

/// Fills `candidates` with what may be drawn and its weight.
void Sampler::keepLikely() {
  candidates.clear();
  const float scale = 1 / options.temperature;
  const float best = changed[likeliest()];
  // exp(-745) is 0 in doubles; min-p is a distance of logits.
  const double distance = options.minP > 0
                              ? std::min(745.0, -std::log(double(options.minP)))
                              : 745.0;
  double total = 0;
  for (int32_t id = 0; id < vocabulary; ++id) {
    const double below = (double(changed[id]) - double(best)) * double(scale);
    if (below >= -distance) {
      candidates.push_back({changed[id], id, std::exp(below)});
      total += candidates.back().weight;
    }
  }
  auto likelier = [](const Candidate &a, const Candidate &b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  if (options.topK > 0 && size_t(options.topK) < candidates.size()) {
    std::nth_element(candidates.begin(), candidates.begin() + options.topK,
                     candidates.end(), likelier);
    candidates.resize(options.topK);
    std::sort(candidates.begin(), candidates.end(), likelier);
    total = 0;
    for (const Candidate &c : candidates)
      total += c.weight;
  }
  if (options.topP >= 1)
    return;
  // The fewest that have this share; sorted no further than they reach.
  double sum = 0;
  size_t sorted = 0, count = 0;
  while (count < candidates.size() && sum < options.topP * total) {
    if (count == sorted) {
      sorted = std::min(candidates.size(), std::max<size_t>(64, sorted * 4));
      std::partial_sort(candidates.begin() + count, candidates.begin() + sorted,
                        candidates.end(), likelier);
    }
    sum += candidates[count++].weight;
  }
  candidates.resize(std::max<size_t>(1, count));
}

double Sampler::uniform() const {
  const uint64_t bits = mix(mix(options.seed + 0x9E3779B97F4A7C15) +
                            0x9E3779B97F4A7C15 * (history.size() + 1));
  return double(bits >> 11) * 0x1p-53;
}

Sampled Sampler::next(const float *logits, bool logprobs) {
  Sampled out;
  change(logits);
  if (options.temperature < kColdest) {
    out.id = likeliest();
  } else {
    keepLikely();
    double total = 0;
    for (const Candidate &c : candidates)
      total += c.weight;
    const double wanted = uniform() * total;
    double sum = 0;
    // No candidate: every token was forbidden.
    out.id = candidates.empty() ? likeliest() : candidates.back().id;
    for (const Candidate &c : candidates) {
      sum += c.weight;
      if (wanted < sum) {
        out.id = c.id;
        break;
      }
    }
  }
  if (!logprobs)
    return out;
  take(logits);
  const double best = changed[likeliest()];
  double total = 0;
  for (const float logit : changed)
    total += std::exp(double(logit) - best);
  const double norm = best + std::log(total);
  out.logprob = float(double(changed[out.id]) - norm);
  std::vector<std::pair<float, int32_t>> order;
  for (int32_t id = 0; id < vocabulary; ++id)
    if (!std::isnan(logits[id]))
      order.emplace_back(-changed[id], id);
  const size_t count = std::min<size_t>(order.size(), options.topLogprobs);
  std::partial_sort(order.begin(), order.begin() + count, order.end());
  for (size_t i = 0; i < count; ++i)
    out.top.emplace_back(order[i].second, float(-order[i].first - norm));
  return out;
}

std::vector<double> Sampler::probabilities(const float *logits) {
  std::vector<double> out(vocabulary);
  change(logits);
  if (options.temperature < kColdest) {
    out[likeliest()] = 1;
    return out;
  }
  keepLikely();
  double total = 0;
  for (const Candidate &c : candidates)
    total += c.weight;
  for (const Candidate &c : candidates)
    out[c.id] = c.weight / total;
  return out;
}

} // namespace fathom::rt
