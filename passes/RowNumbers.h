// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_PASSES_ROWNUMBERS_H
#define FATHOM_PASSES_ROWNUMBERS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <cstdint>
#include <optional>

namespace fathom::tile {

/// tile.gather and tile.scatter take rows by number, in 32 bits. Diagnoses a
/// launch of `schedule` that gives a kernel a buffer of 2^31 rows or more for
/// it. `elementsOf`: the most elements of a buffer, nothing where others see to
/// it (caches: when their sizes are chosen).
mlir::LogicalResult checkRowNumbers(
    mlir::func::FuncOp schedule,
    llvm::function_ref<std::optional<int64_t>(mlir::Value)> elementsOf);

} // namespace fathom::tile

#endif // FATHOM_PASSES_ROWNUMBERS_H
