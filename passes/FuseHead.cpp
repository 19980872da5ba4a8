// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/Fusion.h"
#include "passes/PassCounts.h"

namespace fathom {
#define GEN_PASS_DEF_FUSEHEADPASS
#include "passes/Passes.h.inc"
} // namespace fathom

using namespace mlir;
using namespace fathom;

namespace {
struct FuseHead : fathom::impl::FuseHeadPassBase<FuseHead> {
  void runOnOperation() override {
    SmallVector<dsv4::SelectRowsOp> starts;
    getOperation().walk([&](dsv4::SelectRowsOp op) { starts.push_back(op); });
    FusionCounts counts;
    for (dsv4::SelectRowsOp select : starts) {
      auto mix = onlyUser<dsv4::HCHeadOp>(select.getResult());
      auto norm = mix ? onlyUser<dsv4::RMSNormOp>(mix.getResult()) : nullptr;
      auto linear = norm ? onlyUser<dsv4::LinearOp>(norm.getResult()) : nullptr;
      counts.add(linear &&
                     fuse(dsv4::FusionKind::Head, {select, mix, norm, linear}),
                 4);
    }
    counts.report(*this);
  }
};
} // namespace
