// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Aliases.h"
#include "codegen/CPU/Emit.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_PACKSCRATCHPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;
using namespace fathom::cpu;

constexpr int64_t kAlignment = 64;

namespace {
struct Buffer {
  memref::AllocOp op;
  int64_t bytes, begin, end, offset = 0;
};

/// Positions of operations in program order; a region's operations lie between
/// its parent's first and last position.
struct Order {
  DenseMap<Operation *, std::pair<int64_t, int64_t>> span;
  int64_t next = 0;
  void number(Operation *op) {
    int64_t first = next++;
    for (Region &region : op->getRegions())
      for (Operation &inner : region.getOps())
        number(&inner);
    span[op] = {first, next++};
  }
};
} // namespace

/// Life of an allocation: from its first to its last use, where a use inside a
/// loop that does not contain the allocation counts as the whole loop.
static void findLife(Buffer &buffer, const Order &order) {
  buffer.begin = std::numeric_limits<int64_t>::max();
  buffer.end = 0;
  forEachUse(buffer.op.getResult(), [&](OpOperand &use) {
    Operation *place =
        use.get().getParentBlock()->findAncestorOpInBlock(*use.getOwner());
    auto [first, last] = order.span.at(place ? place : use.getOwner());
    buffer.begin = std::min(buffer.begin, first);
    buffer.end = std::max(buffer.end, last);
  });
}

/// Largest first, each at the lowest offset that is free during its life.
static int64_t place(MutableArrayRef<Buffer> buffers) {
  SmallVector<Buffer *> bySize;
  for (Buffer &buffer : buffers)
    bySize.push_back(&buffer);
  llvm::stable_sort(bySize,
                    [](Buffer *a, Buffer *b) { return a->bytes > b->bytes; });
  SmallVector<Buffer *> placed;
  int64_t total = 0;
  for (Buffer *buffer : bySize) {
    llvm::stable_sort(
        placed, [](Buffer *a, Buffer *b) { return a->offset < b->offset; });
    int64_t offset = 0;
    for (Buffer *other : placed)
      if (buffer->begin <= other->end && other->begin <= buffer->end &&
          offset + buffer->bytes > other->offset)
        offset = std::max(offset, other->offset + other->bytes);
    buffer->offset = offset;
    total = std::max(total, offset + buffer->bytes);
    placed.push_back(buffer);
  }
  return total;
}

/// What is called gets the caller's scratch, of which that has none of its own:
/// `bytes` is 0.
static LogicalResult passOn(func::FuncOp func, Value scratch, int64_t bytes) {
  WalkResult walked = func.walk([&](func::CallOp call) {
    if (bytes != 0) {
      call.emitError("a kernel that needs scratch cannot call another");
      return WalkResult::interrupt();
    }
    OpBuilder b(call);
    SmallVector<Value> operands(call.getOperands());
    operands.push_back(scratch);
    func::CallOp::create(b, call.getLoc(), call.getCallee(), TypeRange(),
                         operands);
    call.erase();
    return WalkResult::advance();
  });
  return failure(walked.wasInterrupted());
}

static LogicalResult pack(func::FuncOp func) {
  OpBuilder b(func);
  auto bytes = MemRefType::get({ShapedType::kDynamic}, b.getI8Type());
  if (func.isExternal()) {
    SmallVector<Type> inputs(func.getArgumentTypes());
    inputs.push_back(bytes);
    func.setFunctionType(b.getFunctionType(inputs, {}));
    return success();
  }
  Order order;
  order.number(func);
  SmallVector<Buffer> buffers;
  WalkResult walked = func.walk([&](memref::AllocOp op) {
    MemRefType type = op.getType();
    if (!type.hasStaticShape() || !type.getLayout().isIdentity()) {
      op.emitError("scratch of unknown size");
      return WalkResult::interrupt();
    }
    int64_t bits = bitsOf(type.getElementType());
    int64_t bytes = type.getNumElements() * ((bits + 7) / 8);
    buffers.push_back({op, int64_t(llvm::alignTo(bytes, kAlignment)), 0, 0});
    findLife(buffers.back(), order);
    return WalkResult::advance();
  });
  if (walked.wasInterrupted())
    return failure();
  int64_t total = place(buffers);
  if (failed(func.insertArgument(func.getNumArguments(), bytes, {},
                                 func.getLoc())))
    return failure();
  Value scratch = func.getArguments().back();
  if (failed(passOn(func, scratch, total)))
    return failure();
  for (Buffer &buffer : buffers) {
    b.setInsertionPoint(buffer.op);
    Value offset =
        arith::ConstantIndexOp::create(b, buffer.op.getLoc(), buffer.offset);
    Value view =
        memref::ViewOp::create(b, buffer.op.getLoc(), buffer.op.getType(),
                               scratch, offset, ValueRange{});
    buffer.op.replaceAllUsesWith(view);
    buffer.op.erase();
  }
  func->setAttr(kScratchAttr, b.getI64IntegerAttr(total));
  return success();
}

namespace {
struct PackScratch : fathom::cpu::impl::PackScratchPassBase<PackScratch> {
  void runOnOperation() override {
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (failed(pack(func)))
        return signalPassFailure();
  }
};
} // namespace
