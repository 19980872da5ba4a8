// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom-lsp-server: the MLIR language server, with our dialects.
#include "tools/fathom-opt/Dialects.h"

#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  fathom::registerToolDialects(registry);
  return mlir::failed(mlir::MlirLspServerMain(argc, argv, registry));
}
