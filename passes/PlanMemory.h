// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where the intermediates of a step schedule lie: one workspace of fixed size
// per specialisation, in which buffers that are never alive together share
// bytes. Sizes and offsets are bytes.
#ifndef FATHOM_PASSES_PLANMEMORY_H
#define FATHOM_PASSES_PLANMEMORY_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Value.h"
#include "mlir/Support/LLVM.h"

#include <cstdint>

namespace fathom::tile {

/// Every buffer starts at a multiple of this; the workspace does, too.
constexpr int64_t kWorkspaceAlignment = 64;

/// A buffer that must keep its bytes from launch `first` to launch `last`, both
/// included. `offset` is the result.
struct PlannedBuffer {
  int64_t bytes = 0, first = 0, last = 0;
  int64_t offset = 0;
};

/// Assigns offsets, largest buffer first, each into the smallest gap between
/// the buffers that live at the same time; ties keep the order given, so the
/// plan depends on nothing else. Returns the workspace's size.
int64_t assignOffsets(llvm::MutableArrayRef<PlannedBuffer> buffers);

/// The buffer behind a chain of views that start where it starts; the value
/// itself when it is no view. Null for a view with another start.
mlir::Value viewBase(mlir::Value value);

/// Plans a function with tile.max_tokens: sets tile.offset on each alloc and
/// tile.workspace_bytes on the function. Diagnoses what it does not understand.
mlir::LogicalResult planMemory(mlir::func::FuncOp schedule);

} // namespace fathom::tile

#endif // FATHOM_PASSES_PLANMEMORY_H
