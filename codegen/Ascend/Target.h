// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the compiler must know of an Ascend processor.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>

namespace fathom::ascend {

struct Target {
  const char *name; // "910b", as on the command line
  const char *soc;  // "Ascend910B3", as bishengir-compile calls it
  int cubeCores, vectorCores;
  /// Memories of one core, in bytes: the vector unit's, and the cube unit's
  /// three levels.
  int64_t ub, l1, l0ab, l0c;
  /// The cube unit multiplies FP8 and the block-scaled formats; elsewhere
  /// narrow floats are only stored.
  bool hasFP8;
  /// A vector kernel may be launched on the cores of both kinds of this
  /// generation: "c220" or "c310", the name of its device library.
  const char *library;
};

/// All of them, in the order of the documentation.
llvm::ArrayRef<Target> targets();
/// Null for an unknown name.
const Target *findTarget(llvm::StringRef name);

} // namespace fathom::ascend
