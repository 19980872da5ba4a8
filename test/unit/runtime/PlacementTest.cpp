// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where threads run and memory lies: what options say, and that threads are
// there.
#include "runtime/drivers/host/ThreadPool.h"

#include <atomic>
#include <gtest/gtest.h>
#include <memory>
#include <sched.h>
#include <set>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

using namespace fathom::rt;

namespace {

int firstAllowedCpu() {
  const std::vector<int> cpus = allowedCpus();
  EXPECT_FALSE(cpus.empty());
  return cpus.empty() ? -1 : cpus[0];
}

TEST(Placement, ReadsOptions) {
  Placement p;
  ASSERT_FALSE(parsePlacement(nullptr, nullptr, false, p).failed());
  EXPECT_TRUE(p.pin && p.cpus.empty() && !p.interleave && !p.hugePages);
  ASSERT_FALSE(parsePlacement("none", "interleave", true, p).failed());
  EXPECT_TRUE(!p.pin && p.cpus.empty() && p.interleave && p.hugePages);
  const int cpu = firstAllowedCpu();
  const std::string one = std::to_string(cpu);
  ASSERT_FALSE(
      parsePlacement((one + "," + one + "-" + one).c_str(), "local", false, p)
          .failed());
  EXPECT_EQ(p.cpus, (std::vector<int>{cpu, cpu}));
}

TEST(Placement, RefusesWhatMakesNoSense) {
  Placement p;
  for (const char *pin : {"", ",", "1-", "-1", "3-2", "0,", "0 1", "all",
                          "99999999999999999999", "0-99999", "0;1"}) {
    const Status s = parsePlacement(pin, nullptr, false, p);
    EXPECT_TRUE(s.failed()) << pin;
    EXPECT_EQ(s.code(), FATHOM_USAGE) << pin;
  }
  for (const char *pin : {"9999", "0-99999999", "99999999999999999999"}) {
    const std::string message =
        parsePlacement(pin, nullptr, false, p).message();
    EXPECT_NE(message.find("numbered 0 to 1023"), std::string::npos) << message;
  }
  EXPECT_EQ(parsePlacement(nullptr, "near", false, p).code(), FATHOM_USAGE);
}

/// What a thread of the system may use now, wherever it has been moved.
std::vector<int> cpusNow() {
  std::vector<int> cpus;
  cpu_set_t set;
  EXPECT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set))
      cpus.push_back(cpu);
  return cpus;
}

/// What every thread of a pool says, the caller first: it is asked by as many
/// programs as there are threads, which wait for each other.
template <typename T> std::vector<T> askAll(ThreadPool &pool, T (*question)()) {
  struct Job {
    T (*question)();
    std::atomic<int> there{0};
    int threads;
    std::vector<T> answers;
  } job{question, {0}, pool.threads(), std::vector<T>(size_t(pool.threads()))};
  pool.run(
      [](void *context, int64_t, int64_t, int thread) {
        Job &job = *static_cast<Job *>(context);
        job.answers[size_t(thread)] = job.question();
        ++job.there;
        while (job.there < job.threads)
          std::this_thread::yield();
      },
      &job, pool.threads());
  return job.answers;
}

/// The caller, too, but only as long as the pool is there: an engine that comes
/// after it, or beside it, may use what the first one was allowed.
TEST(Placement, ThreadsRunWhereTold) {
  const std::vector<int> before = cpusNow();
  Placement p;
  p.cpus = {before.back()};
  {
    ThreadPool pool;
    ASSERT_FALSE(pool.start(3, p).failed());
    for (const std::vector<int> &cpus : askAll(pool, cpusNow))
      EXPECT_EQ(cpus, p.cpus);
    EXPECT_EQ(allowedCpus(), before);
    Placement second, none;
    EXPECT_FALSE(parsePlacement(std::to_string(before[0]).c_str(), nullptr,
                                false, second)
                     .failed());
    none.pin = false;
    ThreadPool beside;
    ASSERT_FALSE(beside.start(2, none).failed());
    const std::vector<std::vector<int>> cpus = askAll(beside, cpusNow);
    EXPECT_EQ(cpus[0], p.cpus); // the same thread as above
    EXPECT_EQ(cpus[1], before);
  }
  EXPECT_EQ(cpusNow(), before);
  // The first one goes first.
  auto first = std::make_unique<ThreadPool>(),
       last = std::make_unique<ThreadPool>();
  ASSERT_FALSE(first->start(1, p).failed());
  ASSERT_FALSE(last->start(1, p).failed());
  first.reset();
  EXPECT_EQ(cpusNow(), p.cpus);
  last.reset();
  EXPECT_EQ(cpusNow(), before);
}

/// An engine may end in another thread, whose id may even be that of the thread
/// that began it. What is known of either stays right.
TEST(Placement, CallersThatHaveEnded) {
  const std::vector<int> before = cpusNow();
  Placement p;
  p.cpus = {before.back()};
  auto pool = std::make_unique<ThreadPool>();
  std::thread([&] { ASSERT_FALSE(pool->start(2, p).failed()); }).join();
  std::thread([&] {
    pool.reset();
    EXPECT_EQ(allowedCpus(), before);
    {
      ThreadPool own;
      ASSERT_FALSE(own.start(1, p).failed());
      EXPECT_EQ(cpusNow(), p.cpus);
    }
    EXPECT_EQ(cpusNow(), before);
  }).join();
}

/// The one that is next in the first thread puts it back.
TEST(Placement, AnotherThreadDestroysThePool) {
  const std::vector<int> before = cpusNow();
  Placement p;
  p.cpus = {before.back()};
  auto first = std::make_unique<ThreadPool>();
  ASSERT_FALSE(first->start(1, p).failed());
  std::thread([&] { first.reset(); }).join();
  EXPECT_EQ(cpusNow(), p.cpus);
  EXPECT_EQ(allowedCpus(), before);
  {
    ThreadPool second;
    ASSERT_FALSE(second.start(1, p).failed());
  }
  EXPECT_EQ(cpusNow(), before);
}

/// Callers on different CPUs have different workers, and cores of their own as
/// far as there are any.
TEST(Placement, WorkersOfACaller) {
  auto core = [](int cpu) { return cpu / 2; }; // neighbours share one
  auto own = [](int cpu) { return cpu; };
  const std::vector<int> all = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(workerCpus(all, 0, own), (std::vector<int>{1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(workerCpus(all, 4, own), (std::vector<int>{5, 6, 7, 0, 1, 2, 3}));
  EXPECT_EQ(workerCpus(all, 0, core), (std::vector<int>{2, 4, 6, 1, 3, 5, 7}));
  EXPECT_EQ(workerCpus(all, 5, core), (std::vector<int>{6, 0, 2, 7, 1, 3, 4}));
  EXPECT_EQ(workerCpus({3}, 3, own), std::vector<int>());
  EXPECT_EQ(workerCpus({1, 6}, 9, own), (std::vector<int>{1, 6}));
  for (int cpu : allowedCpus())
    EXPECT_LE(coreOf(cpu), cpu);
}

/// Each worker has a CPU of its own unless there are too few.
TEST(Placement, WorkersAreApart) {
  const std::vector<int> allowed = allowedCpus();
  const int threads = static_cast<int>(std::min<size_t>(allowed.size(), 16));
  ThreadPool pool;
  ASSERT_FALSE(pool.start(threads).failed());
  std::set<int> taken;
  const std::vector<std::vector<int>> cpus = askAll(pool, cpusNow);
  EXPECT_EQ(cpus[0], allowed); // the caller stays free
  for (size_t i = 1; i < cpus.size(); ++i) {
    ASSERT_EQ(cpus[i].size(), 1u);
    EXPECT_TRUE(taken.insert(cpus[i][0]).second);
  }
  ThreadPool more;
  ASSERT_FALSE(more.start(static_cast<int>(allowed.size()) + 1).failed());
  for (const std::vector<int> &own : askAll(more, cpusNow))
    EXPECT_EQ(own, allowed);
}

int policyNow() {
  int mode = -1;
  (void)syscall(SYS_get_mempolicy, &mode, nullptr, 0ul, nullptr, 0ul);
  return mode;
}

TEST(Placement, InterleavesWhereTheSystemCan) {
  constexpr int kInterleave = 3; // as linux/mempolicy.h says
  const int before = policyNow();
  Placement p;
  p.interleave = true;
  {
    ThreadPool pool;
    const Status s = pool.start(2, p);
    if (s.failed()) {
      EXPECT_EQ(s.code(), FATHOM_RESOURCES);
      GTEST_SKIP() << s.message();
    }
    EXPECT_EQ(askAll(pool, policyNow), std::vector<int>(2, kInterleave));
  }
  EXPECT_EQ(policyNow(), before);
}

} // namespace
