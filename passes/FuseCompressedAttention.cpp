// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/Fusion.h"
#include "passes/PassCounts.h"

namespace fathom {
#define GEN_PASS_DEF_FUSECOMPRESSEDATTENTIONPASS
#include "passes/Passes.h.inc"
} // namespace fathom

using namespace mlir;
using namespace fathom;

/// From the pooled row to its insertion; nothing where something else reads a
/// row on the way.
static SmallVector<Operation *> compressor(dsv4::CompressPoolOp pool) {
  SmallVector<Operation *> members{pool};
  Value x = pool.getResult();
  while (x.hasOneUse()) {
    Operation *user = *x.user_begin();
    if (auto insert = dyn_cast<dsv4::CompressedInsertOp>(user)) {
      members.push_back(insert);
      return members;
    }
    if (!isa<dsv4::RMSNormOp, dsv4::RopeOp, dsv4::HadamardOp,
             dsv4::FakeQuantizeOp>(user) ||
        user->getOperand(0) != x)
      break;
    members.push_back(user);
    x = user->getResult(0);
  }
  return {};
}

namespace {
struct FuseCompressedAttention
    : fathom::impl::FuseCompressedAttentionPassBase<FuseCompressedAttention> {
  void runOnOperation() override {
    SmallVector<dsv4::CompressPoolOp> pools;
    getOperation().walk([&](dsv4::CompressPoolOp op) { pools.push_back(op); });
    FusionCounts counts;
    for (dsv4::CompressPoolOp pool : pools) {
      SmallVector<Operation *> members = compressor(pool);
      counts.add(bool(fuse(dsv4::FusionKind::CompressedAttention, members)),
                 members.size());
    }
    counts.report(*this);
  }
};
} // namespace
