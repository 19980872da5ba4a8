// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_TILE_BASE
#define FATHOM_TILE_BASE

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/Interfaces/FunctionInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

def Tile_Dialect : Dialect {
  let name = "tile";
  let cppNamespace = "::fathom::tile";
  let summary = "How one kernel computes, on static tiles";
  let description = [{
    A kernel is a grid of independent programs. A program works on tiles:
    tensors of static shape whose dimensions are powers of two. Elementwise
    work and control flow are upstream `arith`, `math` and `scf` on such
    tensors; scalars are read with `memref.load`. Buffers are memrefs whose
    leading dimension may be dynamic. There are no threads, no shared memory
    and no barriers. One buffer is either read or written by a kernel, never
    both, so the order of loads and stores in a program does not matter.
    Why it is so: docs/Rationale.md.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

class Tile_Op<string mnemonic, list<Trait> traits = []> : Op<Tile_Dialect, mnemonic, traits>;

def Tile_DotForm : I32EnumAttr<"DotForm", "which dimensions a dot contracts", [
    I32EnumAttrCase<"NT", 0, "nt">,   // lhs MxK, rhs NxK
    I32EnumAttrCase<"NN", 1, "nn">,   // lhs MxK, rhs KxN
    I32EnumAttrCase<"TN", 2, "tn">]> { // lhs KxM, rhs KxN
  let cppNamespace = "::fathom::tile";
  let genSpecializedAttr = 0;
}
def Tile_DotFormAttr : EnumAttr<Tile_Dialect, Tile_DotForm, "form"> {
  let assemblyFormat = "`<` $value `>`";
}
def Tile_ReduceKind : I32EnumAttr<"ReduceKind", "combiner of a reduction", [
    I32EnumAttrCase<"Add", 0, "add">,
    I32EnumAttrCase<"Max", 1, "max">,
    I32EnumAttrCase<"Min", 2, "min">]> {
  let cppNamespace = "::fathom::tile";
  let genSpecializedAttr = 0;
}
def Tile_ReduceKindAttr : EnumAttr<Tile_Dialect, Tile_ReduceKind, "kind"> {
  let assemblyFormat = "`<` $value `>`";
}

def Tile_TableType : TypeDef<Tile_Dialect, "Table"> {
  let mnemonic = "table";
  let summary = "buffers of one type that lie anywhere in memory";
  let parameters = (ins "int64_t":$count, "::mlir::MemRefType":$buffer);
  let assemblyFormat = "`<` $count `of` $buffer `>`";
  let genVerifyDecl = 1;
}

def Tile_Tile : StaticShapeTensorOf<[AnySignlessInteger, AnyFloat]>;
def Tile_IndexTile : TensorOf<[I32]>;

#endif
