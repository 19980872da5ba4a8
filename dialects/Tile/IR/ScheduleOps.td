// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_TILE_SCHEDULE_OPS
#define FATHOM_TILE_SCHEDULE_OPS
include "dialects/Tile/IR/TileBase.td"

// A step schedule is a func.func over memrefs: inputs and outputs are its
// arguments (attribute tile.port = name, tile.output on outputs), intermediates
// are memref.alloc, work is tile.launch, in order. tile.entry and
// tile.max_tokens on the function name the entry and the specialisation.

def Tile_WeightOp : Tile_Op<"weight", [Pure]> {
  let summary = "a tensor of the checkpoint as a buffer";
  let arguments = (ins StrAttr:$name);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Tile_WeightTableOp : Tile_Op<"weight_table", [Pure]> {
  let summary = "tensors of the checkpoint as a table of buffers; `{}` in the name is the number";
  let arguments = (ins StrAttr:$name);
  let results = (outs Tile_TableType:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Tile_CacheOp : Tile_Op<"cache", [Pure]> {
  let summary = "a component array of a cache";
  let arguments = (ins StrAttr:$name, StrAttr:$component);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$name $component attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Tile_LaunchOp : Tile_Op<"launch", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "run a kernel over a grid";
  let description = [{
    `grid` maps (tokens of the step, logits rows) to the number of programs along
    one to three axes; every result is a sum of terms c, d or c * (d ceildiv k).
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, AffineMapAttr:$grid,
                       Variadic<AnyType>:$operands);
  let assemblyFormat = "$kernel $grid `(` $operands `)` attr-dict `:` type($operands)";
}

#endif
