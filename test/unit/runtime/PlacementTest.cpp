// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where threads run and memory lies: what options say, and that threads are
// there.
#include "runtime/drivers/host/ThreadPool.h"

#include <gtest/gtest.h>
#include <mutex>
#include <sched.h>
#include <set>

using namespace fathom::rt;

namespace {

int firstAllowedCpu() {
  cpu_set_t allowed;
  EXPECT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &allowed))
      return cpu;
  return -1;
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
  EXPECT_EQ(parsePlacement(nullptr, "near", false, p).code(), FATHOM_USAGE);
}

TEST(Placement, ThreadsRunWhereTold) {
  Placement p;
  p.cpus = {firstAllowedCpu()};
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  {
    ThreadPool pool;
    ASSERT_FALSE(pool.start(3, p).failed());
    struct Seen {
      std::mutex lock;
      std::set<int> cpus;
    } seen;
    pool.run(
        [](void *context, int64_t, int64_t, int) {
          Seen &seen = *static_cast<Seen *>(context);
          std::lock_guard<std::mutex> hold(seen.lock);
          seen.cpus.insert(sched_getcpu());
        },
        &seen, 64);
    EXPECT_EQ(seen.cpus, std::set<int>{p.cpus[0]});
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(Placement, InterleavesWhereTheSystemCan) {
  Placement p;
  p.interleave = true;
  std::thread apart([&] { // the policy stays with a thread
    ThreadPool pool;
    const Status s = pool.start(2, p);
    EXPECT_TRUE(!s.failed() || s.code() == FATHOM_RESOURCES) << s.message();
  });
  apart.join();
}

} // namespace
