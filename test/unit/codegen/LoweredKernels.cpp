// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/codegen/LoweredKernels.h"

#include "mlir/Parser/Parser.h"

using namespace fathom;

std::string fathom::test::kernelsOf(
    const std::string &function, int64_t maxTokens,
    llvm::function_ref<void(Lowering &, mlir::func::FuncOp)> lower) {
  mlir::DialectRegistry registry;
  registry.insert<dsv4::DSV4Dialect, tile::TileDialect,
                  mlir::arith::ArithDialect, mlir::func::FuncDialect,
                  mlir::math::MathDialect, mlir::memref::MemRefDialect,
                  mlir::scf::SCFDialect, mlir::tensor::TensorDialect>();
  mlir::MLIRContext context(registry);
  context.loadAllAvailableDialects();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(function, &context);
  auto source = *module->getOps<mlir::func::FuncOp>().begin();
  auto b = mlir::OpBuilder::atBlockBegin(&source.getBody().front());
  KernelCache kernels(*module);
  Lowering lowering(kernels, b, *TileShapes::find("cpu"), maxTokens);
  Value count = mlir::arith::ConstantIndexOp::create(b, source.getLoc(), 1);
  lowering.bindCount(count, count);
  for (mlir::BlockArgument arg : source.getArguments())
    if (auto type = mlir::dyn_cast<RankedTensorType>(arg.getType()))
      lowering.bind(arg, mlir::memref::AllocOp::create(
                             b, source.getLoc(),
                             mlir::MemRefType::get(type.getShape(),
                                                   type.getElementType()),
                             ValueRange(count)));
  lower(lowering, source);
  std::string text;
  llvm::raw_string_ostream os(text);
  for (auto kernel : module->getOps<tile::KernelOp>())
    os << kernel << "\n";
  return text;
}

std::string fathom::test::nameIn(const std::string &text,
                                 const std::string &prefix) {
  size_t at = text.find("@" + prefix);
  if (at == std::string::npos)
    return "";
  return text.substr(at + 1, text.find('(', at) - at - 1);
}
