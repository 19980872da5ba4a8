// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One attention sub-layer: queries and window rows (spec section 3), compressor
// (4), indexer (5).
#include "frontends/Checkpoint/FunctionBuilder.h"

#include <cmath>

using namespace llvm;
using namespace mlir;

namespace fathom {

void FunctionBuilder::compress(Value x, const LayerId &id, bool indexer,
                               int64_t ratio) {
  std::string p =
      id.prefix + (indexer ? ".attn.indexer.compressor" : ".attn.compressor");
  bool overlap = ratio == 4;
  int64_t width = indexer ? config.indexHeadDim : config.headDim;
  int64_t full = overlap ? 2 * width : width;
  // Projections and pooling are f32 up to the one rounding of the pooled row.
  Value kv = plainLinear(x, p + ".wkv.weight", full, config.hiddenSize,
                         f32Type({full}));
  Value gate = plainLinear(x, p + ".wgate.weight", full, config.hiddenSize,
                           f32Type({full}));
  Value ape = plainParameter(p + ".ape", {ratio, full});
  Value state = cache(id, indexer ? "index_state" : "state");
  IntegerAttr ratioAttr = builder.getI64IntegerAttr(ratio);
  Value row = dsv4::CompressPoolOp::create(
      builder, at(p), carrierType({width}), kv, gate, ape, state, positions,
      slots, ratioAttr, overlap ? builder.getUnitAttr() : UnitAttr());
  dsv4::StateUpdateOp::create(builder, at(p), state, kv, gate, positions,
                              slots);
  row = rmsNorm(row, p + ".norm.weight", width);
  row = rope(row, ratio, /*block=*/ratio, /*inverse=*/false, p);
  if (indexer) {
    row = dsv4::HadamardOp::create(builder, at(p), row.getType(), row);
    if (!isF32())
      row = fakeQuantize(row, dsv4::QuantFormat::E2M1, 32, width, p);
  } else if (!isF32()) {
    row = fakeQuantize(row, dsv4::QuantFormat::E4M3, 64, width - config.ropeDim,
                       p);
  }
  dsv4::CompressedInsertOp::create(builder, at(p),
                                   cache(id, indexer ? "index" : "compressed"),
                                   row, positions, slots, ratioAttr);
}

Value FunctionBuilder::selectBlocks(Value x, Value queryRank,
                                    const LayerId &id) {
  std::string p = id.prefix + ".attn.indexer";
  int64_t heads = config.indexHeads, width = config.indexHeadDim;
  constexpr int64_t ratio = 4;
  Value q = linear(queryRank, p + ".wq_b", heads * width, config.qRank,
                   {heads, width});
  q = rope(q, ratio, /*block=*/1, /*inverse=*/false, p);
  q = dsv4::HadamardOp::create(builder, at(p), q.getType(), q);
  if (!isF32())
    q = fakeQuantize(q, dsv4::QuantFormat::E2M1, 32, width, p);
  compress(x, id, /*indexer=*/true, ratio);
  Value w = plainLinear(x, p + ".weights_proj.weight", heads, config.hiddenSize,
                        carrierType({heads}));
  double factor = std::pow(static_cast<double>(width), -0.5) *
                  std::pow(static_cast<double>(heads), -0.5);
  w = dsv4::ScaleOp::create(builder, at(p), w.getType(), w,
                            builder.getF64FloatAttr(factor));
  Value blocks = cache(id, "index");
  int64_t rowCount = cast<dsv4::CacheType>(blocks.getType()).getRows();
  IntegerAttr ratioAttr = builder.getI64IntegerAttr(ratio);
  Value scores =
      dsv4::IndexScoresOp::create(builder, at(p), f32Type({rowCount}), q, w,
                                  blocks, positions, slots, ratioAttr);
  // More than all blocks cannot be chosen: keeps the list short.
  int64_t k = std::min(config.indexTopK, rowCount);
  return dsv4::SelectTopKOp::create(builder, at(p), i32Type({k}), scores,
                                    positions, builder.getI64IntegerAttr(k),
                                    ratioAttr);
}

Value FunctionBuilder::attention(Value x, const LayerId &id) {
  std::string p = id.prefix + ".attn";
  int64_t heads = config.heads, width = config.headDim;
  int64_t hidden = config.hiddenSize, rank = config.qRank;
  int64_t ratio = config.compressRatios[id.index];
  Value qr = linear(x, p + ".wq_a", rank, hidden, {rank});
  qr = rmsNorm(qr, p + ".q_norm.weight", rank);
  Value q = linear(qr, p + ".wq_b", heads * width, rank, {heads, width});
  q = dsv4::HeadNormOp::create(builder, at(p), q.getType(), q,
                               builder.getF64FloatAttr(config.normEps));
  q = rope(q, ratio, /*block=*/1, /*inverse=*/false, p);

  Value kv = linear(x, p + ".wkv", width, hidden, {width});
  kv = rmsNorm(kv, p + ".kv_norm.weight", width);
  kv = rope(kv, ratio, /*block=*/1, /*inverse=*/false, p);
  if (!isF32())
    kv = fakeQuantize(kv, dsv4::QuantFormat::E4M3, 64, width - config.ropeDim,
                      p);
  Value windowCache = cache(id, "window");
  dsv4::WindowInsertOp::create(builder, at(p), windowCache, kv, positions,
                               slots);
  Value compressed, indices;
  if (ratio != 0) {
    compress(x, id, /*indexer=*/false, ratio);
    compressed = cache(id, "compressed");
    if (ratio == 4)
      indices = selectBlocks(x, qr, id);
  }
  Value sink = plainParameter(p + ".attn_sink", {heads});
  Value o = dsv4::AttentionOp::create(
      builder, at(p), q.getType(), q, windowCache, compressed, indices, sink,
      positions, slots, builder.getI64IntegerAttr(config.window),
      builder.getI64IntegerAttr(ratio),
      builder.getF64FloatAttr(std::pow(static_cast<double>(width), -0.5)));
  o = rope(o, ratio, /*block=*/1, /*inverse=*/true, p);

  int64_t groups = config.oGroups, mid = groups * config.oRank;
  // wo_a sees its input as it is: no quantisation, in any numerics.
  LinearWeight woA =
      weights.linear(builder, p + ".wo_a", mid, heads * width / groups,
                     /*quantisedInput=*/false);
  Value u = dsv4::GroupedLinearOp::create(
      builder, at(p + ".wo_a"), carrierType({mid}), o, woA.weight, woA.scale,
      builder.getI64IntegerAttr(groups));
  return linear(u, p + ".wo_b", hidden, mid, {hidden});
}

} // namespace fathom
