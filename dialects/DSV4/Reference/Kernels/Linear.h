// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Products with plain or block-scaled weights: y = x W^T.
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_LINEAR_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_LINEAR_H

#include "dialects/DSV4/Reference/Kernels/HostTensor.h"

namespace fathom::ref {

/// A weight matrix N x K in one of the stored formats (spec section 1):
///  F8E4M3 [N,K] with scale F8E8M0 [ceil(N/128), ceil(K/128)];
///  I8 [N,K/2] packed e2m1 (low nibble first) with scale [N, ceil(K/32)];
///  BF16 or F32 [N,K] without scale.
/// Holds references: the tensors must outlive it.
class WeightMatrix {
public:
  /// A rank-2 weight, or matrix `index` of a stack (rank 3, scale too).
  WeightMatrix(const HostTensor &weight, const HostTensor *scale,
               int64_t index = 0);

  int64_t rows() const { return n; }
  int64_t columns() const { return k; }
  /// The K values of row `row`, scale applied: exact.
  void decodeRow(int64_t row, double *out) const;

private:
  const HostTensor &weight;
  const HostTensor *scale;
  int64_t n, k, firstElement, firstScale, scaleColumns = 0;
};

/// Inner product, f64, one fixed order for every length.
double dot(const double *a, const double *b, int64_t count);

/// x [tokens, K] against rows [begin, begin+count) of `weight`; out
/// [tokens, count], f64 sums rounded to f32. Row strides in elements.
void multiply(const double *x, int64_t tokens, int64_t xStride,
              const WeightMatrix &weight, int64_t begin, int64_t count,
              float *out, int64_t outStride);

/// dsv4.linear: x [.., K] -> [.., N], rounded once to `result`.
HostTensor linear(const HostTensor &x, const HostTensor &weight,
                  const HostTensor *scale, DType result);

/// dsv4.grouped_linear: x [T, H, d] as [T, groups, H*d/groups]; group g meets
/// rows g*Lo .. (g+1)*Lo-1 of weight [groups*Lo, H*d/groups]. Result
/// [T, groups*Lo].
HostTensor groupedLinear(const HostTensor &x, const HostTensor &weight,
                         const HostTensor *scale, int64_t groups, DType result);

} // namespace fathom::ref

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_LINEAR_H
