// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Elementwise linalg on buffers: the innermost dimension in short vectors, the
// others as loops. Whole-tile vectors would be unrolled into megabytes of code.
#include "codegen/CPU/Emit.h"

#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/IR/IRMapping.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_LINALGTOVECTORLOOPSPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;
using namespace fathom::cpu;

namespace {
/// One operand of the generic: its buffer and, per buffer dimension, the loop
/// that runs along it (-1: index 0 of a constant map).
struct Access {
  Value buffer;
  SmallVector<int64_t> dims;

  bool uses(int64_t dim) const { return llvm::is_contained(dims, dim); }
  bool contiguousIn(int64_t dim) const {
    if (dims.empty() || dims.back() != dim || llvm::count(dims, dim) != 1)
      return false;
    auto [strides, offset] =
        cast<MemRefType>(buffer.getType()).getStridesAndOffset();
    return strides.back() == 1;
  }
  bool isBit() const {
    return cast<MemRefType>(buffer.getType()).getElementType().isInteger(1);
  }
  Emit::Values at(Emit &e, Emit::Range ivs) const {
    Emit::Values result;
    for (int64_t dim : dims)
      result.push_back(dim < 0 ? e.index(0) : ivs[dim]);
    return result;
  }
};

struct VectorLoops {
  Emit e;
  linalg::GenericOp op;
  SmallVector<int64_t> ranges;
  SmallVector<Access> accesses; // inputs, then outputs
  int64_t lanes = 1;

  LogicalResult emit();
  LogicalResult collectAccesses();
  bool isTransposition();
  void transpose();
  void collapse();
  void chooseLanes();
  Value read(const Access &access, Emit::Range ivs);
  Value mapped(IRMapping &mapping, Value value);
  void body(Emit::Range ivs, ArrayRef<Value> hoisted);
  void clone(Operation &inner, IRMapping &mapping, Emit::Range ivs);
};
} // namespace

LogicalResult VectorLoops::collectAccesses() {
  for (OpOperand &operand : op->getOpOperands()) {
    Access access{operand.get(), {}};
    if (!isa<MemRefType>(operand.get().getType())) {
      accesses.push_back(access); // a scalar input
      continue;
    }
    for (AffineExpr expr : op.getMatchingIndexingMap(&operand).getResults()) {
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        access.dims.push_back(dim.getPosition());
      else if (isa<AffineConstantExpr>(expr) &&
               cast<AffineConstantExpr>(expr).getValue() == 0)
        access.dims.push_back(-1);
      else
        return op.emitError("an indexing map is no projection");
    }
    accesses.push_back(access);
  }
  return success();
}

/// A tile of 32-bit elements with its two dimensions exchanged, in squares, or
/// in strips of as many columns as it has.
bool VectorLoops::isTransposition() {
  if (accesses.size() != 2 || ranges.size() != 2 ||
      accesses[0].dims != SmallVector<int64_t>{1, 0} ||
      accesses[1].dims != SmallVector<int64_t>{0, 1} ||
      op.getBody()->getOperations().size() != 1 ||
      !accesses[0].contiguousIn(0) || !accesses[1].contiguousIn(1) ||
      std::min(ranges[0], ranges[1]) < 2)
    return false;
  Value yielded = op.getBody()->getTerminator()->getOperand(0);
  auto from = cast<MemRefType>(accesses[0].buffer.getType());
  int64_t lanes = std::min(ranges[1], kLanes);
  return yielded == op.getBody()->getArgument(0) &&
         bitsOf(from.getElementType()) == 32 && llvm::isPowerOf2_64(lanes) &&
         ranges[1] % lanes == 0 &&
         (ranges[0] % lanes == 0 ||
          (ranges[0] < lanes && llvm::isPowerOf2_64(ranges[0]) &&
           from.getLayout().isIdentity()));
}

void VectorLoops::transpose() {
  int64_t lanes = std::min(ranges[1], kLanes),
          columns = std::min(ranges[0], lanes);
  Value from = accesses[0].buffer, to = accesses[1].buffer;
  bool strip = columns < lanes; // all of `lanes` rows lie behind each other
  if (strip)
    from = memref::CollapseShapeOp::create(
        e.b, e.loc, from, SmallVector<ReassociationIndices>{{0, 1}});
  e.loop(0, ranges[1], lanes, [&](Value row) {
    e.loop(0, ranges[0], columns, [&](Value column) {
      Emit::Values block;
      for (int64_t i = 0; i < columns; ++i)
        if (strip)
          block.push_back(e.load(
              from,
              {e.add(arith::MulIOp::create(e.b, e.loc, row, e.index(columns)),
                     i * lanes)},
              lanes));
        else
          block.push_back(e.load(from, {e.add(row, i), column}, lanes));
      e.columnsFirst(block);
      for (int64_t i = 0; i < columns; ++i)
        e.store(block[i], to, {e.add(column, i), row});
    });
  });
}

/// All operands alike and contiguous: one long dimension.
void VectorLoops::collapse() {
  int64_t rank = ranges.size();
  if (rank < 2 || op.hasIndexSemantics())
    return;
  for (const Access &access : accesses) {
    auto type = dyn_cast<MemRefType>(access.buffer.getType());
    if (type && !access.dims.empty() &&
        (!type.getLayout().isIdentity() ||
         access.dims != llvm::to_vector(llvm::seq<int64_t>(0, rank))))
      return;
  }
  SmallVector<ReassociationIndices> all{
      llvm::to_vector(llvm::seq<int64_t>(0, rank))};
  for (Access &access : accesses) {
    if (access.dims.empty())
      continue;
    access.buffer =
        memref::CollapseShapeOp::create(e.b, e.loc, access.buffer, all);
    access.dims = {0};
  }
  ranges = {std::accumulate(ranges.begin(), ranges.end(), int64_t(1),
                            std::multiplies<>())};
}

/// Vectors along the last loop if every result is contiguous there. Bits lie
/// one a byte in memory, which vector loads do not know: they go one by one.
void VectorLoops::chooseLanes() {
  if (ranges.empty())
    return;
  int64_t inner = ranges.size() - 1, limit = kLanes;
  for (auto [i, access] : llvm::enumerate(accesses)) {
    bool output = static_cast<int64_t>(i) >= op.getNumDpsInputs();
    if (!isa<MemRefType>(access.buffer.getType()))
      continue;
    if ((output && !access.contiguousIn(inner)) ||
        (access.uses(inner) && access.isBit()))
      return;
  }
  op->walk([&](Operation *inside) {
    for (Type type : inside->getResultTypes())
      if (type.isF64() || type.isInteger(64))
        limit = 8;
  });
  while (limit > ranges[inner] || ranges[inner] % limit)
    limit /= 2;
  lanes = limit;
}

Value VectorLoops::read(const Access &access, Emit::Range ivs) {
  if (!isa<MemRefType>(access.buffer.getType()))
    return access.buffer;
  int64_t inner = static_cast<int64_t>(ranges.size()) - 1;
  Emit::Values at = access.at(e, ivs);
  if (lanes == 1 || !access.uses(inner))
    return e.load(access.buffer, at, 1);
  if (access.contiguousIn(inner))
    return e.load(access.buffer, at, lanes);
  Emit::Values elements; // strided: a transposed operand
  for (int64_t lane = 0; lane < lanes; ++lane) {
    Emit::Values place = at;
    for (auto [i, dim] : llvm::enumerate(access.dims))
      if (dim == inner)
        place[i] = e.add(place[i], lane);
    elements.push_back(e.load(access.buffer, place, 1));
  }
  Type element = elements.front().getType();
  return vector::FromElementsOp::create(
      e.b, e.loc, VectorType::get({lanes}, element), elements);
}

/// The lanes of a value of the body; values from outside are repeated.
Value VectorLoops::mapped(IRMapping &mapping, Value value) {
  if (Value known = mapping.lookupOrNull(value)) {
    if (lanes > 1 && !isa<VectorType>(known.getType())) {
      known = e.splat(known, lanes);
      mapping.map(value, known);
    }
    return known;
  }
  Value repeated = e.splat(value, lanes);
  mapping.map(value, repeated);
  return repeated;
}

void VectorLoops::clone(Operation &inner, IRMapping &mapping, Emit::Range ivs) {
  auto laneIndex = [&](linalg::IndexOp index, Type type) -> Value {
    Value place = ivs[index.getDim()];
    if (type != place.getType())
      place = arith::IndexCastOp::create(e.b, e.loc, type, place);
    if (lanes == 1 || index.getDim() != ranges.size() - 1)
      return place;
    SmallVector<Attribute> steps;
    for (int64_t i = 0; i < lanes; ++i)
      steps.push_back(IntegerAttr::get(type, i));
    auto vector = VectorType::get({lanes}, type);
    Value iota = arith::ConstantOp::create(
        e.b, e.loc, DenseElementsAttr::get(vector, steps));
    return arith::AddIOp::create(e.b, e.loc, e.splat(place, lanes), iota);
  };
  if (auto index = dyn_cast<linalg::IndexOp>(inner)) {
    mapping.map(index.getResult(), laneIndex(index, e.b.getIndexType()));
    return;
  }
  // In the narrow type at once: 64-bit lanes would cost twice the registers.
  if (auto cast = dyn_cast<arith::IndexCastOp>(inner))
    if (auto index = cast.getIn().getDefiningOp<linalg::IndexOp>()) {
      mapping.map(cast.getResult(), laneIndex(index, cast.getType()));
      return;
    }
  if (auto constant = dyn_cast<arith::ConstantOp>(inner)) {
    Value scalar = e.b.clone(inner)->getResult(0);
    mapping.map(constant.getResult(), e.splat(scalar, lanes));
    return;
  }
  for (Value operand : inner.getOperands())
    mapped(mapping, operand);
  Operation *copy = e.b.clone(inner, mapping);
  for (OpResult result : copy->getResults())
    result.setType(e.vec(lanes, result.getType()));
}

void VectorLoops::body(Emit::Range ivs, ArrayRef<Value> hoisted) {
  IRMapping mapping;
  Block *block = op.getBody();
  for (auto [argument, access, early] :
       llvm::zip(block->getArguments(), accesses, hoisted))
    if (early)
      mapping.map(argument, early);
    else if (!argument.use_empty())
      mapping.map(argument, read(access, ivs));
  for (Operation &inner : block->without_terminator())
    clone(inner, mapping, ivs);
  auto outputs = ArrayRef(accesses).drop_front(op.getNumDpsInputs());
  for (auto [value, access] :
       llvm::zip(block->getTerminator()->getOperands(), outputs))
    e.store(mapped(mapping, value), access.buffer, access.at(e, ivs));
}

LogicalResult VectorLoops::emit() {
  if (op.getNumParallelLoops() != op.getNumLoops())
    return op.emitError("only elementwise generics reach this pass");
  ranges = op.getStaticLoopRanges();
  if (failed(collectAccesses()))
    return failure();
  if (isTransposition())
    return transpose(), success();
  collapse();
  chooseLanes();
  if (ranges.empty()) {
    body({}, SmallVector<Value>(accesses.size()));
    return success();
  }
  int64_t inner = ranges.size() - 1;
  e.nest(ArrayRef(ranges).drop_back(), [&](Emit::Range outer) {
    // Operands that do not move along the inner loop are read before it:
    // LLVM cannot know that the stores leave them alone.
    SmallVector<Value> hoisted(accesses.size());
    Emit::Values ivs(outer);
    ivs.push_back(nullptr);
    for (auto [i, access] : llvm::enumerate(accesses))
      if (static_cast<int64_t>(i) < op.getNumDpsInputs() &&
          !access.uses(inner) && !op.getBody()->getArgument(i).use_empty())
        hoisted[i] = e.splat(read(access, ivs), lanes);
    e.loop(0, ranges[inner], lanes, [&](Value iv) {
      ivs.back() = iv;
      body(ivs, hoisted);
    });
  });
  return success();
}

static LogicalResult copyLoops(memref::CopyOp op) {
  OpBuilder b(op);
  Emit e{b, op.getLoc()};
  auto type = cast<MemRefType>(op.getTarget().getType());
  if (!type.hasStaticShape())
    return op.emitError("a copy of unknown size");
  Value from = op.getSource(), to = op.getTarget();
  auto source = cast<MemRefType>(from.getType());
  if (type.getRank() == 0) {
    e.store(e.load(from, {}, 1), to, {});
  } else if (type.getElementType().isInteger(1) || !hasWholeRows(type) ||
             !hasWholeRows(source)) {
    e.nest(type.getShape(),
           [&](Emit::Range at) { e.store(e.load(from, at, 1), to, at); });
  } else {
    if (type.getRank() > 1 && type.getLayout().isIdentity() &&
        source.getLayout().isIdentity()) {
      SmallVector<ReassociationIndices> all{
          llvm::to_vector(llvm::seq<int64_t>(0, type.getRank()))};
      from = memref::CollapseShapeOp::create(b, op.getLoc(), from, all);
      to = memref::CollapseShapeOp::create(b, op.getLoc(), to, all);
      type = cast<MemRefType>(to.getType());
    }
    e.nest(type.getShape().drop_back(), [&](Emit::Range row) {
      Emit::Values at(row);
      at.push_back(e.index(0));
      e.copyRow(from, at, to, at, type.getShape().back(), nullptr, false);
    });
  }
  op.erase();
  return success();
}

namespace {
struct LinalgToVectorLoops
    : fathom::cpu::impl::LinalgToVectorLoopsPassBase<LinalgToVectorLoops> {
  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<linalg::LinalgOp, memref::CopyOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      if (auto copy = dyn_cast<memref::CopyOp>(op)) {
        if (failed(copyLoops(copy)))
          return signalPassFailure();
        continue;
      }
      IRRewriter b(op);
      auto generic = dyn_cast<linalg::GenericOp>(op);
      if (!generic) {
        auto named = linalg::generalizeNamedOp(b, cast<linalg::LinalgOp>(op));
        if (failed(named)) {
          op->emitError("no generic form");
          return signalPassFailure();
        }
        generic = *named;
        b.setInsertionPoint(generic);
      }
      VectorLoops loops{Emit{b, generic.getLoc()}, generic, {}, {}};
      if (failed(loops.emit()))
        return signalPassFailure();
      generic.erase();
    }
  }
};
} // namespace
