// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The driver for the CPU: kernels are functions of a shared library, launches
// run on a thread pool before they return.
#pragma once

#include "runtime/drivers/host/ThreadPool.h"
#include "runtime/src/Driver.h"

#include <memory>
#include <vector>

namespace fathom::rt {

class HostDriver {
public:
  HostDriver() = default;
  ~HostDriver();
  HostDriver(const HostDriver &) = delete;
  HostDriver &operator=(const HostDriver &) = delete;

  Status start(int threads, const Placement &placement);
  /// The table on this object, which must outlive it.
  Driver driver();
  ThreadPool &pool() { return threadPool; }
  uint64_t scratchBytes() const { return scratchSize * scratch.size(); }

private:
  static const DriverTable table;
  static Status allocate(void *self, uint64_t bytes, void **memory);
  Status load(const char *path);
  Status reserve(uint64_t bytes);
  Status launch(void *kernel, const uint64_t *args, const int64_t grid[3]);

  ThreadPool threadPool;
  bool hugePages = false;
  std::vector<void *> images;  // from dlopen
  std::vector<void *> scratch; // one a thread
  uint64_t scratchSize = 0;
};

} // namespace fathom::rt
