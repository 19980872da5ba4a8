// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Passes.h"
#include "dialects/Tile/IR/Tile.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_LOWERKERNELSPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;
using namespace fathom;

/// Vectors pack elements of other widths closer than memory has them one by
/// one. i1 in buffers: KernelABI.cpp.
static bool hasOtherWidth(Type type) {
  if (auto table = dyn_cast<tile::TableType>(type))
    type = table.getBuffer();
  auto shaped = dyn_cast<ShapedType>(type);
  if (!shaped)
    return false;
  if (auto number = dyn_cast<FloatType>(shaped.getElementType()))
    return isa<MemRefType>(type) && number.getWidth() < 8;
  auto integer = dyn_cast<IntegerType>(shaped.getElementType());
  return integer &&
         !llvm::is_contained({1u, 8u, 16u, 32u, 64u}, integer.getWidth());
}

static LogicalResult checkWidths(tile::KernelOp kernel) {
  auto check = [](Value value) {
    if (!hasOtherWidth(value.getType()))
      return true;
    emitError(value.getLoc())
        << "unsupported on the CPU: elements of " << value.getType()
        << "; integers have 8, 16, 32 or 64 bits, in tiles also 1, and floats "
           "in buffers at least 8";
    return false;
  };
  WalkResult result = kernel.walk([&](Block *block) {
    bool fine = llvm::all_of(block->getArguments(), check);
    for (Operation &op : *block)
      fine = fine && llvm::all_of(op.getResults(), check);
    return fine ? WalkResult::advance() : WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

/// The module may lack the kernel that is called: each is compiled by itself.
static void lowerCall(tile::CallOp call) {
  OpBuilder b(call);
  SmallVector<Value> operands(call.getPassed());
  operands.append({call.getX(), call.getY(), call.getZ()});
  auto module = call->getParentOfType<ModuleOp>();
  if (!module.lookupSymbol(call.getKernel())) {
    OpBuilder top = OpBuilder::atBlockEnd(module.getBody());
    func::FuncOp::create(top, call.getLoc(), call.getKernel(),
                         b.getFunctionType(ValueRange(operands).getTypes(), {}))
        .setPrivate();
  }
  func::CallOp::create(b, call.getLoc(), call.getKernel(), TypeRange(),
                       operands);
  call.erase();
}

static void lowerKernel(tile::KernelOp kernel) {
  OpBuilder b(kernel);
  Location loc = kernel.getLoc();
  SmallVector<Type> inputs(kernel.getArgumentTypes());
  inputs.append(3, b.getIndexType());
  auto func = func::FuncOp::create(b, loc, kernel.getSymName(),
                                   b.getFunctionType(inputs, {}));
  func.getBody().takeBody(kernel.getBody());
  Block &entry = func.getBody().front();
  SmallVector<Value> place;
  for (int axis = 0; axis < 3; ++axis)
    place.push_back(entry.addArgument(b.getIndexType(), loc));
  func.walk([&](tile::ProgramIdOp id) {
    id.getResult().replaceAllUsesWith(place[id.getAxis()]);
    id.erase();
  });
  func.walk([&](tile::ReturnOp op) {
    OpBuilder at(op);
    func::ReturnOp::create(at, op.getLoc());
    op.erase();
  });
  kernel.erase();
  func.walk(lowerCall);
}

namespace {
struct LowerKernels : cpu::impl::LowerKernelsPassBase<LowerKernels> {
  void runOnOperation() override {
    // Schedules launch kernels; the runtime does that from launch records.
    for (auto schedule :
         llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (schedule->hasAttr(tile::kEntryAttr))
        schedule.erase();
    for (auto kernel :
         llvm::make_early_inc_range(getOperation().getOps<tile::KernelOp>())) {
      if (failed(checkWidths(kernel)))
        return signalPassFailure();
      lowerKernel(kernel);
    }
  }
};
} // namespace
