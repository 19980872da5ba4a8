// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The passes within and between our dialects; what each does: Passes.td.
#ifndef FATHOM_PASSES_PASSES_H
#define FATHOM_PASSES_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace fathom {
#define GEN_PASS_DECL
#include "passes/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"
} // namespace fathom

#endif // FATHOM_PASSES_PASSES_H
