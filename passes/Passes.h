// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The passes within and between our dialects; what each does: Passes.td.
#ifndef FATHOM_PASSES_PASSES_H
#define FATHOM_PASSES_PASSES_H

#include "dialects/DSV4/IR/DSV4.h"
#include "dialects/Tile/IR/Tile.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace fathom {
#define GEN_PASS_DECL
#include "passes/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"
} // namespace fathom

#endif // FATHOM_PASSES_PASSES_H
