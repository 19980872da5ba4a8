// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_DSV4_CACHE_OPS
#define FATHOM_DSV4_CACHE_OPS
include "dialects/DSV4/IR/DSV4Base.td"

def DSV4_ReadsCache : Arg<DSV4_CacheType, "", [DSV4_CacheRead]>;
def DSV4_WritesCache : Arg<DSV4_CacheType, "", [DSV4_CacheWrite]>;

def DSV4_WindowInsertOp : DSV4_Op<"window_insert"> {
  let summary = "store rows in the ring of the sliding window";
  let description = [{Token i goes to row `positions[i] mod rows` of slot
    `slots[i]`. The values are on the cache's grid already (fake_quantize), so
    the stored format loses nothing.}];
  let arguments = (ins DSV4_WritesCache:$cache, DSV4_Carrier:$kv /* Txd */,
                       DSV4_I32Tensor:$positions, DSV4_I32Tensor:$slots);
  let results = (outs);
}

def DSV4_CompressedInsertOp : DSV4_Op<"compressed_insert"> {
  let summary = "store the rows of completed blocks";
  let description = [{Row i becomes block `positions[i] / ratio` of its slot if
    token i completes a block, (positions[i] + 1) mod ratio = 0; else nothing
    is stored. For compressed and index caches.}];
  let arguments = (ins DSV4_WritesCache:$cache, DSV4_Carrier:$x /* Txd */,
                       DSV4_I32Tensor:$positions, DSV4_I32Tensor:$slots,
                       I64Attr:$ratio);
  let results = (outs);
}

def DSV4_CompressPoolOp : DSV4_Op<"compress_pool"> {
  let summary = "pool the blocks that end in this step";
  let description = [{
    Spec section 4. `kv` and `gate` are the raw projections of the step's
    tokens; rows of earlier tokens come from `state`, which holds what
    `state_update` stored in earlier steps. `gate` gets `ape[position mod
    ratio]` added here. With `overlap` the width is twice the result's: the
    block's own tokens use the second half of the channels, those of the
    previous block the first. Row i is the block that token i completes, and
    zero where it completes none.
  }];
  let arguments = (ins DSV4_F32Tensor:$kv /* T x cd */, DSV4_F32Tensor:$gate,
                       DSV4_Carrier:$ape /* r x cd */, DSV4_ReadsCache:$state,
                       DSV4_I32Tensor:$positions, DSV4_I32Tensor:$slots,
                       I64Attr:$ratio, UnitAttr:$overlap);
  let results = (outs DSV4_Carrier:$result /* Txd */);
}

def DSV4_StateUpdateOp : DSV4_Op<"state_update"> {
  let summary = "keep the raw projections that later blocks need";
  let description = [{Token i goes to row `positions[i] mod rows` of its slot
    unless a later token of the step goes to the same row. Comes after the
    `compress_pool` of the step.}];
  let arguments = (ins DSV4_WritesCache:$state, DSV4_F32Tensor:$kv, DSV4_F32Tensor:$gate,
                       DSV4_I32Tensor:$positions, DSV4_I32Tensor:$slots);
  let results = (outs);
}

#endif
