// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels of the indexer and of attention, for single operations and groups.
#pragma once

#include "passes/DSV4ToTile/Lowering.h"

namespace fathom {

/// The kernel of an attention whose chosen blocks are in the buffer `indices`
/// (null: all). With `rope` it rotates its result back and gives the result of
/// that operation.
void emitAttention(Lowering &l, dsv4::AttentionOp op, Value indices,
                   dsv4::RopeOp rope);
/// Whether `rope` turns all rotated channels of the attention's result back.
bool canRotateResult(dsv4::AttentionOp op, dsv4::RopeOp rope);

/// Whether `select` chooses among the blocks that a token sees: then those that
/// it lists come first, as many as it sees or as are chosen, and -1 behind.
bool choosesFor(dsv4::SelectTopKOp select, dsv4::AttentionOp op);

/// Scores and selection without the scores of all blocks in memory. With
/// `scale`, the weights are those before scaling.
void emitIndexer(Lowering &l, dsv4::IndexScoresOp scores,
                 dsv4::SelectTopKOp select, dsv4::ScaleOp scale);

/// A group of sparse attention; false where it is none that the kernels know.
bool lowerSparseAttention(Lowering &l, dsv4::FusedOp group);

} // namespace fathom
