// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_TILE_MEMORY_OPS
#define FATHOM_TILE_MEMORY_OPS
include "dialects/Tile/IR/TileBase.td"

def Tile_ReadBuffer : Arg<AnyMemRef, "", [MemRead]>;
def Tile_WrittenBuffer : Arg<AnyMemRef, "", [MemWrite]>;

def Tile_SelectBufferOp : Tile_Op<"select_buffer", [Pure]> {
  let summary = "one buffer of a table";
  let arguments = (ins Tile_TableType:$table, Index:$index);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$table `[` $index `]` attr-dict `:` type($table) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_LoadOp : Tile_Op<"load", [AttrSizedOperandSegments]> {
  let summary = "a rectangle of a buffer";
  let description = [{
    `indices` (one per dimension of the buffer) are element offsets. The tile
    covers the last dimensions of the buffer; leading dimensions are indexed.
    `bounds`, if present, has one value per tile dimension: an element whose
    coordinate along that dimension is at or beyond its bound is zero and is
    not read. Without bounds the rectangle lies inside the buffer.
  }];
  let arguments = (ins Tile_ReadBuffer:$buffer, Variadic<Index>:$indices, Variadic<Index>:$bounds);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = [{$buffer `[` $indices `]` (`bounds` `[` $bounds^ `]`)? attr-dict
    `:` type($buffer) `->` type($result)}];
  let hasVerifier = 1;
}

def Tile_StoreOp : Tile_Op<"store", [AttrSizedOperandSegments]> {
  let summary = "write a rectangle of a buffer";
  let description = [{As `load`; elements at or beyond a bound are not written.}];
  let arguments = (ins Tile_Tile:$value, Tile_WrittenBuffer:$buffer, Variadic<Index>:$indices,
                       Variadic<Index>:$bounds);
  let assemblyFormat = [{$value `,` $buffer `[` $indices `]` (`bounds` `[` $bounds^ `]`)? attr-dict
    `:` type($value) `,` type($buffer)}];
  let hasVerifier = 1;
}

def Tile_GatherOp : Tile_Op<"gather"> {
  let summary = "rows of a buffer by a tile of row numbers";
  let description = [{
    Buffer RxC (or R): tile N x c (or N) whose row i is columns
    column .. column+c-1 of row rows[i]. A negative row number, and a column at
    or beyond the buffer's width, give zero and are not read.
  }];
  let arguments = (ins Tile_ReadBuffer:$buffer, Tile_IndexTile:$rows, Optional<Index>:$column);
  let results = (outs Tile_Tile:$result);
  let assemblyFormat = [{$buffer `[` $rows (`,` $column^)? `]` attr-dict
    `:` type($buffer) `,` type($rows) `->` type($result)}];
  let hasVerifier = 1;
}

def Tile_GatherScaledOp : Tile_Op<"gather_scaled"> {
  let summary = "rows of block-scaled codes, decoded";
  let description = [{
    `codes` RxC f8E4M3FN, or RxC i8 with packed e2m1 (low nibble first);
    `scales` has a power of two for every `block` values of a row. Row i of the
    tile N x c is values column .. column+c-1 of row rows[i], each times its
    scale; zero for a negative row number. f32 and bf16 hold the products
    exactly, but for scales at the ends of e8m0's range: what is too large
    becomes infinity, and what lies between two subnormals of bf16 is rounded
    as the target likes. `column` is a multiple of the smaller of `block` and c, which
    divides the other; all columns are there.
  }];
  let arguments = (ins Tile_ReadBuffer:$codes, Tile_ReadBuffer:$scales, Tile_IndexTile:$rows,
                       Optional<Index>:$column, I64Attr:$block);
  let results = (outs TensorOf<[F32, BF16]>:$result);
  let assemblyFormat = [{$codes `,` $scales `[` $rows (`,` $column^)? `]` `block` $block attr-dict
    `:` type($codes) `,` type($scales) `,` type($rows) `->` type($result)}];
  let hasVerifier = 1;
}

def Tile_ScatterOp : Tile_Op<"scatter"> {
  let summary = "write rows of a buffer by a tile of row numbers";
  let description = [{The inverse of `gather`: rows with a negative number and
    columns beyond the width are not written. Row numbers are distinct.}];
  let arguments = (ins Tile_Tile:$value, Tile_WrittenBuffer:$buffer, Tile_IndexTile:$rows,
                       Optional<Index>:$column);
  let assemblyFormat = [{$value `,` $buffer `[` $rows (`,` $column^)? `]` attr-dict
    `:` type($value) `,` type($buffer) `,` type($rows)}];
  let hasVerifier = 1;
}

#endif
