// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The number formats of the model, exact over all codes (spec section 1).
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_CODECS_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_CODECS_H

#include <cstdint>

namespace fathom::ref {

/// bf16: the upper half of an f32. Encoding rounds to nearest even; a NaN
/// stays a (quiet) NaN, a value beyond the range becomes infinite.
float decodeBF16(uint16_t code);
uint16_t encodeBF16(float value);

/// e4m3fn: bias 7, subnormals, no infinity, 0x7F and 0xFF are NaN. Encoding
/// rounds to nearest even and saturates at 448; NaN encodes as 0x7F.
float decodeE4M3(uint8_t code);
uint8_t encodeE4M3(float value);

/// e2m1: codes 0..7 are 0 .5 1 1.5 2 3 4 6, +8 is negative; only the low four
/// bits of `code` count. Encoding rounds to nearest, ties to the even code,
/// and saturates at 6. The sign of zero is kept. NaN encodes as 0.
float decodeE2M1(uint8_t code);
uint8_t encodeE2M1(float value);

/// e8m0: 2^(code-127); 255 is NaN. Encoding takes a power of two in range.
float decodeE8M0(uint8_t code);
uint8_t encodeE8M0(float powerOfTwo);

/// The smallest power of two s with amax <= limit * s, for limit 448 (e4m3)
/// or 6 (e2m1): 2^ceil(log2(amax/limit)), from exponent bits alone. `amax`
/// must be positive and finite.
float scaleForE4M3(float amax);
float scaleForE2M1(float amax);

} // namespace fathom::ref

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_CODECS_H
