// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_PASSES
#define FATHOM_PASSES
include "mlir/Pass/PassBase.td"

def DSV4ToTilePass : Pass<"fathom-dsv4-to-tile", "::mlir::ModuleOp"> {
  let summary = "turn what the model computes into step schedules and kernels";
  let description = [{
    Every function of dsv4 operations becomes step schedules for at most 1, at
    most 16 and at most `max_step_tokens` tokens, over kernels of the tile
    dialect that the schedules of a module share.
  }];
  let dependentDialects = [
    "::fathom::tile::TileDialect", "::mlir::arith::ArithDialect",
    "::mlir::func::FuncDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"];
  let options = [ListOption<"buckets", "buckets", "int64_t",
      "tokens of a step that schedules are made for, ascending; by default 1, "
      "16 and the model's max_step_tokens">];
  let statistics = [
    Statistic<"numKernels", "kernels", "kernels written">,
    Statistic<"numLaunches", "launches", "launches over all schedules">];
}

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
