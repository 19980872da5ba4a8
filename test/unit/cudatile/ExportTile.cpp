// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tile kernels of a file as CUDA Tile IR bytecode, for the tests:
//   fathom-tile-to-cudatile FILE.mlir TARGET OUT [KERNEL [WARPS]]
#include "codegen/NVIDIA/TileToCudaTile.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"

#include <cstdlib>

using namespace mlir;
using namespace fathom;

int main(int argc, char **argv) {
  if (argc < 4)
    return 2;
  DialectRegistry registry;
  registry.insert<tile::TileDialect, arith::ArithDialect, math::MathDialect,
                  scf::SCFDialect, memref::MemRefDialect,
                  mlir::tensor::TensorDialect, func::FuncDialect>();
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.allowUnregisteredDialects(); // schedules keep attributes of dsv4
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler handler(sources, &context);
  auto module = parseSourceFile<ModuleOp>(argv[1], sources, &context);
  const nvidia::Target *target = nvidia::findTarget(argv[2]);
  if (!module || !target)
    return 2;
  SmallVector<tile::KernelOp> kernels;
  for (auto kernel : module->getOps<tile::KernelOp>())
    if (argc < 5 || kernel.getSymName() == argv[4])
      kernels.push_back(kernel);
  nvidia::Configuration configuration;
  if (argc > 5)
    configuration.workerWarps = std::atoi(argv[5]);
  FailureOr<std::string> bytes =
      nvidia::translateToCudaTile(kernels, *target, configuration);
  if (failed(bytes))
    return 3;
  std::error_code error;
  llvm::ToolOutputFile file(argv[3], error, llvm::sys::fs::OF_None);
  if (error)
    return 1;
  file.os() << *bytes;
  file.keep();
  return 0;
}
