// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom-opt: reads IR, runs passes, prints IR.
#include "tools/fathom-opt/Dialects.h"

#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

#ifdef FATHOM_HAVE_FathomPasses
#include "passes/PassCounts.h"
#include "passes/Passes.h"

#include "llvm/Support/CommandLine.h"

static llvm::cl::opt<bool>
    printCounts("fathom-pass-counts",
                llvm::cl::desc("Print what Fathom's passes have counted to "
                               "standard error at the end"));
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
  int code = mlir::asMainReturnCode(mlir::MlirOptMain(
      argc, argv, "Fathom's pass driver: dsv4 and tile IR\n", registry));
#ifdef FATHOM_HAVE_FathomPasses
  if (printCounts)
    fathom::printPassCounts(llvm::errs());
#endif
  return code;
}
