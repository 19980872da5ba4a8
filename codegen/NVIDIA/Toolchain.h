// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NVIDIA's assembler, in child processes: it may be missing, too old, refuse a
// program, die or hang, and none of that may take the compiler along.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace fathom::nvidia {

struct Toolchain {
  std::string tileiras;
  std::string version; // "V13.5.37"
  /// Empty where they are not: then nothing is known of what was made.
  std::string cuobjdump, nvdisasm;
};

/// Looks at `path` (a file or a folder, may be empty), $FATHOM_TILEIRAS,
/// $CUDA_HOME/bin, $PATH, and `wheels` (a folder where the tools of the Python
/// packages lie). Errors: none there, or it does not read our bytecode.
llvm::Expected<Toolchain> findToolchain(llvm::StringRef path,
                                        llvm::StringRef wheels = "");

struct Assembly {
  std::string name, target; // of the kernel; "sm_90"
  std::string bytecode;
  // Results: the cubin, or why there is none.
  std::string cubin, refusal;
  bool cached = false;
};

struct AssemblyOptions {
  unsigned parallel = 1;
  unsigned timeoutSeconds = 60;
  std::string hostArchitecture; // "x86_64"; empty: the assembler's default
  /// Where cubins are kept by the hash of what they are made from; empty: no.
  std::string cache;
};

/// $FATHOM_CACHE_DIR, or fathom/ in the user's cache folder; empty if neither.
std::string defaultCache();

/// Fills in the results. An error is the machine's refusal (no folder for
/// files, no process); what the assembler refuses is in `refusal`.
llvm::Error assemble(llvm::MutableArrayRef<Assembly> jobs,
                     const Toolchain &toolchain,
                     const AssemblyOptions &options);

/// Runs a program with its output in a string; false: it failed, `output` says
/// how.
bool runTool(const std::string &program, llvm::ArrayRef<std::string> arguments,
             unsigned timeoutSeconds, std::string &output);

} // namespace fathom::nvidia
