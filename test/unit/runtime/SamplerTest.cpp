// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/sample/Sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

using namespace fathom::rt;

namespace {

constexpr int kVocabulary = 24;
using Row = std::vector<float>;

Row randomRow(std::mt19937 &random) {
  Row row(kVocabulary);
  for (float &logit : row)
    logit = std::normal_distribution<float>(0, 2)(random);
  return row;
}

/// What the options say, straightforwardly.
std::vector<double> plain(const SamplingOptions &o, Row row,
                          const std::vector<int32_t> &prompt,
                          const std::vector<int32_t> &made) {
  std::vector<int32_t> all = prompt;
  all.insert(all.end(), made.begin(), made.end());
  for (int id = 0; id < kVocabulary; ++id) {
    if (std::count(all.begin(), all.end(), id))
      row[id] = row[id] > 0 ? row[id] / o.repetitionPenalty
                            : row[id] * o.repetitionPenalty;
    const auto count = std::count(made.begin(), made.end(), id);
    if (count)
      row[id] -= o.frequencyPenalty * float(count) + o.presencePenalty;
  }
  for (const auto &[id, bias] : o.bias)
    row[id] += bias;
  if (o.noRepeatNgram) {
    const int n = o.noRepeatNgram, size = int(all.size());
    const int from = o.ngramWindow ? std::max(0, size - o.ngramWindow) : 0;
    for (int id = 0; id < kVocabulary; ++id) {
      std::vector<int32_t> gram;
      for (int i = std::max(0, size - n + 1); i < size; ++i)
        gram.push_back(all[i]);
      gram.push_back(id);
      bool before = false;
      for (int i = from; i + n <= size; ++i)
        before |= int(gram.size()) == n &&
                  std::equal(gram.begin(), gram.end(), all.begin() + i);
      if (before &&
          !std::count(o.ngramAllowed.begin(), o.ngramAllowed.end(), id))
        row[id] = -std::numeric_limits<float>::infinity();
    }
  }
  std::vector<std::pair<double, int>> order; // weight, -id
  const double best = *std::max_element(row.begin(), row.end());
  for (int id = 0; id < kVocabulary; ++id)
    order.emplace_back(std::exp((row[id] - best) / o.temperature), -id);
  std::sort(order.rbegin(), order.rend());
  while (order.back().first < o.minP)
    order.pop_back();
  if (o.topK && size_t(o.topK) < order.size())
    order.resize(o.topK);
  double total = 0, sum = 0;
  for (const auto &[weight, id] : order)
    total += weight;
  size_t kept = 0;
  while (kept < order.size() && (kept == 0 || sum < o.topP * total))
    sum += order[kept++].first;
  order.resize(kept);
  std::vector<double> out(kVocabulary);
  for (const auto &[weight, id] : order)
    out[-id] = weight / sum;
  return out;
}

std::vector<SamplingOptions> manyOptions() {
  std::vector<SamplingOptions> out(1);
  out[0].temperature = 1;
  auto add = [&](auto change) {
    SamplingOptions o;
    o.temperature = 0.8f;
    change(o);
    out.push_back(o);
  };
  add([](auto &o) { o.temperature = 2; });
  add([](auto &o) { o.topK = 5; });
  add([](auto &o) { o.topP = 0.7f; });
  add([](auto &o) { o.minP = 0.1f; });
  add([](auto &o) { o.topK = 9, o.topP = 0.9f, o.minP = 0.02f; });
  add([](auto &o) { o.repetitionPenalty = 1.5f; });
  add([](auto &o) { o.frequencyPenalty = 0.7f, o.presencePenalty = -0.4f; });
  add([](auto &o) { o.bias = {{3, 2.5f}, {4, -100.f}}; });
  add([](auto &o) { o.noRepeatNgram = 2; });
  add([](auto &o) { o.noRepeatNgram = 1, o.ngramWindow = 4; });
  add([](auto &o) {
    o.noRepeatNgram = 2, o.ngramWindow = 9, o.ngramAllowed = {1, 2};
  });
  return out;
}

TEST(Sampler, ProbabilitiesAreThoseOfAPlainReference) {
  std::mt19937 random(1);
  for (const SamplingOptions &options : manyOptions())
    for (int round = 0; round < 50; ++round) {
      std::vector<int32_t> prompt, made;
      for (int i = int(random() % 12); i > 0; --i)
        prompt.push_back(int(random() % 6));
      for (int i = int(random() % 12); i > 0; --i)
        made.push_back(int(random() % 6));
      const Row row = randomRow(random);
      Sampler sampler(options, kVocabulary);
      sampler.addPrompt(prompt);
      for (const int32_t id : made)
        sampler.add(id);
      const std::vector<double> found = sampler.probabilities(row.data()),
                                wanted = plain(options, row, prompt, made);
      for (int id = 0; id < kVocabulary; ++id)
        EXPECT_NEAR(found[id], wanted[id], 1e-5) << id;
    }
}

TEST(Sampler, DrawsByChiSquare) {
  std::mt19937 random(2);
  const int draws = 20000;
  for (const SamplingOptions &given : manyOptions()) {
    const Row row = randomRow(random);
    SamplingOptions options = given;
    const std::vector<double> wanted =
        Sampler(options, kVocabulary).probabilities(row.data());
    std::vector<int> count(kVocabulary);
    for (int i = 0; i < draws; ++i) {
      options.seed = uint64_t(i);
      ++count[Sampler(options, kVocabulary).next(row.data(), false).id];
    }
    double square = 0, rest = 0, restCount = 0;
    int freedom = -1;
    for (int id = 0; id < kVocabulary; ++id) {
      const double expected = wanted[id] * draws;
      if (expected == 0) {
        EXPECT_EQ(count[id], 0);
      } else if (expected < 8) { // too rare for the test; taken together
        rest += expected;
        restCount += count[id];
      } else {
        square += (count[id] - expected) * (count[id] - expected) / expected;
        ++freedom;
      }
    }
    if (rest >= 8) {
      square += (restCount - rest) * (restCount - rest) / rest;
      ++freedom;
    }
    // Five standard deviations above the mean of the distribution.
    EXPECT_LT(square, freedom + 5 * std::sqrt(2.0 * std::max(freedom, 1)));
  }
}

TEST(Sampler, PlacesAreIndependent) {
  // One seed along a sequence: pairs of neighbours are as frequent as their
  // probabilities' product says.
  SamplingOptions options;
  options.temperature = 1;
  options.seed = 5;
  const Row row(4, 0.f);
  Sampler sampler(options, 4);
  std::vector<int> pairs(16);
  int32_t before = 0;
  for (int i = 0; i < 32000; ++i) {
    const int32_t id = sampler.next(row.data(), false).id;
    sampler.add(id);
    ++pairs[before * 4 + id];
    before = id;
  }
  double square = 0;
  for (const int count : pairs)
    square += (count - 2000.0) * (count - 2000.0) / 2000.0;
  EXPECT_LT(square, 15 + 5 * std::sqrt(30.0));
}

TEST(Sampler, GreedyTakesTheLowestOfEqualOnes) {
  SamplingOptions options;
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Sampler(options, 4).next(Row{1, 3, 3, 2}.data(), false).id, 1);
  EXPECT_EQ(Sampler(options, 4).next(Row{nan, 1, 2, nan}.data(), false).id, 2);
  EXPECT_EQ(Sampler(options, 4).next(Row{nan, nan, nan, nan}.data(), false).id,
            0);
  EXPECT_EQ(Sampler(options, 3).next(Row{nan, -1, -2}.data(), false).id, 1);
  options.temperature = 1;
  const Row odd{nan, -1, -1};
  EXPECT_EQ(Sampler(options, 3).probabilities(odd.data()),
            (std::vector<double>{0, .5, .5}));
  EXPECT_EQ(Sampler(options, 4).next(Row{-inf, -inf, 0, -inf}.data(), false).id,
            2);
  (void)Sampler(options, 4).next(Row{-inf, -inf, -inf, -inf}.data(), false);
  (void)Sampler(options, 4).next(Row{nan, nan, nan, nan}.data(), true);
}

TEST(Sampler, Logprobs) {
  SamplingOptions options;
  options.topLogprobs = 3;
  options.bias = {{2, 100.f}}; // changes the choice, not what is reported
  const Row row = {0, std::log(2.f), std::log(3.f), std::log(4.f)};
  const Sampled s = Sampler(options, 4).next(row.data(), true);
  EXPECT_EQ(s.id, 2);
  EXPECT_NEAR(s.logprob, std::log(0.3), 1e-6);
  ASSERT_EQ(s.top.size(), 3u);
  EXPECT_EQ(s.top[0].first, 3);
  EXPECT_NEAR(s.top[0].second, std::log(0.4), 1e-6);
  EXPECT_EQ(s.top[2].first, 1);
}

TEST(Sampler, LogprobsBesideWhatIsNoNumber) {
  SamplingOptions options;
  options.topLogprobs = 3;
  const Row row = {std::nanf(""), -1, -1};
  const Sampled s = Sampler(options, 3).next(row.data(), true);
  EXPECT_EQ(s.id, 1);
  EXPECT_NEAR(s.logprob, std::log(.5), 1e-6);
  ASSERT_EQ(s.top.size(), 2u);
  EXPECT_EQ(s.top[0].first, 1);
  EXPECT_EQ(s.top[1].first, 2);
  EXPECT_NEAR(s.top[1].second, std::log(.5), 1e-6);
}

/// A temperature that divides the least difference to something still chooses
/// by it alone.
TEST(Sampler, TheColdestIsGreedy) {
  const Row row = {1, std::nextafter(1.f, 2.f)};
  SamplingOptions options;
  options.temperature = 9e-6f;
  EXPECT_EQ(Sampler(options, 2).probabilities(row.data()),
            (std::vector<double>{0, 1}));
  for (options.seed = 0; options.seed < 20; ++options.seed)
    EXPECT_EQ(Sampler(options, 2).next(row.data(), false).id, 1);
  options.temperature = 1.1e-5f;
  EXPECT_GT(Sampler(options, 2).probabilities(row.data())[0], .4);
}

TEST(Sampler, OfEqualOnesTheLowestStay) {
  const Row row = {0, 1, 1, 1, 1};
  const std::vector<double> wanted = {0, .5, .5, 0, 0};
  SamplingOptions options;
  options.temperature = 1;
  options.topK = 2;
  EXPECT_EQ(Sampler(options, 5).probabilities(row.data()), wanted);
  options.topK = 0;
  options.topP = .4f; // 2 of 4.37
  EXPECT_EQ(Sampler(options, 5).probabilities(row.data()), wanted);
  options = {};
  options.topLogprobs = 2;
  const Sampled s = Sampler(options, 5).next(row.data(), true);
  ASSERT_EQ(s.top.size(), 2u);
  EXPECT_EQ(s.top[0].first, 1);
  EXPECT_EQ(s.top[1].first, 2);
}

TEST(Sampler, RefusesWhatMakesNoSense) {
  auto code = [](auto change) {
    SamplingOptions options;
    change(options);
    return Sampler::check(options, kVocabulary).code();
  };
  EXPECT_EQ(code([](auto &) {}), FATHOM_OK);
  EXPECT_EQ(code([](auto &o) { o.temperature = -1; }), FATHOM_USAGE);
  EXPECT_EQ(code([](auto &o) { o.temperature = std::nanf(""); }), FATHOM_USAGE);
  EXPECT_EQ(code([](auto &o) { o.topP = 0; }), FATHOM_USAGE);
  EXPECT_EQ(code([](auto &o) { o.minP = 1.5f; }), FATHOM_USAGE);
  EXPECT_EQ(code([](auto &o) { o.topK = -1; }), FATHOM_USAGE);
  EXPECT_EQ(code([](auto &o) { o.repetitionPenalty = 0; }), FATHOM_USAGE);
  EXPECT_EQ(code([](auto &o) { o.bias = {{kVocabulary, 1.f}}; }), FATHOM_USAGE);
  EXPECT_EQ(code([](auto &o) { o.ngramAllowed = {-1}; }), FATHOM_USAGE);
  EXPECT_EQ(code([](auto &o) { o.ngramAllowed = {kVocabulary}; }),
            FATHOM_USAGE);
  EXPECT_EQ(code([](auto &o) { o.bias = {{1, std::nanf("")}}; }), FATHOM_USAGE);
  EXPECT_EQ(code([](auto &o) { o.noRepeatNgram = -1; }), FATHOM_USAGE);
  EXPECT_EQ(code([](auto &o) { o.ngramWindow = -1; }), FATHOM_USAGE);
  // The ends of the ranges, and what lies beyond them.
  auto within = [&](auto member, float low, float high) {
    const float inf = std::numeric_limits<float>::infinity();
    for (const float value : {low, high})
      EXPECT_EQ(code([&](auto &o) { o.*member = value; }), FATHOM_OK) << value;
    for (const float value :
         {std::nextafter(low, -inf), std::nextafter(high, inf), std::nanf("")})
      EXPECT_EQ(code([&](auto &o) { o.*member = value; }), FATHOM_USAGE)
          << value;
  };
  const float least = std::nextafter(0.f, 1.f); // 0 is none
  within(&SamplingOptions::temperature, 0, 100);
  within(&SamplingOptions::topP, least, 1);
  within(&SamplingOptions::minP, 0, 1);
  within(&SamplingOptions::repetitionPenalty, least, 100);
  within(&SamplingOptions::frequencyPenalty, -100, 100);
  within(&SamplingOptions::presencePenalty, -100, 100);
  EXPECT_EQ(code([](auto &o) { o.topLogprobs = 100; }), FATHOM_OK);
  EXPECT_EQ(code([](auto &o) { o.topLogprobs = 101; }), FATHOM_USAGE);
  EXPECT_EQ(code([](auto &o) { o.topLogprobs = -1; }), FATHOM_USAGE);
}

} // namespace
