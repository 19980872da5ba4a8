// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Groups by their kind.
#include "passes/DSV4ToTile/SparseAttention.h"

namespace fathom {

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
