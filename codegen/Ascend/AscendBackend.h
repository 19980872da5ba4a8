// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tile kernels through AscendNPU-IR, one module for each kernel and processor.
#pragma once

#include "codegen/Ascend/Compiler.h"

#include "mlir/IR/BuiltinOps.h"

namespace fathom::ascend {

struct AscendOptions {
  std::vector<const Target *> targets;
  Toolchain toolchain;
  CompilerOptions compiler;
};

/// Every tile.kernel of `module` for every target, sorted by target and then in
/// the order of the module. Whether a kernel was accepted stands in its job; an
/// error is a kernel without translation, or the machine's.
llvm::Expected<std::vector<Job>> compileKernels(mlir::ModuleOp module,
                                                const AscendOptions &options);

} // namespace fathom::ascend
