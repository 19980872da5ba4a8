// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Hyper-connections: n residual streams and their mixes (spec section 2).
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_HYPERCONNECTION_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_HYPERCONNECTION_H

#include "dialects/DSV4/Reference/Kernels/HostTensor.h"

namespace fathom::ref {

/// dsv4.hc_expand: x [T, D] -> n equal streams [T, n, D].
HostTensor hcExpand(const HostTensor &x, int64_t streams, DType result);

struct HCPreResult {
  HostTensor x;    // [T, D]
  HostTensor post; // f32 [T, n]
  HostTensor comb; // f32 [T, n, n], source stream x destination stream
};

/// dsv4.hc_pre: h [T, n, D]; fn f32 [(2+n)n, nD], base f32 [(2+n)n], scale
/// f32 [3]. `iterations` Sinkhorn steps, at least 1.
HCPreResult hcPre(const HostTensor &h, const HostTensor &fn,
                  const HostTensor &base, const HostTensor &scale, double hcEps,
                  double normEps, int64_t iterations, DType result);

/// dsv4.hc_post: y [T, D], h [T, n, D] -> post_j y + sum_i comb[i,j] h_i.
HostTensor hcPost(const HostTensor &y, const HostTensor &h,
                  const HostTensor &post, const HostTensor &comb, DType result);

/// dsv4.hc_head: h [R, n, D]; fn f32 [n, nD], base f32 [n], scale f32 [1]
/// -> [R, D].
HostTensor hcHead(const HostTensor &h, const HostTensor &fn,
                  const HostTensor &base, const HostTensor &scale, double hcEps,
                  double normEps, DType result);

} // namespace fathom::ref

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_HYPERCONNECTION_H
