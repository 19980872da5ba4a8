// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The tile dialect: how a kernel computes. Why it is so: ../docs/Rationale.md.
#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Tile/IR/TileDialect.h.inc"
#include "dialects/Tile/IR/TileEnums.h.inc"

namespace fathom::tile {
/// Schedule functions: name of the entry ("step", "mtp.0") and the number of
/// tokens a step of this specialisation may have.
constexpr llvm::StringLiteral kEntryAttr = "tile.entry";
constexpr llvm::StringLiteral kMaxTokensAttr = "tile.max_tokens";
/// Arguments of a schedule function: port name; unit attribute on outputs.
constexpr llvm::StringLiteral kPortAttr = "tile.port";
constexpr llvm::StringLiteral kOutputAttr = "tile.output";
/// On memref.alloc: byte offset in the workspace, set by memory planning; on
/// the function: its size.
constexpr llvm::StringLiteral kOffsetAttr = "tile.offset";
constexpr llvm::StringLiteral kWorkspaceAttr = "tile.workspace_bytes";
} // namespace fathom::tile

#define GET_ATTRDEF_CLASSES
#include "dialects/Tile/IR/TileAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/Tile/IR/TileTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/Tile/IR/TileOps.h.inc"
