/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * What kernels of toy models have in common. */
#pragma once

#include <stdint.h>

#define KERNEL(name)                                                           \
  __attribute__((visibility("default"))) void name(                            \
      const uint64_t *a, int64_t x, int64_t y, int64_t z, void *scratch)

/* cache, ids, positions, slots: remembers the id of token x, in a cache of
 * `context` ids for each slot. */
static inline void rememberId(const uint64_t *a, int64_t x, int32_t context) {
  int32_t *cache = (int32_t *)(uintptr_t)a[0];
  const int32_t *ids = (const int32_t *)(uintptr_t)a[1];
  const int32_t *positions = (const int32_t *)(uintptr_t)a[2];
  const int32_t *slots = (const int32_t *)(uintptr_t)a[3];
  cache[slots[x] * context + positions[x]] = ids[x];
}
