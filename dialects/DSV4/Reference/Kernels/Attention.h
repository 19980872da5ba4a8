// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Indexer, selection and hybrid attention (spec sections 3 and 5).
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_ATTENTION_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_ATTENTION_H

#include "dialects/DSV4/Reference/Kernels/Cache.h"

namespace fathom::ref {

/// dsv4.index_scores: q [T, Hi, di], w [T, Hi]; result f32 [T, cache.rows()].
/// Every intermediate is rounded to q's format. Entries of blocks that are not
/// visible (b >= (position+1)/ratio) are -inf here, unspecified in general.
HostTensor indexScores(const HostTensor &q, const HostTensor &w,
                       const RowCache &cache, const HostTensor &positions,
                       const HostTensor &slots, int64_t ratio);

/// dsv4.select_topk: scores f32 [T, Nb] -> i32 [T, k]: the k best visible
/// blocks in ascending order, then -1. Ties go to the lower index; a NaN
/// counts as -inf.
HostTensor selectTopK(const HostTensor &scores, const HostTensor &positions,
                      int64_t k, int64_t ratio);

/// dsv4.attention: q [T, H, d] -> [T, H, d]. `compressed` may be null (then
/// `indices` is too); with `indices` [T, k] i32 (-1: none) only those blocks
/// are visible, without them all b < (position+1)/ratio. sink f32 [H].
HostTensor attention(const HostTensor &q, const RowCache &windowCache,
                     const RowCache *compressed, const HostTensor *indices,
                     const HostTensor &sink, const HostTensor &positions,
                     const HostTensor &slots, int64_t window, int64_t ratio,
                     double scale, DType result);

} // namespace fathom::ref

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_ATTENTION_H
