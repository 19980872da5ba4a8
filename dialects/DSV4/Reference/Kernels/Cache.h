// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One layer's cache, stored as the runtime stores it: components in arrays of
// their own, rows of all sequence slots one after the other. The global row of
// row r of slot s is s * rows + r.
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_CACHE_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_CACHE_H

#include "dialects/DSV4/Reference/Kernels/HostTensor.h"

namespace fathom::ref {

enum class CacheFormat { F32, FP8, FP4 };

/// A cache of rows (window, compressed, index).
///  F32: `plain` f32 [slots*rows, width].
///  FP8: the first width-rope channels as e4m3 `codes`, one e8m0 scale per 64
///       in `scales` [.., roundup((width-rope)/64, 8)], the last `rope`
///       channels bf16 in `rope`. (width-rope) % 64 == 0.
///  FP4: `codes` two e2m1 a byte (even channel in the low nibble), one scale
///       per 32 in `scales` [.., width/32]. width % 32 == 0.
/// Values that a fake_quantize put on the grid are stored without loss.
class RowCache {
public:
  RowCache(CacheFormat format, int64_t slots, int64_t rows, int64_t width,
           int64_t rope);

  /// `values` has `width` floats; global row indices as above.
  void write(int64_t globalRow, const float *values);
  void read(int64_t globalRow, float *values) const;

  int64_t rows() const { return rowsPerSlot; }
  int64_t width() const { return rowWidth; }
  int64_t slots() const { return slotCount; }
  int64_t scalesPerRow() const { return scaleCount; }
  /// Bytes of all components.
  int64_t totalBytes() const;

private:
  CacheFormat format;
  int64_t slotCount, rowsPerSlot, rowWidth, ropeWidth, scaleCount = 0;
  std::vector<float> plain;
  std::vector<uint8_t> codes, scales;
  std::vector<uint16_t> ropeRows;
};

/// The compressor's open blocks: two f32 arrays [slots*rows, width], raw
/// projections and raw gates (without ape).
struct StateCache {
  StateCache(int64_t slots, int64_t rows, int64_t width)
      : slots(slots), rows(rows), width(width), kv(slots * rows * width),
        gate(slots * rows * width) {}
  int64_t slots, rows, width;
  std::vector<float> kv, gate;
};

/// The tokens of a step: positions and slots [T] i32. Tokens of one sequence
/// are contiguous and ascending without gaps.
struct StepTokens {
  StepTokens(const HostTensor &positionTensor, const HostTensor &slotTensor)
      : positions(positionTensor.ints()), slots(slotTensor.ints()) {}
  int64_t size() const { return static_cast<int64_t>(positions.size()); }
  /// Index in this step of the token at `position` of token i's sequence, for
  /// a position not after token i's; -1 if it came in an earlier step.
  int64_t indexOf(int64_t i, int64_t position) const {
    int64_t j = i - (positions[i] - position);
    return j >= 0 && slots[j] == slots[i] ? j : -1;
  }
  std::vector<int32_t> positions, slots;
};

/// dsv4.window_insert: kv [T, width]; token i goes to row positions[i] % rows.
void windowInsert(RowCache &cache, const HostTensor &kv,
                  const HostTensor &positions, const HostTensor &slots);

/// dsv4.compressed_insert: rows [T, width]; row i becomes block
/// positions[i]/ratio iff token i completes a block.
void compressedInsert(RowCache &cache, const HostTensor &rows,
                      const HostTensor &positions, const HostTensor &slots,
                      int64_t ratio);

/// dsv4.state_update: kv, gate [T, width] f32; row positions[i] % rows, the
/// last token of a row wins.
void stateUpdate(StateCache &state, const HostTensor &kv,
                 const HostTensor &gate, const HostTensor &positions,
                 const HostTensor &slots);

/// dsv4.compress_pool: kv, gate f32 [T, cd], ape f32 [ratio, cd], cd = d, or
/// 2d with overlap. Row i of the result [T, d] is the softmax-pooled block
/// that token i completes, rounded to `result`, or zero.
HostTensor compressPool(const HostTensor &kv, const HostTensor &gate,
                        const HostTensor &ape, const StateCache &state,
                        const HostTensor &positions, const HostTensor &slots,
                        int64_t ratio, bool overlap, DType result);

} // namespace fathom::ref

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_CACHE_H
