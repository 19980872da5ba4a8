// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where NVIDIA's assembler and disassemblers are.
#pragma once

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>

namespace fathom::nvidia {

struct Toolchain {
  std::string tileiras;
  std::string version; // "V13.5.37"
  /// Empty where they are not: then nothing is known of what was made.
  std::string cuobjdump, nvdisasm;
  bool canInspect() const { return !cuobjdump.empty() && !nvdisasm.empty(); }
};

/// Looks at `path` (a file or a folder, may be empty), $FATHOM_TILEIRAS,
/// $CUDA_HOME/bin, $PATH, and `wheels` (a folder where the tools of the Python
/// packages lie). Errors: none there, or it does not read our bytecode.
llvm::Expected<Toolchain> findToolchain(llvm::StringRef path,
                                        llvm::StringRef wheels = "");

} // namespace fathom::nvidia
