// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A pool that runs grids of programs. The calling thread works too. Nothing
// allocates per launch; idle workers spin briefly, yield, then sleep, because
// on shared cores spinning pools bring each other to a standstill.
#pragma once

#include "runtime/drivers/host/Placement.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace fathom::rt {

class ThreadPool {
public:
  /// Runs programs [begin, end) of a job, as thread number `thread`.
  using Body = void (*)(void *context, int64_t begin, int64_t end, int thread);

  ThreadPool() = default;
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  /// Starts `threads - 1` workers; `threads` is at least 1. Unless placed
  /// otherwise each worker gets a CPU of its own when there are enough (two
  /// threads woken onto one core cost more than a launch). Where the caller is
  /// moved too, it is put back when it destroys the pool.
  Status start(int threads, const Placement &placement = {});

  /// Puts the caller back now, if it is the thread that was moved.
  void leave() { caller.leave(); }

  int threads() const { return threadCount; }

  /// Runs `count` programs in ranges and returns when all are done. One caller
  /// at a time. A thread goes through neighbouring programs, so that what one
  /// touches ahead is there for the next; when its part is done it helps the
  /// others, from their ends. Which thread runs what is not defined.
  void run(Body body, void *context, int64_t count);

private:
  void work(int thread);
  /// Runs ranges of job `number` until none is left to take.
  void takeAll(uint32_t number, int thread);
  bool takeRanges(uint32_t number, int thread, int owner);

  int threadCount = 1;
  CallerPlacement caller;
  std::vector<std::thread> workers;
  std::atomic<bool> stopping{false};

  // One job. A part holds its number (high half) and which ranges of a thread
  // are still to be taken (first and end, 16 bits each); the other fields are
  // written only while no range is left, and a range is taken by
  // compare-and-swap on the whole part, so whoever gets one has read the fields
  // of that very job.
  struct alignas(64) Part {
    std::atomic<uint64_t> ranges{0};
  };
  std::unique_ptr<Part[]> parts;
  alignas(64) std::atomic<Body> jobBody{nullptr};
  std::atomic<void *> jobContext{nullptr};
  std::atomic<int64_t> jobCount{0};
  std::atomic<uint32_t> jobRanges{0};

  alignas(64) std::atomic<uint32_t> finished{0}; // ranges; futex word
  std::atomic<uint32_t> callerSleeps{0};
  alignas(64) std::atomic<uint32_t> jobNumber{0}; // futex word
  std::atomic<uint32_t> sleepers{0};
};

} // namespace fathom::rt
