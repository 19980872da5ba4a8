// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels. Tags refer to ../docs/Rationale.md's table of rules.
#include "dialects/Tile/IR/TileRules.h"

#include "mlir/IR/Builders.h"
#include "mlir/Interfaces/FunctionImplementation.h"

using namespace mlir;
using namespace fathom::tile;

void KernelOp::build(OpBuilder &builder, OperationState &state, StringRef name,
                     FunctionType type) {
  state.addAttribute(SymbolTable::getSymbolAttrName(),
                     builder.getStringAttr(name));
  state.addAttribute(getFunctionTypeAttrName(state.name), TypeAttr::get(type));
  Region *body = state.addRegion();
  Block *entry = new Block();
  body->push_back(entry);
  for (Type input : type.getInputs())
    entry->addArgument(input, state.location);
}

ParseResult KernelOp::parse(OpAsmParser &parser, OperationState &result) {
  auto buildFuncType =
      [](Builder &builder, ArrayRef<Type> argTypes, ArrayRef<Type> results,
         function_interface_impl::VariadicFlag,
         std::string &) { return builder.getFunctionType(argTypes, results); };
  return function_interface_impl::parseFunctionOp(
      parser, result, /*allowVariadic=*/false,
      getFunctionTypeAttrName(result.name), buildFuncType,
      getArgAttrsAttrName(result.name), getResAttrsAttrName(result.name));
}

void KernelOp::print(OpAsmPrinter &p) {
  function_interface_impl::printFunctionOp(
      p, *this, /*isVariadic=*/false, getFunctionTypeAttrName(),
      getArgAttrsAttrName(), getResAttrsAttrName());
}

LogicalResult KernelOp::verify() {
  // kernel_c1
  if (!getFunctionType().getResults().empty())
    return emitOpError() << "must have no results, found "
                         << getFunctionType().getResults().size();
  // kernel_c2
  for (auto [i, type] : llvm::enumerate(getFunctionType().getInputs()))
    if (!isBuffer(type) && !isa<TableType, IndexType>(type))
      return emitOpError() << "argument " << i << " must be " << kBufferRule
                           << ", a table or an index, found " << type;
  // kernel_c3
  if (!getBody().hasOneBlock())
    return emitOpError() << "must have exactly one block, found "
                         << getBody().getBlocks().size();
  return success();
}

LogicalResult KernelOp::verifyRegions() {
  // kernel_c3
  Block &block = getBody().front();
  if (block.empty() || !isa<ReturnOp>(block.back()))
    return emitOpError() << "must end in tile.return";
  // kernel_c6
  if (failed(verifyEffects(*this)))
    return failure();
  // kernel_c4
  ArgumentUse use = argumentUse(*this);
  for (unsigned i = 0, e = getNumArguments(); i < e; ++i) {
    if (!use.reader[i] || !use.writer[i])
      continue;
    InFlightDiagnostic diagnostic =
        emitOpError() << "argument " << i
                      << " must be either read or written, found both";
    diagnostic.attachNote(use.reader[i]->getLoc()) << "read here";
    diagnostic.attachNote(use.writer[i]->getLoc()) << "written here";
    return diagnostic;
  }
  // kernel_c5
  WalkResult result = getBody().walk([](Operation *op) {
    return failed(verifyTiles(op)) ? WalkResult::interrupt()
                                   : WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}
