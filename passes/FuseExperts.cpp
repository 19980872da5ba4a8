// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/Fusion.h"
#include "passes/PassCounts.h"

namespace fathom {
#define GEN_PASS_DEF_FUSEEXPERTSPASS
#include "passes/Passes.h.inc"
} // namespace fathom

using namespace mlir;
using namespace fathom;

/// The definition of `value` if it is an `Op` and has no other user.
template <typename Op> static Op onlyDefinition(Value value) {
  return value.hasOneUse() ? value.getDefiningOp<Op>() : Op();
}

/// Router, routed experts, shared experts and their sum; nothing where one is
/// missing or its result is used elsewhere.
static SmallVector<Operation *> membersOf(dsv4::ExpertsOp experts) {
  auto combine = onlyUser<dsv4::MoECombineOp>(experts.getResult());
  Operation *route = experts.getIds().getDefiningOp();
  if (!combine || !route || !isa<dsv4::RouteTopKOp, dsv4::RouteHashOp>(route) ||
      experts.getWeights().getDefiningOp() != route ||
      !experts.getIds().hasOneUse() || !experts.getWeights().hasOneUse())
    return {};
  SmallVector<Operation *> members{route, experts, combine};
  auto down = onlyDefinition<dsv4::LinearOp>(combine.getShared());
  if (!down)
    return {};
  members.push_back(down);
  Value a = down.getX();
  if (auto quantise = onlyDefinition<dsv4::FakeQuantizeOp>(a)) {
    members.push_back(quantise);
    a = quantise.getX();
  }
  auto act = onlyDefinition<dsv4::SwiGLUOp>(a);
  if (!act)
    return {};
  auto gate = onlyDefinition<dsv4::LinearOp>(act.getG()),
       up = onlyDefinition<dsv4::LinearOp>(act.getU());
  if (!gate || !up || gate.getX() != up.getX())
    return {};
  members.append({act, gate, up});
  return members;
}

/// The post-mix that takes the sum, with the group that it is in.
static dsv4::HCPostOp postOf(ArrayRef<Operation *> members,
                             dsv4::FusedOp &group) {
  for (Operation *op : members)
    if (auto combine = dyn_cast<dsv4::MoECombineOp>(op))
      if (auto post = onlyUser<dsv4::HCPostOp>(combine.getResult())) {
        group = dyn_cast<dsv4::FusedOp>(post->getParentOp());
        return post;
      }
  return {};
}

namespace {
struct FuseExperts : fathom::impl::FuseExpertsPassBase<FuseExperts> {
  void runOnOperation() override {
    SmallVector<dsv4::ExpertsOp> all;
    for (Block &block : getOperation().getBody())
      llvm::append_range(all, block.getOps<dsv4::ExpertsOp>());
    FusionCounts counts;
    for (dsv4::ExpertsOp experts : all) {
      SmallVector<Operation *> members = membersOf(experts);
      dsv4::FusedOp group;
      SmallVector<Operation *> behind;
      if (dsv4::HCPostOp post = postOf(members, group)) {
        if (group)
          behind = dissolve(group);
        else
          behind.push_back(post);
      }
      SmallVector<Operation *> both(members);
      both.append(behind);
      if (fuse(dsv4::FusionKind::Experts, both)) {
        counts.add(true, both.size());
        continue;
      }
      fuse(dsv4::FusionKind::HyperConnection, behind); // as it was
      counts.add(bool(fuse(dsv4::FusionKind::Experts, members)),
                 members.size());
    }
    counts.report(*this);
  }
};
} // namespace
