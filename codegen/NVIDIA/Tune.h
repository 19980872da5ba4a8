// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Chooses configurations without a device: by what the assembler makes of them.
#pragma once

#include "codegen/NVIDIA/CUDABackend.h"

#include <tuple>

namespace fathom::nvidia {

/// What a kernel multiplies decides what is asked of it.
enum class Products {
  None,
  OfWeights,
  OfCachedRows, // attention and the indexer
};

/// How bad a kernel is, worst things first.
struct StaticScore {
  bool refused = true;
  bool accepted = false;     // as the gates want it (test/e2e/cuda_gates.py)
  uint64_t slowProducts = 0; // on other instructions than the target's best
  uint64_t loopSpills = 0;
  bool withoutTMA = false; // though the kernel multiplies
  uint64_t wideLoads = 0;  // of operands, past TMA
  uint64_t spills = 0;
  uint64_t stackBytes = 0;
  uint64_t work = 0; // instructions of all warps

  bool operator<(const StaticScore &o) const {
    auto key = [](const StaticScore &s) {
      return std::make_tuple(s.refused, !s.accepted, s.slowProducts,
                             s.loopSpills, s.withoutTMA, s.wideLoads, s.spills,
                             s.stackBytes, s.work);
    };
    return key(*this) < key(o);
  }
};

StaticScore scoreOf(const Assembly &result, const Target &target,
                    const Configuration &configuration, Products products);

struct TuneOptions {
  /// All of the space for every kernel, not only until one is accepted.
  bool exhaustive = false;
  /// The kernels that are tuned; null: all.
  std::function<bool(llvm::StringRef kernel)> wants;
  /// Choices that stand: these classes are not searched again.
  Configurations known;
  /// Known choices are tried, too. One that is not accepted for every kernel of
  /// its class gives way to the next in the space that is, if there is one.
  bool verify = false;
  /// Is told every choice as soon as it is made, one at a time but from any
  /// thread: what is `chosen` so far, and of the last one a line. An error ends
  /// the search.
  std::function<llvm::Error(const Configurations &chosen,
                            const std::string &line)>
      told;
};

/// A choice for every class of kernels in `module` and every architecture,
/// which fits all kernels of the class, in addition to those that are known. A
/// class without any way is an error, once all others are found. The same
/// kernels and tools give the same choices.
llvm::Expected<Configurations> tuneStatically(mlir::ModuleOp module,
                                              const CUDAOptions &options,
                                              const TuneOptions &tune);

} // namespace fathom::nvidia
