/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Kernels of a model that always answers the same: texts that follow upon each
 * other by their ids, the mark of tool calls between any two, and the end. */
#include "test/unit/runtime/ToyKernels.h"

enum {
  kContext = 1024,
  kVocabulary = 272,
  kEnd = 1,
  kMark = 263,
  kFirstText = 265,
  kLastText = 271
};

/* cache, ids, positions, slots: remembers the ids. Grid: tokens. */
KERNEL(talk_store) {
  (void)y, (void)z, (void)scratch;
  rememberId(a, x, kContext);
}

/* cache, positions, slots, rows, logits. Grid: rows. */
KERNEL(talk_logits) {
  const int32_t *cache = (const int32_t *)(uintptr_t)a[0];
  const int32_t *positions = (const int32_t *)(uintptr_t)a[1];
  const int32_t *slots = (const int32_t *)(uintptr_t)a[2];
  const int32_t *rows = (const int32_t *)(uintptr_t)a[3];
  float *logits = (float *)(uintptr_t)a[4] + x * kVocabulary;
  const int32_t position = positions[rows[x]];
  const int32_t *last = cache + slots[rows[x]] * kContext + position;
  int32_t v, next = kFirstText; /* to any prompt */
  (void)y, (void)z, (void)scratch;
  if (*last == kMark && position > 0)
    next = last[-1] + 1;
  else if (*last >= kFirstText)
    next = *last == kLastText ? kEnd : kMark;
  for (v = 0; v < kVocabulary; ++v)
    logits[v] = v == next;
}
