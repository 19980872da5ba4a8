// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loops and branches. A token for each buffer written inside goes in and out,
// so that program order holds through memory; accumulators of products are
// carried in the shape that the products work on.
#include "codegen/NVIDIA/CUDABackend.h"
#include "codegen/NVIDIA/Translator.h"

#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;

namespace fathom::nvidia {

using namespace cudatile;
using cudatile::Type;

mlir::Value Translator::rootOf(mlir::Value memref) {
  while (Operation *op = memref.getDefiningOp())
    memref = op->getOperand(0); // select_buffer: its table
  return memref;
}

SmallVector<mlir::Value> Translator::writtenIn(Operation *op) {
  llvm::SmallSet<unsigned, 4> found;
  op->walk([&](Operation *inner) {
    mlir::Value buffer;
    if (auto store = dyn_cast<tile::StoreOp>(inner))
      buffer = store.getBuffer();
    else if (auto scatter = dyn_cast<tile::ScatterOp>(inner))
      buffer = scatter.getBuffer();
    else if (auto scalar = dyn_cast<memref::StoreOp>(inner))
      buffer = scalar.getMemRef();
    if (buffer)
      found.insert(cast<BlockArgument>(rootOf(buffer)).getArgNumber());
  });
  SmallVector<mlir::Value> roots;
  for (BlockArgument argument : kernel.getBody().getArguments())
    if (found.contains(argument.getArgNumber()))
      roots.push_back(argument);
  return roots;
}

/// The product whose accumulator is the carried value `argument` and whose
/// result is carried on, through other products perhaps; else nothing.
static Operation *accumulation(scf::ForOp op, unsigned i) {
  mlir::Value at = op.getBody()->getTerminator()->getOperand(i);
  Operation *first = nullptr;
  while (Operation *def = at.getDefiningOp()) {
    if (def->getBlock() != op.getBody() || !at.hasOneUse() ||
        (first && first->getOperandTypes() != def->getOperandTypes()))
      return nullptr;
    if (auto dot = dyn_cast<tile::DotOp>(def))
      at = dot.getAcc();
    else if (auto scaled = dyn_cast<tile::DotScaledOp>(def))
      at = scaled.getAcc();
    else
      return nullptr;
    first = def;
  }
  return at == op.getRegionIterArg(i) && at.hasOneUse() ? first : nullptr;
}

/// Turns of a loop without products that are few enough to be written one after
/// the other.
static constexpr int64_t kFewTurns = 8;

/// Where a loop ends. Of a loop with products, or with many turns, the
/// assembler must not know how often it turns: it would write the turns one
/// after the other and load for many of them at once, into more registers than
/// there are. So the end looks as if it depended on the program, of which there
/// are never 2^30.
Value Translator::endOf(scf::ForOp op) {
  Value end = get(op.getUpperBound());
  std::optional<int64_t> from = getConstantIntValue(op.getLowerBound()),
                         to = getConstantIntValue(op.getUpperBound()),
                         step = getConstantIntValue(op.getStep());
  if (!from || !to || !step || *step <= 0)
    return end;
  int64_t turns = llvm::divideCeil(std::max<int64_t>(*to - *from, 0), *step);
  if (turns < 2 || (turns <= kFewTurns && !hasProducts(op)))
    return end;
  return f.binary(Op::AddI, end, shifted(Op::ShRI, programIds[0], 30));
}

LogicalResult Translator::loop(scf::ForOp op) {
  SmallVector<mlir::Value> written = writtenIn(op);
  ValueList init;
  for (auto [i, operand] : llvm::enumerate(op.getInitArgs())) {
    Value value = get(operand);
    if (Operation *product = accumulation(op, i))
      value = repeat(value, paddedShape(product));
    init.push_back(value);
  }
  for (mlir::Value root : written)
    init.push_back(tokens[root]);
  size_t carried = op.getInitArgs().size();
  LogicalResult result = success();
  auto body = [&](const Value &iv, ValueRef inner) {
    set(op.getInductionVar(), iv);
    for (auto [argument, value] :
         llvm::zip(op.getRegionIterArgs(), inner.take_front(carried)))
      set(argument, value);
    for (auto [root, token] : llvm::zip(written, inner.drop_front(carried)))
      tokens[root] = token;
    result = block(*op.getBody());
    ValueList next;
    if (failed(result))
      return ValueList(inner);
    for (auto [i, operand] :
         llvm::enumerate(op.getBody()->getTerminator()->getOperands()))
      next.push_back(accumulation(op, i) ? values.lookup(operand)
                                         : get(operand));
    for (mlir::Value root : written)
      next.push_back(tokens[root]);
    return next;
  };
  ValueList results = f.forLoop(get(op.getLowerBound()), endOf(op),
                                get(op.getStep()), init, body);
  for (auto [value, is] :
       llvm::zip(op.getResults(), ValueRef(results).take_front(carried)))
    set(value, is);
  for (auto [root, token] :
       llvm::zip(written, ValueRef(results).drop_front(carried)))
    tokens[root] = token;
  return result;
}

LogicalResult Translator::branch(scf::IfOp op) {
  SmallVector<mlir::Value> written = writtenIn(op);
  SmallVector<Type> types;
  for (mlir::Type type : op.getResultTypes())
    types.push_back(tileOf(type));
  types.append(written.size(), Type::token());
  llvm::DenseMap<mlir::Value, Value> before = tokens;
  LogicalResult result = success();
  auto arm = [&](Region &region) {
    tokens = before;
    ValueList yielded;
    if (!region.empty()) {
      if (failed(block(region.front())))
        result = failure();
      else
        for (mlir::Value operand :
             region.front().getTerminator()->getOperands())
          yielded.push_back(get(operand));
    }
    for (mlir::Value root : written)
      yielded.push_back(tokens[root]);
    return yielded;
  };
  ValueList results = f.ifElse(
      get(op.getCondition()), types, [&] { return arm(op.getThenRegion()); },
      [&] { return arm(op.getElseRegion()); });
  tokens = before;
  for (auto [value, is] : llvm::zip(op.getResults(), results))
    set(value, is);
  for (auto [root, token] :
       llvm::zip(written, ValueRef(results).drop_front(op.getNumResults())))
    tokens[root] = token;
  return result;
}

} // namespace fathom::nvidia
