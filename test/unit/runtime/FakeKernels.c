/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Kernels of a toy model, for tests of the runtime. What it computes for a
 * token depends on the whole history of its sequence, so that any mistake in
 * caches, slots, positions or the division into steps shows in its logits:
 *
 *   state[t]     = sum over p <= position of weight[id at p] * (p + 1)
 *   logits[r][v] = state + (v * 7 + expert[v % 4][v % 8]) % 13
 *   mtp[r][v]    = streams of t + sum over p <= position of next id at p + v
 *
 * All sums are of small integers, exact in f32. */
#include "test/unit/runtime/ToyKernels.h"

#include <stdint.h>
#include <string.h>

enum { kContext = 64, kVocabulary = 24 };

/* As a library for the CPU counts are values; as a "cubin" for the mock of CUDA
 * they lie in memory, and each kernel says what its arguments are. */
#ifdef FATHOM_FAKE_CUBIN
#define COUNT(argument) (*(const int32_t *)(uintptr_t)(argument))
#define KINDS(name, text)                                                      \
  __attribute__((visibility("default"))) const char name##_kinds[] = text;
#else
#define COUNT(argument) ((int64_t)(argument))
#define KINDS(name, text)
#endif
KINDS(fake_store, "bbbb")
KINDS(fake_sum, "bbbbb")
KINDS(fake_logits, "b4bbc")
KINDS(fake_streams, "bbc")
KINDS(fake_mtp, "bbbbbb")
KINDS(fake_greedy, "bbbbc")

#ifndef FATHOM_FAKE_MORE
#define FATHOM_FAKE_MORE 0
#endif

/* cache, ids, positions, slots: remembers the ids. Grid: tokens. */
KERNEL(fake_store) {
  (void)y, (void)z, (void)scratch;
  rememberId(a, x, kContext);
}

/* cache, weight, positions, slots, state. Grid: tokens. Goes through scratch.
 */
KERNEL(fake_sum) {
  const int32_t *cache = (const int32_t *)(uintptr_t)a[0];
  const char *weight = (const char *)(uintptr_t)a[1]; /* aligned to nothing */
  const int32_t *positions = (const int32_t *)(uintptr_t)a[2];
  const int32_t *slots = (const int32_t *)(uintptr_t)a[3];
  float *state = (float *)(uintptr_t)a[4];
  float *terms = (float *)scratch;
  float sum = (uintptr_t)scratch % 64 == 0 ? 0 : -1e6f;
  int p;
  (void)y, (void)z;
  for (p = 0; p <= positions[x]; ++p) {
    /* A synthetic context holds no ids. */
    const uint32_t id = (uint32_t)cache[slots[x] * kContext + p] % kVocabulary;
    float w;
    memcpy(&w, weight + 4 * id, 4);
    terms[p] = w * (float)(p + 1);
  }
  for (p = 0; p <= positions[x]; ++p)
    sum += terms[p];
  state[x] = sum;
}

/* state, experts (table), rows, logits, R. Grid: rows x blocks of 8. */
KERNEL(fake_logits) {
  const float *state = (const float *)(uintptr_t)a[0];
  const char *const *experts = (const char *const *)(uintptr_t)a[1];
  const int32_t *rows = (const int32_t *)(uintptr_t)a[2];
  float *logits = (float *)(uintptr_t)a[3];
  int64_t v;
  (void)z, (void)scratch;
  if (x >= COUNT(a[4]))
    return;
  for (v = y * 8; v < y * 8 + 8; ++v)
    logits[x * kVocabulary + v] =
        state[rows[x]] + (float)((v * 7 + experts[v % 4][v % 8]) % 13) +
        FATHOM_FAKE_MORE;
}

/* state, streams, T. Grid: one program. */
KERNEL(fake_streams) {
  const float *state = (const float *)(uintptr_t)a[0];
  float *streams = (float *)(uintptr_t)a[1];
  int64_t t;
  (void)x, (void)y, (void)z, (void)scratch;
  for (t = 0; t < COUNT(a[2]); ++t) {
    streams[2 * t] = state[t];
    streams[2 * t + 1] = 1;
  }
}

/* streams, cache, positions, slots, rows, logits. Grid: rows. */
KERNEL(fake_mtp) {
  const float *streams = (const float *)(uintptr_t)a[0];
  const int32_t *cache = (const int32_t *)(uintptr_t)a[1];
  const int32_t *positions = (const int32_t *)(uintptr_t)a[2];
  const int32_t *slots = (const int32_t *)(uintptr_t)a[3];
  const int32_t *rows = (const int32_t *)(uintptr_t)a[4];
  float *logits = (float *)(uintptr_t)a[5];
  const int t = rows[x];
  float sum = streams[2 * t] * streams[2 * t + 1];
  int p, v;
  (void)y, (void)z, (void)scratch;
  for (p = 0; p <= positions[t]; ++p)
    sum += (float)cache[slots[t] * kContext + p];
  for (v = 0; v < kVocabulary; ++v)
    logits[x * kVocabulary + v] = sum + (float)v;
}

/* logits, positions, ids, positions again, R. Grid: rows. */
KERNEL(fake_greedy) {
  const float *row = (const float *)(uintptr_t)a[0] + x * kVocabulary;
  const int32_t *positions = (const int32_t *)(uintptr_t)a[1];
  int32_t *ids = (int32_t *)(uintptr_t)a[2];
  int32_t *next = (int32_t *)(uintptr_t)a[3];
  int32_t v, best = 0;
  (void)y, (void)z, (void)scratch;
  if (x >= COUNT(a[4]))
    return;
  for (v = 1; v < kVocabulary; ++v)
    if (row[v] > row[best])
      best = v;
  ids[x] = best;
  next[x] = positions[x] + 1;
}
