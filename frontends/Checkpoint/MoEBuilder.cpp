// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One feed-forward sub-layer: router, routed and shared experts (spec section
// 6).
#include "frontends/Checkpoint/FunctionBuilder.h"

using namespace llvm;
using namespace mlir;

namespace fathom {

std::pair<Value, Value> FunctionBuilder::route(Value x, const LayerId &id) {
  std::string p = id.prefix + ".ffn.gate";
  int64_t count = config.experts, chosen = config.expertsPerToken;
  Value weight =
      weights.carrier(builder, p + ".weight", {count, config.hiddenSize});
  Value scores =
      dsv4::GateOp::create(builder, at(p), f32Type({count}), x, weight);
  FloatAttr factor = builder.getF64FloatAttr(config.routedScale);
  RankedTensorType idsType = i32Type({chosen}), weightsType = f32Type({chosen});
  if (id.index < config.hashLayers) {
    Value table =
        weights.plain(builder, p + ".tid2eid", {config.vocabSize, chosen},
                      {DType::I64, DType::I32});
    auto op = dsv4::RouteHashOp::create(builder, at(p), idsType, weightsType,
                                        scores, ids, table, factor);
    return {op->getResult(0), op->getResult(1)};
  }
  Value bias = plainParameter(p + ".bias", {count});
  auto op = dsv4::RouteTopKOp::create(builder, at(p), idsType, weightsType,
                                      scores, bias, factor);
  return {op->getResult(0), op->getResult(1)};
}

Value FunctionBuilder::sharedExperts(Value x, const std::string &prefix) {
  std::string p = prefix + ".ffn.shared_experts";
  int64_t hidden = config.hiddenSize, width = config.sharedWidth();
  Value g = linear(x, p + ".w1", width, hidden, {width});
  Value u = linear(x, p + ".w3", width, hidden, {width});
  Value a = dsv4::SwiGLUOp::create(builder, at(p), g.getType(), g, u,
                                   builder.getF64FloatAttr(config.swigluLimit));
  return linear(a, p + ".w2", hidden, width, {hidden});
}

/// One walk over x multiplies both, so that both are read in one way; plain
/// values may differ in width.
static void checkOneFormat(Weights &weights, const std::string &prefix,
                           const LinearWeight &w1, const LinearWeight &w3) {
  if (!w1.stored || !w3.stored || w1.stored == w3.stored ||
      (!w1.isQuantised() && !w3.isQuantised()))
    return;
  weights.unsupported("w1 and w3 of the experts are stored differently",
                      "in " + prefix + " w1 is " + dtypeName(*w1.stored).str() +
                          " and w3 is " + dtypeName(*w3.stored).str(),
                      "use a checkpoint that stores both in one format");
}

Value FunctionBuilder::experts(Value x, const LayerId &id) {
  std::string p = id.prefix + ".ffn.experts";
  int64_t hidden = config.hiddenSize, width = config.moeWidth;
  auto [expertIds, expertWeights] = route(x, id);
  auto stack = [&](StringRef which, int64_t n, int64_t k) {
    return weights.stackedLinear(builder, p + ".{}." + which.str(),
                                 config.experts, n, k);
  };
  LinearWeight w1 = stack("w1", width, hidden);
  LinearWeight w3 = stack("w3", width, hidden);
  LinearWeight w2 = stack("w2", hidden, width);
  checkOneFormat(weights, p, w1, w3);
  IntegerAttr hiddenBlock;
  if (isPublished() && w2.isQuantised())
    hiddenBlock = builder.getI64IntegerAttr(128);
  Value routed = dsv4::ExpertsOp::create(
      builder, at(p), f32Type({hidden}), quantiseInput(x, w1), expertIds,
      expertWeights, w1.weight, w1.scale, w3.weight, w3.scale, w2.weight,
      w2.scale, builder.getF64FloatAttr(config.swigluLimit), hiddenBlock);
  Value shared = sharedExperts(x, id.prefix);
  return dsv4::MoECombineOp::create(builder, at(id.prefix + ".ffn"),
                                    carrierType({hidden}), routed, shared);
}

} // namespace fathom
