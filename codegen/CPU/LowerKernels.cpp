// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Passes.h"
#include "dialects/Tile/IR/Tile.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_LOWERKERNELSPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;
using namespace fathom;

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
    for (auto kernel :
         llvm::make_early_inc_range(getOperation().getOps<tile::KernelOp>()))
      lowerKernel(kernel);
  }
};
} // namespace
