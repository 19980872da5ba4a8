// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tile kernels of a file as modules for AscendNPU-IR, for the tests:
//   fathom-tile-to-adapter FILE.mlir TARGET FOLDER [KERNEL]
//   fathom-tile-to-adapter --verify FILE.mlir    (a module of that level)
#include "codegen/Ascend/TileToAdapter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
using namespace fathom;

static bool writeFile(const std::string &path, StringRef text) {
  std::error_code error;
  llvm::ToolOutputFile file(path, error, llvm::sys::fs::OF_None);
  if (error)
    return false;
  file.os() << text;
  file.keep();
  return true;
}

int main(int argc, char **argv) {
  bool onlyVerifies = argc == 3 && StringRef(argv[1]) == "--verify";
  if (argc < 4 && !onlyVerifies)
    return 2;
  DialectRegistry registry;
  registry.insert<tile::TileDialect>();
  ascend::registerAdapterDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.allowUnregisteredDialects(); // schedules keep attributes of dsv4
  context.loadAllAvailableDialects();
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler handler(sources, &context);
  if (onlyVerifies) {
    auto adapter = parseSourceFile<ModuleOp>(argv[2], sources, &context);
    return adapter && succeeded(ascend::verifyForeign(*adapter)) ? 0 : 3;
  }
  auto module = parseSourceFile<ModuleOp>(argv[1], sources, &context);
  const ascend::Target *target = ascend::findTarget(argv[2]);
  if (!module || !target || llvm::sys::fs::create_directories(argv[3]))
    return 2;
  int code = 0;
  for (auto kernel : module->getOps<tile::KernelOp>()) {
    if (argc > 4 && kernel.getSymName() != argv[4])
      continue;
    auto adapter = ascend::translateToAdapter(kernel, *target);
    if (failed(adapter) || failed(verify(**adapter))) {
      code = 3;
      continue;
    }
    if (!writeFile(
            (llvm::Twine(argv[3]) + "/" + kernel.getSymName() + ".mlir").str(),
            ascend::printAdapter(**adapter)))
      return 1;
  }
  return code;
}
