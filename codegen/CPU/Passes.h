// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Passes of the CPU back end: tile kernels to LLVM. One file per pass.
#pragma once

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace fathom::cpu {

#define GEN_PASS_DECL
#include "codegen/CPU/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "codegen/CPU/Passes.h.inc"

/// On a lowered function: scratch memory it needs, in bytes.
constexpr llvm::StringLiteral kScratchAttr = "fathom.scratch_bytes";

/// The whole way from a module of `tile.kernel`s to the LLVM dialect.
void buildCPUPipeline(mlir::OpPassManager &pm,
                      llvm::StringRef isa = "x86-64-v3");

/// Registers the passes above and the pipeline `fathom-to-cpu`.
void registerCPUPassesAndPipelines();

/// Dialects and external models that the pipeline needs.
void registerCPUDialects(mlir::DialectRegistry &registry);

/// How tile operations become buffers (used by registerCPUDialects).
void registerTileBufferization(mlir::DialectRegistry &registry);

} // namespace fathom::cpu
