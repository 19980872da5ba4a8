// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/Fusion.h"
#include "passes/PassCounts.h"

namespace fathom {
#define GEN_PASS_DEF_FUSEHYPERCONNECTIONPASS
#include "passes/Passes.h.inc"
} // namespace fathom

using namespace mlir;
using namespace fathom;

/// What stands around a mix: before it the post-mix and the matrix that makes
/// its input, or the embedding that the streams begin as, behind it the norm
/// with a quantisation point and a router.
static SmallVector<Operation *> membersOf(dsv4::HCPreOp pre) {
  auto norm = onlyUser<dsv4::RMSNormOp>(pre.getX());
  if (!norm)
    return {};
  SmallVector<Operation *> members{pre, norm};
  Operation *quantise = nullptr, *gate = nullptr;
  for (Operation *user : norm.getResult().getUsers()) {
    if (isa<dsv4::FakeQuantizeOp>(user) && !quantise)
      members.push_back(quantise = user);
    else if (isa<dsv4::GateOp>(user) && !gate)
      members.push_back(gate = user);
  }
  if (auto expand = pre.getH().getDefiningOp<dsv4::HCExpandOp>()) {
    members.push_back(expand);
    auto embed = expand.getX().getDefiningOp<dsv4::EmbedOp>();
    if (embed && embed->hasOneUse())
      members.push_back(embed);
  }
  auto post = pre.getH().getDefiningOp<dsv4::HCPostOp>();
  if (!post)
    return members;
  members.push_back(post);
  auto linear = post.getY().getDefiningOp<dsv4::LinearOp>();
  auto isMatrix = [](Value v) {
    return cast<RankedTensorType>(v.getType()).getRank() == 2;
  };
  if (linear && linear->hasOneUse() && isMatrix(linear.getX()) &&
      isMatrix(linear.getResult())) {
    members.push_back(linear);
    auto input = linear.getX().getDefiningOp<dsv4::FakeQuantizeOp>();
    if (input && input->hasOneUse())
      members.push_back(input);
  }
  return members;
}

namespace {
struct FuseHyperConnection
    : fathom::impl::FuseHyperConnectionPassBase<FuseHyperConnection> {
  void runOnOperation() override {
    SmallVector<dsv4::HCPreOp> mixes;
    for (Block &block : getOperation().getBody())
      llvm::append_range(mixes, block.getOps<dsv4::HCPreOp>());
    FusionCounts counts;
    for (dsv4::HCPreOp pre : mixes) {
      SmallVector<Operation *> members = membersOf(pre);
      counts.add(bool(fuse(dsv4::FusionKind::HyperConnection, members)),
                 members.size());
    }
    counts.report(*this);
  }
};
} // namespace
