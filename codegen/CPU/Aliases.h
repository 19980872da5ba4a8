// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "mlir/IR/Value.h"

#include "llvm/ADT/STLFunctionalExtras.h"

namespace fathom::cpu {

/// Calls `each` for every use of a buffer and of what may name the same memory:
/// views, and results of control flow.
void forEachUse(mlir::Value buffer,
                llvm::function_ref<void(mlir::OpOperand &)> each);

} // namespace fathom::cpu
