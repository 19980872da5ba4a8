// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Router and experts. Tags refer to ../docs/Spec.md.
#include "dialects/DSV4/IR/ShapeRules.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace fathom::dsv4;

LogicalResult GateOp::inferReturnTypes(MLIRContext *context,
                                       std::optional<Location> location,
                                       Adaptor adaptor,
                                       SmallVectorImpl<Type> &types) {
  // gate_c1
  auto x = rankedOperand(location, "gate", "x", adaptor.getX(), 2, 2);
  auto weight =
      rankedOperand(location, "gate", "weight", adaptor.getWeight(), 2, 2);
  if (failed(x) || failed(weight))
    return failure();
  types.push_back(RankedTensorType::get(
      {x->getDimSize(0), weight->getDimSize(0)}, Float32Type::get(context)));
  return success();
}

LogicalResult GateOp::verify() {
  // gate_c1
  if (failed(requireRank(*this, "x", getX(), 2, 2)))
    return failure();
  // gate_c1
  if (failed(requireRank(*this, "weight", getWeight(), 2, 2)))
    return failure();
  // gate_c2
  return requireShape(*this, "weight", getWeight(),
                      {dimOf(getWeight(), 0), dimOf(getX(), 1)}, "E x D");
}

LogicalResult RouteTopKOp::verify() {
  // route_topk_c1
  if (failed(requireRank(*this, "scores", getScores(), 2, 2)))
    return failure();
  // route_topk_c2
  int64_t experts = dimOf(getScores(), 1);
  if (failed(requireShape(*this, "bias", getBias(), experts, "E")))
    return failure();
  // route_topk_c3
  if (failed(requireRank(*this, "ids", getIds(), 2, 2)))
    return failure();
  int64_t k = dimOf(getIds(), 1), tokens = dimOf(getScores(), 0);
  if (k == kUnknown || k < 1 || (experts != kUnknown && k > experts))
    return emitOpError() << "result 'ids' must have between 1 and "
                         << shapeText(experts) << " (E) columns, found "
                         << shapeText(k);
  if (failed(requireShape(*this, "ids", getIds(), {tokens, k}, "T x k")) ||
      failed(requireShape(*this, "weights", getWeights(), {tokens, k},
                          "T x k, as 'ids'")))
    return failure();
  // route_topk_c4
  return requireNumber(*this, "factor", getFactor(), /*positive=*/true);
}

LogicalResult RouteHashOp::inferReturnTypes(MLIRContext *context,
                                            std::optional<Location> location,
                                            Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  // route_hash_c1
  auto scores = rankedOperand(location, "route_hash", "scores",
                              adaptor.getScores(), 2, 2);
  auto table =
      rankedOperand(location, "route_hash", "table", adaptor.getTable(), 2, 2);
  if (failed(scores) || failed(table))
    return failure();
  int64_t shape[] = {scores->getDimSize(0), table->getDimSize(1)};
  types.push_back(RankedTensorType::get(shape, IntegerType::get(context, 32)));
  types.push_back(RankedTensorType::get(shape, Float32Type::get(context)));
  return success();
}

LogicalResult RouteHashOp::verify() {
  // route_hash_c1
  if (failed(requireRank(*this, "scores", getScores(), 2, 2)))
    return failure();
  // route_hash_c1
  if (failed(requireRank(*this, "table", getTable(), 2, 2)))
    return failure();
  // route_hash_c2
  if (failed(requireShape(*this, "ids", getIds(), dimOf(getScores(), 0), "T")))
    return failure();
  // route_hash_c3
  int64_t k = dimOf(getTable(), 1), experts = dimOf(getScores(), 1);
  if (k < 1 || (experts != kUnknown && k > experts))
    return emitOpError() << "operand 'table' must have between 1 and "
                         << shapeText(experts) << " (E) columns, found "
                         << shapeText(k);
  // route_hash_c4
  return requireNumber(*this, "factor", getFactor(), /*positive=*/true);
}

LogicalResult ExpertsOp::inferReturnTypes(MLIRContext *context,
                                          std::optional<Location> location,
                                          Adaptor adaptor,
                                          SmallVectorImpl<Type> &types) {
  // experts_c1
  auto x = rankedOperand(location, "experts", "x", adaptor.getX(), 2, 2);
  if (failed(x))
    return failure();
  types.push_back(x->clone(Float32Type::get(context)));
  return success();
}

LogicalResult ExpertsOp::verify() {
  // experts_c1
  if (failed(requireRank(*this, "x", getX(), 2, 2)))
    return failure();
  int64_t tokens = dimOf(getX(), 0), width = dimOf(getX(), 1);
  // experts_c2
  if (failed(requireRank(*this, "ids", getIds(), 2, 2)) ||
      failed(requireShape(*this, "ids", getIds(), {tokens, dimOf(getIds(), 1)},
                          "T x k")) ||
      failed(requireShape(*this, "weights", getWeights(),
                          {tokens, dimOf(getIds(), 1)}, "T x k, as 'ids'")))
    return failure();
  // experts_c3
  if (failed(requireRank(*this, "w1", getW1(), 3, 3)))
    return failure();
  int64_t experts = dimOf(getW1(), 0), inner = outputsOf(getW1());
  if (failed(requireWeight(*this, "w1", getW1(), experts, inner, width, "s1",
                           getS1())) ||
      failed(requireWeight(*this, "w3", getW3(), experts, inner, width, "s3",
                           getS3())) ||
      failed(requireWeight(*this, "w2", getW2(), experts, width, inner, "s2",
                           getS2())))
    return failure();
  // experts_c6
  Type first = tensorOf(getW1()).getElementType(),
       third = tensorOf(getW3()).getElementType();
  if ((getS1() || getS3()) && first != third)
    return emitOpError() << "operand 'w3' must be stored as 'w1' (" << first
                         << "), found " << third;
  // experts_c4
  if (failed(requireNumber(*this, "limit", getLimit(), /*positive=*/true)))
    return failure();
  // experts_c5
  if (!getHiddenBlock())
    return success();
  int64_t block = *getHiddenBlock();
  if (failed(requireBlock(*this, "hidden_block", block)))
    return failure();
  if (inner != kUnknown && inner % block != 0)
    return emitOpError() << "attribute 'hidden_block' must divide F (" << inner
                         << "), found " << block;
  return success();
}

LogicalResult SwiGLUOp::inferReturnTypes(MLIRContext *,
                                         std::optional<Location> location,
                                         Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  // swiglu_c1
  auto g = rankedOperand(location, "swiglu", "g", adaptor.getG(), 1,
                         std::numeric_limits<int64_t>::max());
  if (failed(g))
    return failure();
  types.push_back(*g);
  return success();
}

LogicalResult SwiGLUOp::verify() {
  // swiglu_c1
  if (failed(requireRank(*this, "g", getG(), 1,
                         std::numeric_limits<int64_t>::max())))
    return failure();
  // swiglu_c2
  if (!agree(getG().getType(), getU().getType()))
    return emitOpError() << "operand 'u' must have the type of 'g' ("
                         << getG().getType() << "), found " << getU().getType();
  // swiglu_c3
  return requireNumber(*this, "limit", getLimit(), /*positive=*/true);
}

LogicalResult MoECombineOp::verify() {
  // moe_combine_c1
  ArrayRef<int64_t> shape = tensorOf(getRouted()).getShape();
  if (failed(requireRank(*this, "routed", getRouted(), 2, 2)) ||
      failed(requireShape(*this, "shared", getShared(), shape,
                          "T x D, as 'routed'")))
    return failure();
  // moe_combine_c2
  return requireShape(*this, "result", getResult(), shape,
                      "T x D, as 'routed'");
}
