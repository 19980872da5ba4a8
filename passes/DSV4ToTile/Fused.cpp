// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Groups by their kind.
#include "passes/DSV4ToTile/SparseAttention.h"

using namespace mlir;

namespace fathom {

bool hasOnly(dsv4::FusedOp group, ArrayRef<Operation *> members) {
  return llvm::all_of(group.members(), [&](Operation &op) {
    return llvm::is_contained(members, &op);
  });
}

bool yieldsOnly(dsv4::FusedOp group, ArrayRef<Value> results) {
  return llvm::all_of(group.yielded(), [&](Value value) {
    return llvm::is_contained(results, value);
  });
}

bool haveOneCarrier(ArrayRef<Value> values) {
  return llvm::all_equal(
      llvm::map_range(values, [](Value v) { return getElementTypeOrSelf(v); }));
}

bool lowerFused(Lowering &l, dsv4::FusedOp group) {
  switch (group.getKind()) {
  case dsv4::FusionKind::SparseAttention:
    return lowerSparseAttention(l, group);
  case dsv4::FusionKind::HyperConnection:
    return lowerHyperConnection(l, group);
  case dsv4::FusionKind::Experts:
    return lowerFusedExperts(l, group);
  case dsv4::FusionKind::AttentionInput:
    return lowerAttentionInput(l, group);
  case dsv4::FusionKind::CompressedAttention:
    return lowerCompressor(l, group);
  case dsv4::FusionKind::Head:
    return lowerHead(l, group);
  }
  return false;
}

} // namespace fathom
