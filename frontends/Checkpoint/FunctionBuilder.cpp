// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The frame of a function: signature, caches, results.
#include "frontends/Checkpoint/FunctionBuilder.h"

#include "llvm/Support/MathExtras.h"

using namespace llvm;
using namespace mlir;

namespace fathom {
using mlir::Type; // not LLVM's

FunctionBuilder::FunctionBuilder(ModuleOp module, const ModelConfig &config,
                                 const ImportOptions &options, Weights &weights)
    : module(module), config(config), options(options), weights(weights),
      builder(module.getContext()) {
  carrier = isF32() ? Type(builder.getF32Type()) : Type(builder.getBF16Type());
}

bool FunctionBuilder::isPublished() const {
  return options.numerics == dsv4::Numerics::Published;
}

bool FunctionBuilder::isF32() const {
  return options.numerics == dsv4::Numerics::F32;
}

Location FunctionBuilder::at(StringRef name) {
  return NameLoc::get(builder.getStringAttr(name));
}

static RankedTensorType withTokens(ArrayRef<int64_t> inner, Type element) {
  SmallVector<int64_t> shape{ShapedType::kDynamic};
  llvm::append_range(shape, inner);
  return RankedTensorType::get(shape, element);
}

RankedTensorType FunctionBuilder::carrierType(Shape inner) {
  return withTokens(inner, carrier);
}

RankedTensorType FunctionBuilder::f32Type(Shape inner) {
  return withTokens(inner, builder.getF32Type());
}

RankedTensorType FunctionBuilder::i32Type(Shape inner) {
  return withTokens(inner, builder.getI32Type());
}

Value FunctionBuilder::plainParameter(const std::string &name, Shape shape) {
  return weights.plain(builder, name, shape, {DType::F32, DType::BF16});
}

std::vector<std::pair<std::string, dsv4::CacheType>>
cachesOf(MLIRContext *context, const ModelConfig &config,
         const ImportOptions &options, const LayerId &layer) {
  using dsv4::CacheFormat;
  using dsv4::CacheKind;
  std::vector<std::pair<std::string, dsv4::CacheType>> caches;
  bool exact = options.numerics == dsv4::Numerics::F32;
  CacheFormat rowFormat = exact ? CacheFormat::F32 : CacheFormat::FP8;
  CacheFormat indexFormat = exact ? CacheFormat::F32 : CacheFormat::FP4;
  int64_t ratio = config.compressRatios[layer.index];
  auto add = [&](StringRef name, CacheKind kind, int64_t rows, int64_t width,
                 int64_t rope, CacheFormat format) {
    caches.emplace_back(
        layer.prefix + "." + name.str(),
        dsv4::CacheType::get(context, kind, rows, width, rope, format));
  };
  add("window", CacheKind::Window, windowRows(config, options.limits),
      config.headDim, config.ropeDim, rowFormat);
  if (ratio == 0)
    return caches;
  bool overlap = ratio == 4;
  int64_t stateRows = overlap ? 2 * ratio : ratio;
  int64_t factor = overlap ? 2 : 1;
  int64_t blocks = blockRows(options.limits, ratio);
  add("state", CacheKind::State, stateRows, factor * config.headDim, 0,
      CacheFormat::F32);
  add("compressed", CacheKind::Compressed, blocks, config.headDim,
      config.ropeDim, rowFormat);
  if (overlap) {
    add("index_state", CacheKind::State, stateRows,
        factor * config.indexHeadDim, 0, CacheFormat::F32);
    add("index", CacheKind::Index, blocks, config.indexHeadDim, 0, indexFormat);
  }
  return caches;
}

Value FunctionBuilder::cache(const LayerId &layer, StringRef kind) {
  return caches.lookup(layer.prefix + "." + kind.str());
}

void FunctionBuilder::begin(StringRef name, ArrayRef<LayerId> layers,
                            bool takesStreams, size_t layerOutputs) {
  caches.clear();
  ropeTables.clear();
  quantisedInputs.clear();

  RankedTensorType streamsType =
      carrierType({config.streams, config.hiddenSize});
  SmallVector<Type> inputs;
  if (takesStreams)
    inputs.push_back(streamsType);
  inputs.append(4, i32Type({})); // ids, positions, slots, rows
  std::vector<std::string> names;
  for (const LayerId &layer : layers)
    for (auto &[cacheName, type] :
         cachesOf(builder.getContext(), config, options, layer)) {
      names.push_back(cacheName);
      inputs.push_back(type);
    }
  SmallVector<Type> results{f32Type({config.vocabSize}), streamsType};
  results.append(layerOutputs, streamsType);
  builder.setInsertionPointToEnd(module.getBody());
  function = func::FuncOp::create(builder, at(name), name,
                                  builder.getFunctionType(inputs, results));
  Block *entry = function.addEntryBlock();
  builder.setInsertionPointToStart(entry);
  unsigned next = 0;
  if (takesStreams)
    streamsArgument = entry->getArgument(next++);
  for (Value *place : {&ids, &positions, &slots, &rows})
    *place = entry->getArgument(next++);
  for (const std::string &cacheName : names) {
    function.setArgAttr(next, dsv4::kCacheNameAttr,
                        builder.getStringAttr(cacheName));
    caches[cacheName] = entry->getArgument(next++);
  }
}

void FunctionBuilder::finish(Value streams, StringRef headPrefix,
                             const std::string &normName,
                             ArrayRef<Value> afterLayers) {
  // Only the rows whose logits are wanted meet the vocabulary.
  std::string head = headPrefix.str() + "hc_head";
  int64_t n = config.streams, width = config.hiddenSize;
  Value selected = dsv4::SelectRowsOp::create(
      builder, at(head), carrierType({n, width}), streams, rows);
  Value fn = plainParameter(head + "_fn", {n, n * width});
  Value base = plainParameter(head + "_base", {n});
  Value scale = plainParameter(head + "_scale", {1});
  Value x = dsv4::HCHeadOp::create(builder, at(head), carrierType({width}),
                                   selected, fn, base, scale,
                                   builder.getF64FloatAttr(config.hcEps),
                                   builder.getF64FloatAttr(config.normEps));
  x = rmsNorm(x, normName, width);
  Value logits = plainLinear(x, "head.weight", config.vocabSize, width,
                             f32Type({config.vocabSize}));
  SmallVector<Value> results{logits, streams};
  llvm::append_range(results, afterLayers);
  func::ReturnOp::create(builder, at("return"), results);
}

void FunctionBuilder::buildStep() {
  std::vector<LayerId> layers;
  for (int64_t i = 0; i < config.layers; ++i)
    layers.push_back({"layers." + std::to_string(i), i});
  begin("step", layers, /*takesStreams=*/false,
        options.layerOutputs ? layers.size() - 1 : 0);
  Value x = embed(ids, "embed");
  Value streams = dsv4::HCExpandOp::create(
      builder, at("embed"), carrierType({config.streams, config.hiddenSize}),
      x);
  SmallVector<Value> afterLayers;
  for (const LayerId &id : layers) {
    if (weights.isHopeless())
      break;
    streams = layer(streams, id);
    if (options.layerOutputs && id.index + 1 < config.layers)
      afterLayers.push_back(streams);
  }
  finish(streams, "", "norm.weight", afterLayers);
}

void FunctionBuilder::buildMtp(int64_t index) {
  std::string prefix = "mtp." + std::to_string(index);
  LayerId id{prefix, config.layers + index};
  begin("mtp_" + std::to_string(index), id, /*takesStreams=*/true);
  Value streams = mtpInput(streamsArgument, prefix);
  streams = layer(streams, id);
  finish(streams, prefix + ".", prefix + ".norm.weight");
}

} // namespace fathom
