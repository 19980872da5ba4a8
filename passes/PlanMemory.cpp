// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Memory planning of step schedules. A schedule is straight-line, so the life
// of a buffer is an interval of launches and the plan is interval packing.
#include "passes/PlanMemory.h"

#include "dialects/Tile/IR/Tile.h"
#include "passes/Passes.h"
#include "passes/RowNumbers.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "mlir/Pass/Pass.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace fathom::tile;

//===-- Packing ----------------------------------------------------------===//

static int64_t alignUp(int64_t bytes) {
  return llvm::alignTo(static_cast<uint64_t>(bytes), kWorkspaceAlignment);
}

int64_t fathom::tile::assignOffsets(MutableArrayRef<PlannedBuffer> buffers) {
  SmallVector<PlannedBuffer *> order;
  for (PlannedBuffer &buffer : buffers)
    order.push_back(&buffer);
  llvm::sort(order, [](const PlannedBuffer *a, const PlannedBuffer *b) {
    return a->bytes != b->bytes ? a->bytes > b->bytes : a < b;
  });

  SmallVector<PlannedBuffer *> placed; // sorted by offset
  int64_t size = 0;
  for (PlannedBuffer *buffer : order) {
    // Walk the neighbours in time by offset; the gaps are between `end` of all
    // seen so far and the next start.
    const int64_t bytes = alignUp(buffer->bytes);
    int64_t end = 0, best = -1;
    int64_t bestGap = std::numeric_limits<int64_t>::max();
    for (const PlannedBuffer *other : placed) {
      if (other->last < buffer->first || buffer->last < other->first)
        continue;
      int64_t gap = other->offset - end;
      if (gap >= bytes && gap < bestGap) {
        best = end;
        bestGap = gap;
      }
      end = std::max(end, other->offset + alignUp(other->bytes));
    }
    buffer->offset = best >= 0 ? best : end;
    size = std::max(size, buffer->offset + bytes);
    placed.insert(llvm::upper_bound(placed, buffer,
                                    [](const auto *a, const auto *b) {
                                      return a->offset < b->offset;
                                    }),
                  buffer);
  }
  return size;
}

//===-- Sizes ------------------------------------------------------------===//

namespace {
/// Upper bounds of the index expressions of a schedule when every count
/// (arguments whose port starts with "count.") is at most `tokens`; rows of
/// logits never exceed tokens. Understands constants, and sums, products,
/// quotients, minima and maxima that grow with their operands. Takes operations
/// in their order, so that what many use is looked at once.
class Bounds {
public:
  Bounds(func::FuncOp schedule, int64_t tokens) : tokens(tokens) {
    for (BlockArgument argument : schedule.getArguments()) {
      auto port = schedule.getArgAttrOfType<StringAttr>(argument.getArgNumber(),
                                                        kPortAttr);
      if (port && port.getValue().starts_with("count."))
        known[argument] = tokens;
    }
  }
  void add(Operation &op) {
    if (op.getNumResults() != 1)
      return;
    if (std::optional<int64_t> bound = find(op))
      known[op.getResult(0)] = *bound;
  }
  /// Nothing where no bound is known, also on overflow.
  std::optional<int64_t> of(Value value) const {
    auto found = known.find(value);
    return found == known.end() ? std::nullopt : std::optional(found->second);
  }
  const int64_t tokens;

private:
  std::optional<int64_t> find(Operation &op) const;
  llvm::DenseMap<Value, int64_t> known;
};
} // namespace

std::optional<int64_t> Bounds::find(Operation &op) const {
  APInt constant;
  if (matchPattern(&op, m_ConstantInt(&constant))) {
    if (constant.isNegative() || constant.getActiveBits() > 62)
      return std::nullopt;
    return constant.getSExtValue();
  }
  if (op.getNumOperands() != 2)
    return std::nullopt;
  std::optional<int64_t> a = of(op.getOperand(0)), b = of(op.getOperand(1));
  if (!a || !b)
    return std::nullopt;
  int64_t result;
  if (isa<arith::AddIOp>(&op))
    return llvm::AddOverflow(*a, *b, result) ? std::nullopt
                                             : std::optional(result);
  if (isa<arith::MulIOp>(&op))
    return llvm::MulOverflow(*a, *b, result) ? std::nullopt
                                             : std::optional(result);
  if (isa<arith::MaxSIOp, arith::MaxUIOp>(&op))
    return std::max(*a, *b);
  if (isa<arith::MinSIOp, arith::MinUIOp>(&op))
    return std::min(*a, *b);
  // A quotient grows with its operand only when the divisor is fixed.
  if (!matchPattern(op.getOperand(1), m_ConstantInt(&constant)) || *b == 0)
    return std::nullopt;
  if (isa<arith::DivSIOp, arith::DivUIOp>(&op))
    return *a / *b;
  if (isa<arith::CeilDivSIOp, arith::CeilDivUIOp>(&op))
    return llvm::divideCeil(static_cast<uint64_t>(*a),
                            static_cast<uint64_t>(*b));
  return std::nullopt;
}

/// Bytes of `alloc` with all counts at their most; nothing after a diagnostic.
static std::optional<int64_t> allocBytes(memref::AllocOp alloc,
                                         const Bounds &bounds) {
  MemRefType type = alloc.getType();
  Type element = type.getElementType();
  if (!type.getLayout().isIdentity() || !element.isIntOrFloat()) {
    alloc.emitOpError("has a type that memory planning does not place: ")
        << type;
    return std::nullopt;
  }
  int64_t elements = 1;
  unsigned dynamic = 0;
  bool overflow = false;
  for (int64_t size : type.getShape()) {
    if (ShapedType::isDynamic(size)) {
      Value operand = alloc.getDynamicSizes()[dynamic++];
      std::optional<int64_t> bound = bounds.of(operand);
      if (!bound) {
        alloc.emitOpError("size ")
            << dynamic - 1
            << " is not an expression of the schedule's counts whose maximum "
               "is known";
        return std::nullopt;
      }
      size = *bound;
    }
    overflow |= llvm::MulOverflow(elements, size, elements);
  }
  int64_t bytes = 0;
  int64_t width = llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
  overflow |= llvm::MulOverflow(elements, width, bytes);
  if (overflow || bytes > (int64_t(1) << 48)) {
    alloc.emitOpError("needs more memory than can be addressed at ")
        << bounds.tokens << " tokens";
    return std::nullopt;
  }
  return bytes;
}

//===-- Liveness ---------------------------------------------------------===//

Value fathom::tile::viewBase(Value value) {
  while (auto view = value.getDefiningOp<ViewLikeOpInterface>()) {
    if (auto cast = dyn_cast<memref::ReinterpretCastOp>(*view))
      if (cast.getConstifiedMixedOffset() !=
          OpFoldResult(IntegerAttr::get(IndexType::get(view->getContext()), 0)))
        return nullptr;
    if (auto subview = dyn_cast<memref::SubViewOp>(*view))
      if (llvm::any_of(subview.getStaticOffsets(),
                       [](int64_t offset) { return offset != 0; }))
        return nullptr;
    if (isa<memref::ViewOp>(*view))
      return nullptr;
    value = view.getViewSource();
  }
  return value;
}

namespace {
/// The life of each alloc, in launches; `first` is -1 until it is used.
class Lives {
public:
  LogicalResult collect(func::FuncOp schedule, int64_t tokens);
  /// The most elements of the buffer that `value` views, if it is an alloc.
  std::optional<int64_t> elementsOf(Value value);

  SmallVector<memref::AllocOp> allocs;
  SmallVector<PlannedBuffer> buffers;

private:
  LogicalResult touch(Operation *launch, int64_t time);
  llvm::DenseMap<Value, unsigned> numbers;
};
} // namespace

LogicalResult Lives::touch(Operation *launch, int64_t time) {
  for (Value operand : launch->getOperands()) {
    if (!isa<MemRefType>(operand.getType()))
      continue;
    Value base = viewBase(operand);
    if (!base)
      return launch->emitOpError(
          "uses a view that starts inside its buffer; a launch takes buffers "
          "from their start");
    auto found = numbers.find(base);
    if (found == numbers.end())
      continue;
    PlannedBuffer &buffer = buffers[found->second];
    if (buffer.first < 0)
      buffer.first = time;
    buffer.last = time;
  }
  return success();
}

LogicalResult Lives::collect(func::FuncOp schedule, int64_t tokens) {
  int64_t time = 0;
  Bounds bounds(schedule, tokens);
  for (Operation &op : schedule.front()) {
    bounds.add(op);
    if (auto alloc = dyn_cast<memref::AllocOp>(op)) {
      std::optional<int64_t> bytes = allocBytes(alloc, bounds);
      if (!bytes)
        return failure();
      numbers[alloc.getResult()] = buffers.size();
      allocs.push_back(alloc);
      buffers.push_back({*bytes, -1, -1, 0});
      continue;
    }
    if (isa<LaunchOp>(op)) {
      if (failed(touch(&op, time++)))
        return failure();
      continue;
    }
    if (op.getNumRegions() != 0)
      return op.emitOpError("has a region; a step schedule is straight-line");
    // Anything else may look at a buffer only to make a view of it, for its
    // size, or to end its life, which the launches tell more precisely.
    if (isa<ViewLikeOpInterface, memref::DeallocOp, memref::DimOp>(op))
      continue;
    for (Value operand : op.getOperands())
      if (isa<MemRefType>(operand.getType()))
        return op.emitOpError(
            "uses a buffer; in a step schedule only tile.launch does");
  }
  return success();
}

std::optional<int64_t> Lives::elementsOf(Value value) {
  auto found = numbers.find(viewBase(value));
  if (found == numbers.end())
    return std::nullopt;
  unsigned number = found->second;
  Type element = allocs[number].getType().getElementType();
  return buffers[number].bytes /
         int64_t(llvm::divideCeil(element.getIntOrFloatBitWidth(), 8));
}

LogicalResult fathom::tile::planMemory(func::FuncOp schedule) {
  auto tokens = schedule->getAttrOfType<IntegerAttr>(kMaxTokensAttr);
  if (!tokens || tokens.getInt() < 1)
    return schedule.emitOpError("needs ")
           << kMaxTokensAttr << ", a positive number of tokens";
  if (!schedule.getBody().hasOneBlock())
    return schedule.emitOpError("a step schedule has one block");

  Lives lives;
  if (failed(lives.collect(schedule, tokens.getInt())) ||
      failed(checkRowNumbers(
          schedule, [&](Value buffer) { return lives.elementsOf(buffer); })))
    return failure();

  // A buffer that no launch touches needs no bytes.
  SmallVector<PlannedBuffer> used;
  for (const PlannedBuffer &buffer : lives.buffers)
    if (buffer.first >= 0)
      used.push_back(buffer);
  int64_t bytes = assignOffsets(used);

  Builder builder(schedule.getContext());
  unsigned next = 0;
  for (auto [alloc, buffer] : llvm::zip_equal(lives.allocs, lives.buffers)) {
    int64_t offset = buffer.first >= 0 ? used[next++].offset : 0;
    alloc->setAttr(kOffsetAttr, builder.getI64IntegerAttr(offset));
  }
  schedule->setAttr(kWorkspaceAttr, builder.getI64IntegerAttr(bytes));
  return success();
}

//===-- Pass -------------------------------------------------------------===//

namespace fathom {
#define GEN_PASS_DEF_PLANMEMORYPASS
#include "passes/Passes.h.inc"
} // namespace fathom

namespace {
struct PlanMemoryPass : fathom::impl::PlanMemoryPassBase<PlanMemoryPass> {
  void runOnOperation() override {
    for (auto schedule : getOperation().getOps<func::FuncOp>())
      if (schedule->hasAttr(kEntryAttr) && failed(planMemory(schedule)))
        return signalPassFailure();
  }
};
} // namespace
