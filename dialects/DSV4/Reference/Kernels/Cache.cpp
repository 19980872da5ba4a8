// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/Kernels/Cache.h"
#include "dialects/DSV4/Reference/Kernels/Codecs.h"
#include "dialects/DSV4/Reference/Kernels/Quantize.h"

#include <algorithm>
#include <cassert>
#include <cmath>

using namespace fathom::ref;

static constexpr int64_t FP8Block = 64, FP4Block = 32;

RowCache::RowCache(CacheFormat format, int64_t slots, int64_t rows,
                   int64_t width, int64_t rope)
    : format(format), slotCount(slots), rowsPerSlot(rows), rowWidth(width),
      ropeWidth(rope) {
  int64_t count = slots * rows;
  switch (format) {
  case CacheFormat::F32:
    plain.assign(count * width, 0.0f);
    break;
  case CacheFormat::FP8: {
    int64_t blocks = (width - rope) / FP8Block;
    assert(blocks * FP8Block == width - rope);
    scaleCount = (blocks + 7) / 8 * 8;
    codes.assign(count * (width - rope), 0);
    scales.assign(count * scaleCount, 0);
    ropeRows.assign(count * rope, 0);
    break;
  }
  case CacheFormat::FP4:
    assert(width % FP4Block == 0);
    scaleCount = width / FP4Block;
    codes.assign(count * width / 2, 0);
    scales.assign(count * scaleCount, 0);
    break;
  }
}

int64_t RowCache::totalBytes() const {
  return static_cast<int64_t>(plain.size() * 4 + codes.size() + scales.size() +
                              ropeRows.size() * 2);
}

void RowCache::write(int64_t row, const float *values) {
  assert(row >= 0 && row < slotCount * rowsPerSlot);
  if (format == CacheFormat::F32) {
    std::copy(values, values + rowWidth, plain.begin() + row * rowWidth);
    return;
  }
  bool fp8 = format == CacheFormat::FP8;
  QuantFormat grid = fp8 ? QuantFormat::E4M3 : QuantFormat::E2M1;
  int64_t block = fp8 ? FP8Block : FP4Block;
  int64_t quantised = fp8 ? rowWidth - ropeWidth : rowWidth;
  uint8_t blockCodes[FP8Block];
  for (int64_t at = 0; at < quantised; at += block) {
    float scale = blockScale(grid, values + at, block);
    scales[row * scaleCount + at / block] = encodeE8M0(scale);
    encodeBlock(grid, values + at, block, scale, blockCodes);
    if (fp8) {
      std::copy(blockCodes, blockCodes + block,
                codes.begin() + row * quantised + at);
      continue;
    }
    for (int64_t i = 0; i < block; i += 2)
      codes[(row * quantised + at + i) / 2] =
          static_cast<uint8_t>(blockCodes[i] | (blockCodes[i + 1] << 4));
  }
  if (fp8)
    for (int64_t i = 0; i < ropeWidth; ++i)
      ropeRows[row * ropeWidth + i] = encodeBF16(values[quantised + i]);
}

void RowCache::read(int64_t row, float *values) const {
  assert(row >= 0 && row < slotCount * rowsPerSlot);
  switch (format) {
  case CacheFormat::F32:
    std::copy_n(plain.begin() + row * rowWidth, rowWidth, values);
    return;
  case CacheFormat::FP8: {
    int64_t quantised = rowWidth - ropeWidth;
    for (int64_t i = 0; i < quantised; ++i)
      values[i] = decodeE4M3(codes[row * quantised + i]) *
                  decodeE8M0(scales[row * scaleCount + i / FP8Block]);
    for (int64_t i = 0; i < ropeWidth; ++i)
      values[quantised + i] = decodeBF16(ropeRows[row * ropeWidth + i]);
    return;
  }
  case CacheFormat::FP4:
    for (int64_t i = 0; i < rowWidth; ++i) {
      uint8_t pair = codes[(row * rowWidth + i) / 2];
      values[i] = decodeE2M1(i % 2 ? pair >> 4 : pair & 15) *
                  decodeE8M0(scales[row * scaleCount + i / FP4Block]);
    }
    return;
  }
}

void fathom::ref::windowInsert(RowCache &cache, const HostTensor &kv,
                               const HostTensor &positions,
                               const HostTensor &slots) {
  StepTokens step(positions, slots);
  std::vector<float> row(cache.width());
  for (int64_t i = 0; i < step.size(); ++i) {
    kv.loadRow(i * cache.width(), cache.width(), row.data());
    cache.write(step.slots[i] * cache.rows() + step.positions[i] % cache.rows(),
                row.data());
  }
}

void fathom::ref::compressedInsert(RowCache &cache, const HostTensor &rows,
                                   const HostTensor &positions,
                                   const HostTensor &slots, int64_t ratio) {
  StepTokens step(positions, slots);
  std::vector<float> row(cache.width());
  for (int64_t i = 0; i < step.size(); ++i) {
    if ((step.positions[i] + 1) % ratio != 0)
      continue;
    rows.loadRow(i * cache.width(), cache.width(), row.data());
    cache.write(step.slots[i] * cache.rows() + step.positions[i] / ratio,
                row.data());
  }
}

void fathom::ref::stateUpdate(StateCache &state, const HostTensor &kv,
                              const HostTensor &gate,
                              const HostTensor &positions,
                              const HostTensor &slots) {
  StepTokens step(positions, slots);
  for (int64_t i = 0; i < step.size(); ++i) {
    int64_t row = step.slots[i] * state.rows + step.positions[i] % state.rows;
    kv.loadRow(i * state.width, state.width, &state.kv[row * state.width]);
    gate.loadRow(i * state.width, state.width, &state.gate[row * state.width]);
  }
}

HostTensor
fathom::ref::compressPool(const HostTensor &kv, const HostTensor &gate,
                          const HostTensor &ape, const StateCache &state,
                          const HostTensor &positions, const HostTensor &slots,
                          int64_t ratio, bool overlap, DType result) {
  StepTokens step(positions, slots);
  const int64_t width = kv.dim(1), channels = overlap ? width / 2 : width;
  const std::vector<float> kvs = kv.floats(), gates = gate.floats(),
                           apes = ape.floats();
  HostTensor pooled(result, {step.size(), channels});

  for (int64_t i = 0; i < step.size(); ++i) {
    int64_t position = step.positions[i];
    if ((position + 1) % ratio != 0)
      continue;
    int64_t start = position + 1 - ratio;
    // The pool's members: where their rows lie and which half they use.
    struct Member {
      const float *kv, *gate, *ape;
    };
    std::vector<Member> members;
    auto add = [&](int64_t p, int64_t offset) {
      int64_t j = step.indexOf(i, p);
      int64_t row = step.slots[i] * state.rows + p % state.rows;
      const float *kvRow = j >= 0 ? &kvs[j * width] : &state.kv[row * width];
      const float *gateRow =
          j >= 0 ? &gates[j * width] : &state.gate[row * width];
      members.push_back({kvRow + offset, gateRow + offset,
                         &apes[(p % ratio) * width] + offset});
    };
    // Block 0 has no predecessor: only its own members.
    if (overlap && start > 0)
      for (int64_t p = start - ratio; p < start; ++p)
        add(p, 0);
    for (int64_t p = start; p <= position; ++p)
      add(p, overlap ? channels : 0);

    for (int64_t c = 0; c < channels; ++c) {
      double maximum = -INFINITY, sum = 0, weighted = 0;
      for (const Member &m : members)
        maximum = std::max(maximum, double(m.gate[c]) + double(m.ape[c]));
      for (const Member &m : members) {
        double e = std::exp(double(m.gate[c]) + double(m.ape[c]) - maximum);
        sum += e;
        weighted += e * m.kv[c];
      }
      pooled.store(i * channels + c, static_cast<float>(weighted / sum));
    }
  }
  return pooled;
}
