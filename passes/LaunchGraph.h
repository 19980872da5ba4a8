// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which launches of a step schedule depend on which.
#ifndef FATHOM_PASSES_LAUNCHGRAPH_H
#define FATHOM_PASSES_LAUNCHGRAPH_H

#include "passes/Passes.h"
#include "passes/PlanMemory.h"

namespace fathom {

/// The launches of a schedule by level: a launch stands one level after the
/// last of those that it depends on, so the launches of a level are independent
/// and as many levels as the longest chain has are enough. Two launches depend
/// on each other when one writes memory that the other reads or writes: a
/// buffer of the schedule or a port, seen through views, or a component of a
/// cache. Within a level the launches keep their order.
llvm::SmallVector<llvm::SmallVector<tile::LaunchOp>>
launchLevels(mlir::func::FuncOp schedule);

} // namespace fathom

#endif // FATHOM_PASSES_LAUNCHGRAPH_H
