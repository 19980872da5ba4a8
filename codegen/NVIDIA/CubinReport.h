// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a kernel became: resources and instructions, from NVIDIA's own tools.
#pragma once

#include "codegen/NVIDIA/Toolchain.h"

#include <map>
#include <optional>

namespace fathom::nvidia {

struct CubinReport {
  int64_t registers = 0, stackBytes = 0, sharedBytes = 0;
  int64_t instructions = 0;
  int64_t spillStores = 0, loopSpillStores = 0; // the latter in the main loop
  int64_t tmaInstructions = 0;
  std::map<std::string, int64_t> tensorInstructions; // "HGMMA" -> how many
};

/// Resource usage as cuobjdump prints it.
bool parseResources(llvm::StringRef text, CubinReport &report);
/// A listing of nvdisasm -c. The main loop is the smallest one that holds at
/// least a quarter of the tensor instructions.
void parseListing(llvm::StringRef text, CubinReport &report);

/// Nothing where the tools are missing or fail.
std::optional<CubinReport> inspectCubin(const Toolchain &toolchain,
                                        llvm::StringRef cubin);

} // namespace fathom::nvidia
