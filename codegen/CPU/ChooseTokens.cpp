// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/MicroKernels.h"
#include "codegen/CPU/Passes.h"
#include "dialects/Tile/IR/TokenLoops.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_CHOOSETOKENSPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;
using namespace fathom;

/// The loop that covers what comes before or after, if there is one.
static scf::ForOp neighbour(scf::ForOp loop, bool after) {
  for (Operation *op = loop;
       (op = after ? op->getNextNode() : op->getPrevNode());) {
    auto other = dyn_cast<scf::ForOp>(op);
    if (!other || !other->hasAttr(tile::kTokensAttr))
      continue;
    scf::ForOp first = after ? loop : other, second = after ? other : loop;
    return first.getUpperBound() == second.getLowerBound() ? other
                                                           : scf::ForOp();
  }
  return {};
}

namespace {
struct ChooseTokens : cpu::impl::ChooseTokensPassBase<ChooseTokens> {
  using ChooseTokensPassBase::ChooseTokensPassBase;
  void runOnOperation() override {
    cpu::Target target;
    target.level = cpu::levelOf(isa).value_or(cpu::Level::V3);
    SmallVector<scf::ForOp> loops;
    getOperation().walk([&](scf::ForOp loop) {
      if (loop->hasAttr(tile::kTokensAttr))
        loops.push_back(loop);
    });
    for (scf::ForOp loop : loops) {
      auto tokens = loop->getAttrOfType<IntegerAttr>(tile::kTokensAttr);
      if (!tokens || target.takesTokens(tokens.getInt()))
        continue;
      if (scf::ForOp next = neighbour(loop, /*after=*/true))
        next.setLowerBound(loop.getLowerBound());
      else if (scf::ForOp last = neighbour(loop, /*after=*/false))
        last.setUpperBound(loop.getUpperBound());
      else
        continue;
      loop.erase();
    }
  }
};
} // namespace
