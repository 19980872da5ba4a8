// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_DSV4_TENSOR_OPS
#define FATHOM_DSV4_TENSOR_OPS
include "dialects/DSV4/IR/DSV4Base.td"

def DSV4_ParameterOp : DSV4_PureOp<"parameter"> {
  let summary = "a tensor of the checkpoint, by reference";
  let arguments = (ins StrAttr:$name);
  let results = (outs AnyStaticShapeTensor:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
}

def DSV4_StackedParameterOp : DSV4_PureOp<"stacked_parameter"> {
  let summary = "tensors of one shape whose names differ in a number";
  let description = [{
    `{}` in `name` stands for 0 .. E-1, E the leading dimension of the result.
    The tensors may lie anywhere in the checkpoint: a kernel gets a table of
    pointers.
  }];
  let arguments = (ins StrAttr:$name);
  let results = (outs AnyStaticShapeTensor:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
}

def DSV4_EmbedOp : DSV4_PureOp<"embed"> {
  let summary = "rows of the embedding table";
  let arguments = (ins DSV4_I32Tensor:$ids, DSV4_Carrier:$table /* VxD */);
  let results = (outs DSV4_Carrier:$result /* TxD */);
}

def DSV4_SelectRowsOp : DSV4_PureOp<"select_rows", [DSV4_Infers]> {
  let summary = "rows of the tokens whose logits are wanted";
  let arguments = (ins DSV4_Carrier:$x /* T x ... */, DSV4_I32Tensor:$rows /* R */);
  let results = (outs DSV4_Carrier:$result /* R x ... */);
}

def DSV4_RMSNormOp : DSV4_PureOp<"rms_norm"> {
  let summary = "x / sqrt(mean x^2 + eps) * weight over the last dimension";
  let arguments = (ins DSV4_Carrier:$x, DSV4_Carrier:$weight /* D */, F64Attr:$eps);
  let results = (outs DSV4_Carrier:$result);
}

def DSV4_HeadNormOp : DSV4_PureOp<"head_norm", [DSV4_Infers]> {
  let summary = "per-head norm of queries, without weight";
  let description = [{Rounds to x's element type after every step, as the
    published code does.}];
  let arguments = (ins DSV4_Carrier:$x /* TxHxd */, F64Attr:$eps);
  let results = (outs DSV4_Carrier:$result);
}

def DSV4_LinearOp : DSV4_PureOp<"linear"> {
  let summary = "y = x W^T with a plain or block-scaled weight";
  let description = [{
    | weight | scale | meaning |
    |---|---|---|
    | NxK f8E4M3FN | ceil(N/128) x ceil(K/128) f8E8M0FNU | code * scale of its 128x128 block |
    | Nx(K/2) i8 | N x K/32 f8E8M0FNU | e2m1, element 2b in the low nibble of byte b |
    | NxK bf16 or f32 | - | itself |

    `x` may have any rank of at least 2; the last dimension is contracted, in
    f32. The result has x's other dimensions and then N, which may be written as
    several dimensions (heads and their width). It is rounded once to its
    element type.
  }];
  let arguments = (ins DSV4_Carrier:$x, DSV4_Weight:$weight, Optional<DSV4_Scale>:$scale);
  let results = (outs DSV4_Carrier:$result);
}

def DSV4_GroupedLinearOp : DSV4_PureOp<"grouped_linear"> {
  let summary = "first output projection: one matrix per group of heads";
  let description = [{
    `x` TxHxd seen as Tx`groups`x(H*d/groups); `weight`
    (groups*Lo) x (H*d/groups) as for `linear`; group g of x meets rows
    g*Lo .. (g+1)*Lo-1. Result Tx(groups*Lo).
  }];
  let arguments = (ins DSV4_Carrier:$x, DSV4_Weight:$weight,
                       Optional<DSV4_Scale>:$scale, I64Attr:$groups);
  let results = (outs DSV4_Carrier:$result);
}

def DSV4_ScaleOp : DSV4_PureOp<"scale", [DSV4_Infers]> {
  let summary = "multiplication by a constant";
  let arguments = (ins DSV4_Carrier:$x, F64Attr:$factor);
  let results = (outs DSV4_Carrier:$result);
}

def DSV4_RopeTableOp : DSV4_PureOp<"rope_table", [DSV4_Infers]> {
  let summary = "cosines and sines of every token's angles";
  let description = [{
    Angle m of token i: f32(p) * f_m rounded to f32; cosine and sine of that
    f32 value, correctly rounded. p is the token's position for `block` 1, else
    max(position + 1 - block, 0): the first position of the block that the token
    completes.
  }];
  let arguments = (ins DSV4_I32Tensor:$positions, DSV4_RopeAttr:$rope, I64Attr:$block);
  let results = (outs DSV4_F32Tensor:$cos /* T x rd/2 */, DSV4_F32Tensor:$sin);
}

def DSV4_RopeOp : DSV4_PureOp<"rope", [DSV4_Infers]> {
  let summary = "rotation of the last channels, adjacent pairs";
  let arguments = (ins DSV4_Carrier:$x /* T(xH)xd */, DSV4_F32Tensor:$cos,
                       DSV4_F32Tensor:$sin, UnitAttr:$inverse);
  let results = (outs DSV4_Carrier:$result);
}

def DSV4_HadamardOp : DSV4_PureOp<"hadamard", [DSV4_Infers]> {
  let summary = "Sylvester-Hadamard transform of the last dimension, times n^-1/2";
  let arguments = (ins DSV4_Carrier:$x);
  let results = (outs DSV4_Carrier:$result);
}

def DSV4_FakeQuantizeOp : DSV4_PureOp<"fake_quantize", [DSV4_Infers]> {
  let summary = "round to a block-scaled grid and back";
  let description = [{
    The first `channels` channels of the last dimension in blocks of `block`,
    each with a power-of-two scale from its largest magnitude (spec section 8);
    the others pass through.
  }];
  let arguments = (ins DSV4_Carrier:$x, DSV4_QuantFormatAttr:$format,
                       I64Attr:$block, I64Attr:$channels);
  let results = (outs DSV4_Carrier:$result);
}

#endif
