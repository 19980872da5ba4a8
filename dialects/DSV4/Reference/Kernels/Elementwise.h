// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Operations on rows: embedding, norms, transforms and sums. Each rounds once
// to `result` (F32 or BF16).
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_ELEMENTWISE_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_ELEMENTWISE_H

#include "dialects/DSV4/Reference/Kernels/HostTensor.h"

namespace fathom::ref {

/// dsv4.embed: ids [T] i32 in [0, V), table [V, D] -> [T, D].
HostTensor embed(const HostTensor &ids, const HostTensor &table, DType result);

/// dsv4.select_rows: x [T, ..], rows [R] i32 in [0, T) -> [R, ..].
HostTensor selectRows(const HostTensor &x, const HostTensor &rows);

/// dsv4.rms_norm: x [.., D], weight [D].
HostTensor rmsNorm(const HostTensor &x, const HostTensor &weight, double eps,
                   DType result);

/// dsv4.head_norm: x [T, H, d], each head by itself, without weight. Unlike
/// rms_norm every step is rounded to x's format, as the published code does:
/// the squares, their mean, mean + eps, the inverse root. The inverse root is
/// one factor for a whole head, so its rounding moves attention logits much
/// more than rounding of single channels does (1e-2 of a layer's output).
HostTensor headNorm(const HostTensor &x, double eps, DType result);

/// dsv4.scale: x * f32(factor).
HostTensor scale(const HostTensor &x, double factor, DType result);

/// dsv4.add_streams: e [T, D] + h [T, n, D] -> [T, n, D].
HostTensor addStreams(const HostTensor &e, const HostTensor &h, DType result);

/// dsv4.hadamard: Sylvester-Hadamard of the last dimension n (a power of
/// two), times n^-1/2.
HostTensor hadamard(const HostTensor &x, DType result);

/// silu(min(g, limit)) * clip(u, -limit, limit) * weight, unrounded.
double clampedSwiGLU(double g, double u, double limit, double weight);

/// dsv4.swiglu: g, u of one shape.
HostTensor swiglu(const HostTensor &g, const HostTensor &u, double limit,
                  DType result);

/// dsv4.moe_combine: routed f32 [T, D] + shared [T, D].
HostTensor moeCombine(const HostTensor &routed, const HostTensor &shared,
                      DType result);

} // namespace fathom::ref

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_ELEMENTWISE_H
