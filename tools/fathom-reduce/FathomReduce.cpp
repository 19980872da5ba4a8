// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom-reduce: shrinks an IR file that a tool still finds interesting.
#include "tools/fathom-opt/Dialects.h"
#include "tools/fathom-opt/Passes.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Tools/mlir-reduce/MlirReduceMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  fathom::registerToolDialects(registry);
  fathom::registerToolPasses(registry); // for --opt-reduction-pass
  mlir::MLIRContext context(registry);
  return mlir::failed(mlir::mlirReduceMain(argc, argv, context));
}
