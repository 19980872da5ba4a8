// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a device must offer to run a package: one small table. `self` is the
// driver's own state. Sessions know nothing else about a device, so that a
// package's launch records run unchanged on every driver.
#pragma once

#include "runtime/src/Status.h"

#include <cstdint>

namespace fathom::rt {

struct DriverTable {
  const char *name;

  /// Zeroed memory that becomes resident as it is touched, aligned to a page,
  /// with at least 64 readable bytes after its end.
  Status (*allocate)(void *self, uint64_t bytes, void **memory);
  void (*release)(void *self, void *memory, uint64_t bytes);

  /// Between host memory and the device's, either way.
  Status (*copy)(void *self, void *to, const void *from, uint64_t bytes);

  /// Loads code from a file; lives until the driver is destroyed.
  Status (*loadImage)(void *self, const char *path);
  /// A kernel of the loaded images by name, or an error.
  Status (*findKernel)(void *self, const char *name, void **kernel);
  /// Per-thread scratch that launches may use from now on.
  Status (*reserveScratch)(void *self, uint64_t bytesPerThread);

  /// Runs grid[0] * grid[1] * grid[2] independent programs, x fastest. Launches
  /// run in the order in which they are given.
  Status (*launch)(void *self, void *kernel, const uint64_t *args,
                   const int64_t grid[3]);
  /// Returns when every launch has finished.
  Status (*synchronise)(void *self);
};

struct Driver {
  const DriverTable *table = nullptr;
  void *self = nullptr;
};

} // namespace fathom::rt
