// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The entry that goes from the logits of a step to the inputs of the next one.
#pragma once

#include "passes/DSV4ToTile/Lowering.h"

namespace fathom {

/// Adds the schedule of entry "greedy" for steps of at most `maxTokens`
/// sequences: for each row of logits [R, vocabulary] the id of the largest (of
/// equal ones the lowest, NaN never) goes to ids[r], and positions[r] becomes
/// one more.
void addGreedySchedule(OpBuilder &b, Location loc, KernelCache &kernels,
                       const TileShapes &shapes, int64_t vocabulary,
                       int64_t maxTokens);

} // namespace fathom
