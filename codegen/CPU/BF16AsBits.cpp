// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where a level has no registers for bf16, LLVM keeps a value of that type,
// once it goes from one block to another, as f32, and calls a function to round
// it again. What only moves bf16 needs no such type: it moves integers.
#include "codegen/CPU/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Matchers.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_BF16ASBITSPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;

namespace {
bool isBF16(Type type) { return getElementTypeOrSelf(type).isBF16(); }

Type bitsOf(Type type) {
  Type bits = IntegerType::get(type.getContext(), 16);
  if (auto vector = dyn_cast<VectorType>(type))
    return vector.clone(bits);
  return bits;
}

/// Same meaning for any type of elements.
bool onlyMoves(Operation *op) {
  return isa<LLVM::LoadOp, LLVM::StoreOp, LLVM::SelectOp, LLVM::ShuffleVectorOp,
             LLVM::InsertElementOp, LLVM::ExtractElementOp, LLVM::BitcastOp,
             LLVM::PoisonOp, LLVM::UndefOp, LLVM::ZeroOp, LLVM::ConstantOp,
             LLVM::BrOp, LLVM::CondBrOp, LLVM::MaskedLoadOp,
             LLVM::MaskedStoreOp, LLVM::masked_gather, LLVM::masked_scatter,
             LLVM::vector_insert, LLVM::vector_extract>(op);
}

Attribute bitsOf(Attribute value) {
  if (auto number = dyn_cast<FloatAttr>(value))
    return IntegerAttr::get(bitsOf(number.getType()),
                            number.getValue().bitcastToAPInt());
  auto numbers = cast<DenseElementsAttr>(value);
  return numbers.bitcast(IntegerType::get(value.getContext(), 16));
}

void castOperands(Operation *op) {
  OpBuilder b(op);
  for (OpOperand &operand : op->getOpOperands())
    if (isBF16(operand.get().getType()))
      operand.set(LLVM::BitcastOp::create(
          b, op->getLoc(), operand.get().getType(), operand.get()));
}

void castResults(Operation *op) {
  OpBuilder b(op->getContext());
  b.setInsertionPointAfter(op);
  for (OpResult result : op->getResults()) {
    if (!isBF16(result.getType()))
      continue;
    auto bits = LLVM::BitcastOp::create(b, op->getLoc(),
                                        bitsOf(result.getType()), result);
    result.replaceAllUsesExcept(bits, bits);
  }
}

void retype(Operation *op) {
  if (auto constant = dyn_cast<LLVM::ConstantOp>(op);
      constant && isBF16(constant.getType()))
    constant.setValueAttr(bitsOf(constant.getValue()));
  for (OpResult result : op->getResults())
    if (isBF16(result.getType()))
      result.setType(bitsOf(result.getType()));
}

struct BF16AsBits : fathom::cpu::impl::BF16AsBitsPassBase<BF16AsBits> {
  void runOnOperation() override {
    SmallVector<Operation *> moving, computing;
    getOperation().walk([&](Operation *op) {
      if (!isa<ModuleOp, LLVM::LLVMFuncOp>(op))
        (onlyMoves(op) ? moving : computing).push_back(op);
    });
    // All casts of operands first: they go by the types as they were.
    llvm::for_each(computing, castOperands);
    llvm::for_each(computing, castResults);
    llvm::for_each(moving, retype);
    getOperation().walk([](Block *block) {
      for (BlockArgument argument : block->getArguments())
        if (isBF16(argument.getType()))
          argument.setType(bitsOf(argument.getType()));
    });
    // Casts that have nothing left to do.
    getOperation().walk([](LLVM::BitcastOp op) {
      if (op.getArg().getType() != op.getType())
        return;
      op.replaceAllUsesWith(op.getArg());
      op.erase();
    });
  }
};
} // namespace
