// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/DSV4ToTile/SparseAttention.h"
#include "passes/Fusion.h"
#include "passes/PassCounts.h"

namespace fathom {
#define GEN_PASS_DEF_FUSESPARSEATTENTIONPASS
#include "passes/Passes.h.inc"
} // namespace fathom

using namespace mlir;
using namespace fathom;

/// The operation that gives `value`, if it is an `Op` that gives it to one
/// user.
template <typename Op> static Op onlySource(Value value) {
  if (!value || !value.hasOneUse())
    return {};
  return value.getDefiningOp<Op>();
}

namespace {
struct FuseSparseAttention
    : fathom::impl::FuseSparseAttentionPassBase<FuseSparseAttention> {
  void runOnOperation() override {
    SmallVector<dsv4::AttentionOp> all;
    getOperation().walk([&](dsv4::AttentionOp op) { all.push_back(op); });
    FusionCounts counts;
    uint64_t saved = 0;
    for (dsv4::AttentionOp op : all) {
      SmallVector<Operation *> members{op};
      unsigned kernels = 0;
      if (auto rope = onlyUser<dsv4::RopeOp>(op.getResult());
          rope && canRotateResult(op, rope)) {
        members.push_back(rope);
        ++kernels;
      }
      auto select = onlySource<dsv4::SelectTopKOp>(op.getIndices());
      auto scores = select ? onlySource<dsv4::IndexScoresOp>(select.getScores())
                           : dsv4::IndexScoresOp();
      if (scores && select.getPositions() == scores.getPositions() &&
          select.getRatio() == scores.getRatio() && choosesFor(select, op)) {
        members.append({select, scores});
        if (auto scale = onlySource<dsv4::ScaleOp>(scores.getW())) {
          members.push_back(scale);
          ++kernels;
        }
      }
      bool made = bool(fuse(dsv4::FusionKind::SparseAttention, members));
      counts.add(made, members.size());
      saved += made ? kernels : 0;
    }
    counts.report(*this);
    addCount(*this, "saved", saved);
  }
};
} // namespace
