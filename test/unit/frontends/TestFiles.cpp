// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/frontends/TestFiles.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"

#include <fstream>
#include <unistd.h>

using namespace llvm;

namespace fathom::test {

TempDir::TempDir() {
  SmallString<128> made;
  if (std::error_code code =
          sys::fs::createUniqueDirectory("fathom-frontend", made))
    ADD_FAILURE() << code.message();
  root = made.str().str();
}

TempDir::~TempDir() { sys::fs::remove_directories(root); }

std::string TempDir::path(const std::string &name) const {
  return name.empty() ? root : root + "/" + name;
}

void TempDir::write(const std::string &name, const std::string &text,
                    uint64_t holeBytes) const {
  std::ofstream file(path(name), std::ios::binary);
  file << text;
  file.close();
  ASSERT_TRUE(file.good());
  if (holeBytes)
    ASSERT_EQ(::truncate(path(name).c_str(),
                         static_cast<off_t>(text.size() + holeBytes)),
              0);
}

std::string withLength(const std::string &json) {
  std::string bytes(8, '\0');
  support::endian::write64le(bytes.data(), json.size());
  return bytes + json;
}

namespace {

/// Lists the tensors of one layer; written from the format's description, not
/// from the importer.
class Lister {
public:
  explicit Lister(const ModelConfig &config) : c(config) {}

  FakeTensors run() {
    int64_t d = c.hiddenSize, v = c.vocabSize;
    put("embed.weight", "BF16", {v, d});
    put("head.weight", "BF16", {v, d});
    put("norm.weight", "BF16", {d});
    head("");
    for (int64_t i = 0; i < c.layers; ++i)
      layer("layers." + std::to_string(i), i);
    for (int64_t j = 0; j < c.mtpLayers; ++j) {
      std::string p = "mtp." + std::to_string(j);
      layer(p, c.layers + j);
      fp8(p + ".e_proj", d, d);
      fp8(p + ".h_proj", d, d);
      for (const char *norm : {".enorm", ".hnorm", ".norm"})
        put(p + norm + ".weight", "BF16", {d});
      head(p + ".");
    }
    return tensors;
  }

private:
  void put(const std::string &name, const std::string &dtype,
           std::vector<int64_t> shape) {
    tensors[name] = {dtype, std::move(shape)};
  }
  void fp8(const std::string &name, int64_t n, int64_t k) {
    put(name + ".weight", "F8_E4M3", {n, k});
    put(name + ".scale", "F8_E8M0", {(n + 127) / 128, (k + 127) / 128});
  }
  void expert(const std::string &name, int64_t n, int64_t k) {
    if (c.expertDtype != "fp4")
      return fp8(name, n, k);
    put(name + ".weight", "I8", {n, k / 2});
    put(name + ".scale", "F8_E8M0", {n, k / 32});
  }
  void head(const std::string &p) {
    int64_t n = c.streams;
    put(p + "hc_head_fn", "F32", {n, n * c.hiddenSize});
    put(p + "hc_head_base", "F32", {n});
    put(p + "hc_head_scale", "F32", {1});
  }
  void compressor(const std::string &p, int64_t ratio, int64_t width) {
    int64_t full = ratio == 4 ? 2 * width : width;
    put(p + ".ape", "F32", {ratio, full});
    put(p + ".wkv.weight", "BF16", {full, c.hiddenSize});
    put(p + ".wgate.weight", "BF16", {full, c.hiddenSize});
    put(p + ".norm.weight", "BF16", {width});
  }
  void attention(const std::string &a, int64_t ratio) {
    int64_t d = c.hiddenSize;
    put(a + ".attn_sink", "F32", {c.heads});
    fp8(a + ".wq_a", c.qRank, d);
    put(a + ".q_norm.weight", "BF16", {c.qRank});
    fp8(a + ".wq_b", c.heads * c.headDim, c.qRank);
    fp8(a + ".wkv", c.headDim, d);
    put(a + ".kv_norm.weight", "BF16", {c.headDim});
    fp8(a + ".wo_a", c.oGroups * c.oRank, c.heads * c.headDim / c.oGroups);
    fp8(a + ".wo_b", d, c.oGroups * c.oRank);
    if (ratio != 0)
      compressor(a + ".compressor", ratio, c.headDim);
    if (ratio == 4) {
      fp8(a + ".indexer.wq_b", c.indexHeads * c.indexHeadDim, c.qRank);
      put(a + ".indexer.weights_proj.weight", "BF16", {c.indexHeads, d});
      compressor(a + ".indexer.compressor", ratio, c.indexHeadDim);
    }
  }
  void layer(const std::string &p, int64_t index) {
    int64_t d = c.hiddenSize, n = c.streams;
    attention(p + ".attn", c.compressRatios[index]);
    put(p + ".ffn.gate.weight", "BF16", {c.experts, d});
    if (index < c.hashLayers)
      put(p + ".ffn.gate.tid2eid", "I64", {c.vocabSize, c.expertsPerToken});
    else
      put(p + ".ffn.gate.bias", "F32", {c.experts});
    for (int64_t e = 0; e < c.experts; ++e) {
      std::string name = p + ".ffn.experts." + std::to_string(e);
      expert(name + ".w1", c.moeWidth, d);
      expert(name + ".w2", d, c.moeWidth);
      expert(name + ".w3", c.moeWidth, d);
    }
    int64_t shared = c.moeWidth * c.sharedExperts;
    fp8(p + ".ffn.shared_experts.w1", shared, d);
    fp8(p + ".ffn.shared_experts.w2", d, shared);
    fp8(p + ".ffn.shared_experts.w3", shared, d);
    put(p + ".attn_norm.weight", "BF16", {d});
    put(p + ".ffn_norm.weight", "BF16", {d});
    for (const char *which : {".hc_attn", ".hc_ffn"}) {
      put(p + which + "_fn", "F32", {(2 + n) * n, n * d});
      put(p + which + "_base", "F32", {(2 + n) * n});
      put(p + which + "_scale", "F32", {3});
    }
  }

  const ModelConfig &c;
  FakeTensors tensors;
};

} // namespace

FakeTensors tensorsOf(const ModelConfig &config) {
  return Lister(config).run();
}

void writeCheckpoint(const TempDir &dir, const FakeTensors &tensors) {
  std::string json;
  raw_string_ostream os(json);
  json::OStream out(os);
  uint64_t offset = 0;
  out.object([&] {
    out.attributeObject("__metadata__", [&] { out.attribute("format", "pt"); });
    for (const auto &entry : tensors) {
      const FakeTensor &tensor = entry.second;
      std::optional<DType> type = dtypeFromName(tensor.dtype);
      uint64_t bytes = type ? dtypeBits(*type) / 8 : 1;
      for (int64_t extent : tensor.shape)
        bytes *= static_cast<uint64_t>(extent);
      out.attributeObject(entry.first, [&] {
        out.attribute("dtype", tensor.dtype);
        out.attributeArray("shape", [&] {
          for (int64_t extent : tensor.shape)
            out.value(extent);
        });
        out.attributeArray("data_offsets", [&] {
          out.value(offset);
          out.value(offset + bytes);
        });
      });
      offset += bytes;
    }
  });
  dir.write("model.safetensors", withLength(json), offset);
}

std::string modelFile(const std::string &name) {
  std::string path = std::string(FATHOM_TEST_MODELS_DIR) + "/" + name;
  auto buffer = MemoryBuffer::getFile(path);
  if (!buffer) {
    ADD_FAILURE() << path << ": " << buffer.getError().message();
    return "";
  }
  return (*buffer)->getBuffer().str();
}

std::string configWith(const std::map<std::string, std::string> &fields,
                       const std::string &base) {
  Expected<json::Value> root = json::parse(modelFile(base));
  if (!root) {
    ADD_FAILURE() << toString(root.takeError());
    return "";
  }
  json::Object &object = *root->getAsObject();
  for (const auto &[name, text] : fields) {
    if (text.empty()) {
      object.erase(name);
      continue;
    }
    Expected<json::Value> value = json::parse(text);
    if (!value) {
      ADD_FAILURE() << text << ": " << toString(value.takeError());
      continue;
    }
    object[name] = std::move(*value);
  }
  std::string text;
  raw_string_ostream(text) << *root;
  return text;
}

void expectError(Error error, FailureKind kind,
                 const std::vector<std::string> &texts) {
  if (!error) {
    ADD_FAILURE() << "expected an error";
    return;
  }
  handleAllErrors(
      std::move(error),
      [&](const FrontendError &e) {
        EXPECT_EQ(e.exitCode(), static_cast<int>(kind)) << e.message();
        for (const std::string &text : texts)
          EXPECT_NE(e.message().find(text), std::string::npos)
              << "no \"" << text << "\" in: " << e.message();
        // What, where, why and what to do, always.
        EXPECT_FALSE(e.what().empty() || e.where().empty() || e.why().empty() ||
                     e.help().empty())
            << e.message();
      },
      [&](const ErrorInfoBase &e) {
        ADD_FAILURE() << "not a FrontendError: " << e.message();
      });
}

} // namespace fathom::test
