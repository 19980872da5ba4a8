// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "frontends/Checkpoint/Layout.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace fathom {

namespace {

class LayoutBuilder {
public:
  explicit LayoutBuilder(const ModelConfig &config) : c(config) {}
  Skeleton build();

private:
  using Shape = std::initializer_list<int64_t>;
  void put(const Twine &name, DType type, Shape shape);
  void fp8(const Twine &name, int64_t n, int64_t k);
  void expert(const Twine &name, int64_t n, int64_t k);
  void compressor(const std::string &p, int64_t ratio, int64_t width);
  void attention(const std::string &p, int64_t ratio);
  void experts(const std::string &p, bool byHash);
  void block(const std::string &p, int64_t ratio, bool byHash);
  void headMix(const Twine &prefix);
  void mtp(const std::string &p);
  void draft(int64_t layer);
  void vision();
  void endFile();

  const ModelConfig &c;
  Skeleton out;
  size_t first = 0; // tensor of the file that is being filled
};

} // namespace

void LayoutBuilder::put(const Twine &name, DType type, Shape shape) {
  TensorInfo tensor;
  tensor.name = name.str();
  tensor.dtype = type;
  tensor.shape.assign(shape);
  tensor.file = static_cast<uint32_t>(out.files.size());
  tensor.bytes = dtypeBits(type) / 8;
  for (int64_t size : shape)
    tensor.bytes *= static_cast<uint64_t>(size);
  out.tensors.push_back(std::move(tensor));
}

void LayoutBuilder::fp8(const Twine &name, int64_t n, int64_t k) {
  put(name + ".weight", DType::F8_E4M3, {n, k});
  put(name + ".scale", DType::F8_E8M0, {(n + 127) / 128, (k + 127) / 128});
}

void LayoutBuilder::expert(const Twine &name, int64_t n, int64_t k) {
  if (c.expertDtype == "bf16")
    return put(name + ".weight", DType::BF16, {n, k});
  if (c.expertDtype != "fp4")
    return fp8(name, n, k);
  put(name + ".weight", DType::I8, {n, k / 2});
  put(name + ".scale", DType::F8_E8M0, {n, k / 32});
}

void LayoutBuilder::compressor(const std::string &p, int64_t ratio,
                               int64_t width) {
  int64_t full = ratio == 4 ? 2 * width : width; // blocks overlap
  put(p + ".ape", DType::F32, {ratio, full});
  put(p + ".wkv.weight", DType::BF16, {full, c.hiddenSize});
  put(p + ".wgate.weight", DType::BF16, {full, c.hiddenSize});
  put(p + ".norm.weight", DType::BF16, {width});
}

void LayoutBuilder::attention(const std::string &p, int64_t ratio) {
  int64_t mid = c.oGroups * c.oRank;
  put(p + ".attn_sink", DType::F32, {c.heads});
  fp8(p + ".wq_a", c.qRank, c.hiddenSize);
  put(p + ".q_norm.weight", DType::BF16, {c.qRank});
  fp8(p + ".wq_b", c.heads * c.headDim, c.qRank);
  fp8(p + ".wkv", c.headDim, c.hiddenSize);
  put(p + ".kv_norm.weight", DType::BF16, {c.headDim});
  fp8(p + ".wo_a", mid, c.heads * c.headDim / c.oGroups);
  fp8(p + ".wo_b", c.hiddenSize, mid);
  if (ratio != 0)
    compressor(p + ".compressor", ratio, c.headDim);
  if (ratio != 4)
    return;
  fp8(p + ".indexer.wq_b", c.indexHeads * c.indexHeadDim, c.qRank);
  put(p + ".indexer.weights_proj.weight", DType::BF16,
      {c.indexHeads, c.hiddenSize});
  compressor(p + ".indexer.compressor", ratio, c.indexHeadDim);
}

void LayoutBuilder::experts(const std::string &p, bool byHash) {
  put(p + ".gate.weight", DType::BF16, {c.experts, c.hiddenSize});
  if (byHash)
    put(p + ".gate.tid2eid", DType::I64, {c.vocabSize, c.expertsPerToken});
  else
    put(p + ".gate.bias", DType::F32, {c.experts});
  if (c.vision)
    put(p + ".gate.bias_vl", DType::F32, {c.experts});
  for (int64_t e = 0; e < c.experts; ++e) {
    std::string one = p + ".experts." + std::to_string(e);
    expert(one + ".w1", c.moeWidth, c.hiddenSize);
    expert(one + ".w2", c.hiddenSize, c.moeWidth);
    expert(one + ".w3", c.moeWidth, c.hiddenSize);
  }
  fp8(p + ".shared_experts.w1", c.sharedWidth(), c.hiddenSize);
  fp8(p + ".shared_experts.w2", c.hiddenSize, c.sharedWidth());
  fp8(p + ".shared_experts.w3", c.sharedWidth(), c.hiddenSize);
}

void LayoutBuilder::block(const std::string &p, int64_t ratio, bool byHash) {
  attention(p + ".attn", ratio);
  experts(p + ".ffn", byHash);
  int64_t n = c.streams, mixes = (2 + n) * n;
  for (const char *half : {"attn", "ffn"}) {
    put(p + "." + half + "_norm.weight", DType::BF16, {c.hiddenSize});
    std::string mix = p + ".hc_" + half;
    put(mix + "_fn", DType::F32, {mixes, n * c.hiddenSize});
    put(mix + "_base", DType::F32, {mixes});
    put(mix + "_scale", DType::F32, {3});
  }
}

void LayoutBuilder::headMix(const Twine &prefix) {
  put(prefix + "hc_head_fn", DType::F32,
      {c.streams, c.streams * c.hiddenSize});
  put(prefix + "hc_head_base", DType::F32, {c.streams});
  put(prefix + "hc_head_scale", DType::F32, {1});
}

void LayoutBuilder::mtp(const std::string &p) {
  fp8(p + ".e_proj", c.hiddenSize, c.hiddenSize);
  fp8(p + ".h_proj", c.hiddenSize, c.hiddenSize);
  for (const char *norm : {"enorm", "hnorm", "norm"})
    put(p + "." + norm + ".weight", DType::BF16, {c.hiddenSize});
  headMix(p + ".");
}

/// Layers of the window kind; the first one takes in the streams of the target
/// layers, the last one has the head.
void LayoutBuilder::draft(int64_t layer) {
  std::string p = "mtp." + std::to_string(layer);
  block(p, 0, /*byHash=*/false);
  if (layer == 0) {
    fp8(p + ".main_proj", c.hiddenSize, c.draft->targetLayers * c.hiddenSize);
    put(p + ".main_norm.weight", DType::BF16, {c.hiddenSize});
  }
  if (layer + 1 != c.draft->layers)
    return;
  put(p + ".norm.weight", DType::BF16, {c.hiddenSize});
  headMix(p + ".");
  int64_t rank = c.draft->markovRank;
  put(p + ".markov_head.markov_w1.weight", DType::BF16, {c.vocabSize, rank});
  put(p + ".markov_head.markov_w2.weight", DType::BF16, {c.vocabSize, rank});
  put(p + ".confidence_head.proj.weight", DType::BF16,
      {1, c.hiddenSize + rank});
}

void LayoutBuilder::vision() {
  const VisionConfig &v = *c.vision;
  auto biased = [&](const Twine &name, int64_t n, int64_t k) {
    put(name + ".weight", DType::BF16, {n, k});
    put(name + ".bias", DType::BF16, {n});
  };
  biased("vision.patch_embed.proj", v.width, 3 * v.patch * v.patch);
  for (int64_t i = 0; i < v.layers; ++i) {
    std::string p = "vision.blocks." + std::to_string(i);
    put(p + ".norm1.weight", DType::BF16, {v.width});
    biased(p + ".attn.wqkv", 3 * v.width, v.width);
    biased(p + ".attn.wo", v.width, v.width);
    put(p + ".norm2.weight", DType::BF16, {v.width});
    put(p + ".mlp.w1.weight", DType::BF16, {2 * v.mlpWidth, v.width});
    put(p + ".mlp.w2.weight", DType::BF16, {v.width, v.mlpWidth});
  }
  put("vision.norm.weight", DType::BF16, {v.width});
  biased("aligner.w1", c.hiddenSize, v.merge * v.merge * v.width);
  biased("aligner.w2", c.hiddenSize, c.hiddenSize);
  for (const char *name :
       {"image_start", "image_end", "image_newline", "image_pad"})
    put(name, DType::BF16, {c.hiddenSize});
}

void LayoutBuilder::endFile() {
  std::string json = kSkeletonHeader.str();
  raw_string_ostream os(json);
  uint64_t offset = 0;
  for (size_t i = first; i < out.tensors.size(); ++i) {
    const TensorInfo &tensor = out.tensors[i];
    os << ",\"" << tensor.name << "\":{\"dtype\":\"" << dtypeName(tensor.dtype)
       << "\",\"shape\":[";
    interleave(tensor.shape, os, ",");
    os << "],\"data_offsets\":[" << offset << ',' << offset + tensor.bytes
       << "]}";
    offset += tensor.bytes;
  }
  json += '}';
  json.append(alignTo(json.size(), 8) - json.size(), ' ');
  std::string header(8, '\0');
  support::endian::write64le(header.data(), json.size());
  header += json;
  uint64_t at = header.size();
  for (size_t i = first; i < out.tensors.size(); ++i) {
    out.tensors[i].offset = at;
    at += out.tensors[i].bytes;
  }
  SafetensorsFile file;
  file.headerBlake3 = toHex(BLAKE3::hash<32>(arrayRefFromStringRef(header)),
                            /*LowerCase=*/true);
  file.bytes = at;
  file.headerBytes = header.size();
  out.files.push_back(std::move(file));
  out.headers.push_back(std::move(header));
  first = out.tensors.size();
}

Skeleton LayoutBuilder::build() {
  put("embed.weight", DType::BF16, {c.vocabSize, c.hiddenSize});
  if (c.vision)
    vision();
  endFile();
  for (int64_t i = 0; i < c.layers; ++i) {
    block("layers." + std::to_string(i), c.compressRatios[i],
          i < c.hashLayers);
    endFile();
  }
  put("norm.weight", DType::BF16, {c.hiddenSize});
  put("head.weight", DType::BF16, {c.vocabSize, c.hiddenSize});
  headMix("");
  endFile();
  for (int64_t j = 0; j < c.mtpLayers; ++j) {
    std::string p = "mtp." + std::to_string(j);
    block(p, c.compressRatios[c.layers + j], c.layers + j < c.hashLayers);
    mtp(p);
    endFile();
  }
  for (int64_t j = 0; c.draft && j < c.draft->layers; ++j) {
    draft(j);
    endFile();
  }
  auto number = [](size_t n) {
    std::string digits = std::to_string(n);
    return std::string(5 - std::min<size_t>(5, digits.size()), '0') + digits;
  };
  for (auto [i, file] : enumerate(out.files))
    file.name = "model-" + number(i + 1) + "-of-" + number(out.files.size()) +
                ".safetensors";
  return std::move(out);
}

uint64_t Skeleton::dataBytes() const {
  uint64_t total = 0;
  for (const TensorInfo &tensor : tensors)
    total += tensor.bytes;
  return total;
}

Skeleton layoutOf(const ModelConfig &config) {
  return LayoutBuilder(config).build();
}

} // namespace fathom
