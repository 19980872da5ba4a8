// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_CODEGEN_CPU_PASSES
#define FATHOM_CODEGEN_CPU_PASSES
include "mlir/Pass/PassBase.td"

def ChooseTokensPass : Pass<"fathom-cpu-choose-tokens", "::mlir::ModuleOp"> {
  let summary = "leave out tiles of tokens that a level has no use for";
  let description = [{Loops over tokens with smaller and smaller tiles
    (dialects/Tile/IR/TokenLoops.h): what one covers that is left out goes to
    the next, or to the one before if it is the last.}];
  let options = [Option<"isa", "isa", "std::string", "\"x86-64-v3\"",
                        "instruction-set level">];
}

def LowerKernelsPass : Pass<"fathom-cpu-lower-kernels", "::mlir::ModuleOp"> {
  let summary = "turn tile.kernel into func.func";
  let description = [{The program's place in the grid becomes three trailing
    `index` arguments; later passes see ordinary functions over buffers. A
    `tile.call` becomes a `func.call`, its kernel a declaration where the module
    lacks it. Schedules (`tile.entry`) go: they are for the runtime.}];
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

def TileToLinalgPass : Pass<"fathom-tile-to-linalg", "::mlir::ModuleOp"> {
  let summary = "elementwise tile arithmetic and shape changes as linalg";
  let description = [{Elementwise `arith`/`math` on tensors, broadcast,
    transpose, iota and splats become `linalg.generic` and are fused; reshape
    becomes `tensor.collapse_shape`/`expand_shape`. Memory operations, dots,
    reductions and packing stay tile operations.}];
  let dependentDialects = ["::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect",
                           "::mlir::arith::ArithDialect"];
}

def CarryInPlacePass : Pass<"fathom-cpu-carry-in-place", "::mlir::ModuleOp"> {
  let summary = "loop-carried tiles return in the buffer they came in";
  let description = [{Each tensor that an `scf.for` carries is materialised in
    the iteration argument at the end of the body: no buffer is born in one
    iteration and read in the next, so all scratch memory is static. Tensors
    that change places are copied before.}];
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect"];
}

def BufferizePass : Pass<"fathom-cpu-bufferize", "::mlir::ModuleOp"> {
  let summary = "tiles become buffers, tile operations become vector loops";
  let dependentDialects = ["::mlir::bufferization::BufferizationDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::amx::AMXDialect"];
  let options = [Option<"isa", "isa", "std::string", "\"x86-64-v3\"",
                        "instruction-set level that micro-kernels are sized for">];
}

def FillInPlacePass : Pass<"fathom-cpu-fill-in-place", "::mlir::ModuleOp"> {
  let summary = "what is made to become a part of a buffer is made there";
  let description = [{A buffer that is filled, then copied to a constant part of
    another and no longer used, is that part from the start, if nothing looks at
    the other in between.}];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def LinalgToVectorLoopsPass : Pass<"fathom-cpu-linalg-to-vector-loops", "::mlir::ModuleOp"> {
  let summary = "elementwise linalg on buffers as loops over short vectors";
  let dependentDialects = ["::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect",
    "::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect"];
}

def PackScratchPass : Pass<"fathom-cpu-pack-scratch", "::mlir::ModuleOp"> {
  let summary = "place all allocations of a function in one scratch argument";
  let description = [{Allocations whose lifetimes do not meet share memory. The
    size is left in the attribute `fathom.scratch_bytes` of the function, whose
    last argument becomes the scratch memory. A function that calls has none of
    its own and passes it on.}];
  let dependentDialects = ["::mlir::memref::MemRefDialect", "::mlir::arith::ArithDialect"];
}

def ExpandFloatsPass : Pass<"fathom-cpu-expand-floats", "::mlir::ModuleOp"> {
  let summary = "exact integer forms of conversions to and from narrow floats";
  let description = [{bf16, f8E4M3FN, f8E8M0FNU and f4E2M1FN. Upstream lowers
    some of them wrongly, some slowly and some not at all.}];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::vector::VectorDialect"];
}

def BF16AsBitsPass : Pass<"fathom-cpu-bf16-as-bits", "::mlir::ModuleOp"> {
  let summary = "what only moves bf16 moves 16-bit integers";
  let description = [{On the LLVM dialect. Other operations get a cast before and after.}];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def ApproximateMathPass : Pass<"fathom-cpu-approximate-math", "::mlir::ModuleOp"> {
  let summary = "polynomials for exp, log, log1p and others";
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::vector::VectorDialect",
                           "::mlir::math::MathDialect"];
}

def KernelABIPass : Pass<"fathom-cpu-kernel-abi", "::mlir::ModuleOp"> {
  let summary = "the calling convention of runtime/format (CpuKernel)";
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::arith::ArithDialect"];
}

#endif
