// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/Tile/IR/TileRules.h"

#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace fathom::tile {

std::string shapeText(ArrayRef<int64_t> shape) {
  if (shape.empty())
    return "scalar";
  std::string text;
  for (int64_t dim : shape) {
    if (!text.empty())
      text += 'x';
    text += ShapedType::isDynamic(dim) ? "?" : std::to_string(dim);
  }
  return text;
}

RankedTensorType tileOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

static StringRef roleOf(Operation *op, Value value) {
  return value.getDefiningOp() == op ? "result" : "operand";
}

LogicalResult verifyTiles(Operation *op) {
  auto check = [&](Value value) -> LogicalResult {
    auto type = dyn_cast<TensorType>(value.getType());
    if (!type)
      return success();
    if (type.hasStaticShape() && llvm::all_of(type.getShape(), [](int64_t dim) {
          return llvm::isPowerOf2_64(dim);
        }))
      return success();
    return op->emitOpError() << roleOf(op, value)
                             << " must be a tile of static power-of-two "
                                "dimensions, found "
                             << type;
  };
  for (Value operand : op->getOperands())
    if (failed(check(operand)))
      return failure();
  for (Value result : op->getResults())
    if (failed(check(result)))
      return failure();
  return success();
}

bool isBuffer(Type type) {
  auto buffer = dyn_cast<MemRefType>(type);
  if (!buffer || !buffer.getLayout().isIdentity())
    return false;
  ArrayRef<int64_t> shape = buffer.getShape();
  return shape.empty() ||
         llvm::none_of(shape.drop_front(), ShapedType::isDynamic);
}

LogicalResult requireRank(Operation *op, StringRef name, Value tile,
                          int64_t least) {
  if (tileOf(tile).getRank() >= least)
    return success();
  return op->emitOpError() << roleOf(op, tile) << " '" << name
                           << "' must have rank at least " << least
                           << ", found " << tile.getType();
}

LogicalResult requireShape(Operation *op, StringRef name, Value tile,
                           ArrayRef<int64_t> expected, StringRef rule) {
  if (tileOf(tile).getShape() == expected)
    return success();
  return op->emitOpError() << roleOf(op, tile) << " '" << name << "' must be "
                           << shapeText(expected) << " (" << rule << "), found "
                           << shapeText(tileOf(tile).getShape());
}

LogicalResult requireElement(Operation *op, StringRef name, Type found,
                             Type expected, StringRef rule) {
  if (found == expected)
    return success();
  return op->emitOpError() << "'" << name << "' must have the element type "
                           << expected << " (" << rule << "), found " << found;
}

LogicalResult requireDim(Operation *op, int64_t dim, int64_t rank) {
  if (dim >= 0 && dim < rank)
    return success();
  return op->emitOpError() << "attribute 'dim' must be a dimension of a tile "
                              "of rank "
                           << rank << ", found " << dim;
}

BlockArgument rootOf(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (auto select = dyn_cast<SelectBufferOp>(op))
      value = select.getTable();
    else if (auto view = dyn_cast<ViewLikeOpInterface>(op))
      value = view.getViewSource();
    else
      return {};
  }
  auto argument = cast<BlockArgument>(value);
  return isa<KernelOp>(argument.getOwner()->getParentOp()) ? argument
                                                           : BlockArgument();
}

/// What `op` itself reads and writes; calls and regions are looked at apart.
static LogicalResult verifyEffectsOf(Operation *op) {
  auto known = dyn_cast<MemoryEffectOpInterface>(op);
  if (!known && !isa<CallOp>(op) &&
      !op->hasTrait<OpTrait::HasRecursiveMemoryEffects>())
    return op->emitOpError("does not say what it reads and writes");
  if (!known)
    return success();
  SmallVector<MemoryEffects::EffectInstance> effects;
  known.getEffects(effects);
  for (const MemoryEffects::EffectInstance &effect : effects)
    if (isa<MemoryEffects::Read, MemoryEffects::Write>(effect.getEffect()) &&
        (!effect.getValue() || !rootOf(effect.getValue())))
      return op->emitOpError("must read and write arguments of the kernel, "
                             "directly or through select_buffer and views");
  return success();
}

LogicalResult verifyEffects(KernelOp kernel) {
  WalkResult result = kernel.getBody().walk([](Operation *op) {
    return failed(verifyEffectsOf(op)) ? WalkResult::interrupt()
                                       : WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

/// Without what it calls.
static ArgumentUse ownUse(KernelOp kernel) {
  ArgumentUse use;
  use.reader.resize(kernel.getNumArguments());
  use.writer.resize(kernel.getNumArguments());
  kernel.getBody().walk([&](MemoryEffectOpInterface op) {
    SmallVector<MemoryEffects::EffectInstance> effects;
    op.getEffects(effects);
    for (const MemoryEffects::EffectInstance &effect : effects) {
      Value value = effect.getValue();
      BlockArgument root = value ? rootOf(value) : BlockArgument();
      if (!root)
        continue;
      if (isa<MemoryEffects::Read>(effect.getEffect()))
        use.reader[root.getArgNumber()] = op;
      else if (isa<MemoryEffects::Write>(effect.getEffect()))
        use.writer[root.getArgNumber()] = op;
    }
  });
  return use;
}

ArgumentUse argumentUse(KernelOp kernel) {
  ArgumentUse use = ownUse(kernel);
  kernel.getBody().walk([&](CallOp call) {
    auto called = SymbolTable::lookupNearestSymbolFrom<KernelOp>(
        kernel, call.getKernelAttr());
    if (!called || called.getNumArguments() != call.getPassed().size())
      return; // the call's verifier refuses it
    ArgumentUse inside = ownUse(called);
    for (auto [i, passed] : llvm::enumerate(call.getPassed()))
      if (BlockArgument root = rootOf(passed)) {
        if (inside.reader[i])
          use.reader[root.getArgNumber()] = call;
        if (inside.writer[i])
          use.writer[root.getArgNumber()] = call;
      }
  });
  return use;
}

} // namespace fathom::tile
