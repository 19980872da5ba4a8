// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Input: the text of a manifest.json, without its hash (it is put right here,
// or no change would get past it). What is accepted must be consistent, and
// come back unchanged from being written. The runtime must refuse it in words,
// as there are no weights and no code, and its memory must add up.
#include "runtime/format/ManifestJson.h"
#include "runtime/format/MemoryPlan.h"
#include "runtime/src/Engine.h"
#include "runtime/text/Detokenizer.h"
#include "test/fuzz/Accepted.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace fathom::format;

static void require(bool condition) {
  if (!condition)
    std::abort();
}

static void requireConsistent(const Manifest &m) {
  for (const Library &library : m.libraries)
    require(!library.file.empty() && library.file[0] != '/' &&
            ("/" + library.file + "/").find("/.") == std::string::npos);
  for (const Weight &weight : m.weights)
    require(weight.file < m.files.size() &&
            weight.bytes <= m.files[weight.file].bytes &&
            weight.offset <= m.files[weight.file].bytes - weight.bytes);
  for (const WeightTable &table : m.tables)
    for (uint32_t index : table.weights)
      require(index < m.weights.size());
  for (const Entry &entry : m.entries) {
    require(!entry.specialisations.empty());
    for (const Specialisation &s : entry.specialisations)
      for (const Launch &launch : s.launches) {
        for (const GridAxis &axis : launch.grid) {
          require(!axis.empty());
          for (const GridTerm &term : axis)
            require(term.divide > 0);
        }
        for (const Arg &arg : launch.args) {
          require(arg.kind != Arg::Kind::Weight ||
                  arg.index < m.weights.size());
          require(arg.kind != Arg::Kind::Cache ||
                  (arg.index < m.caches.size() &&
                   arg.component < m.caches[arg.index].components.size()));
          require(arg.kind != Arg::Kind::Workspace ||
                  arg.offset <= s.workspaceBytes);
          require(arg.kind != Arg::Kind::Output ||
                  arg.index < entry.outputs.size());
        }
      }
  }
}

/// A package of nothing but a manifest, gone with the process.
struct Package {
  std::string path = std::filesystem::temp_directory_path() / "fuzz-XXXXXX";
  Package() { require(mkdtemp(path.data())); }
  ~Package() { std::filesystem::remove_all(path); }
};

static void requireRefused(const std::string &text) {
  static const Package package;
  std::ofstream(package.path + "/manifest.json", std::ios::binary) << text;
  fathom_engine_options options = {};
  options.checkpoint = package.path.c_str();
  options.driver = "host";
  options.pin = "none";
  options.threads = 1;
  std::shared_ptr<fathom::rt::Engine> engine;
  const fathom::rt::Status status =
      fathom::rt::Engine::create(package.path, options, engine);
  require(status.failed() && !status.message().empty());
}

static void requirePlan(const Manifest &m) {
  for (const char *target : {"cpu", "cuda"})
    for (const int64_t sequences : {int64_t(1), int64_t(1) << 40}) {
      const SessionSizes sizes = defaultSessionSizes(m, sequences);
      const AllocationRules rules = allocationRules(target);
      uint64_t caches = 0;
      MemoryPlan plan;
      if (!planMemory(m, sizes, 1 << 20, rules, plan))
        continue;
      require(cacheBytesFor(m, sequences, rules, caches) &&
              plan.cacheBytes == caches && plan.peakBytes() >= caches &&
              plan.peakBytes() >> 46 == 0);
      require(whyNot(m, sizes, plan, plan.peakBytes()).empty());
      for (const uint64_t less : {plan.peakBytes() / 2, plan.peakBytes() - 1}) {
        require(!whyNot(m, sizes, plan, less).empty());
        const Remedy remedy = remedyFor(m, sizes, plan, less);
        require(remedy.sequences >= 0 && remedy.context >= 0);
        require(remedy.sequences < sequences || !plan.cacheBytesPerSequence);
      }
    }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::string_view text(reinterpret_cast<const char *>(data), size);
  fathom::rt::Detokenizer decoder; // the other file of a package that is read
  fathom::fuzz::accepted = !decoder.load(text).failed();
  Manifest manifest;
  if (!detail::checkJsonText(text).empty()) {
    require(!parseManifest(text, manifest).empty());
    return 0;
  }
  nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_object()) {
    json.erase("contentBlake3");
    const std::string content = detail::contentText(json);
    json["contentBlake3"] = blake3Hex(content.data(), content.size());
  }
  const std::string sealed =
      json.is_discarded() ? std::string(text) : detail::dump(json);
  if (!parseManifest(sealed, manifest).empty())
    return 0;
  fathom::fuzz::accepted = true;
  requireConsistent(manifest);
  requireRefused(sealed);
  requirePlan(manifest);
  // Unknown fields are dropped by reading, so compare from the second on.
  const std::string content = contentText(manifest);
  manifest.contentBlake3 = blake3Hex(content.data(), content.size());
  const std::string written = manifestText(manifest);
  Manifest again;
  require(parseManifest(written, again).empty());
  require(manifestText(again) == written);
  return 0;
}
