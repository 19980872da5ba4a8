// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where AscendNPU-IR's compiler is, and the last stage that CANN alone has.
#pragma once

#include "codegen/Ascend/Target.h"

#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace fathom::ascend {

struct Toolchain {
  /// For 910B and A3, and for the 950.
  std::string compile, compileA5;
  std::string version; // "1.2.0"
  /// The folder of the device library; empty: symbols cannot be checked.
  std::string library;
  /// CANN's code generators; empty: no device code is made.
  std::string hivmc, hivmcA5;
  /// What tells them from others of the same name, for caches; and what they
  /// say of themselves in a few words, if they do.
  std::string hivmcIdentity, hivmcA5Identity, hivmcVersion, hivmcA5Version;
  const std::string &compilerFor(const Target &target) const {
    return target.hasFP8 ? compileA5 : compile;
  }
  const std::string &generatorFor(const Target &target) const {
    return target.hasFP8 ? hivmcA5 : hivmc;
  }
  const std::string &generatorIdentity(const Target &target) const {
    return target.hasFP8 ? hivmcA5Identity : hivmcIdentity;
  }
  /// "AscendNPU-IR 1.2.0, hivmc 0.3.0": what makes code for these processors.
  std::string describe(llvm::ArrayRef<const Target *> targets) const;
};

/// Looks at `path` (bishengir-compile or its folder, may be empty),
/// $FATHOM_BISHENGIR, $PATH, and `wheel` (the folder of the Python package).
llvm::Expected<Toolchain> findToolchain(llvm::StringRef path,
                                        llvm::StringRef wheel = "");

/// What CANN's code generator is called: "hivmc", or "hivmc-a5".
llvm::StringRef generatorName(const Target &target);

/// What the compiler is called with.
std::vector<std::string> compilerArguments(const Target &target,
                                           const std::string &input,
                                           const std::string &temporaries,
                                           const std::string &output);

/// A shell script that makes an object of each module KERNEL.mlir beside it, on
/// a machine with CANN.
std::string finishingScript(const Target &target);

} // namespace fathom::ascend
