// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The passes and pipelines that the developers' tools can run: ours, as far as
// the tool is linked with them (OPTIONAL_LIBS), and upstream's general ones.
#pragma once

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Transforms/Passes.h"

#ifdef FATHOM_HAVE_FathomPasses
#include "passes/Passes.h"
#endif
#ifdef FATHOM_HAVE_FathomCodegenCPU
#include "codegen/CPU/Passes.h"
#endif

namespace fathom {
/// `registry` gets the dialects that the passes need.
inline void registerToolPasses(mlir::DialectRegistry &registry) {
  mlir::registerTransformsPasses();
#ifdef FATHOM_HAVE_FathomPasses
  registerFathomPasses();
#endif
#ifdef FATHOM_HAVE_FathomCodegenCPU
  cpu::registerCPUDialects(registry);
  cpu::registerCPUPassesAndPipelines();
#endif
}
} // namespace fathom
