// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bytecode to cubins, several at once, kept by the hash of what they are made
// from together with what is known of them.
#pragma once

#include "codegen/Common/Process.h"
#include "codegen/Common/ToolJobs.h"
#include "codegen/NVIDIA/Remarks.h"
#include "codegen/NVIDIA/Toolchain.h"
#include "runtime/format/Manifest.h"

#include "llvm/ADT/ArrayRef.h"

#include <optional>
#include <string>
#include <vector>

namespace fathom::nvidia {

struct Assembly {
  std::string name, target; // of the kernel; "sm_90"
  std::string bytecode;
  // Results: the cubin and what it became, or why there is none.
  std::string cubin, refusal;
  std::vector<Remark> remarks;
  std::optional<format::KernelReport> report; // without notices
  bool cached = false;
};

struct AssemblyOptions {
  unsigned parallel = 1;
  TimeLimit limit = 60;
  std::string hostArchitecture; // "x86_64"; empty: the assembler's default
  /// Where results are kept; empty: nowhere.
  std::string cache;
  JobProgress progress;
};

/// Fills in the results. What the assembler refuses, or what kills it each
/// time by a fault of its own, is in `refusal`. An error is the machine's
/// refusal: no space, no memory, no process, or one that does not end.
llvm::Error assemble(llvm::MutableArrayRef<Assembly> jobs,
                     const Toolchain &toolchain,
                     const AssemblyOptions &options);

} // namespace fathom::nvidia
