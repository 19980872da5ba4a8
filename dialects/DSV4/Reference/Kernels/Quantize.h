// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Quantisation points: block-scaled rounding to a grid (spec section 8).
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_QUANTIZE_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_QUANTIZE_H

#include "dialects/DSV4/Reference/Kernels/HostTensor.h"

namespace fathom::ref {

enum class QuantFormat { E4M3, E2M1 };

/// Scale of a block of `count` values: amax is raised to 1e-4 (e4m3) or
/// 6*2^-126 (e2m1), so a block of zeros has a scale too.
float blockScale(QuantFormat format, const float *values, int64_t count);

/// Codes of a block under `scale`; e2m1 codes are one a byte here.
void encodeBlock(QuantFormat format, const float *values, int64_t count,
                 float scale, uint8_t *codes);

/// Quantise-dequantise in place, blocks of `block` values, `count` a multiple.
void fakeQuantizeRow(QuantFormat format, float *values, int64_t count,
                     int64_t block);

/// dsv4.fake_quantize: x [.., n] -> same shape and format. The first
/// `channels` of the last dimension are rounded in blocks; `channels` must be
/// a multiple of `block`; the rest pass through.
HostTensor fakeQuantize(const HostTensor &x, QuantFormat format, int64_t block,
                        int64_t channels);

} // namespace fathom::ref

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_QUANTIZE_H
