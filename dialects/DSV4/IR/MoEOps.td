// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_DSV4_MOE_OPS
#define FATHOM_DSV4_MOE_OPS
include "dialects/DSV4/IR/DSV4Base.td"

def DSV4_GateOp : DSV4_PureOp<"gate", [DSV4_Infers]> {
  let summary = "router scores sqrt(softplus(x W^T))";
  let arguments = (ins DSV4_Carrier:$x /* TxD */, DSV4_Carrier:$weight /* ExD */);
  let results = (outs DSV4_F32Tensor:$scores /* TxE */);
}

def DSV4_RouteTopKOp : DSV4_PureOp<"route_topk"> {
  let summary = "k experts by score + bias";
  let description = [{Ids ascend; ties go to the lower id. Weights are the scores
    without bias, divided by their sum, times `factor`.}];
  let arguments = (ins DSV4_F32Tensor:$scores, DSV4_Carrier:$bias /* E */, F64Attr:$factor);
  let results = (outs RankedTensorOf<[I32]>:$ids /* Txk */, DSV4_F32Tensor:$weights /* Txk */);
}

def DSV4_RouteHashOp : DSV4_PureOp<"route_hash", [DSV4_Infers]> {
  let summary = "k experts by a table over token ids";
  let description = [{Weights as for route_topk. The table's ids of one token
    are distinct; the result's ascend.}];
  let arguments = (ins DSV4_F32Tensor:$scores, DSV4_I32Tensor:$ids,
                       RankedTensorOf<[I32, I64]>:$table /* Vxk */, F64Attr:$factor);
  let results = (outs RankedTensorOf<[I32]>:$expert_ids /* Txk */, DSV4_F32Tensor:$weights);
}

def DSV4_ExpertsOp : DSV4_PureOp<"experts", [AttrSizedOperandSegments, DSV4_Infers]> {
  let summary = "routed experts with clamped SwiGLU";
  let description = [{
    For every token and chosen expert e: g = w1[e] x, u = w3[e] x, each rounded;
    g = min(g, limit), u = clip(u, -limit, limit); a = silu(g) * u * weight,
    rounded; with `hidden_block`, a is fake-quantised to e4m3 in such blocks;
    y = w2[e] a, rounded. The result is the sum of the y in ascending expert id,
    f32. "Rounded" is to the element type of x. Weights are stacked: ExFxD,
    ExFxD, ExDxF in the formats of `linear`, scales likewise; w1 and w3 in one format.
  }];
  let arguments = (ins DSV4_Carrier:$x /* TxD */, RankedTensorOf<[I32]>:$ids, DSV4_F32Tensor:$weights,
                       DSV4_Weight:$w1, Optional<DSV4_Scale>:$s1,
                       DSV4_Weight:$w3, Optional<DSV4_Scale>:$s3,
                       DSV4_Weight:$w2, Optional<DSV4_Scale>:$s2,
                       F64Attr:$limit, OptionalAttr<I64Attr>:$hidden_block);
  let results = (outs DSV4_F32Tensor:$result /* TxD */);
}

def DSV4_SwiGLUOp : DSV4_PureOp<"swiglu", [DSV4_Infers]> {
  let summary = "silu(min(g, limit)) * clip(u, -limit, limit)";
  let arguments = (ins DSV4_Carrier:$g, DSV4_Carrier:$u, F64Attr:$limit);
  let results = (outs DSV4_Carrier:$result);
}

def DSV4_MoECombineOp : DSV4_PureOp<"moe_combine"> {
  let summary = "routed sum plus shared expert, rounded once";
  let arguments = (ins DSV4_F32Tensor:$routed /* TxD */, DSV4_Carrier:$shared);
  let results = (outs DSV4_Carrier:$result);
}

#endif
