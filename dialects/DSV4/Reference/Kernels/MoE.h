// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Router and routed experts (spec section 6).
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_MOE_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_MOE_H

#include "dialects/DSV4/Reference/Kernels/HostTensor.h"

namespace fathom::ref {

/// dsv4.gate: x [T, D], weight [E, D] -> f32 [T, E], sqrt(softplus(x W^T)).
HostTensor gate(const HostTensor &x, const HostTensor &weight);

struct Route {
  HostTensor ids;     // i32 [T, k], ascending
  HostTensor weights; // f32 [T, k]
};

/// dsv4.route_topk: scores f32 [T, E], bias f32 [E]; k best by score + bias
/// (f32 sum, ties to the lower id); weights are scores without bias, over
/// their sum, times factor.
Route routeTopK(const HostTensor &scores, const HostTensor &bias, int64_t k,
                double factor);

/// dsv4.route_hash: ids [T] i32 in [0, V), table [V, k] i32 or i64 with
/// entries in [0, E).
Route routeHash(const HostTensor &scores, const HostTensor &ids,
                const HostTensor &table, double factor);

/// A stack of E matrices and its scales (null for plain formats).
struct ExpertWeights {
  const HostTensor *weight;
  const HostTensor *scale;
};

/// dsv4.experts: x [T, D], ids i32 [T, k] ascending, weights f32 [T, k]; w1,
/// w3 [E, F, D], w2 [E, D, F]. Intermediates are rounded to x's format;
/// hiddenBlock > 0 quantises the activation before w2 in such blocks. The
/// result f32 [T, D] is the sum in ascending expert id.
HostTensor experts(const HostTensor &x, const HostTensor &ids,
                   const HostTensor &weights, ExpertWeights w1,
                   ExpertWeights w3, ExpertWeights w2, double limit,
                   int64_t hiddenBlock);

} // namespace fathom::ref

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_MOE_H
