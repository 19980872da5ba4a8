// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/text/Bpe.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace fathom::rt {

namespace {

constexpr size_t kKnownPieces = 1 << 15; // 2 MiB
/// Up to here, looking at every pair again is quicker than a heap.
constexpr size_t kShort = 32;

uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0x9E3779B97F4A7C15;
  return x ^ x >> 29;
}

uint64_t hashOf(std::string_view text) {
  uint64_t hash = text.size();
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    hash = mix(hash ^ word) + word;
  }
  uint64_t word = 0;
  std::memcpy(&word, text.data() + at, text.size() - at);
  return mix(mix(hash ^ word) + word);
}

} // namespace

void Bpe::reserve(size_t merges) {
  size_t capacity = 16;
  while (capacity < 2 * merges + 2)
    capacity *= 2;
  table.assign(capacity, Merge());
}

void Bpe::addMerge(int32_t left, int32_t right, uint32_t rank, int32_t result) {
  const uint64_t pair = uint64_t(uint32_t(left)) << 32 | uint32_t(right);
  size_t at = mix(pair) & (table.size() - 1);
  while (table[at].pair != kNone && table[at].pair != pair)
    at = (at + 1) & (table.size() - 1);
  table[at] = {pair, rank, result};
}

const Bpe::Merge *Bpe::find(int32_t left, int32_t right) const {
  const uint64_t pair = uint64_t(uint32_t(left)) << 32 | uint32_t(right);
  size_t at = mix(pair) & (table.size() - 1);
  while (table[at].pair != pair) {
    if (table[at].pair == kNone)
      return nullptr;
    at = (at + 1) & (table.size() - 1);
  }
  return &table[at];
}

void Bpe::encode(std::string_view piece, Scratch &scratch,
                 std::vector<int32_t> &out) const {
  if (piece.size() == 1) {
    out.push_back(byteTokens[uint8_t(piece[0])]);
    return;
  }
  if (piece.size() > sizeof(Scratch::Known::text)) {
    if (piece.size() <= kShort)
      return encodeShort(piece, out);
    return encodeLong(piece, scratch, out);
  }
  if (scratch.owner != this) {
    scratch.owner = this;
    scratch.known.assign(kKnownPieces, Scratch::Known());
  }
  const uint64_t hash = hashOf(piece);
  Scratch::Known &known = scratch.known[hash & (kKnownPieces - 1)];
  if (known.hash == hash && known.size == piece.size() &&
      std::memcmp(known.text, piece.data(), piece.size()) == 0) {
    for (int i = 0; i < known.count; ++i)
      out.push_back(known.ids[i]);
    return;
  }
  const size_t before = out.size();
  encodeShort(piece, out);
  const size_t count = out.size() - before;
  if (count > std::size(known.ids))
    return;
  known.hash = hash;
  known.size = uint8_t(piece.size());
  known.count = uint8_t(count);
  std::memcpy(known.text, piece.data(), piece.size());
  std::copy_n(out.data() + before, count, known.ids);
}

void Bpe::encodeShort(std::string_view piece, std::vector<int32_t> &out) const {
  int32_t ids[kShort];
  const Merge *merges[kShort]; // of ids[i] and the one after it
  size_t count = piece.size();
  for (size_t i = 0; i < count; ++i)
    ids[i] = byteTokens[uint8_t(piece[i])];
  for (size_t i = 0; i + 1 < count; ++i)
    merges[i] = find(ids[i], ids[i + 1]);
  while (count > 1) {
    size_t best = count;
    for (size_t i = 0; i + 1 < count; ++i)
      if (merges[i] && (best == count || merges[i]->rank < merges[best]->rank))
        best = i;
    if (best == count)
      break;
    ids[best] = merges[best]->result;
    --count;
    for (size_t i = best + 1; i < count; ++i)
      ids[i] = ids[i + 1];
    for (size_t i = best + 1; i + 1 < count; ++i)
      merges[i] = merges[i + 1];
    if (best + 1 < count)
      merges[best] = find(ids[best], ids[best + 1]);
    if (best > 0)
      merges[best - 1] = find(ids[best - 1], ids[best]);
  }
  out.insert(out.end(), ids, ids + count);
}

void Bpe::encodeLong(std::string_view piece, Scratch &scratch,
                     std::vector<int32_t> &out) const {
  const int32_t size = static_cast<int32_t>(piece.size());
  std::vector<int32_t> &ids = scratch.ids, &next = scratch.next,
                       &previous = scratch.previous;
  ids.resize(size);
  next.resize(size);
  previous.resize(size);
  for (int32_t i = 0; i < size; ++i) {
    ids[i] = byteTokens[uint8_t(piece[i])];
    previous[i] = i - 1;
    next[i] = i + 1;
  }
  // Smallest first: rank << 32 | place of the left one.
  std::vector<uint64_t> &heap = scratch.heap;
  heap.clear();
  for (int32_t i = 0; i + 1 < size; ++i)
    if (const Merge *merge = find(ids[i], ids[i + 1]))
      heap.push_back(uint64_t(merge->rank) << 32 | uint32_t(i));
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  auto push = [&](int32_t left) {
    if (left < 0 || next[left] >= size)
      return;
    if (const Merge *merge = find(ids[left], ids[next[left]])) {
      heap.push_back(uint64_t(merge->rank) << 32 | uint32_t(left));
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
  };
  while (!heap.empty()) {
    const uint64_t top = heap.front();
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    const int32_t left = int32_t(uint32_t(top)), right = next[left];
    // Its neighbours may have been joined with others since.
    if (ids[left] < 0 || right >= size)
      continue;
    const Merge *merge = find(ids[left], ids[right]);
    if (!merge || merge->rank != top >> 32)
      continue;
    ids[left] = merge->result;
    ids[right] = -1;
    next[left] = next[right];
    if (next[right] < size)
      previous[next[right]] = left;
    push(left);
    push(previous[left]);
  }
  for (int32_t i = 0; i < size; i = next[i])
    out.push_back(ids[i]);
}

} // namespace fathom::rt
