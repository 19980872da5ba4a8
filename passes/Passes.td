// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_PASSES
#define FATHOM_PASSES
include "mlir/Pass/PassBase.td"

def PlanMemoryPass : Pass<"fathom-plan-memory", "::mlir::ModuleOp"> {
  let summary = "place the intermediates of step schedules in a workspace";
  let description = [{
    For every function with `tile.entry`: finds from which launch to which each
    `memref.alloc` is used, through views, and packs the allocs into one
    workspace. Sizes are those at `tile.max_tokens` tokens; offsets are
    multiples of 64 bytes. Sets `tile.offset` on allocs and
    `tile.workspace_bytes` on the function.
  }];
  let dependentDialects = [];
}

#endif
