// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The thread pool: every program exactly once, whatever the counts; launches
// in quick succession and after pauses long enough for workers to sleep.
#include "runtime/drivers/host/Cpu.h"
#include "runtime/drivers/host/HostDriver.h"
#include "runtime/drivers/host/ThreadPool.h"

#include <cfenv>
#include <chrono>
#include <gtest/gtest.h>

using namespace fathom::rt;

namespace {

struct Counts {
  std::vector<std::atomic<int>> times;
  std::atomic<int> badThread{0};
  int threads;
  Counts(size_t count, int threads) : times(count), threads(threads) {}
};

void countRange(void *context, int64_t begin, int64_t end, int thread) {
  Counts &counts = *static_cast<Counts *>(context);
  if (thread < 0 || thread >= counts.threads)
    ++counts.badThread;
  for (int64_t i = begin; i < end; ++i)
    ++counts.times[size_t(i)];
}

void expectOnce(ThreadPool &pool, int64_t count) {
  Counts counts(size_t(count), pool.threads());
  pool.run(countRange, &counts, count);
  EXPECT_EQ(counts.badThread, 0);
  for (const auto &times : counts.times)
    ASSERT_EQ(times, 1) << "of " << count;
}

TEST(ThreadPool, EveryProgramOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool;
    ASSERT_FALSE(pool.start(threads).failed());
    for (int64_t count : {0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 1000, 4097})
      expectOnce(pool, count);
  }
}

TEST(ThreadPool, ManyShortLaunches) {
  ThreadPool pool;
  ASSERT_FALSE(pool.start(4).failed());
  std::atomic<int64_t> sum{0};
  int64_t expected = 0;
  for (int64_t i = 0; i < 3000; ++i) {
    const int64_t count = 1 + i % 37;
    pool.run(
        [](void *context, int64_t begin, int64_t end, int) {
          for (int64_t p = begin; p < end; ++p)
            static_cast<std::atomic<int64_t> *>(context)->fetch_add(p);
        },
        &sum, count);
    expected += count * (count - 1) / 2;
    ASSERT_EQ(sum, expected) << "after launch " << i;
  }
}

TEST(ThreadPool, WakesFromSleep) {
  ThreadPool pool;
  ASSERT_FALSE(pool.start(3).failed());
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    expectOnce(pool, 100);
  }
}

TEST(ThreadPool, SlowestThreadIsAwaited) {
  ThreadPool pool;
  ASSERT_FALSE(pool.start(2).failed());
  std::atomic<int> done{0};
  pool.run(
      [](void *context, int64_t begin, int64_t end, int thread) {
        if (thread != 0)
          std::this_thread::sleep_for(std::chrono::milliseconds(3));
        static_cast<std::atomic<int> *>(context)->fetch_add(int(end - begin));
      },
      &done, 64);
  EXPECT_EQ(done, 64);
}

/// Programs of a merged launch may differ much, and the long ones come first:
/// they must not all be one thread's.
TEST(ThreadPool, LongProgramsAreShared) {
  constexpr int64_t kLong = 64, kAll = 64 + 1024, kAhead = 8;
  // Who is ahead waits for the other, so that it is not the machine's load that
  // shares. In vain only where nothing is left for the other to take.
  struct Job {
    std::atomic<int64_t> of[2] = {};
    std::atomic<bool> inVain{false};
    static void run(void *context, int64_t begin, int64_t end, int thread) {
      Job &job = *static_cast<Job *>(context);
      using Clock = std::chrono::steady_clock;
      for (int64_t i = begin; i < end && i < kLong; ++i) {
        const auto limit = Clock::now() + std::chrono::seconds(30);
        while (job.of[thread] - job.of[1 - thread] >= kAhead && !job.inVain) {
          std::this_thread::sleep_for(std::chrono::microseconds(100));
          if (Clock::now() > limit)
            job.inVain = true;
        }
        ++job.of[thread];
      }
    }
  } job;
  ThreadPool pool;
  ASSERT_FALSE(pool.start(2).failed());
  pool.run(Job::run, &job, kAll);
  EXPECT_EQ(job.of[0] + job.of[1], kLong);
  EXPECT_GE(std::min<int64_t>(job.of[0], job.of[1]), kLong / 3);
}

/// Whatever a program has set for itself, when it starts threads and later, and
/// keeps.
TEST(ThreadPool, ComputesAsUsual) {
#if !defined(__x86_64__)
  GTEST_SKIP() << "only there it is taken care of";
#endif
  struct Job {
    std::atomic<int> unusual{0};
    volatile float one = 1, three = 3, least = 1e-38f;
    volatile float third = 0;
    static void run(void *context, int64_t begin, int64_t end, int) {
      Job &job = *static_cast<Job *>(context);
      for (int64_t i = begin; i < end; ++i)
        if (job.one / job.three != job.third || job.least / job.three == 0)
          ++job.unusual;
    }
  } job;
  job.third = job.one / job.three;
  for (int threads : {1, 3}) {
    ThreadPool pool;
    ASSERT_EQ(std::fesetround(FE_UPWARD), 0);
    const bool started = !pool.start(threads).failed();
    for (int64_t count : {1, 1000})
      pool.run(Job::run, &job, count);
    EXPECT_EQ(std::fegetround(), FE_UPWARD);
    ASSERT_EQ(std::fesetround(FE_TONEAREST), 0);
    ASSERT_TRUE(started);
#if defined(__x86_64__)
    constexpr unsigned kFlushed = 0x8040; // FTZ and DAZ
    const unsigned before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(before | kFlushed);
    pool.run(Job::run, &job, 1000);
    EXPECT_EQ(__builtin_ia32_stmxcsr() & kFlushed, kFlushed);
    __builtin_ia32_ldmxcsr(before);
#endif
  }
  EXPECT_EQ(job.unusual, 0);
}

TEST(Cpu, Levels) {
  EXPECT_EQ(isaRank("x86-64-v3"), 3);
  EXPECT_EQ(isaRank("x86-64-v4"), 4);
  EXPECT_LT(isaRank("x86-64-v4"), isaRank("x86-64-v4-bf16"));
  EXPECT_LT(isaRank("x86-64-v4-bf16"), isaRank("x86-64-v4-amx"));
  EXPECT_EQ(isaRank(isaName(cpuRank())), cpuRank());
  for (int most : {3, 4, 5, 6})
    EXPECT_EQ(cpuRank(most), std::min(most, cpuRank()));
  EXPECT_EQ(isaRank("x86-64-v2"), 0);
  EXPECT_EQ(isaRank(""), 0);
  EXPECT_EQ(cpuRank() == 0, !missingForV3().empty());
}

TEST(Cpu, TheBestOfThoseThatRunIsPreferred) {
  int last = 0;
  for (int rank : {3, 4, 5, 6}) {
    const int preference = hostRank(isaName(rank));
    EXPECT_EQ(preference > 0, rank <= cpuRank()) << rank;
    if (preference == 0)
      continue;
    // Where products of bf16 are slow, f32's level goes before theirs.
    if (rank == 5 && !multipliesBF16Fast()) {
      EXPECT_LT(preference, last);
      continue;
    }
    EXPECT_GT(preference, last);
    last = preference;
  }
}

} // namespace
