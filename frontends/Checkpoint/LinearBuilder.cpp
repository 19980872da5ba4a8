// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Linears and what stands before and after them: norms, quantisation points,
// rotary embedding.
#include "frontends/Checkpoint/FunctionBuilder.h"

using namespace llvm;
using namespace mlir;

namespace fathom {

Value FunctionBuilder::fakeQuantize(Value x, dsv4::QuantFormat format,
                                    int64_t block, int64_t channels,
                                    StringRef name) {
  if (channels == 0) // head_dim == qk_rope_head_dim
    return x;
  return dsv4::FakeQuantizeOp::create(
      builder, at(name), x.getType(), x,
      dsv4::QuantFormatAttr::get(builder.getContext(), format),
      builder.getI64IntegerAttr(block), builder.getI64IntegerAttr(channels));
}

Value FunctionBuilder::quantiseInput(Value x, const LinearWeight &weight) {
  if (!isPublished() || !weight.isQuantised())
    return x;
  // Several linears read one x: they share one quantised copy.
  Value &shared = quantisedInputs[x];
  if (!shared) {
    int64_t width = cast<RankedTensorType>(x.getType()).getShape().back();
    shared = dsv4::FakeQuantizeOp::create(
        builder, x.getLoc(), x.getType(), x,
        dsv4::QuantFormatAttr::get(builder.getContext(),
                                   dsv4::QuantFormat::E4M3),
        builder.getI64IntegerAttr(128), builder.getI64IntegerAttr(width));
  }
  return shared;
}

Value FunctionBuilder::apply(Value x, const LinearWeight &weight,
                             StringRef name, RankedTensorType type) {
  return dsv4::LinearOp::create(builder, at(name), type, x, weight.weight,
                                weight.scale);
}

Value FunctionBuilder::linear(Value x, const std::string &name, int64_t n,
                              int64_t k, Shape resultInner) {
  LinearWeight weight = weights.linear(builder, name, n, k);
  return apply(quantiseInput(x, weight), weight, name,
               carrierType(resultInner));
}

Value FunctionBuilder::plainLinear(Value x, const std::string &weightName,
                                   int64_t n, int64_t k,
                                   RankedTensorType type) {
  LinearWeight weight{weights.carrier(builder, weightName, {n, k}), Value()};
  return apply(x, weight, weightName, type);
}

Value FunctionBuilder::rmsNorm(Value x, const std::string &name,
                               int64_t width) {
  Value weight = weights.carrier(builder, name, {width});
  return dsv4::RMSNormOp::create(builder, at(name), x.getType(), x, weight,
                                 builder.getF64FloatAttr(config.normEps));
}

std::pair<Value, Value> FunctionBuilder::ropeTable(bool compressed,
                                                   int64_t block) {
  auto &table = ropeTables[{compressed, block}];
  if (table.first)
    return table;
  dsv4::RopeAttr rope;
  MLIRContext *context = builder.getContext();
  if (!compressed)
    rope = dsv4::RopeAttr::get(context, config.ropeDim, config.ropeTheta);
  else if (!config.yarn)
    rope =
        dsv4::RopeAttr::get(context, config.ropeDim, config.compressRopeTheta);
  else
    rope =
        dsv4::RopeAttr::get(context, config.ropeDim, config.compressRopeTheta,
                            config.yarn->factor, config.yarn->originalLength,
                            config.yarn->betaFast, config.yarn->betaSlow);
  // At the head of the function: all layers of a kind share one table.
  OpBuilder::InsertionGuard guard(builder);
  Operation *last = nullptr;
  for (auto &entry : ropeTables)
    if (entry.second.first)
      if (Operation *op = entry.second.first.getDefiningOp();
          !last || last->isBeforeInBlock(op))
        last = op;
  if (last)
    builder.setInsertionPointAfter(last);
  else
    builder.setInsertionPointToStart(&function.getBody().front());
  RankedTensorType type = f32Type({config.ropeDim / 2});
  auto op =
      dsv4::RopeTableOp::create(builder, at("rope"), type, type, positions,
                                rope, builder.getI64IntegerAttr(block));
  table = {op.getCos(), op.getSin()};
  return table;
}

Value FunctionBuilder::rope(Value x, int64_t ratio, int64_t block, bool inverse,
                            StringRef name) {
  auto [cos, sin] = ropeTable(ratio != 0, block);
  return dsv4::RopeOp::create(builder, at(name), x.getType(), x, cos, sin,
                              inverse ? builder.getUnitAttr() : UnitAttr());
}

} // namespace fathom
