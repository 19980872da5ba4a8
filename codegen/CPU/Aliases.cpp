// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Aliases.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;

/// What may name the memory that is used.
static void addAliases(OpOperand &use, SmallVectorImpl<Value> &work) {
  Operation *op = use.getOwner();
  if (isa<ViewLikeOpInterface>(op) || isa<arith::SelectOp>(op)) {
    llvm::append_range(work, op->getResults());
  } else if (auto yield = dyn_cast<scf::YieldOp>(op)) {
    Operation *parent = yield->getParentOp();
    work.push_back(parent->getResult(use.getOperandNumber()));
    if (auto loop = dyn_cast<scf::ForOp>(parent))
      work.push_back(loop.getRegionIterArg(use.getOperandNumber()));
  } else if (auto loop = dyn_cast<scf::ForOp>(op)) {
    if (BlockArgument arg = loop.getTiedLoopRegionIterArg(&use)) {
      work.push_back(arg);
      work.push_back(loop.getTiedLoopResult(&use));
    }
  }
}

void fathom::cpu::forEachUse(Value buffer,
                             function_ref<void(OpOperand &)> each) {
  DenseSet<Value> seen;
  SmallVector<Value> work{buffer};
  while (!work.empty()) {
    Value value = work.pop_back_val();
    if (!value || !isa<MemRefType>(value.getType()) ||
        !seen.insert(value).second)
      continue;
    for (OpOperand &use : value.getUses()) {
      each(use);
      addAliases(use, work);
    }
  }
}
