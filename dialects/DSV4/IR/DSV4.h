// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The dsv4 dialect: what the model computes. Contracts: ../docs/Spec.md.
#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/DSV4/IR/DSV4Dialect.h.inc"
#include "dialects/DSV4/IR/DSV4Enums.h.inc"

namespace fathom::dsv4 {
/// Caches are the only state that operations touch.
struct CacheResource : mlir::SideEffects::Resource::Base<CacheResource> {
  llvm::StringRef getName() final { return "dsv4.cache"; }
};
/// Whether the types are pairwise tensors of one element type and rank, with
/// equal dimensions wherever both are static.
bool agree(mlir::TypeRange left, mlir::TypeRange right);
/// Names of the module and function attributes that the dialect knows.
constexpr llvm::StringLiteral kModelAttrName = "dsv4.model";
/// On a function argument of cache type: the cache's name, "layers.3.window".
constexpr llvm::StringLiteral kCacheNameAttr = "dsv4.cache_name";
} // namespace fathom::dsv4

#define GET_ATTRDEF_CLASSES
#include "dialects/DSV4/IR/DSV4Attrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/DSV4/IR/DSV4Types.h.inc"
#define GET_OP_CLASSES
#include "dialects/DSV4/IR/DSV4Ops.h.inc"
