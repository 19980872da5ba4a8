// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/host/ThreadPool.h"

#include <algorithm>
#include <climits>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <system_error>
#include <time.h>
#include <unistd.h>

namespace fathom::rt {

namespace {

/// How long an idle thread spins: a launch that follows within this time costs
/// no system call, and most follow within microseconds. Then it lets others
/// have its processor for so long, which takes a program of several tokens or a
/// launch of a single program. To sleep and be woken costs more, on a virtual
/// machine tens of microseconds.
constexpr int64_t kSpinNanoseconds = 20000, kYieldNanoseconds = 200000;

/// Several ranges a thread even out programs of unequal length. A thread takes
/// an eighth of what is left of its part at once, and a quarter of another's:
/// more while there is much, so that neighbours stay together, little at the
/// end, which all threads are to reach at the same time. Never more than a few:
/// where programs differ much, the long ones may all lie in one part.
constexpr int64_t kRangesPerThread = 128;
constexpr uint32_t kOwnShare = 8, kOthersShare = 4, kMostOwn = 2,
                   kMostOthers = 4;
constexpr int64_t kMostRanges = 0xffff; // as ThreadPool::Part can name

/// See ThreadPool::Part.
uint64_t part(uint32_t number, int64_t first, int64_t end) {
  return uint64_t(number) << 32 | uint64_t(first) << 16 | uint64_t(end);
}

int64_t now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t(t.tv_sec) * 1000000000 + t.tv_nsec;
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// While it lives, its thread computes as threads do when they begin: to the
/// nearest, with denormals, without traps. Kernels would compute other bits
/// under what a program has set for itself, and workers under what was set when
/// they were started.
class UsualFloats {
#if defined(__x86_64__)
public:
  UsualFloats() : before(_mm_getcsr()) { _mm_setcsr(kUsual); }
  ~UsualFloats() { _mm_setcsr(before); }
  UsualFloats(const UsualFloats &) = delete;
  UsualFloats &operator=(const UsualFloats &) = delete;

private:
  static constexpr unsigned kUsual = 0x1f80;
  unsigned before;
#else
public:
  UsualFloats() {} // what a program sets is left as it is
#endif
};

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t),
              "a futex word is a plain 32-bit integer");

void futexWait(std::atomic<uint32_t> &word, uint32_t expected) {
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAIT_PRIVATE,
          expected, nullptr, nullptr, 0);
}

void futexWake(std::atomic<uint32_t> &word, int count) {
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAKE_PRIVATE,
          count, nullptr, nullptr, 0);
}

/// Spins, then yields until `ready()` or the time is up.
template <typename Ready> bool spin(Ready ready) {
  if (ready())
    return true;
  const int64_t start = now();
  int64_t waited = 0;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready())
        return true;
      relax();
    }
    if (waited > kSpinNanoseconds)
      sched_yield();
    waited = now() - start;
  } while (waited < kSpinNanoseconds + kYieldNanoseconds);
  return ready();
}

} // namespace

Status ThreadPool::start(int threads, const Placement &placement) {
  threadCount = threads;
  parts = std::make_unique<Part[]>(size_t(threads));
  const std::vector<int> allowed = allowedCpus();
  std::vector<int> cpus = placement.cpus;
  if (!cpus.empty()) {
    if (Status s = caller.move(cpus[0]); s.failed())
      return s;
  } else if (placement.pin && threads <= static_cast<int>(allowed.size())) {
    cpus = workerCpus(allowed, sched_getcpu(), coreOf);
    // Numbered like the threads; the caller's entry is not used.
    cpus.insert(cpus.begin(), -1);
  }
  if (placement.interleave)
    if (Status s = caller.interleave(); s.failed())
      return s;
  workers.reserve(threads - 1);
  for (int i = 1; i < threads; ++i) {
    // Not the caller's one, if it has been moved.
    const std::vector<int> where =
        cpus.empty() ? allowed
                     : std::vector<int>{cpus[size_t(i) % cpus.size()]};
    const bool spread = placement.interleave;
    try {
      workers.emplace_back([this, i, where, spread] {
        // Checked for the caller; for a worker a wish: where it is refused the
        // kernel chooses.
        if (!where.empty())
          (void)moveThread(where);
        if (spread)
          (void)interleaveThread();
        work(i);
      });
    } catch (const std::system_error &error) {
      return Status(FATHOM_RESOURCES,
                    "cannot start thread " + std::to_string(i + 1) + " of " +
                        std::to_string(threads) + ": " + error.what() +
                        "; ask for fewer threads");
    }
  }
  return Status();
}

ThreadPool::~ThreadPool() {
  stopping.store(true);
  jobNumber.fetch_add(1);
  futexWake(jobNumber, INT_MAX);
  for (std::thread &worker : workers)
    worker.join();
}

void ThreadPool::run(Body body, void *context, int64_t count) {
  if (count <= 0)
    return;
  const UsualFloats floats;
  if (threadCount == 1 || count == 1) {
    body(context, 0, count, 0);
    return;
  }
  const int64_t ranges =
      std::min({int64_t(threadCount) * kRangesPerThread, kMostRanges, count});
  jobBody.store(body, std::memory_order_relaxed);
  jobContext.store(context, std::memory_order_relaxed);
  jobCount.store(count, std::memory_order_relaxed);
  jobRanges.store(static_cast<uint32_t>(ranges), std::memory_order_relaxed);
  finished.store(0, std::memory_order_relaxed);
  const uint32_t number = jobNumber.load(std::memory_order_relaxed) + 1;
  for (int i = 0; i < threadCount; ++i)
    parts[size_t(i)].ranges.store(
        part(number, ranges * i / threadCount, ranges * (i + 1) / threadCount),
        std::memory_order_release);
  // A worker counts itself as a sleeper before it looks at jobNumber for the
  // last time; both in one total order, so none is missed.
  jobNumber.store(number);
  if (uint32_t asleep = sleepers.load())
    futexWake(jobNumber,
              static_cast<int>(ranges - 1 < asleep ? ranges - 1 : asleep));
  takeAll(number, 0);
  auto done = [&] {
    return finished.load(std::memory_order_acquire) == ranges;
  };
  if (spin(done))
    return;
  callerSleeps.store(1);
  for (;;) {
    uint32_t seen = finished.load();
    if (seen == ranges)
      break;
    futexWait(finished, seen);
  }
  callerSleeps.store(0);
}

void ThreadPool::takeAll(uint32_t number, int thread) {
  for (int i = 0; i < threadCount; ++i)
    while (takeRanges(number, thread, (thread + i) % threadCount)) {
    }
}

bool ThreadPool::takeRanges(uint32_t number, int thread, int owner) {
  std::atomic<uint64_t> &left = parts[size_t(owner)].ranges;
  uint64_t current = left.load(std::memory_order_acquire);
  for (;;) {
    const uint32_t first = (current >> 16) & 0xffff, end = current & 0xffff;
    if (uint32_t(current >> 32) != number || first == end)
      return false;
    const Body body = jobBody.load(std::memory_order_relaxed);
    void *context = jobContext.load(std::memory_order_relaxed);
    const int64_t count = jobCount.load(std::memory_order_relaxed);
    const int64_t ranges = jobRanges.load(std::memory_order_relaxed);
    const bool own = thread == owner;
    const uint32_t taken =
        std::clamp((end - first) / (own ? kOwnShare : kOthersShare), 1u,
                   own ? kMostOwn : kMostOthers);
    if (!left.compare_exchange_weak(current,
                                    own ? part(number, first + taken, end)
                                        : part(number, first, end - taken),
                                    std::memory_order_acq_rel,
                                    std::memory_order_acquire))
      continue;
    const int64_t index = own ? first : end - taken;
    // Ranges differ by at most one program.
    const int64_t share = count / ranges, rest = count % ranges;
    auto beginOf = [&](int64_t range) {
      return range * share + (range < rest ? range : rest);
    };
    body(context, beginOf(index), beginOf(index + taken), thread);
    const uint32_t before = finished.fetch_add(taken);
    // Waking per range would cost a system call each: only the last one does.
    if (thread != 0 && before + taken == ranges && callerSleeps.load())
      futexWake(finished, 1);
    return true;
  }
}

void ThreadPool::work(int thread) {
  const UsualFloats floats;
  uint32_t seen = 0;
  for (;;) {
    auto ready = [&] {
      return jobNumber.load(std::memory_order_acquire) != seen;
    };
    if (!spin(ready)) {
      sleepers.fetch_add(1);
      while (jobNumber.load() == seen)
        futexWait(jobNumber, seen);
      sleepers.fetch_sub(1);
    }
    if (stopping.load(std::memory_order_acquire))
      return;
    seen = jobNumber.load(std::memory_order_acquire);
    takeAll(seen, thread);
  }
}

} // namespace fathom::rt
