// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/runtime/FakePackage.h"

#include "runtime/format/ManifestJson.h"
#include "test/unit/runtime/MockAscend.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

namespace fathom::test {

using namespace fathom::format;

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern =
      (std::filesystem::temp_directory_path() / "fathom-test-XXXXXX").string();
  if (!mkdtemp(pattern.data()))
    std::abort();
  directory = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
}

std::string TemporaryDirectory::path(const std::string &name) const {
  return name.empty() ? directory : directory + "/" + name;
}

void writeFile(const std::string &path, const std::string &bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  ASSERT_TRUE(file.good()) << path;
}

std::string readWhole(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

namespace {

constexpr uint64_t kHeaderBytes = 8 + 5; // the data begins at an odd offset

float weightOf(int32_t id) { return float(id % 5 - 2); }
int expertOf(int64_t v) { return int((v % 4) * 3 + v % 8); }

Arg arg(Arg::Kind kind, uint32_t index = 0, uint64_t offset = 0,
        Count count = Count::Tokens) {
  Arg out;
  out.kind = kind;
  out.index = index;
  out.offset = offset;
  out.count = count;
  return out;
}

Launch launch(const char *kernel, GridAxis x, GridAxis y,
              std::vector<Arg> args) {
  Launch out;
  out.kernel = kernel;
  out.grid[0] = x;
  out.grid[1] = y;
  out.args = std::move(args);
  return out;
}

const GridAxis kOne(1), kTokens{{Count::Tokens, 1, 1}},
    kRows{{Count::Rows, 1, 1}};

Entry stepEntry() {
  using Kind = Arg::Kind;
  Entry e;
  e.name = "step";
  e.inputs = {{"ids", "I32", Count::Tokens, 4},
              {"positions", "I32", Count::Tokens, 4},
              {"slots", "I32", Count::Tokens, 4},
              {"rows", "I32", Count::Rows, 4}};
  e.outputs = {{"logits", "F32", Count::Rows, kVocabulary * 4},
               {"streams", "F32", Count::Tokens, 8}};
  for (int64_t tokens : {int64_t(1), kStepTokens}) {
    Specialisation s;
    s.maxTokens = tokens;
    // Another place in each, so that a mix-up shows.
    const uint64_t state = tokens == 1 ? 0 : 64;
    s.workspaceBytes = state + uint64_t(tokens) * 4;
    s.launches = {
        launch("fake_store", kTokens, kOne,
               {arg(Kind::Cache), arg(Kind::Input, 0), arg(Kind::Input, 1),
                arg(Kind::Input, 2)}),
        launch("fake_sum", kTokens, kOne,
               {arg(Kind::Cache), arg(Kind::Weight, 0), arg(Kind::Input, 1),
                arg(Kind::Input, 2), arg(Kind::Workspace, 0, state)}),
        // Sums of terms; the kernel skips programs beyond the rows.
        launch("fake_logits", {{Count::Rows, 1, 1}, {Count::Tokens, 2, 1}},
               {{Count::One, 1, 1}, {Count::One, 1, kVocabulary / 8 - 1}},
               {arg(Kind::Workspace, 0, state), arg(Kind::Table, 0),
                arg(Kind::Input, 3), arg(Kind::Output, 0),
                arg(Kind::Count, 0, 0, Count::Rows)}),
        launch("fake_streams", kOne, kOne,
               {arg(Kind::Workspace, 0, state), arg(Kind::Output, 1),
                arg(Kind::Count, 0, 0, Count::Tokens)})};
    s.launches[2].weightBytes = 32;
    e.specialisations.push_back(s);
  }
  return e;
}

Entry mtpEntry() {
  using Kind = Arg::Kind;
  Entry e;
  e.name = "mtp.0";
  e.inputs = {{"streams", "F32", Count::Tokens, 8},
              {"ids", "I32", Count::Tokens, 4},
              {"positions", "I32", Count::Tokens, 4},
              {"slots", "I32", Count::Tokens, 4},
              {"rows", "I32", Count::Rows, 4}};
  e.outputs = {{"logits", "F32", Count::Rows, kVocabulary * 4},
               {"streams", "F32", Count::Tokens, 8}};
  Specialisation s;
  s.maxTokens = kStepTokens;
  s.launches = {
      launch("fake_store", kTokens, kOne,
             {arg(Kind::Cache, 1), arg(Kind::Input, 1), arg(Kind::Input, 2),
              arg(Kind::Input, 3)}),
      launch("fake_mtp", kRows, kOne,
             {arg(Kind::Input, 0), arg(Kind::Cache, 1), arg(Kind::Input, 2),
              arg(Kind::Input, 3), arg(Kind::Input, 4), arg(Kind::Output, 0)})};
  e.specialisations.push_back(s);
  return e;
}

Entry greedyEntry() {
  using Kind = Arg::Kind;
  Entry e;
  e.name = "greedy";
  e.inputs = {{"logits", "F32", Count::Rows, kVocabulary * 4},
              {"positions", "I32", Count::Tokens, 4}};
  e.outputs = {{"ids", "I32", Count::Tokens, 4},
               {"positions", "I32", Count::Tokens, 4}};
  Specialisation s;
  s.maxTokens = kStepTokens;
  s.launches = {
      launch("fake_greedy", kRows, kOne,
             {arg(Kind::Input, 0), arg(Kind::Input, 1), arg(Kind::Output, 0),
              arg(Kind::Output, 1), arg(Kind::Count, 0, 0, Count::Rows)})};
  e.specialisations.push_back(s);
  return e;
}

} // namespace

std::string fakeCheckpoint() {
  std::string out(kHeaderBytes, '\0');
  out[0] = 5;
  std::memcpy(&out[8], "{   }", 5);
  for (int32_t id = 0; id < kVocabulary; ++id) {
    const float w = weightOf(id);
    out.append(reinterpret_cast<const char *>(&w), 4);
  }
  for (int64_t expert = 0; expert < 4; ++expert)
    for (int64_t i = 0; i < 8; ++i)
      out += char(expert * 3 + i);
  return out;
}

Manifest fakeManifest() {
  Manifest m;
  m.producer = "test";
  m.model.architecture = "Toy";
  m.model.numerics = "f32";
  m.model.hiddenSize = m.model.layers = m.model.streams = m.model.heads =
      m.model.headDim = 1;
  m.model.experts = 4;
  m.model.expertsPerToken = 1;
  m.model.vocabularySize = kVocabulary;
  m.model.mtpLayers = 1;
  m.model.eosTokens = {kVocabulary - 1};
  m.limits = {kContext, kSequences, kStepTokens};
  const std::string library = readWhole(FATHOM_FAKE_KERNELS);
  Library host;
  host.file = "host-x86-64-v3.so";
  host.target = "cpu";
  host.isa = "x86-64-v3";
  host.blake3 = blake3Hex(library.data(), library.size());
  host.bytes = library.size();
  host.scratchBytes = kContext * 4;
  m.libraries = {host};
  const std::string checkpoint = fakeCheckpoint();
  m.files = {{"w.safetensors", blake3Hex(checkpoint.data(), kHeaderBytes),
              checkpoint.size(), kHeaderBytes}};
  m.weights.push_back(
      {"w", "F32", {kVocabulary}, 0, kHeaderBytes, kVocabulary * 4});
  WeightTable table{"experts", {}};
  for (uint32_t e = 0; e < 4; ++e) {
    m.weights.push_back({"e" + std::to_string(e),
                         "I8",
                         {8},
                         0,
                         kHeaderBytes + kVocabulary * 4 + e * 8,
                         8});
    table.weights.push_back(e + 1);
  }
  m.tables = {table};
  m.caches = {{"layers.0.window", "window", "f32", kContext, {{"rows", 4}}},
              {"mtp.0.window", "window", "f32", kContext, {{"rows", 4}}}};
  m.entries = {stepEntry(), mtpEntry(), greedyEntry()};
  m.checkpointDirectory = "../weights";
  return m;
}

namespace {
/// A file of code for each kernel, as "device/LEVEL/KERNEL.o".
Manifest fakeDeviceManifest(const std::string &target, const std::string &level,
                            const std::string &suffix) {
  Manifest m = fakeManifest();
  m.target.name = target;
  m.target.hostArchitecture = "x86_64";
  m.target.assembler = "none";
  const std::string code = readWhole(FATHOM_FAKE_CUBIN);
  for (const char *kernel : {"fake_store", "fake_sum", "fake_logits",
                             "fake_streams", "fake_mtp", "fake_greedy"}) {
    Library file;
    file.file = "device/" + level + "/" + kernel + suffix;
    file.target = target;
    file.isa = level;
    file.kernel = kernel;
    file.blake3 = blake3Hex(code.data(), code.size());
    file.bytes = code.size();
    m.libraries.push_back(file);
  }
  return m;
}
} // namespace

Manifest fakeCudaManifest() {
  return fakeDeviceManifest("cuda", "sm_90", ".cubin");
}

Manifest fakeAscendManifest(const std::string &level) {
  Manifest m = fakeDeviceManifest("ascend", level, ".o");
  const bool flags = level != "950";
  for (Library &library : m.libraries) {
    const bool isMix = library.kernel == kMockMixKernel;
    if (!library.kernel.empty())
      library.configuration = {
          {"mix", isMix},
          {"flags", flags},
          {"blocks", isMix ? kMockMixBlocks : kMockVectorBlocks},
          {"taskType", isMix ? 32 : 10},
          {"workspaceBytes", isMix ? int64_t(kMockWorkspace) : 0}};
  }
  return m;
}

std::string writePackage(const TemporaryDirectory &directory,
                         Manifest manifest) {
  namespace fs = std::filesystem;
  const std::string package = directory.path("toy.fathom");
  fs::create_directories(package);
  fs::create_directories(directory.path("weights"));
  writeFile(directory.path("weights/w.safetensors"), fakeCheckpoint());
  // A new file: an engine of before may still have the old one mapped, and
  // truncating it would take its relocated pages away.
  fs::remove(package + "/host-x86-64-v3.so");
  fs::copy_file(FATHOM_FAKE_KERNELS, package + "/host-x86-64-v3.so");
  for (const Library &library : manifest.libraries)
    if (!library.kernel.empty()) {
      const fs::path file = fs::path(package) / library.file;
      fs::create_directories(file.parent_path());
      fs::remove(file);
      fs::copy_file(FATHOM_FAKE_CUBIN, file);
    }
  const std::string content = contentText(manifest);
  manifest.contentBlake3 = blake3Hex(content.data(), content.size());
  writeFile(package + "/manifest.json", manifestText(manifest));
  return package;
}

namespace {

float stateOf(const std::vector<int32_t> &ids, size_t count) {
  float sum = 0;
  for (size_t p = 0; p < count; ++p)
    sum += weightOf(ids[p]) * float(p + 1);
  return sum;
}

} // namespace

std::vector<float> expectedLogits(const std::vector<int32_t> &ids) {
  std::vector<float> out;
  for (int64_t v = 0; v < kVocabulary; ++v)
    out.push_back(stateOf(ids, ids.size()) + float((v * 7 + expertOf(v)) % 13));
  return out;
}

std::vector<float> expectedMtp(const std::vector<int32_t> &ids) {
  float sum = stateOf(ids, ids.size() - 1);
  for (size_t p = 1; p < ids.size(); ++p)
    sum += float(ids[p]);
  std::vector<float> out;
  for (int64_t v = 0; v < kVocabulary; ++v)
    out.push_back(sum + float(v));
  return out;
}

fathom_status useAll(const std::string &package, fathom_engine *&engine,
                     fathom_session *&session, Results &results) {
  fathom_engine_options options = {};
  options.threads = 1;
  fathom_status s = fathom_engine_create(package.c_str(), &options, &engine);
  if (s.code == FATHOM_OK)
    s = fathom_session_create(engine, nullptr, &session);
  int32_t slot = 0;
  if (s.code == FATHOM_OK)
    s = fathom_session_add(session, &slot);
  const int32_t ids[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const fathom_tokens prompt = {slot, ids, 9, 1}, one = {slot, ids, 1, 1},
                      two = {slot, ids, 2, 2};
  if (s.code == FATHOM_OK)
    s = fathom_step(session, &prompt, 1, nullptr, nullptr);
  if (s.code == FATHOM_OK)
    s = fathom_mtp(session, 0, &one, 0, nullptr, nullptr);
  if (s.code == FATHOM_OK)
    s = fathom_step(session, &one, 1, nullptr, nullptr);
  if (s.code == FATHOM_OK)
    s = fathom_step(session, &two, 1, results.logits.data(), nullptr);
  if (s.code == FATHOM_OK)
    s = fathom_generate(session, &slot, ids, 1, 2, results.chosen.data());
  if (s.code == FATHOM_OK)
    s = fathom_session_remove(session, slot);
  if (s.code == FATHOM_OK)
    s = fathom_session_add(session, &slot);
  if (s.code == FATHOM_OK)
    s = fathom_session_fill_synthetic(session, slot, 4);
  if (s.code == FATHOM_OK)
    fathom_session_profile(session, 1);
  if (s.code == FATHOM_OK)
    s = fathom_step(session, &one, 1, nullptr, nullptr);
  if (s.code == FATHOM_OK)
    s = fathom_session_read_cache(session, "layers.0.window", "rows", slot, 0,
                                  4, &results.row);
  double bandwidth = 0;
  if (s.code == FATHOM_OK)
    s = fathom_engine_read_bandwidth(engine, 0.0001, &bandwidth);
  return s;
}

} // namespace fathom::test
