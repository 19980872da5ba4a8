// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Groups of sparse attention: the indexer, then attention with inverse rope.
#include "passes/DSV4ToTile/SparseAttention.h"

using namespace mlir;

namespace fathom {

namespace {
/// Members of a group, one of each; attention is there, the others may be.
struct SparseGroup {
  dsv4::AttentionOp attention;
  dsv4::RopeOp rope;
  dsv4::SelectTopKOp select;
  dsv4::IndexScoresOp scores;
  dsv4::ScaleOp scale;

  template <typename Op> static bool take(Operation &member, Op &place) {
    auto op = dyn_cast<Op>(member);
    if (!op || place)
      return false;
    place = op;
    return true;
  }
  bool take(Operation &member) {
    return take(member, attention) || take(member, rope) ||
           take(member, select) || take(member, scores) || take(member, scale);
  }
  /// Each member's result goes where the kernels expect it, and nowhere else.
  bool matches(dsv4::FusedOp group) {
    if (!attention || !select != !scores || (scale && !scores) ||
        (rope && !canRotateResult(attention, rope)))
      return false;
    if (select && (attention.getIndices() != select.getIndices() ||
                   !choosesFor(select, attention) ||
                   select.getScores() != scores.getScores() ||
                   select.getPositions() != scores.getPositions() ||
                   select.getRatio() != scores.getRatio()))
      return false;
    if (scale && (scores.getW() != scale.getResult() ||
                  !haveOneCarrier({scores.getW(), scores.getQ()})))
      return false;
    return yieldsOnly(group, {rope ? rope.getResult() : attention.getResult(),
                              select ? select.getIndices() : Value()});
  }
};
} // namespace

bool lowerSparseAttention(Lowering &l, dsv4::FusedOp group) {
  SparseGroup g;
  for (Operation &member : group.members())
    if (!g.take(member))
      return false;
  if (!g.matches(group))
    return false;
  if (g.scores)
    emitIndexer(l, g.scores, g.select, g.scale);
  Value indices = g.attention.getIndices();
  emitAttention(l, g.attention, indices ? l.buffer(indices) : Value(), g.rope);
  return true;
}

void lowerAttention(Lowering &l, dsv4::AttentionOp op) {
  Value indices = op.getIndices();
  emitAttention(l, op, indices ? l.buffer(indices) : Value(), {});
}

} // namespace fathom
