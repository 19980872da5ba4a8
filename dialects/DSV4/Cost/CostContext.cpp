// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Cost/Cost.h"

#include "mlir/Interfaces/FunctionInterfaces.h"

#include <limits>

using namespace mlir;

namespace fathom {

void Cost::operator+=(const Cost &other) {
  weightFlops += other.weightFlops;
  attentionFlops += other.attentionFlops;
  indexFlops += other.indexFlops;
  otherFlops += other.otherFlops;
  weightBytes += other.weightBytes;
  cacheReadBytes += other.cacheReadBytes;
  cacheWrittenBytes += other.cacheWrittenBytes;
  activationBytes += other.activationBytes;
  cacheGrowthBytes += other.cacheGrowthBytes;
}

static bool isOfStep(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() > 0 && type.isDynamicDim(0);
}

/// Rows of logits begin where rows are selected, and go on from there.
CostContext::CostContext(Operation *function, const Workload &workload)
    : load(workload) {
  function->walk<WalkOrder::PreOrder>([&](Operation *op) {
    bool rows = isa<dsv4::SelectRowsOp>(op) ||
                llvm::any_of(op->getOperands(), [&](Value operand) {
                  return logitRows.contains(operand);
                });
    if (auto group = dyn_cast<dsv4::FusedOp>(op)) {
      // What the members are is known only after them.
      return;
    }
    if (auto yield = dyn_cast<dsv4::YieldOp>(op)) {
      for (auto [value, result] :
           llvm::zip(yield.getOperands(), op->getParentOp()->getResults()))
        if (logitRows.contains(value))
          logitRows.insert(result);
      return;
    }
    if (rows)
      logitRows.insert(op->result_begin(), op->result_end());
  });
}

double CostContext::rowsOf(Value tensor) const {
  if (!isOfStep(tensor))
    return 0;
  return logitRows.contains(tensor) ? double(load.sequences) : tokens();
}

double CostContext::elements(Value tensor) const {
  auto type = cast<RankedTensorType>(tensor.getType());
  double count = 1;
  for (int64_t size : type.getShape())
    count *= ShapedType::isDynamic(size) ? rowsOf(tensor) : double(size);
  return count;
}

double CostContext::bytes(Value tensor) const {
  auto type = cast<RankedTensorType>(tensor.getType());
  return elements(tensor) * type.getElementTypeBitWidth() / 8;
}

double CostContext::activations(Operation *op) const {
  double total = 0;
  for (Value operand : op->getOperands())
    if (isOfStep(operand))
      total += bytes(operand);
  for (Value result : op->getResults())
    if (isOfStep(result))
      total += bytes(result);
  return total;
}

/// Sum of min(v, most) over v = 1 .. n.
static double cappedSum(double n, double most) {
  double ramp = std::min(n, most);
  return ramp * (ramp + 1) / 2 + (n - ramp) * most;
}

/// Sum of min(floor(v / ratio), most) over v = 1 .. n.
static double cappedBlocks(double n, double ratio, double most) {
  // Full groups of `ratio` values share a quotient; the first one, 0, has one
  // value fewer.
  double full = std::floor((n + 1) / ratio);
  double rest = (n + 1) - full * ratio;
  double quotients = std::min(full, most); // groups below the cap
  double sum = ratio * quotients * (quotients - 1) / 2;
  sum += ratio * (full - quotients) * most;
  return sum + rest * std::min(full, most);
}

double CostContext::windowKeys(int64_t window) const {
  double end = double(load.first) + load.count;
  return load.sequences *
         (cappedSum(end, window) - cappedSum(load.first, window));
}

double CostContext::blocks(int64_t ratio, int64_t most) const {
  double end = double(load.first) + load.count;
  return load.sequences * (cappedBlocks(end, ratio, most) -
                           cappedBlocks(load.first, ratio, most));
}

/// Lengths at the ends of all steps are evenly spaced over the tokens.
static double averageEnd(const Workload &load) {
  double step = double(load.count) / load.steps;
  return load.first + (load.count + step) / 2;
}

double CostContext::windowRows(int64_t window) const {
  double each = std::min<double>(averageEnd(load),
                                 window - 1 + double(load.count) / load.steps);
  return load.sequences * load.steps * each;
}

double CostContext::blockRows(int64_t ratio) const {
  return load.sequences * load.steps * averageEnd(load) / ratio;
}

} // namespace fathom
