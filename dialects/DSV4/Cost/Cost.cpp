// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One function an operation. An operation of the dialect without one does not
// compile.
#include "dialects/DSV4/Cost/Cost.h"

#include "dialects/DSV4/IR/CacheLayout.h"

#include "llvm/ADT/SetVector.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace fathom::dsv4;

#include "dialects/DSV4/Cost/CostOpInterface.cpp.inc"

namespace fathom {
namespace {

constexpr int64_t kAll = std::numeric_limits<int64_t>::max();

int64_t lastDim(Value tensor) {
  return cast<RankedTensorType>(tensor.getType()).getShape().back();
}

/// Bytes of a parameter, read once a step.
double weightBytes(Value weight, const CostContext &c) {
  return weight ? c.bytes(weight) * c.workload().steps : 0;
}

/// Elementwise work: `perElement` operations for each element of `like`.
Cost elementwise(Operation *op, Value like, double perElement,
                 const CostContext &c) {
  Cost cost;
  cost.otherFlops = c.elements(like) * perElement;
  cost.activationBytes = c.activations(op);
  return cost;
}

//===-- Parameters and structure ------------------------------------------===//

Cost costOf(ParameterOp, const CostContext &) { return {}; }
Cost costOf(StackedParameterOp, const CostContext &) { return {}; }
Cost costOf(YieldOp, const CostContext &) { return {}; }

/// The members' work; what one member hands to another stays on the chip.
Cost costOf(FusedOp op, const CostContext &c) {
  Cost cost;
  llvm::SetVector<Value> inputs;
  for (Operation &member : op.members()) {
    cost += cast<CostOpInterface>(member).cost(c);
    for (Value operand : member.getOperands())
      if (!op->isAncestor(operand.getParentBlock()->getParentOp()))
        inputs.insert(operand);
  }
  cost.activationBytes = c.activations(op);
  for (Value input : inputs)
    if (c.rowsOf(input) > 0)
      cost.activationBytes += c.bytes(input);
  return cost;
}

//===-- Tensors -----------------------------------------------------------===//

Cost costOf(EmbedOp op, const CostContext &c) {
  Cost cost;
  auto type = cast<RankedTensorType>(op.getTable().getType());
  cost.weightBytes = c.rowsOf(op.getResult()) * lastDim(op.getTable()) *
                     type.getElementTypeBitWidth() / 8;
  cost.activationBytes = c.activations(op);
  return cost;
}

Cost costOf(SelectRowsOp op, const CostContext &c) {
  Cost cost;
  cost.activationBytes = 2 * c.bytes(op.getResult());
  return cost;
}

Cost costOf(RMSNormOp op, const CostContext &c) {
  Cost cost = elementwise(op, op.getX(), 4, c);
  cost.weightBytes = weightBytes(op.getWeight(), c);
  return cost;
}

Cost costOf(HeadNormOp op, const CostContext &c) {
  return elementwise(op, op.getX(), 3, c);
}

/// A product with a weight of n * k values: 2 n k for each row.
Cost linearCost(Operation *op, Value x, double rows, double n, double k,
                Value weight, Value scale, const CostContext &c) {
  Cost cost;
  cost.weightFlops = 2 * rows * n * k;
  cost.weightBytes = weightBytes(weight, c) + weightBytes(scale, c);
  cost.activationBytes = c.activations(op);
  return cost;
}

Cost costOf(LinearOp op, const CostContext &c) {
  double k = lastDim(op.getX());
  double n = cast<RankedTensorType>(op.getWeight().getType()).getDimSize(0);
  return linearCost(op, op.getX(), c.elements(op.getX()) / k, n, k,
                    op.getWeight(), op.getScale(), c);
}

Cost costOf(GroupedLinearOp op, const CostContext &c) {
  double n = lastDim(op.getResult());
  double k = c.elements(op.getX()) / c.rowsOf(op.getX()) / op.getGroups();
  return linearCost(op, op.getX(), c.rowsOf(op.getX()), n, k, op.getWeight(),
                    op.getScale(), c);
}

Cost costOf(ScaleOp op, const CostContext &c) {
  return elementwise(op, op.getX(), 1, c);
}
/// A cosine or a sine is one operation here.
Cost costOf(RopeTableOp op, const CostContext &c) {
  return elementwise(op, op.getCos(), 3, c);
}
Cost costOf(RopeOp op, const CostContext &c) {
  Cost cost = elementwise(op, op.getX(), 0, c);
  cost.otherFlops = c.elements(op.getX()) / lastDim(op.getX()) *
                    lastDim(op.getCos()) * 6;
  return cost;
}
Cost costOf(HadamardOp op, const CostContext &c) {
  return elementwise(op, op.getX(), std::log2(double(lastDim(op.getX()))) + 1,
                     c);
}
Cost costOf(FakeQuantizeOp op, const CostContext &c) {
  return elementwise(op, op.getX(), 4, c);
}

//===-- Hyper-connections -------------------------------------------------===//

Cost costOf(HCExpandOp op, const CostContext &c) {
  return elementwise(op, op.getX(), 0, c);
}

/// The projection of all streams, the norm, Sinkhorn, and the mix.
Cost costOf(HCPreOp op, const CostContext &c) {
  double rows = c.rowsOf(op.getH());
  double values = c.elements(op.getH()) / rows; // nD
  double n = cast<RankedTensorType>(op.getH().getType()).getDimSize(1);
  double outputs = cast<RankedTensorType>(op.getFn().getType()).getDimSize(0);
  Cost cost = elementwise(op, op.getH(), 4, c);
  cost.weightFlops = 2 * rows * outputs * values;
  cost.otherFlops += rows * n * n * 4 * op.getIterations();
  cost.weightBytes = weightBytes(op.getFn(), c) + weightBytes(op.getBase(), c) +
                     weightBytes(op.getScale(), c);
  return cost;
}

Cost costOf(HCPostOp op, const CostContext &c) {
  double n = cast<RankedTensorType>(op.getH().getType()).getDimSize(1);
  return elementwise(op, op.getH(), 2 * n + 2, c);
}

Cost costOf(HCHeadOp op, const CostContext &c) {
  double rows = c.rowsOf(op.getH());
  double values = c.elements(op.getH()) / rows;
  double outputs = cast<RankedTensorType>(op.getFn().getType()).getDimSize(0);
  Cost cost = elementwise(op, op.getH(), 4, c);
  cost.weightFlops = 2 * rows * outputs * values;
  cost.weightBytes = weightBytes(op.getFn(), c) + weightBytes(op.getBase(), c) +
                     weightBytes(op.getScale(), c);
  return cost;
}

Cost costOf(AddStreamsOp op, const CostContext &c) {
  return elementwise(op, op.getH(), 1, c);
}

//===-- Caches ------------------------------------------------------------===//

double rowBytes(Value cache) {
  return cacheRowBytes(cast<CacheType>(cache.getType()));
}

Cost costOf(WindowInsertOp op, const CostContext &c) {
  Cost cost = elementwise(op, op.getKv(), 1, c);
  cost.cacheWrittenBytes = c.tokens() * rowBytes(op.getCache());
  return cost;
}

Cost costOf(CompressedInsertOp op, const CostContext &c) {
  Cost cost = elementwise(op, op.getX(), 1, c);
  double perToken = rowBytes(op.getCache()) / op.getRatio();
  cost.cacheWrittenBytes = c.tokens() * perToken;
  cost.cacheGrowthBytes = perToken;
  return cost;
}

/// Every token is in one pool, or in two where blocks overlap: a softmax over
/// the slots and a weighted sum, by channel.
Cost costOf(CompressPoolOp op, const CostContext &c) {
  Cost cost = elementwise(op, op.getKv(), 6, c);
  // Earlier tokens of the blocks that end in a step.
  double slots = op.getRatio() * (op.getOverlap() ? 2 : 1);
  double fromState = std::max(0.0, slots - c.tokensPerStep());
  double blocks = std::min(c.tokens() / op.getRatio(),
                           double(c.workload().steps) * c.workload().sequences);
  cost.cacheReadBytes = blocks * fromState * rowBytes(op.getState());
  cost.weightBytes = weightBytes(op.getApe(), c);
  return cost;
}

Cost costOf(StateUpdateOp op, const CostContext &c) {
  Cost cost = elementwise(op, op.getKv(), 0, c);
  cost.cacheWrittenBytes = c.tokens() * rowBytes(op.getState());
  return cost;
}

//===-- Attention ---------------------------------------------------------===//

/// Values of blocks that are not visible are neither written nor read.
Cost costOf(IndexScoresOp op, const CostContext &c) {
  auto q = cast<RankedTensorType>(op.getQ().getType());
  double heads = q.getDimSize(1), width = q.getDimSize(2);
  double blocks = c.blocks(op.getRatio(), kAll);
  Cost cost;
  cost.indexFlops = 2 * blocks * heads * width;
  cost.otherFlops = 3 * blocks * heads;
  cost.cacheReadBytes = std::min(blocks, c.blockRows(op.getRatio())) *
                        rowBytes(op.getCache());
  cost.activationBytes =
      c.bytes(op.getQ()) + c.bytes(op.getW()) + 4 * blocks;
  return cost;
}

Cost costOf(SelectTopKOp op, const CostContext &c) {
  double blocks = c.blocks(op.getRatio(), kAll);
  Cost cost;
  cost.otherFlops = 2 * blocks;
  cost.activationBytes = 4 * blocks + c.bytes(op.getIndices());
  return cost;
}

Cost costOf(AttentionOp op, const CostContext &c) {
  auto q = cast<RankedTensorType>(op.getQ().getType());
  double heads = q.getDimSize(1), width = q.getDimSize(2);
  double window = c.windowKeys(op.getWindow());
  Cost cost;
  cost.cacheReadBytes =
      std::min(window, c.windowRows(op.getWindow())) *
      rowBytes(op.getWindowCache());
  double blocks = 0;
  if (op.getCompressed()) {
    int64_t most = op.getIndices() ? lastDim(op.getIndices()) : kAll;
    blocks = c.blocks(op.getRatio(), most);
    cost.cacheReadBytes += std::min(blocks, c.blockRows(op.getRatio())) *
                           rowBytes(op.getCompressed());
  }
  double keys = window + blocks;
  cost.attentionFlops = 4 * keys * heads * width; // q.k and p.v
  cost.otherFlops = 4 * keys * heads;             // the softmax
  cost.weightBytes = weightBytes(op.getSink(), c);
  cost.activationBytes = c.activations(op);
  return cost;
}

//===-- Experts -----------------------------------------------------------===//

Cost costOf(GateOp op, const CostContext &c) {
  double k = lastDim(op.getX()), n = lastDim(op.getScores());
  Cost cost = linearCost(op, op.getX(), c.rowsOf(op.getX()), n, k,
                         op.getWeight(), Value(), c);
  cost.otherFlops = 3 * c.elements(op.getScores());
  return cost;
}

Cost costOf(RouteTopKOp op, const CostContext &c) {
  Cost cost = elementwise(op, op.getScores(), 2, c);
  cost.weightBytes = weightBytes(op.getBias(), c);
  return cost;
}

Cost costOf(RouteHashOp op, const CostContext &c) {
  Cost cost = elementwise(op, op.getWeights(), 2, c);
  auto table = cast<RankedTensorType>(op.getTable().getType());
  cost.weightBytes = c.tokens() * table.getDimSize(1) *
                     table.getElementTypeBitWidth() / 8;
  return cost;
}

/// Experts that nobody chose are not read: with E experts of which a token
/// takes k, a step of t tokens meets E (1 - (1 - k/E)^t) of them.
Cost costOf(ExpertsOp op, const CostContext &c) {
  double tokens = c.rowsOf(op.getX());
  double hidden = lastDim(op.getX()), chosen = lastDim(op.getIds());
  auto w1 = cast<RankedTensorType>(op.getW1().getType());
  double experts = w1.getDimSize(0), width = w1.getDimSize(1);
  Cost cost;
  cost.weightFlops = tokens * chosen * 3 * 2 * hidden * width;
  cost.otherFlops = tokens * chosen * (5 * width + hidden);
  double met = 1 - std::pow(1 - chosen / experts, c.tokensPerStep());
  for (Value weight : {op.getW1(), op.getS1(), op.getW3(), op.getS3(),
                       op.getW2(), op.getS2()})
    cost.weightBytes += met * weightBytes(weight, c);
  cost.activationBytes = c.activations(op);
  return cost;
}

Cost costOf(SwiGLUOp op, const CostContext &c) {
  return elementwise(op, op.getG(), 5, c);
}
Cost costOf(MoECombineOp op, const CostContext &c) {
  return elementwise(op, op.getShared(), 1, c);
}

//===-- Registration ------------------------------------------------------===//

template <typename Op>
struct CostModel : CostOpInterface::ExternalModel<CostModel<Op>, Op> {
  Cost cost(Operation *op, const CostContext &context) const {
    return costOf(cast<Op>(op), context);
  }
};

template <typename... Ops> void attach(MLIRContext *context) {
  (Ops::template attachInterface<CostModel<Ops>>(*context), ...);
}

} // namespace

void registerCostModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, DSV4Dialect *) {
    attach<
#define GET_OP_LIST
#include "dialects/DSV4/IR/DSV4Ops.cpp.inc"
        >(context);
  });
}

} // namespace fathom
