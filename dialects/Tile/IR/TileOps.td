// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_TILE_OPS
#define FATHOM_TILE_OPS

include "dialects/Tile/IR/TileBase.td"
include "dialects/Tile/IR/KernelOps.td"
include "dialects/Tile/IR/MemoryOps.td"
include "dialects/Tile/IR/ComputeOps.td"
include "dialects/Tile/IR/ScheduleOps.td"

#endif
