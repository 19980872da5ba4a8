// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Groups by their kind.
#include "passes/DSV4ToTile/Lowering.h"

namespace fathom {

bool lowerFused(Lowering &, dsv4::FusedOp group) {
  switch (group.getKind()) {
  default:
    return false;
  }
}

} // namespace fathom
