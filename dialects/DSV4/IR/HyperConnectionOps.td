// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_DSV4_HYPER_CONNECTION_OPS
#define FATHOM_DSV4_HYPER_CONNECTION_OPS
include "dialects/DSV4/IR/DSV4Base.td"

def DSV4_HCExpandOp : DSV4_PureOp<"hc_expand"> {
  let summary = "n equal streams";
  let arguments = (ins DSV4_Carrier:$x /* TxD */);
  let results = (outs DSV4_Carrier:$result /* TxnxD */);
}

def DSV4_HCPreOp : DSV4_PureOp<"hc_pre", [DSV4_Infers]> {
  let summary = "mix of the streams into a sub-layer's input, and the mix back";
  let description = [{Spec section 2: `x` = sum_j pre_j h_j; `post` and the
    Sinkhorn-normalised `comb` (source stream x destination) stay f32.}];
  let arguments = (ins DSV4_Carrier:$h /* TxnxD */,
                       DSV4_Carrier:$fn /* (2+n)n x nD */,
                       DSV4_Carrier:$base /* (2+n)n */, DSV4_Carrier:$scale /* 3 */,
                       F64Attr:$hc_eps, F64Attr:$norm_eps, I64Attr:$iterations);
  let results = (outs DSV4_Carrier:$x /* TxD */, DSV4_F32Tensor:$post /* Txn */,
                      DSV4_F32Tensor:$comb /* Txnxn */);
}

def DSV4_HCPostOp : DSV4_PureOp<"hc_post", [DSV4_Infers]> {
  let summary = "h'_j = post_j y + sum_i comb[i,j] h_i";
  let arguments = (ins DSV4_Carrier:$y /* TxD */, DSV4_Carrier:$h /* TxnxD */,
                       DSV4_F32Tensor:$post, DSV4_F32Tensor:$comb);
  let results = (outs DSV4_Carrier:$result /* TxnxD */);
}

def DSV4_HCHeadOp : DSV4_PureOp<"hc_head", [DSV4_Infers]> {
  let summary = "final mix of the streams";
  let arguments = (ins DSV4_Carrier:$h /* RxnxD */, DSV4_Carrier:$fn /* n x nD */,
                       DSV4_Carrier:$base /* n */, DSV4_Carrier:$scale /* 1 */,
                       F64Attr:$hc_eps, F64Attr:$norm_eps);
  let results = (outs DSV4_Carrier:$result /* RxD */);
}

def DSV4_AddStreamsOp : DSV4_PureOp<"add_streams", [DSV4_Infers]> {
  let summary = "e + h_j for every stream: the MTP block's input";
  let arguments = (ins DSV4_Carrier:$e /* TxD */, DSV4_Carrier:$h /* TxnxD */);
  let results = (outs DSV4_Carrier:$result /* TxnxD */);
}

#endif
