// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a step schedule is made of. Tags refer to ../docs/Rationale.md's table
// of rules.
#include "dialects/Tile/IR/Grid.h"
#include "dialects/Tile/IR/TileRules.h"

#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/AffineMap.h"

using namespace mlir;
using namespace fathom::tile;

LogicalResult WeightOp::verify() {
  // weight_c1
  if (getName().empty())
    return emitOpError() << "attribute 'name' must not be empty";
  // weight_c2
  auto type = cast<MemRefType>(getResult().getType());
  if (type.hasStaticShape() && type.getLayout().isIdentity())
    return success();
  return emitOpError() << "result must have a static shape and identity "
                          "layout, found "
                       << type;
}

LogicalResult WeightTableOp::verify() {
  // weight_table_c1
  if (getName().count("{}") == 1)
    return success();
  return emitOpError() << "attribute 'name' must have one '{}', found \""
                       << getName() << "\"";
}

LogicalResult CacheOp::verify() {
  // cache_c1
  if (getName().empty() || getComponent().empty())
    return emitOpError()
           << "attributes 'name' and 'component' must not be empty";
  // cache_c2
  if (isBuffer(getResult().getType()))
    return success();
  return emitOpError() << "result must be " << kBufferRule << ", found "
                       << getResult().getType();
}

/// Affine maps and expressions are no arguments of diagnostics.
template <typename T> static std::string textOf(const T &value) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << value;
  return text;
}

static std::optional<int64_t> positive(AffineExpr expr) {
  auto constant = dyn_cast<AffineConstantExpr>(expr);
  if (!constant || constant.getValue() < 1)
    return std::nullopt;
  return constant.getValue();
}

/// c, d, d ceildiv k, and c times either, with positive c and k.
static std::optional<GridTerm> gridTerm(AffineExpr expr) {
  GridTerm term;
  if (std::optional<int64_t> c = positive(expr)) {
    term.multiply = *c;
    return term;
  }
  auto times = dyn_cast<AffineBinaryOpExpr>(expr);
  if (times && times.getKind() == AffineExprKind::Mul) {
    std::optional<int64_t> c = positive(times.getRHS());
    if (!c)
      return std::nullopt;
    term.multiply = *c;
    expr = times.getLHS();
  }
  auto parts = dyn_cast<AffineBinaryOpExpr>(expr);
  if (parts && parts.getKind() == AffineExprKind::CeilDiv) {
    std::optional<int64_t> k = positive(parts.getRHS());
    if (!k)
      return std::nullopt;
    term.divide = *k;
    expr = parts.getLHS();
  }
  auto dim = dyn_cast<AffineDimExpr>(expr);
  if (!dim || dim.getPosition() > 1)
    return std::nullopt;
  term.dim = static_cast<int>(dim.getPosition());
  return term;
}

std::optional<SmallVector<GridTerm>> fathom::tile::gridTerms(AffineExpr expr) {
  SmallVector<GridTerm> terms;
  SmallVector<AffineExpr> work{expr};
  while (!work.empty()) {
    AffineExpr next = work.pop_back_val();
    auto sum = dyn_cast<AffineBinaryOpExpr>(next);
    if (sum && sum.getKind() == AffineExprKind::Add) {
      work.push_back(sum.getRHS());
      work.push_back(sum.getLHS());
      continue;
    }
    std::optional<GridTerm> term = gridTerm(next);
    if (!term)
      return std::nullopt;
    terms.push_back(*term);
  }
  return terms;
}

static LogicalResult verifyGrid(LaunchOp op) {
  // launch_c1
  AffineMap grid = op.getGrid();
  if (grid.getNumDims() != 2 || grid.getNumSymbols() != 0 ||
      grid.getNumResults() < 1 || grid.getNumResults() > 3)
    return op.emitOpError() << "attribute 'grid' must map (tokens, rows) to "
                               "one to three numbers of programs, found "
                            << textOf(grid);
  // launch_c2
  for (AffineExpr expr : grid.getResults())
    if (!gridTerms(expr))
      return op.emitOpError()
             << "attribute 'grid' must have results of the form c, d or "
                "c * (d ceildiv k) or sums of them, found "
             << textOf(expr);
  return success();
}

/// What a launch and a call say of the kernel that they name.
static FailureOr<KernelOp> verifyKernel(Operation *op, FlatSymbolRefAttr name,
                                        ValueRange operands,
                                        SymbolTableCollection &symbols) {
  // launch_c3, call_c1
  auto kernel = symbols.lookupNearestSymbolFrom<KernelOp>(op, name);
  if (!kernel)
    return op->emitOpError() << "must name a tile.kernel, found " << name;
  // launch_c4, call_c2
  ArrayRef<Type> expected = kernel.getFunctionType().getInputs();
  if (expected.size() != operands.size())
    return op->emitOpError()
           << "must have as many operands as the kernel has "
              "arguments ("
           << expected.size() << "), found " << operands.size();
  for (auto [i, operand] : llvm::enumerate(operands))
    if (operand.getType() != expected[i])
      return op->emitOpError()
             << "operand " << i << " must have the type of the "
             << "kernel's argument, " << expected[i] << ", found "
             << operand.getType();
  return kernel;
}

LogicalResult CallOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<KernelOp> kernel =
      verifyKernel(*this, getKernelAttr(), getPassed(), symbols);
  if (failed(kernel))
    return failure();
  // call_c3
  auto caller = (*this)->getParentOfType<KernelOp>();
  for (auto [i, passed] : llvm::enumerate(getPassed())) {
    auto argument = dyn_cast<BlockArgument>(passed);
    if (!argument || argument.getOwner()->getParentOp() != caller)
      return emitOpError() << "operand " << i
                           << " must be an argument of the kernel that calls";
  }
  // call_c4
  WalkResult calls =
      kernel->getBody().walk([](CallOp) { return WalkResult::interrupt(); });
  if (calls.wasInterrupted())
    return emitOpError() << "must name a kernel that calls none, found "
                         << getKernelAttr();
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (failed(verifyGrid(*this)))
    return failure();
  FailureOr<KernelOp> kernel =
      verifyKernel(*this, getKernelAttr(), getOperands(), symbols);
  if (failed(kernel))
    return failure();
  // launch_c5
  if (kernel->getBody().empty())
    return success();
  ArgumentUse use = argumentUse(*kernel);
  for (auto [i, operand] : llvm::enumerate(getOperands()))
    if (use.writer[i] && llvm::count(getOperands(), operand) > 1)
      return emitOpError() << "operand " << i << " is written by the kernel "
                           << "and must not be passed twice";
  return success();
}
