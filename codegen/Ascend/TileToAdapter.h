// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tile kernels as modules of the level at which AscendNPU-IR takes the programs
// of tile languages. Conventions: docs/Rationale.md.
#pragma once

#include "codegen/Ascend/Target.h"
#include "dialects/Tile/IR/Tile.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace fathom::ascend {

/// First checks the budget. A module with one function: arith, math, scf,
/// memref, tensor, linalg and bufferization on builtin types, attributes of
/// builtin kinds; on the 950 also hfusion.matmul_mx. An operation without
/// translation is diagnosed.
mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>>
translateToAdapter(tile::KernelOp kernel, const Target &target);

/// Refuses, with a message on the kernel, tiles that the memories of a core
/// cannot hold.
mlir::LogicalResult verifyBudget(tile::KernelOp kernel, const Target &target);

/// Diagnoses operations of AscendNPU-IR's own in a module whose types it would
/// not check itself: hfusion.matmul_mx and the shapes of its scales.
mlir::LogicalResult verifyForeign(mlir::ModuleOp module);

/// Whether the cube unit multiplies the operands as they are stored: codes,
/// with scales that are the same for 32 of them at least.
bool multipliesCodes(tile::DotScaledOp op, const Target &target);

/// Whether the kernel multiplies matrices, so that it runs on cores of both
/// kinds.
bool usesCube(tile::KernelOp kernel);

/// As handed over: generic form, which reads alike in every version of MLIR.
std::string printAdapter(mlir::ModuleOp module);

/// Dialects that the modules are made of.
void registerAdapterDialects(mlir::DialectRegistry &registry);

} // namespace fathom::ascend
