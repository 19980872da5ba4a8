// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/Kernels/Linear.h"
#include "dialects/DSV4/Reference/Kernels/Codecs.h"

#include <cassert>

using namespace fathom::ref;

// A product of two floats is exact in double, so a fused multiply-add gives
// the same bits as a product and a sum: wider clones change the speed only.
#if defined(__x86_64__) && defined(__linux__)
#define FATHOM_CLONES __attribute__((target_clones("arch=haswell", "default")))
#else
#define FATHOM_CLONES
#endif

static constexpr int64_t Block8 = 128, Block4 = 32;

WeightMatrix::WeightMatrix(const HostTensor &weight, const HostTensor *scale,
                           int64_t index)
    : weight(weight), scale(scale) {
  int64_t rank = weight.rank();
  n = weight.dim(rank - 2);
  int64_t stored = weight.dim(rank - 1);
  k = weight.dtype == DType::I8 ? 2 * stored : stored;
  firstElement = index * n * stored;
  firstScale = 0;
  if (scale) {
    scaleColumns = scale->dim(rank - 1);
    firstScale = index * scale->dim(rank - 2) * scaleColumns;
  }
}

void WeightMatrix::decodeRow(int64_t row, double *out) const {
  switch (weight.dtype) {
  case DType::F8E4M3: {
    const uint8_t *codes = weight.bytes.data() + firstElement + row * k;
    for (int64_t at = 0; at < k; at += Block8) {
      double factor = 1.0;
      if (scale)
        factor =
            decodeE8M0(scale->bytes[firstScale + row / Block8 * scaleColumns +
                                    at / Block8]);
      for (int64_t i = at; i < k && i < at + Block8; ++i)
        out[i] = decodeE4M3(codes[i]) * factor;
    }
    return;
  }
  case DType::I8: {
    assert(scale && "packed e2m1 weights have a scale");
    const uint8_t *codes = weight.bytes.data() + firstElement + row * (k / 2);
    for (int64_t i = 0; i < k; ++i) {
      double factor = decodeE8M0(
          scale->bytes[firstScale + row * scaleColumns + i / Block4]);
      out[i] =
          decodeE2M1(i % 2 ? codes[i / 2] >> 4 : codes[i / 2] & 15) * factor;
    }
    return;
  }
  default:
    for (int64_t i = 0; i < k; ++i)
      out[i] = weight.load(firstElement + row * k + i);
  }
}

FATHOM_CLONES double fathom::ref::dot(const double *a, const double *b,
                                      int64_t count) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int64_t j = 0; j < 8; ++j)
      lanes[j] += a[i + j] * b[i + j];
  for (int64_t j = 0; i + j < count; ++j)
    lanes[j] += a[i + j] * b[i + j];
  return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) +
         ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

void fathom::ref::multiply(const double *x, int64_t tokens, int64_t xStride,
                           const WeightMatrix &weight, int64_t begin,
                           int64_t count, float *out, int64_t outStride) {
  if (tokens == 0)
    return;
  std::vector<double> row(weight.columns());
  for (int64_t r = 0; r < count; ++r) {
    weight.decodeRow(begin + r, row.data());
    for (int64_t t = 0; t < tokens; ++t)
      out[t * outStride + r] = static_cast<float>(
          dot(x + t * xStride, row.data(), weight.columns()));
  }
}

static std::vector<double> doubles(const HostTensor &x) {
  std::vector<float> values = x.floats();
  return std::vector<double>(values.begin(), values.end());
}

HostTensor fathom::ref::linear(const HostTensor &x, const HostTensor &weight,
                               const HostTensor *scale, DType result) {
  WeightMatrix matrix(weight, scale);
  assert(x.shape.back() == matrix.columns());
  int64_t n = matrix.rows(), k = matrix.columns();
  int64_t tokens = x.numElements() / k;
  std::vector<int64_t> shape = x.shape;
  shape.back() = n;
  std::vector<double> in = doubles(x);
  std::vector<float> out(tokens * n);
  multiply(in.data(), tokens, k, matrix, 0, n, out.data(), n);
  return HostTensor::fromFloats(result, shape, out);
}

HostTensor fathom::ref::groupedLinear(const HostTensor &x,
                                      const HostTensor &weight,
                                      const HostTensor *scale, int64_t groups,
                                      DType result) {
  WeightMatrix matrix(weight, scale);
  int64_t k = matrix.columns(), n = matrix.rows(), perGroup = n / groups;
  int64_t tokens = x.dim(0);
  assert(tokens == 0 || x.rowElements() == groups * k);
  std::vector<double> in = doubles(x);
  std::vector<float> out(tokens * n);
  for (int64_t g = 0; tokens > 0 && g < groups; ++g)
    multiply(in.data() + g * k, tokens, groups * k, matrix, g * perGroup,
             perGroup, out.data() + g * perGroup, n);
  return HostTensor::fromFloats(result, {tokens, n}, out);
}
