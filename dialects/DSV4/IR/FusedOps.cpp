// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Groups. Tags refer to ../docs/Spec.md.
#include "dialects/DSV4/IR/DSV4.h"

using namespace mlir;
using namespace fathom::dsv4;

LogicalResult FusedOp::verify() {
  auto all = members();
  // fused_c1
  for (Operation &op : all)
    if (!isa<DSV4Dialect>(op.getDialect()) || isa<FusedOp>(op))
      return emitOpError() << "holds '" << op.getName()
                           << "', which is no operation of dsv4 that can be a "
                              "member";
  // fused_c2
  if (all.empty())
    return emitOpError("has no members");
  // fused_c3
  if (yielded().getTypes() != getResultTypes())
    return emitOpError() << "yields (" << yielded().getTypes()
                         << "), but its results are (" << getResultTypes()
                         << ")";
  // fused_c4
  for (auto [i, value] : llvm::enumerate(yielded()))
    if (!value.getDefiningOp() ||
        value.getDefiningOp()->getParentOp() != getOperation())
      return emitOpError() << "yields as result " << i
                           << " what is no result of a member";
  return success();
}
