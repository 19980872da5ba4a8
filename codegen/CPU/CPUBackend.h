// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tile kernels to one shared object for the host CPU.
#pragma once

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace fathom::cpu {

/// Instruction-set levels, lowest first.
std::vector<std::string> levelNames();

struct CPUOptions {
  std::string isa = "x86-64-v3"; // one of levelNames()
  /// Few of LLVM's passes: for code that stands in for a device's, which is
  /// compiled as often and measured by nobody. The bits it computes are equal.
  bool fewPasses = false;
  /// Code for x86-64-v3 that computes the level's bits, slowly: to test a level
  /// on a CPU that lacks it. See PlainInstructions.h.
  bool plainInstructions = false;
  unsigned threads = 2;
  /// A folder for what was compiled, to be found there the next time; or empty.
  std::string cache;
  /// Told after every kernel, by one thread at a time; may be empty.
  std::function<void(size_t done, size_t of)> progress;
  /// If not empty, an existing folder for the LLVM IR and objects of each part.
  std::string dumpDir;
};

/// A shared object whose symbols are the kernels, each a CpuKernel (see
/// runtime/format/Manifest.h); it needs nothing but memset, memcpy, memmove.
struct CompiledLibrary {
  std::string bytes;
  uint64_t scratchBytes = 0; // largest of all kernels
  std::vector<std::string> kernels;
};

/// Compiles every `tile.kernel` of `module` (which is left alone). Equal
/// kernels and options give equal bytes. The context must have the dialects of
/// registerCPUDialects. Diagnostics go to the context's handlers; the error
/// then says in a few words which step failed.
llvm::Expected<CompiledLibrary> compileKernels(mlir::ModuleOp module,
                                               const CPUOptions &options);

/// CompiledLibrary::scratchBytes without the rest of the work: kernels are
/// lowered, but not compiled.
llvm::Expected<uint64_t> scratchBytes(mlir::ModuleOp module,
                                      const CPUOptions &options);

} // namespace fathom::cpu
