// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What passes count. LLVM as it is distributed has statistics compiled out, so
// that those of mlir::Pass stay zero.
#pragma once

#include "mlir/Pass/Pass.h"

namespace fathom {

/// Adds to what a pass has counted in this process, under its argument; from
/// any thread. Adding zero says that the pass has looked.
void addCount(const mlir::Pass &pass, llvm::StringRef what, uint64_t number);

/// A line a pass, in alphabetical order: "fathom-fuse-head: groups 1, left 0,
/// operations 4".
void printPassCounts(llvm::raw_ostream &os);

/// What a fusion pass counts: `left` are operations that groups begin with but
/// that stand in none.
struct FusionCounts {
  uint64_t groups = 0, operations = 0, left = 0;
  void add(bool made, size_t members) {
    groups += made;
    operations += made ? members : 0;
    left += !made;
  }
  void report(const mlir::Pass &pass) const;
};

} // namespace fathom
