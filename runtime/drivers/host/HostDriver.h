// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The driver for the CPU: kernels are functions of a shared library, launches
// run on a thread pool before they return, streams are nothing.
#pragma once

#include "runtime/drivers/Drivers.h"
#include "runtime/drivers/host/ThreadPool.h"
#include "runtime/format/Manifest.h"

#include <vector>

namespace fathom::rt {

/// A grid of programs as one range of integers.
struct GridJob {
  format::CpuKernel kernel;
  const uint64_t *args;
  int64_t x, y;
  void *const *scratch; // by thread

  /// Programs [begin, end), as a ThreadPool::Body.
  static void run(void *job, int64_t begin, int64_t end, int thread);
};

/// DriverTable::rank and DriverTable::runs of whatever computes on this CPU.
int hostRank(const std::string &isa);
std::string hostRuns();

class HostDriver {
public:
  static Status open(const DriverOptions &options, Driver &out);

  HostDriver() = default;
  ~HostDriver();
  HostDriver(const HostDriver &) = delete;
  HostDriver &operator=(const HostDriver &) = delete;

  Status start(const DriverOptions &options);
  ThreadPool &pool() { return threadPool; }
  void *const *scratchByThread() const { return scratch.data(); }

  Status allocate(uint64_t bytes, void **memory) const;
  static void release(void *memory, uint64_t bytes);
  Status load(const char *path, const std::string &bytes, void **image);
  static Status find(void *image, const char *name, void **kernel);
  Status reserve(uint64_t bytesPerThread);

private:
  static const DriverTable table;

  ThreadPool threadPool;
  bool hugePages = false;
  std::vector<std::pair<void *, int>> images; // from dlopen, and their files
  std::vector<void *> scratch;                // one a thread
  uint64_t scratchSize = 0;
};

} // namespace fathom::rt
