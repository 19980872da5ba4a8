// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "frontends/Config/ModelConfig.h"

#include "frontends/Config/FieldReader.h"
#include "frontends/Support/InputFile.h"
#include "frontends/Support/StrictJson.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <limits>

using namespace llvm;

namespace fathom {

namespace {

// Bounds that keep every product of two sizes within 64 bits and loops over
// layers and experts short; the published models are far below them.
constexpr int64_t kMaxWidth = int64_t(1) << 24;
constexpr int64_t kMaxCount = int64_t(1) << 16;
constexpr int64_t kMaxLayers = 4096;
// Fourteen times as many tensors as the largest published model has: their
// names alone take memory.
constexpr int64_t kMaxTensors = int64_t(1) << 21;
constexpr int64_t kMaxToken = (int64_t(1) << 31) - 1;
// A position must be exact in f32 and fit 32 bits (rope angles).
constexpr int64_t kMaxPositions = int64_t(1) << 24;
constexpr double kLargest = 1e30;

void readArchitecture(FieldReader &read, const json::Object &root,
                      ModelConfig &config) {
  constexpr StringLiteral known = "DeepseekV4ForCausalLM";
  read.ignore("architectures");
  const json::Value *value = root.get("architectures");
  const json::Array *names = value ? value->getAsArray() : nullptr;
  if (!names)
    return read.bad("architectures", "it must be an array of class names");
  std::string found;
  for (const json::Value &name : *names) {
    std::optional<StringRef> text = name.getAsString();
    if (!text)
      return read.bad("architectures", "its entries must be strings");
    if (*text == known)
      config.architecture = known.str();
    found += (found.empty() ? "" : ", ") + quoted(*text);
  }
  if (config.architecture.empty())
    read.unsupported("architectures", "[" + found + "]",
                     "the only architecture known is " + known.str(),
                     "use a checkpoint of the DeepSeek-V4 family");
}

void readShapes(FieldReader &read, ModelConfig &config) {
  config.vocabSize = read.integer("vocab_size", 1, kMaxToken);
  config.hiddenSize = read.integer("hidden_size", 1, kMaxWidth);
  config.layers = read.integer("num_hidden_layers", 1, kMaxLayers);
  config.mtpLayers =
      read.integerOr("num_nextn_predict_layers", 0, kMaxLayers, 0);
  config.heads = read.integer("num_attention_heads", 1, kMaxCount);
  config.headDim = read.integer("head_dim", 1, kMaxCount);
  config.ropeDim = read.integer("qk_rope_head_dim", 2, kMaxCount);
  config.qRank = read.integer("q_lora_rank", 1, kMaxWidth);
  config.oRank = read.integer("o_lora_rank", 1, kMaxWidth);
  config.oGroups = read.integer("o_groups", 1, kMaxCount);
  config.window = read.integer("sliding_window", 1, kMaxWidth);
  config.indexHeads = read.integer("index_n_heads", 1, kMaxCount);
  config.indexHeadDim = read.integer("index_head_dim", 1, kMaxCount);
  config.indexTopK = read.integer("index_topk", 1, kMaxWidth);
  config.experts = read.integer("n_routed_experts", 1, kMaxCount);
  config.expertsPerToken = read.integer("num_experts_per_tok", 1, kMaxCount);
  config.sharedExperts = read.integerOr("n_shared_experts", 1, kMaxCount, 1);
  config.moeWidth = read.integer("moe_intermediate_size", 1, kMaxWidth);
  config.hashLayers = read.integer("num_hash_layers", 0, kMaxCount);
  config.streams = read.integer("hc_mult", 1, 256);
  config.sinkhornIterations = read.integer("hc_sinkhorn_iters", 1, 10000);
  config.maxPositions = read.integer("max_position_embeddings", 1, kMaxToken);
}

void readConstants(FieldReader &read, ModelConfig &config) {
  config.hcEps = read.number("hc_eps", 0, 1, /*open=*/true);
  config.normEps = read.number("rms_norm_eps", 0, 1, /*open=*/true);
  config.ropeTheta = read.number("rope_theta", 1, kLargest, /*open=*/true);
  config.compressRopeTheta =
      read.number("compress_rope_theta", 1, kLargest, /*open=*/true);
  config.routedScale =
      read.number("routed_scaling_factor", 0, kLargest, /*open=*/true);
  config.swigluLimit = read.number("swiglu_limit", 0, kLargest, /*open=*/true);
}

void readRopeScaling(FieldReader &read, const std::string &where,
                     ModelConfig &config) {
  // Later exporters move theta and scaling into `rope_parameters`; guessing
  // how it meets the fields above would change every logit.
  if (read.find("rope_parameters"))
    read.unsupported("rope_parameters", "...",
                     "rope is read from rope_theta, compress_rope_theta and "
                     "rope_scaling as published",
                     "restore the configuration that came with the checkpoint");
  const json::Object *object = read.nested("rope_scaling");
  if (!object) {
    if (!read.failed())
      config.notices.push_back("rope_scaling is absent or null: compressed "
                               "layers use compress_rope_theta without YaRN");
    return;
  }
  FieldReader inner(*object, where, "rope_scaling.");
  inner.onlyText("type", "yarn");
  inner.onlyText("rope_type", "yarn");
  if (!object->getString("type") && !object->getString("rope_type"))
    inner.bad("type", "it is missing");
  YarnConfig yarn;
  yarn.factor = inner.number("factor", 1, 1e9);
  yarn.originalLength =
      inner.integer("original_max_position_embeddings", 1, kMaxToken);
  yarn.betaFast = inner.number("beta_fast", 0, 1e9, /*open=*/true);
  yarn.betaSlow = inner.number("beta_slow", 0, 1e9, /*open=*/true);
  if (yarn.betaFast < yarn.betaSlow)
    inner.unsupported("beta_fast", std::to_string(yarn.betaFast),
                      "it must be at least beta_slow (" +
                          std::to_string(yarn.betaSlow) + ")",
                      "check the configuration against the published one");
  // Cosine and sine are not scaled in this family, so anything further that a
  // rope scaling may carry (mscale, attention_factor, ...) would change
  // numbers.
  for (const std::string &name : inner.unread())
    inner.unsupported(
        StringRef(name).drop_front(13), "...",
        "this field is not part of the published rope scaling, "
        "and might change the angles",
        "remove the field if it has no effect in this checkpoint");
  read.adopt(inner);
  config.yarn = yarn;
}

void readQuantization(FieldReader &read, const std::string &where,
                      ModelConfig &config) {
  const json::Object *object = read.nested("quantization_config");
  if (!object)
    return;
  FieldReader inner(*object, where, "quantization_config.");
  inner.onlyText("quant_method", "fp8");
  inner.onlyText("fmt", "e4m3");
  inner.onlyText("scale_fmt", "ue8m0");
  inner.onlyText("activation_scheme", "dynamic");
  if (inner.find("weight_block_size")) {
    std::vector<int64_t> block = inner.integers("weight_block_size");
    if (!inner.failed() && block != std::vector<int64_t>{128, 128})
      inner.unsupported("weight_block_size", "not [128, 128]",
                        "FP8 weights have one scale per 128x128 block",
                        "use a checkpoint with the published block size");
  }
  for (const std::string &name : inner.unread())
    config.notices.push_back("unknown field " + quoted(name) +
                             " ignored: the tensors' types decide");
  read.adopt(inner);
}

/// Fields with one possible value, and fields without effect.
void readFixed(FieldReader &read, ModelConfig &config) {
  read.onlyText("model_type", "deepseek_v4");
  read.onlyText("hidden_act", "silu");
  read.onlyText("scoring_func", "sqrtsoftplus");
  read.onlyText("topk_method", "noaux_tc");
  read.onlyBoolean("norm_topk_prob", true);
  read.onlyBoolean("attention_bias", false);
  read.onlyBoolean("tie_word_embeddings", false);
  read.onlyInteger("num_key_value_heads", 1);
  config.expertDtype = read.text("expert_dtype");
  if (!config.expertDtype.empty() && config.expertDtype != "fp4" &&
      config.expertDtype != "fp8" && config.expertDtype != "bf16")
    read.unsupported("expert_dtype", quoted(config.expertDtype),
                     "known are 'fp4', 'fp8' and 'bf16'",
                     "use a checkpoint in the published format");
  // Training and library bookkeeping.
  for (StringRef name :
       {"attention_dropout", "initializer_range", "torch_dtype", "dtype",
        "transformers_version", "use_cache", "pad_token_id", "_name_or_path"})
    read.ignore(name);
}

void readTokens(FieldReader &read, ModelConfig &config) {
  auto check = [&](StringRef name, int64_t token) {
    if (token < 0 || token >= config.vocabSize)
      read.unsupported(name, std::to_string(token),
                       "a token id must be less than vocab_size (" +
                           std::to_string(config.vocabSize) + ")",
                       "check the configuration against the tokenizer");
  };
  config.eosTokens = read.tokens("eos_token_id");
  for (int64_t token : config.eosTokens)
    check("eos_token_id", token);
  std::vector<int64_t> bos = read.tokens("bos_token_id");
  if (bos.size() > 1)
    read.bad("bos_token_id", "it must be one integer");
  if (!bos.empty()) {
    check("bos_token_id", bos.front());
    config.bosToken = bos.front();
  }
}

/// The DSpark layout: dspark_* fields, and ratios for layers beyond the last
/// that the draft stack uses. num_nextn_predict_layers is then left over from
/// the layout before it, or counts the draft layers.
void readDraft(FieldReader &read, ModelConfig &config) {
  if (!read.find("dspark_block_size"))
    return;
  DraftConfig draft;
  read.integer("dspark_block_size", 1, kMaxCount);
  draft.markovRank = read.integer("dspark_markov_rank", 1, kMaxWidth);
  draft.targetLayers = read.integers("dspark_target_layer_ids").size();
  read.ignore("dspark_noise_token_id");
  int64_t beyond =
      static_cast<int64_t>(config.compressRatios.size()) - config.layers;
  draft.layers = std::max<int64_t>({beyond, config.mtpLayers, 1});
  if (read.failed())
    return;
  config.mtpLayers = 0;
  config.notices.push_back(
      "the checkpoint has a draft stack of " + std::to_string(draft.layers) +
      " layers for speculation (DSpark): recognised and left out, the text "
      "model alone is compiled");
  config.draft = draft;
}

void readVision(FieldReader &read, ModelConfig &config) {
  if (!read.find("vision_n_layers"))
    return;
  VisionConfig vision;
  vision.layers = read.integer("vision_n_layers", 0, kMaxLayers);
  if (vision.layers == 0)
    return;
  vision.width = read.integer("vision_dim", 1, kMaxWidth);
  vision.mlpWidth = read.integer("vision_inter_dim", 1, kMaxWidth);
  vision.patch = read.integer("vision_patch_size", 1, kMaxCount);
  vision.merge = read.integer("vision_downsample_ratio", 1, 64);
  for (StringRef name : {"vision_n_heads", "vision_rope_theta",
                         "vision_max_n_token", "vision_min_pixels",
                         "vision_max_wh_ratio"})
    read.ignore(name);
  if (read.failed())
    return;
  config.notices.push_back(
      "the checkpoint has a vision tower of " + std::to_string(vision.layers) +
      " layers: recognised and left out, the text decoder alone is compiled");
  config.vision = vision;
}

void readRatios(FieldReader &read, ModelConfig &config) {
  size_t needed = static_cast<size_t>(config.layers + config.mtpLayers);
  size_t found = config.compressRatios.size();
  if (found < needed)
    return read.unsupported(
        "compress_ratios", std::to_string(found) + " entries",
        "it needs one per layer, num_hidden_layers + num_nextn_predict_layers "
        "= " +
            std::to_string(needed),
        "restore the configuration that came with the checkpoint");
  if (found > needed) {
    if (!config.draft)
      config.notices.push_back(
          "compress_ratios has " + std::to_string(found) + " entries, " +
          std::to_string(found - needed) +
          " more than there are layers: ignored (draft layers)");
    config.compressRatios.resize(needed);
  }
  for (auto [layer, ratio] : enumerate(config.compressRatios))
    if (ratio != 0 && ratio != 4 && ratio != 128)
      read.unsupported("compress_ratios[" + std::to_string(layer) + "]",
                       std::to_string(ratio),
                       "a layer's ratio must be 0, 4 or 128",
                       "use a checkpoint of the DeepSeek-V4 family");
}

/// The rules between fields that hold in every numerics. Those that depend on
/// how a tensor is stored are checked by the importer.
void checkLegality(FieldReader &read, const ModelConfig &c) {
  auto rule = [&](bool holds, StringRef field, int64_t value,
                  const std::string &text) {
    if (!holds)
      read.unsupported(field, std::to_string(value), text,
                       "check the configuration against the published one");
  };
  rule(c.ropeDim % 2 == 0, "qk_rope_head_dim", c.ropeDim,
       "it must be even (channels rotate in pairs)");
  rule(c.ropeDim <= c.headDim && (c.headDim - c.ropeDim) % 64 == 0, "head_dim",
       c.headDim,
       "head_dim - qk_rope_head_dim (" + std::to_string(c.ropeDim) +
           ") must be a multiple of 64 and not negative (cache rows have a "
           "scale per 64 channels)");
  rule(c.heads % c.oGroups == 0, "num_attention_heads", c.heads,
       "it must be a multiple of o_groups (" + std::to_string(c.oGroups) + ")");
  rule(c.indexHeadDim >= 32 &&
           isPowerOf2_64(static_cast<uint64_t>(c.indexHeadDim)),
       "index_head_dim", c.indexHeadDim,
       "it must be a power of two and at least 32 (Hadamard transform, blocks "
       "of 32)");
  rule(c.indexHeadDim >= c.ropeDim, "index_head_dim", c.indexHeadDim,
       "it must be at least qk_rope_head_dim (" + std::to_string(c.ropeDim) +
           ")");
  rule(c.expertsPerToken <= c.experts, "num_experts_per_tok", c.expertsPerToken,
       "it must be at most n_routed_experts (" + std::to_string(c.experts) +
           ")");
  // Six for an expert, and what else a layer has, which is about this many.
  int64_t layers = c.layers + c.mtpLayers + (c.draft ? c.draft->layers : 0),
          tensors = layers * (6 * c.experts + 40);
  rule(tensors <= kMaxTensors, "n_routed_experts", c.experts,
       "with " + std::to_string(layers) + " layers that makes about " +
           std::to_string(tensors) + " tensors, and at most " +
           std::to_string(kMaxTensors) + " are taken");
  if (c.expertDtype == "fp4") {
    std::string text = "it must be a multiple of 32 for FP4 experts (a scale "
                       "per 32 elements)";
    rule(c.hiddenSize % 32 == 0, "hidden_size", c.hiddenSize, text);
    rule(c.moeWidth % 32 == 0, "moe_intermediate_size", c.moeWidth, text);
  }
}

/// What `fathomc skeleton` says about configurations that nobody published.
void readNotice(FieldReader &read, ModelConfig &config) {
  std::string notice = read.text("fathom_notice");
  if (!notice.empty())
    config.notices.push_back(escaped(notice));
}

void noteUnknown(const FieldReader &read, ModelConfig &config) {
  for (const std::string &name : read.unread()) {
    if (StringRef(name).starts_with("dspark_"))
      config.notices.push_back(
          "field " + quoted(name) +
          " ignored: it is about draft layers, which are not compiled");
    else
      config.notices.push_back("unknown field " + quoted(name) + " ignored");
  }
}

} // namespace

Expected<ModelConfig> parseModelConfig(StringRef text, StringRef path) {
  std::string where = quoted(path);
  Expected<json::Object> root = parseJsonObject(text, where);
  if (!root)
    return root.takeError();
  ModelConfig config;
  FieldReader read(*root, where);
  readArchitecture(read, *root, config);
  readFixed(read, config);
  readShapes(read, config);
  readConstants(read, config);
  readNotice(read, config);
  if (!read.failed())
    readTokens(read, config);
  readRopeScaling(read, where, config);
  readQuantization(read, where, config);
  config.compressRatios = read.integers("compress_ratios");
  if (!read.failed())
    readDraft(read, config);
  if (!read.failed())
    readVision(read, config);
  if (!read.failed())
    readRatios(read, config);
  if (!read.failed())
    checkLegality(read, config);
  if (read.failed())
    return read.takeError();
  noteUnknown(read, config);
  return config;
}

Expected<ModelConfig> loadModelConfig(StringRef directory) {
  std::string path = directory.str() + "/config.json";
  Expected<std::string> text = readTextFile(path, kLargestConfig);
  if (!text)
    return text.takeError();
  return parseModelConfig(*text, path);
}

int64_t windowRows(const ModelConfig &config, const CompileLimits &limits) {
  return config.window + limits.maxStepTokens;
}

int64_t blockRows(const CompileLimits &limits, int64_t ratio) {
  return std::max<int64_t>(1, divideCeil(limits.maxContext, ratio));
}

int64_t mostContext(const ModelConfig &config) {
  return std::min(config.maxPositions, kMaxPositions);
}

Expected<CompileLimits> resolveLimits(const ModelConfig &config,
                                      std::optional<int64_t> maxContext,
                                      std::optional<int64_t> maxSequences,
                                      std::optional<int64_t> maxStepTokens) {
  auto refuse = [](StringRef option, int64_t value, std::string rule) {
    return makeError(
        FailureKind::Unsupported,
        "unsupported " + option.str() + " " + std::to_string(value),
        "command line", std::move(rule), "choose a value within the limit");
  };
  CompileLimits limits;
  int64_t most = mostContext(config);
  limits.maxContext = maxContext.value_or(std::min<int64_t>(32768, most));
  limits.maxSequences = maxSequences.value_or(16);
  limits.maxStepTokens = maxStepTokens.value_or(512);
  if (limits.maxContext < 1 || limits.maxContext > most)
    return refuse("--max-context", limits.maxContext,
                  "it must lie within 1 and " + std::to_string(most) +
                      ", the lesser of max_position_embeddings and 2^24");
  if (limits.maxSequences < 1 || limits.maxSequences > kMostSequences)
    return refuse("--max-sequences", limits.maxSequences,
                  "it must lie within 1 and " + std::to_string(kMostSequences));
  if (limits.maxStepTokens < 1 || limits.maxStepTokens > (1 << 20))
    return refuse("--max-step-tokens", limits.maxStepTokens,
                  "it must lie within 1 and 1048576");
  // Kernels number the rows of all sequences together, in 32 bits.
  int64_t rows = windowRows(config, limits);
  for (int64_t ratio : config.compressRatios)
    if (ratio > 0)
      rows = std::max(rows, blockRows(limits, ratio));
  if (limits.maxSequences > std::numeric_limits<int32_t>::max() / rows)
    return refuse("--max-sequences", limits.maxSequences,
                  "a cache has " + std::to_string(rows) +
                      " rows for each, at this context and step, and 2^31 - 1 "
                      "rows are the most");
  return limits;
}

} // namespace fathom
