// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rotary position embedding (spec section 3). Precision decides long contexts:
// every step of the frequencies is in f32, the angle is one f32 product.
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_ROPE_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_ROPE_H

#include "dialects/DSV4/Reference/Kernels/HostTensor.h"

namespace fathom::ref {

/// YaRN constants; factor 0 means none.
struct Yarn {
  double factor = 0;
  int64_t original = 0;
  double betaFast = 0;
  double betaSlow = 0;
};

/// The width/2 frequencies f_m, `width` even. Bit-equal to what the published
/// code computes for the published settings; the passes that fill a table of
/// frequencies use this function too.
std::vector<float> ropeFrequencies(int64_t width, double theta,
                                   const Yarn &yarn = {});

struct RopeTable {
  HostTensor cos, sin; // f32 [T, width/2]
};

/// dsv4.rope_table: positions [T] i32. The position of an angle is pos, or
/// with block > 1 the first position of the block that ends at pos,
/// max(pos+1-block, 0). cos and sin of the f32 angle, rounded to f32.
RopeTable ropeTable(const HostTensor &positions, int64_t width, double theta,
                    const Yarn &yarn, int64_t block);

/// dsv4.rope: x [T, d] or [T, H, d]; rotates the last 2*cols channels, in
/// adjacent pairs, by the row's angle (inverse: by minus the angle). The
/// other channels pass through. Rounds once to x's format.
HostTensor rope(const HostTensor &x, const HostTensor &cos,
                const HostTensor &sin, bool inverse);

} // namespace fathom::ref

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_ROPE_H
