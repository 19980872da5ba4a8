// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Modules through AscendNPU-IR in child processes, several at once, kept by the
// hash of what they are made from.
#pragma once

#include "codegen/Ascend/Toolchain.h"
#include "codegen/Common/ToolJobs.h"

#include "llvm/ADT/ArrayRef.h"

namespace fathom::ascend {

struct Job {
  std::string kernel;
  const Target *target = nullptr;
  std::string module; // text
  // Results.
  /// What the last stage gets; empty: refused.
  std::string handOver;
  std::string object; // empty without CANN
  std::string refusal;
  std::vector<std::string> unresolved;
  bool cached = false;
};

struct CompilerOptions {
  unsigned parallel = 1;
  unsigned timeoutSeconds = 600;
  std::string cache; // empty: nothing is kept
  JobProgress progress;
};

/// Fills in the results. An error is the machine's refusal.
llvm::Error compileModules(llvm::MutableArrayRef<Job> jobs,
                           const Toolchain &toolchain,
                           const CompilerOptions &options);

/// What a launch must know, from the hand-over.
struct LaunchFacts {
  /// The address of the hardware's flags comes before all other arguments.
  bool flags = false;
  /// At most so many blocks are launched, whose loops go through all programs;
  /// 0: a block for each program.
  int64_t blocks = 0;
  int64_t workspaceBytes = 0; // of a block
  int64_t taskType = 0;       // the kind of cores as the tool numbers it
  /// The hand-over has the form that all this is read from.
  bool understood = false;
};
LaunchFacts launchFacts(llvm::StringRef handOver, llvm::StringRef kernel,
                        const Target &target);

/// The functions that a hand-over declares and does not define.
std::vector<std::string> calledFunctions(llvm::StringRef handOver);

/// The hand-over as a package holds it: files of the device library are named
/// without the folders of the machine that it was made on.
std::string withoutFolders(llvm::StringRef handOver);

/// What is wrong in the tool's output; empty if nothing is. `hasLastStage`:
/// that it is missing is no complaint otherwise.
std::string firstComplaint(llvm::StringRef output, bool hasLastStage);

/// Whether the device library, given as its files' bytes, has a function that a
/// hand-over calls by this name.
bool hasSymbol(llvm::StringRef library, llvm::StringRef name);

} // namespace fathom::ascend
