// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc kernels: what the kernels of a package became. Reads its manifest
// alone.
#include "tools/fathomc/Commands.h"

#include "frontends/Support/FrontendError.h"
#include "frontends/Support/InputFile.h"
#include "runtime/format/ManifestJson.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

using namespace llvm;

namespace fathom {
namespace {

/// Of the schedules: how often a kernel is launched, over all of them.
using Launches = std::map<std::string, int64_t>;

Launches launchesOf(const format::Manifest &manifest) {
  Launches launches;
  for (const format::Entry &entry : manifest.entries)
    for (const format::Specialisation &s : entry.specialisations)
      for (const format::Launch &launch : s.launches)
        ++launches[launch.kernel];
  return launches;
}

/// A kernel and the file that holds it.
struct Row {
  std::string name;
  const format::Library *library;
  int64_t launches;
};

/// By level in the order of the package, then by name.
std::vector<Row> rowsOf(const format::Manifest &manifest) {
  const Launches launches = launchesOf(manifest);
  std::vector<Row> rows;
  auto add = [&](const std::string &name, const format::Library &library) {
    auto it = launches.find(name);
    rows.push_back({name, &library, it == launches.end() ? 0 : it->second});
  };
  for (const format::Library &library : manifest.libraries)
    if (library.form == "hivm" || library.form == "command")
      continue; // beside the kernel's own file
    else if (!library.kernel.empty())
      add(library.kernel, library);
    else
      for (const auto &[name, count] : launches)
        add(name, library);
  return rows;
}

/// "workerWarps" as "worker_warps", like every name in JSON.
std::string jsonName(StringRef name) {
  std::string out;
  for (char c : name) {
    if (c >= 'A' && c <= 'Z')
      out += '_';
    out += char(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  return out;
}

json::Object toJson(const Row &row) {
  const format::Library &l = *row.library;
  json::Object out{{"name", row.name},
                   {"target", l.isa},
                   {"file", l.file},
                   {"launches", row.launches}};
  json::Object configuration;
  for (const auto &[name, value] : l.configuration)
    configuration[jsonName(name)] = value;
  if (l.kernel.empty()) {
    // All that is known of a kernel of a shared library.
    out["scratch_bytes"] = l.scratchBytes;
    return out;
  }
  out["bytes"] = l.bytes;
  if (l.target == "ascend") {
    out["accepted"] = l.refusal.empty();
    out["finished"] = l.form.empty();
    out["message"] = l.refusal;
    out["unresolved_symbols"] = json::Array(l.unresolved);
  }
  out["configuration"] = std::move(configuration);
  if (!l.report)
    return out;
  const format::KernelReport &r = *l.report;
  json::Object tensor;
  for (const auto &[name, count] : r.tensorInstructions)
    tensor[name] = count;
  out["registers"] = r.registers;
  out["stack_bytes"] = r.stackBytes;
  out["spill_stores"] = r.spillStores;
  out["loop_spill_stores"] = r.loopSpillStores;
  out["shared_bytes"] = r.sharedBytes;
  out["tensor_instructions"] = std::move(tensor);
  out["tma_instructions"] = r.tmaInstructions;
  out["wide_loads"] = r.wideLoads;
  out["instructions"] = r.instructions;
  out["notices"] = json::Array(r.notices);
  return out;
}

void printText(ArrayRef<Row> rows) {
  const format::Library *before = nullptr;
  for (const Row &row : rows) {
    const format::Library &l = *row.library;
    if (!before || before->isa != l.isa) {
      outs() << (before ? "\n" : "") << l.target << " " << l.isa << "\n";
      if (l.target == "ascend")
        outs() << "  (accepted: by AscendNPU-IR up to code generation)\n";
      else if (!l.kernel.empty())
        outs() << "  regs stack spills (loop)  shared  TMA  instr.  warps/CTAs/"
                  "occupancy  kernel\n";
      else
        outs() << formatv("  in {0}, scratch of a call at most {1} bytes\n",
                          l.file, l.scratchBytes);
    }
    before = &l;
    if (l.kernel.empty()) {
      outs() << "  " << row.name << "\n";
      continue;
    }
    if (l.target == "ascend") {
      outs() << "  " << (l.form.empty() ? "code    " : "no code ")
             << (l.refusal.empty() ? "accepted " : "refused  ") << row.name;
      if (!l.refusal.empty())
        outs() << ": " << fathom::quoted(l.refusal);
      for (const std::string &name : l.unresolved)
        outs() << " unresolved " << name;
      outs() << "\n";
      continue;
    }
    auto choice = [&](const char *name) {
      auto it = l.configuration.find(name);
      return it == l.configuration.end() ? 0 : it->second;
    };
    std::string way = formatv("{0}/{1}/{2}", choice("workerWarps"),
                              choice("ctas"), choice("occupancy"));
    if (!l.report) {
      outs() << formatv("  {0,46}  {1,21}  {2}\n", "not looked at", way,
                        row.name);
      continue;
    }
    const format::KernelReport &r = *l.report;
    outs() << formatv(
        "  {0,4} {1,5} {2,6} {3,6} {4,7} {5,4} {6,7}  {7,21}  {8}", r.registers,
        r.stackBytes, r.spillStores, formatv("({0})", r.loopSpillStores).str(),
        r.sharedBytes, r.tmaInstructions, r.instructions, way, row.name);
    for (const auto &[name, count] : r.tensorInstructions)
      outs() << "  " << name << " x" << count;
    outs() << "\n";
    for (const std::string &notice : r.notices)
      outs() << "       notice: " << fathom::quoted(notice) << "\n";
  }
}

} // namespace

int listKernels(const CompileOptions &options) {
  SmallString<256> path(options.package);
  sys::path::append(path, "manifest.json");
  Expected<std::string> text = readTextFile(path, format::detail::kMaxText);
  if (!text)
    return reportError(text.takeError(), errs(), "fathomc");
  format::Manifest manifest;
  std::string problem = format::parseManifest(*text, manifest);
  if (!problem.empty())
    return reportError(makeError(FailureKind::BadFile, "cannot read a package",
                                 quoted(path), problem,
                                 "a package is a directory NAME.fathom written "
                                 "by fathomc of the same version"),
                       errs(), "fathomc");
  std::vector<Row> rows = rowsOf(manifest);
  if (!options.json) {
    printText(rows);
    return 0;
  }
  json::Array kernels;
  for (const Row &row : rows)
    kernels.push_back(toJson(row));
  outs() << formatv("{0:2}\n",
                    json::Value(json::Object{
                        {"schema_version", 1},
                        {"package", options.package},
                        {"target", manifest.target.name},
                        {"host_architecture", manifest.target.hostArchitecture},
                        {"assembler", manifest.target.assembler},
                        {"numerics", manifest.model.numerics},
                        {"kernels", std::move(kernels)}}));
  return 0;
}

} // namespace fathom
