// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Input: the text of a manifest.json, without its hash (it is put right here,
// or no change would get past it). What is accepted must be consistent, and
// come back unchanged from being written.
#include "runtime/format/ManifestJson.h"
#include "runtime/text/Detokenizer.h"
#include "test/fuzz/Accepted.h"

#include <cstdlib>

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
  // Unknown fields are dropped by reading, so compare from the second on.
  const std::string content = contentText(manifest);
  manifest.contentBlake3 = blake3Hex(content.data(), content.size());
  const std::string written = manifestText(manifest);
  Manifest again;
  require(parseManifest(written, again).empty());
  require(manifestText(again) == written);
  return 0;
}
