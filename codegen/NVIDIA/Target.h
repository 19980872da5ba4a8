// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the compiler must know of an NVIDIA architecture.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>

namespace fathom::nvidia {

struct Target {
  const char *name;    // "sm_90"
  int number;          // 90
  int64_t sharedBytes; // that one block may have
  /// Conversions to and from f8E4M3FN exist; below, codes are integers.
  bool hasE4M3;
  bool hasTMA;
  /// Least M and N of a block-scaled product on tensor cores; 0: there is none.
  int64_t scaledM, scaledN;
  /// Names of the tensor instructions that a matrix product must become.
  const char *tensorInstructions[2];
};

/// All of them, ascending.
llvm::ArrayRef<Target> targets();
/// Null for an unknown name.
const Target *findTarget(llvm::StringRef name);

/// Another one with the same instructions and as much shared memory, whose
/// choices are worth taking; null: there is none.
const Target *siblingOf(const Target &target);

/// How a kernel is compiled for a target; zero leaves a choice to tileiras.
struct Configuration {
  int workerWarps = 0, ctas = 0, occupancy = 0;
  bool operator==(const Configuration &o) const {
    return workerWarps == o.workerWarps && ctas == o.ctas &&
           occupancy == o.occupancy;
  }
};

} // namespace fathom::nvidia
