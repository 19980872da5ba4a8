// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Engine and session through the C ABI, on the toy model: whatever the
// division into steps, batches and threads, each row must be what the toy's
// definition says; what is refused changes nothing and says why.
#include "test/unit/runtime/EngineTest.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <sched.h>
#include <thread>
#include <utility>

using namespace fathom::test;
using namespace fathom::format;

/// Counts allocations by C++ code of this process: stepping must make none.
static std::atomic<uint64_t> allocations{0};
#ifndef FATHOM_SANITIZED // they have operators of their own
/// Whether this thread gets none.
static thread_local bool noMemory = false;
void *operator new(size_t size) {
  ++allocations;
  if (noMemory)
    throw std::bad_alloc();
  if (void *p = std::malloc(size ? size : 1))
    return p;
  std::abort();
}
void operator delete(void *p) noexcept { std::free(p); }
void operator delete(void *p, size_t) noexcept { std::free(p); }
#endif

namespace {

TEST_P(EngineTest, Information) {
  open(2);
  fathom_model_info info;
  fathom_engine_info(engine, &info);
  EXPECT_EQ(info.vocabulary_size, kVocabulary);
  EXPECT_EQ(info.max_step_tokens, kStepTokens);
  EXPECT_EQ(info.mtp_layers, 1);
  EXPECT_EQ(info.threads, 2);
  EXPECT_STREQ(info.isa, isCuda()     ? "sm_90"
                         : isAscend() ? "910b"
                                      : "x86-64-v3");
  EXPECT_STREQ(info.driver, GetParam());
  ASSERT_EQ(info.eos_token_count, 1u);
  EXPECT_EQ(info.eos_tokens[0], kVocabulary - 1);
  EXPECT_EQ(info.has_tokenizer, 0);
  // 96 bytes of w, and the experts' 32, of which a token chooses one in four.
  EXPECT_EQ(fathom_engine_step_weight_bytes(engine, 1), 104u);
  EXPECT_EQ(fathom_engine_step_weight_bytes(engine, 2), 110u);
}

TEST_P(EngineTest, AnyDivisionIntoSteps) {
  open();
  openSession();
  for (int64_t chunk : {1, 2, 3, 7, 8}) {
    const int32_t slot = add();
    const std::vector<int32_t> ids = someIds(30, int(chunk));
    std::vector<int32_t> history;
    for (size_t at = 0; at < ids.size(); at += size_t(chunk))
      feedAndCheck(slot, history,
                   {ids.begin() + at,
                    ids.begin() + std::min(ids.size(), at + size_t(chunk))});
    EXPECT_EQ(fathom_session_length(session, slot), 30);
    EXPECT_OK(fathom_session_remove(session, slot));
    EXPECT_EQ(fathom_session_length(session, slot), -1);
  }
}

TEST_P(EngineTest, LongInputIsSplit) {
  open(3);
  fathom_session_options options = {};
  options.max_logit_rows = 60;
  openSession(options);
  std::vector<int32_t> history;
  feedAndCheck(add(), history, someIds(60, 1));
}

TEST_P(EngineTest, RaggedBatchLongerThanAStep) {
  open(3);
  openSession();
  std::vector<std::vector<int32_t>> ids = {someIds(5, 1), someIds(20, 2),
                                           someIds(1, 3), someIds(11, 4)};
  const int64_t wanted[] = {5, 3, 0, 11};
  std::vector<fathom_tokens> batch;
  for (size_t i = 0; i < ids.size(); ++i)
    batch.push_back({add(), ids[i].data(), int64_t(ids[i].size()), wanted[i]});
  std::vector<float> logits(19 * kVocabulary);
  EXPECT_OK(
      fathom_step(session, batch.data(), batch.size(), logits.data(), nullptr));
  const float *row = logits.data();
  for (size_t i = 0; i < ids.size(); ++i)
    for (int64_t k = 0; k < wanted[i]; ++k, row += kVocabulary) {
      const size_t length = ids[i].size() - size_t(wanted[i] - k) + 1;
      expectRow(row, expectedLogits({ids[i].begin(), ids[i].begin() + length}));
    }
}

TEST_P(EngineTest, SequencesComeAndGo) {
  open(2);
  openSession();
  std::vector<int32_t> first, second, third;
  const int32_t a = add(), b = add();
  feedAndCheck(a, first, someIds(8, 1));
  feedAndCheck(b, second, someIds(4, 2));
  EXPECT_OK(fathom_session_remove(session, a));
  const int32_t c = add();
  EXPECT_EQ(c, a);
  feedAndCheck(c, third, someIds(3, 3));
  feedAndCheck(b, second, someIds(6, 4));
  feedAndCheck(c, third, someIds(6, 5));
}

/// What is replayed for two sequences must not go by what one had before.
TEST_P(EngineTest, ChangingNumbersOfSequences) {
  open(2);
  openSession();
  std::vector<std::vector<int32_t>> ids(3);
  const int32_t slots[3] = {add(), add(), add()};
  for (size_t count : {2, 1, 3, 2, 1, 2}) {
    std::vector<fathom_tokens> tokens;
    for (size_t s = 0; s < count; ++s) {
      ids[s].push_back(int32_t((ids[s].size() * 5 + s + count) % kVocabulary));
      tokens.push_back({slots[s], &ids[s].back(), 1, 1});
    }
    const float *row = nullptr;
    EXPECT_OK(fathom_step(session, tokens.data(), count, nullptr, &row));
    for (size_t s = 0; s < count; ++s, row += kVocabulary)
      expectRow(row, expectedLogits(ids[s]));
  }
}

TEST_P(EngineTest, SteppingAllocatesNothing) {
#ifdef FATHOM_SANITIZED
  GTEST_SKIP() << "allocations of sanitizers are not counted";
#endif
  open(2);
  openSession();
  const std::vector<int32_t> ids = someIds(20, 1);
  const fathom_tokens tokens = {add(), ids.data(), 20, 1};
  const float *rows = nullptr;
  if (!isHost())
    GTEST_SKIP() << "the queues of devices that are none are allocations";
  const uint64_t before = allocations;
  const fathom_status status = fathom_step(session, &tokens, 1, nullptr, &rows);
  EXPECT_EQ(allocations, before);
  EXPECT_OK(status);
}

TEST_P(EngineTest, RefusedCallsChangeNothing) {
  open();
  openSession();
  const int32_t slot = add();
  std::vector<int32_t> history;
  feedAndCheck(slot, history, someIds(6, 1));
  std::vector<int32_t> bad = {1, 2, kVocabulary};
  fathom_tokens tokens[2] = {{slot, bad.data(), 3, 1},
                             {slot, bad.data(), 1, 1}};
  auto step = [&](size_t count) {
    return fathom_step(session, tokens, count, nullptr, nullptr);
  };
  EXPECT_CODE(FATHOM_USAGE, step(1), "token id 24 (number 2");
  bad[2] = -1;
  EXPECT_CODE(FATHOM_USAGE, step(1), "token id -1");
  bad[2] = 3;
  EXPECT_CODE(FATHOM_USAGE, step(2), "twice");
  tokens[1].slot = 3;
  EXPECT_CODE(FATHOM_USAGE, step(2), "slot 3 holds no sequence");
  tokens[0].slot = -1;
  EXPECT_CODE(FATHOM_USAGE, step(1), "slot -1");
  tokens[0].slot = int32_t(kSequences);
  EXPECT_CODE(FATHOM_USAGE, step(1), "slot 4");
  tokens[0] = {slot, bad.data(), 3, 4};
  EXPECT_CODE(FATHOM_USAGE, step(1), "logits wanted of 4 of 3");
  tokens[0] = {slot, bad.data(), 3, -1};
  EXPECT_CODE(FATHOM_USAGE, step(1), "logits wanted of -1 of 3");
  tokens[0] = {slot, bad.data(), -1, 0};
  EXPECT_CODE(FATHOM_USAGE, step(1), "no tokens");
  tokens[0] = {slot, nullptr, 3, 0};
  EXPECT_CODE(FATHOM_USAGE, step(1), "no tokens");
  const std::vector<int32_t> many = someIds(kContext - 5, 2);
  tokens[0] = {slot, many.data(), int64_t(many.size()), 1};
  EXPECT_CODE(FATHOM_RESOURCES, step(1), "context overrun");
  // Ids beyond any context are not read: there may be none.
  bad[2] = -1;
  tokens[0] = {slot, bad.data(), INT64_MAX, 1};
  EXPECT_CODE(FATHOM_RESOURCES, step(1), "context overrun");
  std::vector<fathom_tokens> crowd(kSequences + 1, tokens[0]);
  EXPECT_CODE(
      FATHOM_RESOURCES,
      fathom_step(session, crowd.data(), crowd.size(), nullptr, nullptr),
      "5 sequences");
  tokens[0] = {slot, many.data(), 20, 20};
  EXPECT_CODE(FATHOM_RESOURCES, step(1), "max_logit_rows");
  EXPECT_EQ(fathom_session_length(session, slot), 6);
  feedAndCheck(slot, history, someIds(8, 3));
}

TEST_P(EngineTest, FullContextAndFullSlots) {
  open();
  openSession();
  std::vector<int32_t> history;
  const int32_t slot = add();
  while (int64_t(history.size()) < kContext)
    feedAndCheck(slot, history, someIds(8, int(history.size())));
  const int32_t id = 1;
  const fathom_tokens one = {slot, &id, 1, 1};
  EXPECT_CODE(FATHOM_RESOURCES, fathom_step(session, &one, 1, nullptr, nullptr),
              "context overrun");
  for (int64_t i = 1; i < kSequences; ++i)
    add();
  int32_t none = -1;
  EXPECT_CODE(FATHOM_RESOURCES, fathom_session_add(session, &none), "slots");
  EXPECT_CODE(FATHOM_USAGE, fathom_session_remove(session, 77), "slot 77");
}

TEST_P(EngineTest, EmptyCallsAndEmptySequences) {
  open();
  openSession();
  EXPECT_OK(fathom_step(session, nullptr, 0, nullptr, nullptr));
  const std::vector<int32_t> ids = {3, 4};
  const fathom_tokens batch[2] = {{add(), nullptr, 0, 0},
                                  {add(), ids.data(), 2, 1}};
  const float *rows = nullptr;
  EXPECT_OK(fathom_step(session, batch, 2, nullptr, &rows));
  expectRow(rows, expectedLogits(ids));
}

TEST_P(EngineTest, MultiTokenPrediction) {
  open(2);
  for (int64_t chunk : {1, 3, 8, 20}) {
    fathom_session_options options = {};
    options.kept_tokens = 40;
    options.max_logit_rows = 40;
    openSession(options);
    std::vector<std::vector<int32_t>> ids = {someIds(20, 1), someIds(9, 2)};
    const int32_t slots[2] = {add(), add()};
    for (int64_t at = 0; at < 20; at += chunk) {
      std::vector<fathom_tokens> main, next;
      for (int s = 0; s < 2; ++s) {
        const int64_t size = int64_t(ids[s].size());
        const int64_t take = std::min(chunk, size - at);
        if (take <= 0)
          continue;
        const int64_t pairs = std::min(take, size - 1 - at);
        main.push_back({slots[s], ids[s].data() + at, take, 0});
        next.push_back({slots[s], ids[s].data() + at + 1, pairs, pairs});
      }
      EXPECT_OK(
          fathom_step(session, main.data(), main.size(), nullptr, nullptr));
      const float *row = nullptr;
      EXPECT_OK(
          fathom_mtp(session, 0, next.data(), next.size(), nullptr, &row));
      for (const fathom_tokens &t : next)
        for (int64_t i = 0; i < t.count; ++i, row += kVocabulary) {
          const std::vector<int32_t> &line = ids[t.slot == slots[0] ? 0 : 1];
          expectRow(row,
                    expectedMtp({line.begin(), line.begin() + (at + i + 2)}));
        }
    }
    EXPECT_EQ(fathom_session_mtp_length(session, 0, slots[0]), 19);
    EXPECT_EQ(fathom_session_mtp_length(session, 0, slots[1]), 8);
    fathom_session_destroy(session);
    session = nullptr;
  }
}

/// The last piece of a long call could be a recorded step, but for where its
/// streams go.
TEST_P(EngineTest, StreamsOfALongCallAreKept) {
  open();
  fathom_session_options options = {};
  options.kept_tokens = options.max_logit_rows = 16;
  openSession(options);
  const int32_t slot = add();
  const std::vector<int32_t> ids = someIds(11, 1);
  std::vector<int32_t> history;
  feedAndCheck(slot, history, {ids.begin(), ids.end() - 1}); // 8 and 2
  const fathom_tokens next = {slot, ids.data() + 1, 10, 10};
  const float *row = nullptr;
  EXPECT_OK(fathom_mtp(session, 0, &next, 1, nullptr, &row));
  for (size_t size = 2; size <= ids.size(); ++size, row += kVocabulary)
    expectRow(row, expectedMtp({ids.begin(), ids.begin() + size}));
}

/// A grid of rows alone is empty then, and no device takes that.
TEST_P(EngineTest, MultiTokenPredictionWithoutLogits) {
  open();
  openSession();
  const int32_t slot = add();
  const std::vector<int32_t> ids = someIds(7, 1);
  std::vector<int32_t> history;
  feedAndCheck(slot, history, {ids.begin(), ids.end() - 1});
  const fathom_tokens silent = {slot, ids.data() + 1, 5, 0},
                      last = {slot, ids.data() + 6, 1, 1};
  EXPECT_OK(fathom_mtp(session, 0, &silent, 1, nullptr, nullptr));
  const float *row = nullptr;
  EXPECT_OK(fathom_mtp(session, 0, &last, 1, nullptr, &row));
  expectRow(row, expectedMtp(ids));
}

TEST_P(EngineTest, MultiTokenPredictionNeedsKeptStreams) {
  open();
  openSession(); // keeps a step's worth
  const int32_t slot = add();
  const std::vector<int32_t> ids = someIds(20, 1);
  fathom_tokens tokens = {slot, ids.data(), 20, 0};
  EXPECT_OK(fathom_step(session, &tokens, 1, nullptr, nullptr));
  EXPECT_CODE(FATHOM_USAGE,
              fathom_mtp(session, 0, &tokens, 1, nullptr, nullptr),
              "needs the streams");
  EXPECT_CODE(FATHOM_UNSUPPORTED,
              fathom_mtp(session, 1, &tokens, 1, nullptr, nullptr),
              "MTP layer 1");
  EXPECT_EQ(fathom_session_mtp_length(session, 0, slot), 0);
}

/// As a server has it whose package is compiled anew while it runs: each engine
/// has the code that its package had when it was opened.
TEST_P(EngineTest, Memory) {
  open(2);
  fathom_session_options options = {};
  options.max_sequences = 2;
  options.max_logit_rows = 3;
  fathom_session_memory memory;
  EXPECT_OK(fathom_session_memory_for(engine, &options, &memory));
  EXPECT_EQ(memory.cache_bytes_per_sequence, uint64_t(2 * kContext * 4));
  EXPECT_EQ(memory.cache_bytes, uint64_t(4 * kContext * 4));
  // A device's buffers take multiples of 256 bytes.
  EXPECT_EQ(memory.logits_bytes,
            isHost() ? uint64_t(3 * kVocabulary * 4) : 512);
  EXPECT_EQ(memory.workspace_bytes, isHost() ? 64u + kStepTokens * 4 : 256);
  // Scratch of threads is no memory of a device.
  EXPECT_EQ(memory.scratch_bytes, isHost()     ? uint64_t(2 * kContext * 4)
                                  : isAscend() ? kMockWorkspace * kMockMixBlocks
                                               : 0);
  EXPECT_GE(memory.staging_bytes, uint64_t(4 * kStepTokens * 4));
  EXPECT_EQ(memory.peak_bytes, memory.total_bytes + memory.weight_bytes);
  EXPECT_OK(fathom_session_create(engine, &options, &session));
  EXPECT_EQ(fathom_session_allocated_bytes(session), memory.total_bytes);
  fathom_session_destroy(session);
  session = nullptr;
  options.max_sequences = kSequences + 1;
  EXPECT_CODE(FATHOM_RESOURCES,
              fathom_session_memory_for(engine, &options, &memory),
              "max_sequences 5");
  options.max_sequences = -1;
  EXPECT_CODE(FATHOM_USAGE, fathom_session_create(engine, &options, &session),
              "negative");
  options = {};
  options.max_logit_rows = int64_t(1) << 60;
  EXPECT_CODE(FATHOM_RESOURCES,
              fathom_session_create(engine, &options, &session), "memory");
}

TEST_P(EngineTest, MemoryLimit) {
  open();
  fathom_session_memory memory;
  EXPECT_OK(fathom_session_memory_for(engine, nullptr, &memory));
  fathom_engine_destroy(engine);
  engine = nullptr;
  fathom_engine_options options = {};
  options.driver = GetParam();
  options.threads = 1;
  options.memory_bytes = memory.peak_bytes;
  EXPECT_OK(fathom_engine_create(package.c_str(), &options, &engine));
  // Exactly enough for one session; the second has to wait for its end.
  EXPECT_OK(fathom_session_create(engine, nullptr, &session));
  fathom_session *second = nullptr;
  EXPECT_CODE(FATHOM_RESOURCES, fathom_session_create(engine, nullptr, &second),
              "beside other sessions");
  fathom_session_destroy(session);
  session = nullptr;
  EXPECT_OK(fathom_session_create(engine, nullptr, &second));
  fathom_session_destroy(second);
  fathom_engine_destroy(engine);
  engine = nullptr;
  options.memory_bytes = memory.peak_bytes - 1;
  EXPECT_OK(fathom_engine_create(package.c_str(), &options, &engine));
  const fathom_status refused =
      fathom_session_create(engine, nullptr, &session);
  EXPECT_CODE(FATHOM_RESOURCES, refused, "what fits: 3 sequences");
  // A device has no disk to read its weights from while it computes.
  EXPECT_EQ(std::string(refused.message).find("--memory") != std::string::npos,
            isHost())
      << refused.message;
}

TEST_P(EngineTest, SessionOutlivesItsHandle) {
  open();
  openSession();
  fathom_engine_destroy(engine);
  engine = nullptr;
  std::vector<int32_t> history;
  feedAndCheck(add(), history, someIds(5, 1));
}

/// Sessions, and whoever ends the last of them, keep no thread where it was
/// moved.
TEST_P(EngineTest, TheCallerGoesFreeWithItsHandle) {
  cpu_set_t before, now;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  int cpu = CPU_SETSIZE - 1;
  while (!CPU_ISSET(cpu, &before))
    --cpu;
  const std::string pin = std::to_string(cpu);
  package = writePackage(directory, toy());
  fathom_engine_options options = {};
  options.threads = 1;
  options.driver = GetParam();
  options.pin = pin.c_str();
  EXPECT_OK(fathom_engine_create(package.c_str(), &options, &engine));
  openSession();
  fathom_engine_destroy(std::exchange(engine, nullptr));
  ASSERT_EQ(sched_getaffinity(0, sizeof(now), &now), 0);
  EXPECT_TRUE(CPU_EQUAL(&now, &before));
  std::thread([&] {
    fathom_session_destroy(std::exchange(session, nullptr));
  }).join();
  ASSERT_EQ(sched_getaffinity(0, sizeof(now), &now), 0);
  EXPECT_TRUE(CPU_EQUAL(&now, &before));
}

TEST_P(EngineTest, SyntheticContext) {
  open();
  openSession();
  const int32_t slot = add();
  EXPECT_CODE(FATHOM_RESOURCES,
              fathom_session_fill_synthetic(session, slot, kContext + 1),
              "limit");
  EXPECT_CODE(FATHOM_USAGE, fathom_session_fill_synthetic(session, slot, -5),
              "-5 tokens");
  EXPECT_OK(fathom_session_fill_synthetic(session, slot, 0));
  EXPECT_EQ(fathom_session_length(session, slot), 0);
  EXPECT_OK(fathom_session_fill_synthetic(session, slot, 60));
  EXPECT_EQ(fathom_session_length(session, slot), 60);
  EXPECT_CODE(FATHOM_USAGE, fathom_session_fill_synthetic(session, slot, 5),
              "empty sequence");
}

TEST_P(EngineTest, Measuring) {
  open(2);
  openSession();
  fathom_session_profile(session, 1);
  std::vector<int32_t> history;
  feedAndCheck(add(), history, someIds(8, 1));
  std::vector<fathom_kernel_time> times(
      fathom_session_kernel_times(session, nullptr, 0));
  ASSERT_EQ(times.size(), 4u);
  fathom_session_kernel_times(session, times.data(), times.size());
  EXPECT_STREQ(times[2].kernel, "fake_logits");
  // 8 rows + ceil(8 tokens / 2), times 1 + 2 blocks of 8.
  EXPECT_EQ(times[2].programs, 36u);
  EXPECT_EQ(times[2].max_tokens, kStepTokens);
  double bandwidth = 0;
  EXPECT_OK(fathom_engine_read_bandwidth(engine, 0.01, &bandwidth));
  EXPECT_GT(bandwidth, 0);
}

/// What steps and the host's own choice lead to.
TEST_P(EngineTest, GenerateIsSteppingWithTheLargestLogit) {
  open(2);
  fathom_session_options options = {};
  options.max_context = 60;
  openSession(options);
  const int32_t slots[3] = {add(), add(), add()};
  std::vector<std::vector<int32_t>> prompts = {someIds(5, 1), someIds(9, 2),
                                               someIds(1, 3)};
  constexpr int64_t kSteps = 40; // more than are read together
  std::vector<int32_t> wanted;
  std::vector<float> logitsAfter;
  for (std::vector<int32_t> ids : prompts) {
    for (int64_t k = 0; k <= kSteps; ++k) {
      const std::vector<float> row = expectedLogits(ids);
      ids.push_back(
          int32_t(std::max_element(row.begin(), row.end()) - row.begin()));
      if (k > 0)
        wanted.push_back(ids.back());
    }
    ids.pop_back();
    ids.push_back(7);
    const std::vector<float> row = expectedLogits(ids);
    logitsAfter.insert(logitsAfter.end(), row.begin(), row.end());
  }
  std::vector<int32_t> first;
  for (int i = 0; i < 3; ++i) {
    const fathom_tokens tokens = {slots[i], prompts[i].data(),
                                  int64_t(prompts[i].size()), 1};
    const float *row = nullptr;
    EXPECT_OK(fathom_step(session, &tokens, 1, nullptr, &row));
    first.push_back(int32_t(std::max_element(row, row + kVocabulary) - row));
  }
  std::vector<int32_t> chosen(3 * kSteps);
  EXPECT_OK(
      fathom_generate(session, slots, first.data(), 3, kSteps, chosen.data()));
  EXPECT_EQ(chosen, wanted);
  EXPECT_EQ(fathom_session_length(session, slots[1]), 9 + kSteps);
  // The last one has not been fed: any other may be, and the state is right.
  const int32_t seven = 7;
  std::vector<fathom_tokens> after;
  for (int i = 0; i < 3; ++i)
    after.push_back({slots[i], &seven, 1, 1});
  const float *rows = nullptr;
  EXPECT_OK(fathom_step(session, after.data(), 3, nullptr, &rows));
  EXPECT_EQ(std::vector<float>(rows, rows + 3 * kVocabulary), logitsAfter);

  EXPECT_CODE(
      FATHOM_RESOURCES,
      fathom_generate(session, slots, first.data(), 3, kSteps, chosen.data()),
      "context overrun");
  const int32_t twice[2] = {slots[0], slots[0]};
  EXPECT_CODE(
      FATHOM_USAGE,
      fathom_generate(session, twice, first.data(), 2, 1, chosen.data()),
      "twice");
  const int32_t bad = kVocabulary;
  EXPECT_CODE(FATHOM_USAGE,
              fathom_generate(session, slots, &bad, 1, 1, chosen.data()),
              "token id 24");
  EXPECT_CODE(FATHOM_USAGE,
              fathom_generate(session, slots, &seven, 1, 1, nullptr),
              "no place");
  EXPECT_OK(fathom_generate(session, slots, &seven, 1, 0, nullptr));
  EXPECT_EQ(fathom_session_length(session, slots[0]), 5 + kSteps + 1);
}

TEST_P(EngineTest, GenerateUpToTheContext) {
  open();
  openSession();
  const int32_t slot = add(), id = 3;
  std::vector<int32_t> history, chosen(kContext);
  feedAndCheck(slot, history, someIds(8, 1));
  EXPECT_CODE(
      FATHOM_RESOURCES,
      fathom_generate(session, &slot, &id, 1, kContext - 7, chosen.data()),
      "57 more exceed the limit of 64");
  EXPECT_EQ(fathom_session_length(session, slot), 8);
  EXPECT_OK(
      fathom_generate(session, &slot, &id, 1, kContext - 8, chosen.data()));
  EXPECT_EQ(fathom_session_length(session, slot), kContext);
}

/// As many at once as a step takes, or as there are rows of logits for.
TEST_P(EngineTest, GenerateInGroups) {
  for (int64_t stepTokens : {int64_t(2), kStepTokens}) {
    Manifest m = toy();
    m.limits.maxStepTokens = stepTokens;
    for (Entry &entry : m.entries)
      entry.specialisations.back().maxTokens = stepTokens;
    EXPECT_OK(tryOpen(m));
    fathom_session_options options = {};
    options.max_logit_rows = 2;
    openSession(options);
    constexpr int64_t kSteps = 3;
    std::vector<int32_t> slots, ids, chosen(3 * kSteps), wanted;
    for (int32_t id : {3, 8, 5}) {
      slots.push_back(add());
      ids.push_back(id);
      std::vector<int32_t> history = {id};
      for (int64_t k = 0; k < kSteps; ++k) {
        const std::vector<float> row = expectedLogits(history);
        history.push_back(
            int32_t(std::max_element(row.begin(), row.end()) - row.begin()));
        wanted.push_back(history.back());
      }
    }
    EXPECT_OK(fathom_generate(session, slots.data(), ids.data(), 3, kSteps,
                              chosen.data()));
    EXPECT_EQ(chosen, wanted);
    const std::vector<int32_t> crowd(kSequences + 1, 0);
    EXPECT_CODE(FATHOM_RESOURCES,
                fathom_generate(session, crowd.data(), crowd.data(),
                                crowd.size(), 1, chosen.data()),
                "5 sequences, the session has 4 slots");
    fathom_session_destroy(std::exchange(session, nullptr));
    fathom_engine_destroy(std::exchange(engine, nullptr));
  }
}

/// Steps are as long as the device's grids let them be.
TEST_P(EngineTest, GridsThatTheDeviceDoesNotTake) {
  if (!isDevice())
    GTEST_SKIP() << "takes every grid";
  Manifest m = toy();
  auto setLoop = [&](int64_t blocks) {
    for (Library &library : m.libraries)
      if (isAscend() && library.kernel == "fake_streams")
        library.configuration["blocks"] = blocks;
  };
  setLoop(0);
  if (isAscend())
    mockOfAscend().withoutLoops = {"fake_streams"};
  for (Specialisation &s : m.entries[0].specialisations)
    s.launches[3].grid[1] = {{Count::Tokens, 1, 30000}};
  EXPECT_OK(tryOpen(m)); // two tokens at once
  openSession();
  std::vector<int32_t> history;
  const int32_t slot = add();
  feedAndCheck(slot, history, someIds(8, 1));
  feedAndCheck(slot, history, someIds(3, 2));
  std::vector<int32_t> slots = {slot, add(), add(), add()}, ids(4, 1),
                       chosen(4);
  EXPECT_OK(
      fathom_generate(session, slots.data(), ids.data(), 4, 1, chosen.data()));
  EXPECT_EQ(fathom_session_length(session, slot), 12);
  fathom_session_destroy(std::exchange(session, nullptr));
  fathom_engine_destroy(std::exchange(engine, nullptr));
  for (Specialisation &s : m.entries[0].specialisations)
    s.launches[3].grid[1] = {{Count::One, 1, 70000}};
  EXPECT_CODE(FATHOM_UNSUPPORTED, tryOpen(m), "not even one token");
  EXPECT_CODE(FATHOM_UNSUPPORTED, tryOpen(m), "kernel 'fake_streams' wants");
  setLoop(kMockVectorBlocks); // has no limit but that of programs
  for (Specialisation &s : m.entries[0].specialisations)
    s.launches[3].grid[1] = {{Count::One, 1, int64_t(1) << 31}};
  EXPECT_CODE(FATHOM_UNSUPPORTED, tryOpen(m), "not even one token");
}

/// One engine, and a session after the other in each of two threads.
TEST_P(EngineTest, SessionsInThreads) {
  Manifest m = toy();
  m.caches.push_back({"layers.0.state", "state", "f32", 1, {{"kv", 4}}});
  m.entries[0].outputs.push_back({"layers.0", "F32", Count::Tokens, 8});
  EXPECT_OK(tryOpen(m));
  auto work = [&](int seed) {
    for (int round = 0; round < 20; ++round) {
      fathom_session_options options = {};
      options.max_sequences = 2;
      fathom_session *own = nullptr;
      EXPECT_OK(fathom_session_create(engine, &options, &own));
      for (int k = 0; own && k < 3; ++k) {
        int32_t slot = 0, chosen[2], row = -1;
        EXPECT_OK(fathom_session_add(own, &slot));
        const std::vector<int32_t> ids = someIds(9, seed + round + k);
        const fathom_tokens tokens = {slot, ids.data(), 9, 1};
        const float *logits = nullptr;
        EXPECT_OK(fathom_step(own, &tokens, 1, nullptr, &logits));
        expectRow(logits, expectedLogits(ids));
        EXPECT_NE(fathom_session_layer_streams(own, 0, nullptr, nullptr),
                  nullptr);
        EXPECT_OK(fathom_generate(own, &slot, ids.data(), 1, 2, chosen));
        EXPECT_OK(fathom_session_read_cache(own, "layers.0.window", "rows",
                                            slot, 0, 4, &row));
        EXPECT_EQ(row, ids[0]);
        EXPECT_OK(fathom_session_remove(own, slot));
        EXPECT_OK(fathom_session_add(own, &slot));
        EXPECT_OK(fathom_session_fill_synthetic(own, slot, 5));
        EXPECT_OK(fathom_session_remove(own, slot));
      }
      fathom_session_destroy(own);
    }
  };
  std::thread other(work, 1);
  work(2);
  other.join();
}

/// A call that fails half-way takes its sequences with it, and no others.
TEST_P(EngineTest, BrokenOff) {
  if (!isCuda())
    GTEST_SKIP() << "the mock of CUDA fails when it is told to";
  open();
  openSession();
  std::vector<int32_t> history, other;
  const int32_t broken = add(), whole = add();
  feedAndCheck(broken, history, someIds(4, 1));
  feedAndCheck(whole, other, someIds(4, 2));
  const std::vector<int32_t> ids = someIds(20, 3);
  const fathom_tokens tokens = {broken, ids.data(), 20, 1};
  auto step = [&] {
    return fathom_step(session, &tokens, 1, nullptr, nullptr);
  };
  mockOfCuda().failAt = 20; // in the second piece
  EXPECT_CODE(FATHOM_FAILED, step(), "failed");
  EXPECT_EQ(mockOfCuda().failAt, 0);
  // Nothing is under way that reads inputs or writes results.
  EXPECT_EQ(mockOfCuda().calls.back(), "cuStreamSynchronize");
  EXPECT_CODE(FATHOM_USAGE, step(), "broke off");
  int32_t chosen = 0;
  EXPECT_CODE(FATHOM_USAGE,
              fathom_generate(session, &broken, ids.data(), 1, 1, &chosen),
              "slot 0 holds a sequence that a call broke off");
  feedAndCheck(whole, other, someIds(8, 4));
  EXPECT_OK(fathom_session_remove(session, broken));
  EXPECT_EQ(add(), broken);
  history.clear();
  feedAndCheck(broken, history, someIds(8, 5));
  // The same of the other calls that change sequences.
  mockOfCuda().failAt = 5;
  EXPECT_CODE(FATHOM_FAILED,
              fathom_generate(session, &broken, ids.data(), 1, 1, &chosen),
              "failed");
  EXPECT_CODE(FATHOM_USAGE, step(), "broke off");
  EXPECT_OK(fathom_session_remove(session, broken));
  EXPECT_EQ(add(), broken);
  mockOfCuda().failAt = 4;
  EXPECT_CODE(FATHOM_FAILED, fathom_session_fill_synthetic(session, broken, 9),
              "failed");
  EXPECT_CODE(FATHOM_USAGE, fathom_session_fill_synthetic(session, broken, 9),
              "empty sequence");
  EXPECT_CODE(FATHOM_USAGE, step(), "broke off");
}

TEST_P(EngineTest, GenerateProfiled) {
  open();
  openSession();
  const int32_t slot = add(), id = 3;
  int32_t chosen[2];
  fathom_session_profile(session, 1);
  EXPECT_OK(fathom_generate(session, &slot, &id, 1, 2, chosen));
  std::vector<fathom_kernel_time> times(
      fathom_session_kernel_times(session, nullptr, 0));
  fathom_session_kernel_times(session, times.data(), times.size());
  ASSERT_EQ(times.size(), 5u);
  EXPECT_STREQ(times[4].kernel, "fake_greedy");
  EXPECT_STREQ(times[4].entry, "greedy");
  EXPECT_EQ(times[4].launches, 2u);
}

/// Fewer rows of logits than are wanted go to the caller's memory in pieces.
TEST_P(EngineTest, LogitsOfMoreRowsThanTheSessionHas) {
  open();
  fathom_session_options options = {};
  options.max_logit_rows = 3;
  openSession(options);
  const int32_t a = add(), b = add();
  const std::vector<int32_t> first = someIds(11, 1), second = someIds(6, 2);
  const fathom_tokens batch[2] = {{a, first.data(), 11, 10},
                                  {b, second.data(), 6, 5}};
  std::vector<float> logits(15 * kVocabulary);
  EXPECT_OK(fathom_step(session, batch, 2, logits.data(), nullptr));
  const float *row = logits.data();
  for (size_t n = 2; n <= 11; ++n, row += kVocabulary)
    expectRow(row, expectedLogits({first.begin(), first.begin() + n}));
  for (size_t n = 2; n <= 6; ++n, row += kVocabulary)
    expectRow(row, expectedLogits({second.begin(), second.begin() + n}));
}

TEST_P(EngineTest, CachesReadBack) {
  open();
  openSession();
  const int32_t slot = add();
  std::vector<int32_t> history;
  const std::vector<int32_t> ids = someIds(6, 5);
  feedAndCheck(slot, history, ids);
  std::vector<int32_t> rows(4);
  EXPECT_OK(fathom_session_read_cache(session, "layers.0.window", "rows", slot,
                                      8, 16, rows.data()));
  EXPECT_EQ(rows, std::vector<int32_t>(ids.begin() + 2, ids.end()));
}

TEST_P(EngineTest, StreamsAfterALayer) {
  Manifest m = toy();
  m.entries[0].outputs.push_back({"layers.0", "F32", Count::Tokens, 8});
  EXPECT_OK(tryOpen(m));
  openSession();
  std::vector<int32_t> history;
  feedAndCheck(add(), history, {3, 1});
  uint64_t rowBytes = 0;
  int32_t isF32 = 0;
  auto last = [&] {
    return static_cast<const float *>(
        fathom_session_layer_streams(session, 1, &rowBytes, &isF32));
  };
#ifndef FATHOM_SANITIZED
  if (!isHost()) {
    noMemory = true;
    const float *none = last();
    noMemory = false;
    EXPECT_EQ(none, nullptr);
  }
#endif
  const float *rows = last();
  ASSERT_NE(rows, nullptr);
  EXPECT_EQ(rowBytes, 8u);
  EXPECT_EQ(isF32, 1);
  EXPECT_EQ(rows[0], expectedLogits({3})[0]);
  EXPECT_EQ(rows[3], 1);
  EXPECT_EQ(fathom_session_layer_streams(session, 2, nullptr, nullptr),
            nullptr);
}

TEST_P(EngineTest, UnknownDriver) {
  package = writePackage(directory, toy());
  fathom_engine_options options = {};
  options.driver = "abacus";
  EXPECT_CODE(FATHOM_USAGE,
              fathom_engine_create(package.c_str(), &options, &engine),
              "the drivers are host");
}

INSTANTIATE_TEST_SUITE_P(Drivers, EngineTest,
                         testing::Values("host", "cuda", "ascend", "emulated"),
                         [](const auto &info) {
                           return std::string(info.param);
                         });

} // namespace
