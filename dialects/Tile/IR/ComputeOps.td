// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_TILE_COMPUTE_OPS
#define FATHOM_TILE_COMPUTE_OPS
include "dialects/Tile/IR/TileBase.td"

def Tile_DotOp : Tile_Op<"dot", [Pure, AllTypesMatch<["acc", "result"]>,
                                 AttrSizedOperandSegments]> {
  let summary = "acc + product of two tiles, in f32";
  let description = [{
    | form | lhs | rhs | acc, result |
    |---|---|---|---|
    | nt | MxK | NxK | MxN |
    | nn | MxK | KxN | MxN |
    | tn | KxM | KxN | MxN |

    Operands f32 or bf16, products exact, sums in f32. One element of the
    result depends on its row and column alone and is summed in an order that
    depends on K and on the form, never on M or N.

    With `columns` only the first so many columns of the result are asked for:
    the others may be anything.

    With `rows` a to b only rows a .. b-1 of lhs matter. In forms nt and nn the
    other rows of the result may be anything; in form tn the other rows of lhs
    are zero and those of rhs finite, so that they add nothing.
  }];
  let arguments = (ins Tile_Tile:$lhs, Tile_Tile:$rhs, TensorOf<[F32]>:$acc,
                       Optional<Index>:$columns, Optional<Index>:$from,
                       Optional<Index>:$to, Tile_DotFormAttr:$form);
  let results = (outs TensorOf<[F32]>:$result);
  let assemblyFormat = [{$form $lhs `,` $rhs `,` $acc (`columns` $columns^)?
    (`rows` $from^ `to` $to)? attr-dict
    `:` type($lhs) `,` type($rhs) `,` type($acc)}];
  let hasVerifier = 1;
}

def Tile_DotScaledOp : Tile_Op<"dot_scaled", [Pure, AllTypesMatch<["acc", "result"]>,
                                              AttrSizedOperandSegments]> {
  let summary = "acc + (block-scaled weight tile) x (tokens)^T";
  let description = [{
    `weight` MxK f8E4M3FN, or Mx(K/2) i8 with packed e2m1 (low nibble first);
    `scale` a tile f8E8M0FNU whose dimensions divide M and K: element (i,j)
    scales a block of (M/rows)x(K/columns) weights. `x` NxK, result MxN. `x` is
    f32 or bf16, or f8E4M3FN with `x_scale`, a tile f8E8M0FNU of N rows whose
    columns divide K: element (n,j) scales K/columns codes of row n.

    Products of decoded operands are exact, sums in f32. One element of the
    result is the sum of its row and column, in an order that may depend on K,
    on the formats, on the scales' blocks along K and on the weight tile, its M
    and its scales; never on N or on the tokens.

    `columns` as for `dot`.
  }];
  let arguments = (ins Tile_Tile:$weight, TensorOf<[F8E8M0FNU]>:$scale, Tile_Tile:$x,
                       TensorOf<[F32]>:$acc, Optional<TensorOf<[F8E8M0FNU]>>:$x_scale,
                       Optional<Index>:$columns);
  let results = (outs TensorOf<[F32]>:$result);
  let assemblyFormat = [{$weight `,` $scale `,` $x (`scaled` $x_scale^)? `,` $acc
    (`columns` $columns^)? attr-dict
    `:` type($weight) `,` type($scale) `,` type($x) (`scaled` type($x_scale)^)? `,` type($acc)}];
  let hasVerifier = 1;
}

def Tile_ReduceOp : Tile_Op<"reduce", [Pure, InferTypeOpAdaptor]> {
  let summary = "reduce one dimension, which vanishes; one fixed order";
  let arguments = (ins Tile_Tile:$x, Tile_ReduceKindAttr:$kind, I64Attr:$dim);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$kind $x attr-dict `:` type($x)";
  let hasVerifier = 1;
}

def Tile_ScanOp : Tile_Op<"scan", [Pure, SameOperandsAndResultType]> {
  let summary = "inclusive prefix sum of an integer tile along one dimension";
  let arguments = (ins TensorOf<[I32]>:$x, I64Attr:$dim);
  let results = (outs TensorOf<[I32]>:$result);
  let assemblyFormat = "$x attr-dict `:` type($x)";
  let hasVerifier = 1;
}

def Tile_BroadcastOp : Tile_Op<"broadcast", [Pure]> {
  let summary = "repeat a tile along new dimensions";
  let description = [{`dims` are the dimensions of the result that the operand
    does not have, ascending; the others are the operand's, in order.}];
  let arguments = (ins Tile_Tile:$x, DenseI64ArrayAttr:$dims);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$x `dims` $dims attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_ReshapeOp : Tile_Op<"reshape", [Pure]> {
  let summary = "the same elements in row-major order in another shape";
  let arguments = (ins Tile_Tile:$x);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_TransposeOp : Tile_Op<"transpose", [Pure, InferTypeOpAdaptor]> {
  let summary = "permuted dimensions: result dimension i is operand dimension permutation[i]";
  let arguments = (ins Tile_Tile:$x, DenseI64ArrayAttr:$permutation);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$x $permutation attr-dict `:` type($x)";
  let hasVerifier = 1;
}

def Tile_IotaOp : Tile_Op<"iota", [Pure]> {
  let summary = "0, 1, 2, ... along the only dimension";
  let results = (outs TensorOf<[I32]>:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Tile_DeinterleaveOp : Tile_Op<"deinterleave", [Pure, InferTypeOpAdaptor]> {
  let summary = "even and odd elements of the last dimension";
  let arguments = (ins Tile_Tile:$x);
  let results = (outs Tile_Tile:$even, Tile_Tile:$odd);
  let assemblyFormat = "$x attr-dict `:` type($x)";
  let hasVerifier = 1;
}

def Tile_InterleaveOp : Tile_Op<"interleave", [Pure, AllTypesMatch<["even", "odd"]>, InferTypeOpAdaptor]> {
  let summary = "the inverse of deinterleave";
  let arguments = (ins Tile_Tile:$even, Tile_Tile:$odd);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = "$even `,` $odd attr-dict `:` type($even)";
  let hasVerifier = 1;
}

def Tile_UnpackFP4Op : Tile_Op<"unpack_fp4", [Pure]> {
  let summary = "values of packed e2m1 codes, low nibble first";
  let arguments = (ins TensorOf<[I8]>:$x /* ... x B */);
  let results = (outs TensorOf<[F32, BF16]>:$result /* ... x 2B */);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_PackFP4Op : Tile_Op<"pack_fp4", [Pure]> {
  let summary = "round to e2m1 (nearest even code, saturating) and pack two a byte";
  let arguments = (ins TensorOf<[F32]>:$x /* ... x 2B */);
  let results = (outs TensorOf<[I8]>:$result /* ... x B */);
  let assemblyFormat = "$x attr-dict `:` type($x) `->` type($result)";
  let hasVerifier = 1;
}

#endif
