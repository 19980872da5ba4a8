// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The residual streams: how a layer reads and writes them (spec section 2), how
// they begin, and what an MTP layer makes of them (section 7).
#include "frontends/Checkpoint/FunctionBuilder.h"

using namespace llvm;
using namespace mlir;

namespace fathom {

Value FunctionBuilder::embed(Value tokenIds, StringRef name) {
  Value table = weights.carrier(builder, "embed.weight",
                                {config.vocabSize, config.hiddenSize});
  return dsv4::EmbedOp::create(
      builder, at(name), carrierType({config.hiddenSize}), tokenIds, table);
}

FunctionBuilder::Mixed FunctionBuilder::hyperPre(Value streams,
                                                 const std::string &prefix) {
  int64_t n = config.streams, width = config.hiddenSize;
  int64_t outputs = (2 + n) * n;
  Value fn = plainParameter(prefix + "_fn", {outputs, n * width});
  Value base = plainParameter(prefix + "_base", {outputs});
  Value scale = plainParameter(prefix + "_scale", {3});
  auto op = dsv4::HCPreOp::create(
      builder, at(prefix), carrierType({width}), f32Type({n}), f32Type({n, n}),
      streams, fn, base, scale, builder.getF64FloatAttr(config.hcEps),
      builder.getF64FloatAttr(config.normEps),
      builder.getI64IntegerAttr(config.sinkhornIterations));
  return {op.getX(), op.getPost(), op.getComb()};
}

Value FunctionBuilder::hyperPost(Value y, Value streams, const Mixed &mixed,
                                 StringRef name) {
  return dsv4::HCPostOp::create(builder, at(name), streams.getType(), y,
                                streams, mixed.post, mixed.comb);
}

Value FunctionBuilder::layer(Value streams, const LayerId &id) {
  const std::string &p = id.prefix;
  Mixed mixed = hyperPre(streams, p + ".hc_attn");
  Value x = rmsNorm(mixed.x, p + ".attn_norm.weight", config.hiddenSize);
  streams = hyperPost(attention(x, id), streams, mixed, p + ".hc_attn");

  mixed = hyperPre(streams, p + ".hc_ffn");
  x = rmsNorm(mixed.x, p + ".ffn_norm.weight", config.hiddenSize);
  return hyperPost(experts(x, id), streams, mixed, p + ".hc_ffn");
}

Value FunctionBuilder::mtpInput(Value streams, const std::string &prefix) {
  int64_t n = config.streams, width = config.hiddenSize;
  Value e = embed(ids, prefix + ".embed");
  e = rmsNorm(e, prefix + ".enorm.weight", width);
  e = linear(e, prefix + ".e_proj", width, width, {width});
  Value h = rmsNorm(streams, prefix + ".hnorm.weight", width);
  h = linear(h, prefix + ".h_proj", width, width, {n, width});
  return dsv4::AddStreamsOp::create(builder, at(prefix), h.getType(), e, h);
}

} // namespace fathom
