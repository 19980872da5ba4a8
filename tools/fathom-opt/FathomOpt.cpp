// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom-opt: reads IR, runs passes, prints IR.
#include "tools/fathom-opt/Dialects.h"

#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

#ifdef FATHOM_HAVE_FathomPasses
#include "passes/Passes.h"
#endif
#ifdef FATHOM_HAVE_FathomCodegenCPU
#include "codegen/CPU/Passes.h"
#endif

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  fathom::registerToolDialects(registry);
  mlir::registerTransformsPasses();
#ifdef FATHOM_HAVE_FathomPasses
  fathom::registerFathomPasses();
#endif
#ifdef FATHOM_HAVE_FathomCodegenCPU
  fathom::cpu::registerCPUDialects(registry);
  fathom::cpu::registerCPUPassesAndPipelines();
#endif
  return mlir::asMainReturnCode(mlir::MlirOptMain(
      argc, argv, "Fathom's pass driver: dsv4 and tile IR\n", registry));
}
