// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom-opt: reads IR, runs passes, prints IR.
#include "tools/fathom-opt/Dialects.h"
#include "tools/fathom-opt/Passes.h"

#include "mlir/Tools/mlir-opt/MlirOptMain.h"

#ifdef FATHOM_HAVE_FathomPasses
#include "passes/PassCounts.h"

#include "llvm/Support/CommandLine.h"

static llvm::cl::opt<bool>
    printCounts("fathom-pass-counts",
                llvm::cl::desc("Print what Fathom's passes have counted to "
                               "standard error at the end"));
#endif

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  fathom::registerToolDialects(registry);
  fathom::registerToolPasses(registry);
  int code = mlir::asMainReturnCode(mlir::MlirOptMain(
      argc, argv, "Fathom's pass driver: dsv4 and tile IR\n", registry));
#ifdef FATHOM_HAVE_FathomPasses
  if (printCounts)
    fathom::printPassCounts(llvm::errs());
#endif
  return code;
}
