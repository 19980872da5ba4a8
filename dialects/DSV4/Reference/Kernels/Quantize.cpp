// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/Kernels/Quantize.h"
#include "dialects/DSV4/Reference/Kernels/Codecs.h"

#include <algorithm>
#include <cassert>
#include <cmath>

using namespace fathom::ref;

float fathom::ref::blockScale(QuantFormat format, const float *values,
                              int64_t count) {
  float amax = format == QuantFormat::E4M3 ? 1e-4f : std::ldexp(6.0f, -126);
  for (int64_t i = 0; i < count; ++i)
    amax = std::max(amax, std::fabs(values[i]));
  return format == QuantFormat::E4M3 ? scaleForE4M3(amax) : scaleForE2M1(amax);
}

void fathom::ref::encodeBlock(QuantFormat format, const float *values,
                              int64_t count, float scale, uint8_t *codes) {
  for (int64_t i = 0; i < count; ++i) {
    float scaled = values[i] / scale; // exact: the scale is a power of two
    codes[i] =
        format == QuantFormat::E4M3 ? encodeE4M3(scaled) : encodeE2M1(scaled);
  }
}

void fathom::ref::fakeQuantizeRow(QuantFormat format, float *values,
                                  int64_t count, int64_t block) {
  assert(block > 0 && count % block == 0);
  std::vector<uint8_t> codes(block);
  for (int64_t at = 0; at < count; at += block) {
    float scale = blockScale(format, values + at, block);
    encodeBlock(format, values + at, block, scale, codes.data());
    for (int64_t i = 0; i < block; ++i)
      values[at + i] =
          scale * (format == QuantFormat::E4M3 ? decodeE4M3(codes[i])
                                               : decodeE2M1(codes[i]));
  }
}

HostTensor fathom::ref::fakeQuantize(const HostTensor &x, QuantFormat format,
                                     int64_t block, int64_t channels) {
  int64_t width = x.shape.back();
  assert(channels <= width);
  std::vector<float> values = x.floats();
  for (int64_t at = 0; at < x.numElements(); at += width)
    fakeQuantizeRow(format, values.data() + at, channels, block);
  return HostTensor::fromFloats(x.dtype, x.shape, values);
}
