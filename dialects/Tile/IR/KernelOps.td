// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_TILE_KERNEL_OPS
#define FATHOM_TILE_KERNEL_OPS
include "dialects/Tile/IR/TileBase.td"

def Tile_KernelOp : Tile_Op<"kernel", [IsolatedFromAbove, FunctionOpInterface, Symbol]> {
  let summary = "a grid of programs over buffers";
  let description = [{
    Arguments are memrefs (identity layout, only the leading dimension may be
    dynamic), tables of them, and counts of type `index`. One block, ended by
    `tile.return`. The kernel reads an argument or writes it, never both; a
    buffer selected from a table counts as the table.

    ```mlir
    tile.kernel @double(%x: memref<?x64xf32>, %y: memref<?x64xf32>) {
      %i = tile.program_id 0
      %zero = arith.constant 0 : index
      %v = tile.load %x[%i, %zero] : memref<?x64xf32> -> tensor<64xf32>
      %w = arith.addf %v, %v : tensor<64xf32>
      tile.store %w, %y[%i, %zero] : tensor<64xf32>, memref<?x64xf32>
      tile.return
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name,
                       TypeAttrOf<FunctionType>:$function_type,
                       OptionalAttr<DictArrayAttr>:$arg_attrs,
                       OptionalAttr<DictArrayAttr>:$res_attrs);
  let regions = (region AnyRegion:$body);
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "::mlir::FunctionType":$type)>];
  let extraClassDeclaration = [{
    ::llvm::ArrayRef<::mlir::Type> getArgumentTypes() { return getFunctionType().getInputs(); }
    ::llvm::ArrayRef<::mlir::Type> getResultTypes() { return getFunctionType().getResults(); }
    ::mlir::Region *getCallableRegion() { return &getBody(); }
  }];
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let skipDefaultBuilders = 1;
}

def Tile_ReturnOp : Tile_Op<"return", [Pure, HasParent<"KernelOp">, Terminator]> {
  let summary = "end of a program";
  let assemblyFormat = "attr-dict";
}

def Tile_CallOp : Tile_Op<"call", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "run a program of another kernel";
  let description = [{
    The program at (`x`, `y`, `z`) of `kernel`'s grid, on arguments of the kernel
    that calls. A kernel that is called calls none.

    ```mlir
    tile.call @double(%x, %y) at (%i, %zero, %zero) : memref<?x64xf32>, memref<?x64xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Index:$x, Index:$y, Index:$z,
                       Variadic<AnyType>:$passed);
  let assemblyFormat = "$kernel `(` $passed `)` `at` `(` $x `,` $y `,` $z `)` attr-dict `:` type($passed)";
}

def Tile_ProgramIdOp : Tile_Op<"program_id", [Pure]> {
  let summary = "the program's place along one axis (0, 1, 2) of the grid";
  let arguments = (ins ConfinedAttr<I32Attr, [IntMinValue<0>, IntMaxValue<2>]>:$axis);
  let results = (outs Index:$result);
  let assemblyFormat = "$axis attr-dict";
}

#endif
