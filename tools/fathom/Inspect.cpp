// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom inspect: what a package contains and needs. Reads only its manifest,
// so the weights need not be there.
#include "runtime/format/ManifestJson.h"
#include "runtime/format/PromptProfile.h"
#include "runtime/src/Files.h"
#include "tools/fathom/Tool.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>

namespace fathom::tool {

namespace {

using json = nlohmann::ordered_json;

/// Caches of the same kind, format and shape.
struct CacheGroup {
  std::string kind, format;
  uint64_t rows = 0, rowBytes = 0, count = 0;
};

std::vector<CacheGroup> groupCaches(const format::Manifest &m) {
  std::vector<CacheGroup> groups;
  for (const format::Cache &cache : m.caches) {
    uint64_t rowBytes = 0;
    for (const format::CacheComponent &c : cache.components)
      rowBytes += c.rowBytes;
    auto it =
        std::find_if(groups.begin(), groups.end(), [&](const CacheGroup &g) {
          return g.kind == cache.kind && g.format == cache.format &&
                 g.rows == cache.rows && g.rowBytes == rowBytes;
        });
    if (it == groups.end()) {
      groups.push_back({cache.kind, cache.format, cache.rows, rowBytes, 0});
      it = groups.end() - 1;
    }
    ++it->count;
  }
  return groups;
}

/// Files of one kernel each, of one level.
struct DeviceCode {
  std::string name; // "cuda sm_90"
  uint64_t files = 0, bytes = 0;
  uint64_t unfinished = 0; // that are no code yet
  uint64_t refused = 0;    // and will be none
};

std::vector<DeviceCode> deviceCode(const format::Manifest &m) {
  std::vector<DeviceCode> all;
  for (const format::Library &l : m.libraries) {
    if (l.kernel.empty() || l.form == "hivm")
      continue;
    const std::string name = l.target + " " + l.isa;
    auto it = std::find_if(all.begin(), all.end(),
                           [&](const DeviceCode &c) { return c.name == name; });
    if (it == all.end())
      it = all.insert(all.end(), {name, 0, 0, 0, 0});
    ++it->files;
    it->bytes += l.bytes;
    it->unfinished += !l.form.empty();
    it->refused += !l.refusal.empty();
  }
  return all;
}

/// What is in a package whose kernels wait for the vendor's code generator, and
/// what makes it complete; empty: none waits.
std::string unfinishedText(const std::string &package,
                           const format::Manifest &m) {
  std::string modules, handOvers, commands;
  for (const format::Library &l : m.libraries) {
    if (l.form == "adapter" && modules.empty())
      modules = l.file;
    if (l.form == "hivm" && handOvers.empty())
      handOvers = l.file;
    if (l.form == "command")
      commands += (commands.empty() ? "" : ", ") + l.file;
  }
  if (modules.empty())
    return "";
  std::string text = "it holds each kernel's module (such as " + modules + ")";
  if (!handOvers.empty())
    text += ", what CANN's last stage would get (" + handOvers + ")";
  if (!commands.empty())
    text += ", and the commands that make device code (" + commands + ")";
  return text +
         ". On a machine with CANN's hivmc (hivmc-a5 for the 950) on "
         "PATH: fathomc finish " +
         package;
}

std::string targetText(const format::Target &t) {
  std::string out = t.name;
  if (!t.hostArchitecture.empty())
    out += ", host " + t.hostArchitecture;
  if (!t.assembler.empty())
    out += ", assembled by " + t.assembler;
  return out;
}

struct Totals {
  uint64_t checkpointBytes = 0, weightBytes = 0, cachePerSequence = 0,
           workspace = 0;
};

Totals sumUp(const format::Manifest &m) {
  Totals out;
  for (const format::CheckpointFile &file : m.files)
    out.checkpointBytes += file.bytes;
  for (const format::Weight &weight : m.weights)
    out.weightBytes += weight.bytes;
  for (const CacheGroup &g : groupCaches(m))
    out.cachePerSequence += g.rows * g.rowBytes * g.count;
  for (const format::Entry &entry : m.entries)
    for (const format::Specialisation &s : entry.specialisations)
      out.workspace = std::max(out.workspace, s.workspaceBytes);
  return out;
}

std::string promptProfileOf(const format::Model &m) {
  return m.promptProfile.empty() ? format::kPreviewProfile : m.promptProfile;
}

json modelJson(const format::Model &m) {
  json out;
  out["architecture"] = m.architecture;
  out["numerics"] = m.numerics;
  out["layers"] = m.layers;
  out["hidden_size"] = m.hiddenSize;
  out["heads"] = m.heads;
  out["head_dim"] = m.headDim;
  out["streams"] = m.streams;
  out["experts"] = m.experts;
  out["experts_per_token"] = m.expertsPerToken;
  out["vocabulary_size"] = m.vocabularySize;
  out["mtp_layers"] = m.mtpLayers;
  out["compress_ratios"] = m.compressRatios;
  out["bos_token"] = m.bosToken;
  out["eos_tokens"] = m.eosTokens;
  out["prompt_profile"] = promptProfileOf(m);
  return out;
}

json describe(const std::string &package, const format::Manifest &m) {
  const Totals totals = sumUp(m);
  json out;
  out["schema_version"] = 1;
  out["package"] = package;
  out["format_version"] =
      std::to_string(m.major) + "." + std::to_string(m.minor);
  out["producer"] = m.producer;
  out["content_blake3"] = m.contentBlake3;
  out["model"] = modelJson(m.model);
  out["limits"] = {{"max_context", m.limits.maxContext},
                   {"max_sequences", m.limits.maxSequences},
                   {"max_step_tokens", m.limits.maxStepTokens}};
  out["target"] = {{"name", m.target.name},
                   {"host_architecture", m.target.hostArchitecture},
                   {"assembler", m.target.assembler}};
  out["libraries"] = json::array();
  for (const format::Library &l : m.libraries)
    out["libraries"].push_back({{"file", l.file},
                                {"target", l.target},
                                {"isa", l.isa},
                                {"kernel", l.kernel},
                                {"form", l.form.empty() ? "code" : l.form},
                                {"bytes", l.bytes},
                                {"scratch_bytes_per_thread", l.scratchBytes}});
  out["weights"] = {{"checkpoint_directory", m.checkpointDirectory},
                    {"files", m.files.size()},
                    {"tensors", m.weights.size()},
                    {"file_bytes", totals.checkpointBytes},
                    {"tensor_bytes", totals.weightBytes}};
  out["caches"] = json::array();
  for (const CacheGroup &g : groupCaches(m))
    out["caches"].push_back({{"kind", g.kind},
                             {"format", g.format},
                             {"count", g.count},
                             {"rows_per_sequence", g.rows},
                             {"row_bytes", g.rowBytes}});
  out["memory"] = {{"cache_bytes_per_sequence", totals.cachePerSequence},
                   {"cache_bytes",
                    totals.cachePerSequence * uint64_t(m.limits.maxSequences)},
                   {"workspace_bytes", totals.workspace}};
  out["entries"] = json::array();
  for (const format::Entry &entry : m.entries) {
    json specialisations = json::array();
    for (const format::Specialisation &s : entry.specialisations)
      specialisations.push_back({{"max_tokens", s.maxTokens},
                                 {"launches", s.launches.size()},
                                 {"workspace_bytes", s.workspaceBytes}});
    out["entries"].push_back(
        {{"name", entry.name}, {"specialisations", specialisations}});
  }
  out["extra_files"] = m.extraFiles;
  return out;
}

std::string bytesText(uint64_t bytes) {
  const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = double(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 5) {
    value /= 1024;
    ++unit;
  }
  char text[64];
  std::snprintf(text, sizeof(text), unit ? "%.1f %s" : "%.0f %s", value,
                units[unit]);
  return text;
}

std::string ratiosText(const std::vector<int64_t> &ratios) {
  std::string out;
  for (int64_t ratio : ratios)
    out += (out.empty() ? "" : ",") + std::to_string(ratio);
  return out;
}

std::string asText(const std::string &package, const format::Manifest &m) {
  const Totals totals = sumUp(m);
  std::string out;
  auto line = [&](const char *name, const std::string &value) {
    char head[32];
    std::snprintf(head, sizeof(head), "%-14s", name);
    out += head + value + "\n";
  };
  auto number = [](auto value) { return std::to_string(value); };
  line("package", package);
  line("format",
       number(m.major) + "." + number(m.minor) + ", by " + m.producer);
  line("model", m.model.architecture + ", " + m.model.numerics + " numerics");
  line("shape", number(m.model.layers) + " layers, hidden " +
                    number(m.model.hiddenSize) + ", " + number(m.model.heads) +
                    " heads of " + number(m.model.headDim) + ", " +
                    number(m.model.streams) + " streams, vocabulary " +
                    number(m.model.vocabularySize));
  line("experts",
       number(m.model.expertsPerToken) + " of " + number(m.model.experts));
  line("ratios", ratiosText(m.model.compressRatios));
  line("MTP layers", number(m.model.mtpLayers));
  line("prompts", "profile " + promptProfileOf(m.model));
  line("limits", "context " + number(m.limits.maxContext) + ", sequences " +
                     number(m.limits.maxSequences) + ", tokens a step " +
                     number(m.limits.maxStepTokens));
  line("target", targetText(m.target));
  for (const format::Library &l : m.libraries)
    if (l.kernel.empty() && l.form.empty())
      line("code", l.file + " (" + l.isa + "), " + bytesText(l.bytes) +
                       ", scratch " + bytesText(l.scratchBytes) + " a thread");
  for (const DeviceCode &code : deviceCode(m))
    line("code", code.name + ", " + number(code.files) + " kernels, " +
                     bytesText(code.bytes) +
                     (code.unfinished ? ", " + number(code.unfinished) +
                                            " of them without device code"
                                      : "") +
                     (code.refused ? ", " + number(code.refused) +
                                         " refused by the vendor's compiler "
                                         "(fathomc kernels says why)"
                                   : ""));
  if (const std::string help = unfinishedText(package, m); !help.empty())
    line("unfinished", help);
  line("weights", number(m.weights.size()) + " tensors, " +
                      bytesText(totals.weightBytes) + ", in " +
                      number(m.files.size()) + " files in " +
                      (m.checkpointDirectory.empty() ? "(not recorded)"
                                                     : m.checkpointDirectory));
  for (const CacheGroup &g : groupCaches(m))
    line("cache", g.kind + ", " + g.format + ": " + number(g.count) + " x " +
                      number(g.rows) + " rows of " + number(g.rowBytes) +
                      " bytes a sequence, " +
                      bytesText(g.count * g.rows * g.rowBytes));
  line("memory", bytesText(totals.cachePerSequence) +
                     " of caches a sequence at full context, " +
                     bytesText(totals.cachePerSequence *
                               uint64_t(m.limits.maxSequences)) +
                     " for all, workspace " + bytesText(totals.workspace));
  for (const format::Entry &entry : m.entries)
    for (const format::Specialisation &s : entry.specialisations)
      line("entry", entry.name + ", up to " + number(s.maxTokens) +
                        " tokens: " + number(s.launches.size()) +
                        " launches, workspace " + bytesText(s.workspaceBytes));
  for (const std::string &file : m.extraFiles)
    line("file", file);
  return out;
}

Failure inspect(const std::string &package, bool asJson) {
  const std::string path = rt::joinPath(package, "manifest.json");
  std::string text;
  if (rt::Status s = rt::readManifest(package, format::detail::kMaxText, text);
      s.failed())
    return {s.code(), s.message(),
            "a package is a directory NAME.fathom written by fathomc"};
  format::Manifest manifest;
  if (std::string error = format::parseManifest(text, manifest); !error.empty())
    return {FATHOM_BAD_FILE, "'" + path + "': " + error, ""};
  if (Failure f = printOut(asJson ? describe(package, manifest).dump(2) + "\n"
                                  : asText(package, manifest)))
    return f;
  return flushOut();
}

struct InspectOptions {
  std::string package;
  bool json = false;
};

} // namespace

void addInspect(CLI::App &app, int &code) {
  CLI::App *command =
      app.add_subcommand("inspect", "Show what a package contains and needs");
  auto options = std::make_shared<InspectOptions>();
  command
      ->add_option("PACKAGE", options->package,
                   "The compiled model, "
                   "NAME.fathom")
      ->required();
  command->add_flag("--json", options->json,
                    "Print a JSON object, in bytes (schema_version 1)");
  command->footer("Examples:\n"
                  "  fathom inspect M.fathom\n"
                  "  fathom inspect M.fathom --json");
  command->callback([options, &code] {
    const Failure failed = inspect(options->package, options->json);
    code = failed ? fail(failed) : FATHOM_OK;
  });
}

} // namespace fathom::tool
