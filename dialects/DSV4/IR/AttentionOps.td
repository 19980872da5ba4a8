// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_DSV4_ATTENTION_OPS
#define FATHOM_DSV4_ATTENTION_OPS
include "dialects/DSV4/IR/DSV4Base.td"
include "dialects/DSV4/IR/CacheOps.td"

def DSV4_IndexScoresOp : DSV4_Op<"index_scores", [DSV4_Infers]> {
  let summary = "lightning indexer: a score for every compressed block";
  let description = [{
    score[t,b] = sum_h w[t,h] * relu(q[t,h] . key_b), with q.key, the product
    and the sum over heads each rounded to q's element type. Entries of blocks
    that are not visible (b >= (position+1)/ratio) are unspecified.
  }];
  let arguments = (ins DSV4_Carrier:$q /* TxHixdi */, DSV4_Carrier:$w /* TxHi */,
                       DSV4_ReadsCache:$cache, DSV4_I32Tensor:$positions,
                       DSV4_I32Tensor:$slots, I64Attr:$ratio);
  let results = (outs DSV4_F32Tensor:$scores /* T x rows */);
}

def DSV4_SelectTopKOp : DSV4_PureOp<"select_topk", [DSV4_Infers]> {
  let summary = "the k best visible blocks, ascending, then -1";
  let description = [{Visible: b < (position+1)/ratio. Ties go to the lower
    index; all visible blocks if there are no more than k.}];
  let arguments = (ins DSV4_F32Tensor:$scores /* TxNb */, DSV4_I32Tensor:$positions,
                       I64Attr:$k, I64Attr:$ratio);
  let results = (outs RankedTensorOf<[I32]>:$indices /* Txk */);
}

def DSV4_AttentionOp : DSV4_Op<"attention", [AttrSizedOperandSegments]> {
  let summary = "hybrid attention over window, compressed rows and sink";
  let description = [{
    Spec section 3. Keys of the token at position t: window rows s with
    t - window < s <= t; of `compressed`, with `indices` the listed blocks,
    without them every b < (t+1)/ratio. K = V = the row. `softmax` has one more
    logit, sink[h], without a value and not scaled. Probabilities are rounded to
    the result's element type before they meet the values; the denominator
    stays f32. No inverse rope.
  }];
  let arguments = (ins DSV4_Carrier:$q /* TxHxd */, DSV4_ReadsCache:$windowCache,
                       Optional<DSV4_CacheType>:$compressed,
                       Optional<RankedTensorOf<[I32]>>:$indices /* Txk */,
                       DSV4_Carrier:$sink /* H */, DSV4_I32Tensor:$positions,
                       DSV4_I32Tensor:$slots,
                       I64Attr:$window, I64Attr:$ratio, F64Attr:$scale);
  let results = (outs DSV4_Carrier:$result /* TxHxd */);
}

#endif
