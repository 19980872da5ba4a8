// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/Assembler.h"

#include "codegen/Common/Cache.h"
#include "codegen/Common/Process.h"
#include "codegen/Common/ToolJobs.h"
#include "codegen/NVIDIA/CubinReport.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace fathom::nvidia {

//===-- What is known of a cubin, as text --------------------------------===//

static json::Value toJSON(const Assembly &job) {
  json::Array remarks;
  for (const Remark &remark : job.remarks) {
    json::Object args;
    for (const auto &[name, value] : remark.args)
      args[name] = value;
    remarks.push_back(json::Object{{"kind", remark.kind},
                                   {"name", remark.name},
                                   {"args", std::move(args)}});
  }
  json::Object out{{"remarks", std::move(remarks)}};
  if (!job.report)
    return out;
  const format::KernelReport &r = *job.report;
  json::Object tensor;
  for (const auto &[name, count] : r.tensorInstructions)
    tensor[name] = count;
  out["report"] = json::Object{{"registers", r.registers},
                               {"stackBytes", r.stackBytes},
                               {"sharedBytes", r.sharedBytes},
                               {"instructions", r.instructions},
                               {"spillStores", r.spillStores},
                               {"loopSpillStores", r.loopSpillStores},
                               {"tmaInstructions", r.tmaInstructions},
                               {"loadsPastTMA", r.wideLoads},
                               {"threads", r.threads},
                               {"computingRegisters", r.computingRegisters},
                               {"loadingRegisters", r.loadingRegisters},
                               {"tensorInstructions", std::move(tensor)}};
  return out;
}

static bool fromJSON(const json::Value &value, Remark &remark,
                     json::Path path) {
  json::ObjectMapper map(value, path);
  return map && map.map("kind", remark.kind) && map.map("name", remark.name) &&
         map.map("args", remark.args);
}

static bool readReport(const json::Value &value, format::KernelReport &report,
                       json::Path path) {
  json::ObjectMapper map(value, path);
  return map && map.map("registers", report.registers) &&
         map.map("stackBytes", report.stackBytes) &&
         map.map("sharedBytes", report.sharedBytes) &&
         map.map("instructions", report.instructions) &&
         map.map("spillStores", report.spillStores) &&
         map.map("loopSpillStores", report.loopSpillStores) &&
         map.map("tmaInstructions", report.tmaInstructions) &&
         map.map("loadsPastTMA", report.wideLoads) &&
         map.map("threads", report.threads) &&
         map.map("computingRegisters", report.computingRegisters) &&
         map.map("loadingRegisters", report.loadingRegisters) &&
         map.map("tensorInstructions", report.tensorInstructions);
}

/// A report that lacks what we want to know by now is none.
static bool readKnowledge(StringRef text, Assembly &job) {
  Expected<json::Value> value = json::parse(text);
  if (!value) {
    consumeError(value.takeError());
    return false;
  }
  json::Path::Root root;
  json::ObjectMapper map(*value, root);
  if (!map || !map.map("remarks", job.remarks))
    return false;
  const json::Value *report = value->getAsObject()->get("report");
  if (report && !readReport(*report, job.report.emplace(), root))
    job.report.reset();
  return true;
}

//===-- The cache --------------------------------------------------------===//

static std::string cacheEntry(const Assembly &job, const Toolchain &toolchain,
                              const AssemblyOptions &options) {
  // The first line counts the forms that entries had.
  std::string key = "3\n" + toolchain.version + '\n' + job.target + '\n' +
                    options.hostArchitecture + '\n' + job.bytecode;
  return entryIn(options.cache, hashOf(key) + ".cubin");
}

/// An entry is a line of JSON and the cubin.
static bool fromCache(Assembly &job, const std::string &path) {
  std::optional<std::string> bytes = readKept(path);
  if (!bytes)
    return false;
  auto [known, cubin] = StringRef(*bytes).split('\n');
  if (cubin.empty() || !readKnowledge(known, job))
    return false;
  job.cubin = cubin.str();
  job.cached = true;
  return true;
}

static void toCache(const Assembly &job, const std::string &path) {
  std::string bytes;
  raw_string_ostream(bytes) << toJSON(job) << '\n' << job.cubin;
  keep(path, bytes);
}

//===-- Assembling -------------------------------------------------------===//

static Error inspect(Assembly &job, const std::string &cubin,
                     const Toolchain &toolchain) {
  auto report = inspectCubin(toolchain, cubin);
  if (!report)
    return report.takeError();
  job.report = std::move(*report);
  return Error::success();
}

/// Of a cubin that was kept before it could be looked at.
static Error inspectAgain(Assembly &job, const std::string &folder,
                          const Toolchain &toolchain) {
  const std::string cubin = folder + "/kernel.cubin";
  if (!writeBytes(cubin, job.cubin))
    return cannotWrite(cubin);
  return inspect(job, cubin, toolchain);
}

/// One kernel, its files in a folder of its own.
static Error assembleOne(Assembly &job, const std::string &folder,
                         const Toolchain &toolchain,
                         const AssemblyOptions &options) {
  const std::string source = folder + "/kernel.tilebc",
                    cubin = folder + "/kernel.cubin",
                    remarks = folder + "/remarks.yaml";
  if (!writeBytes(source, job.bytecode))
    return cannotWrite(source);
  std::vector<std::string> arguments{"--gpu-name=" + job.target,
                                     "-o",
                                     cubin,
                                     source,
                                     "--remarks=all",
                                     "--remark-format=yaml",
                                     "--remarks-output-file=" + remarks};
  if (!options.hostArchitecture.empty())
    arguments.push_back("--host-arch=" + options.hostArchitecture);
  ToolRun run =
      runToolTwice(toolchain.tileiras, arguments, options.limit, folder);
  if (Error error = machinesRefusal(run, toolchain.tileiras,
                                    job.name + " for " + job.target, folder))
    return error;
  if (run.good())
    job.cubin = readBytes(cubin);
  if (job.cubin.empty()) {
    job.refusal = run.good() ? "it wrote no cubin" : lastWords(run.output);
    return Error::success();
  }
  job.remarks = parseRemarks(readBytes(remarks));
  return inspect(job, cubin, toolchain);
}

/// The assembler may hand out more registers than it starts a block with, as it
/// did for 640 threads where two blocks were to fit a multiprocessor.
static void refuseEndless(Assembly &job) {
  uint64_t missing = job.report ? missingRegisters(*job.report) : 0;
  if (!missing)
    return;
  job.refusal = formatv("its threads would wait for ever for {0} registers "
                        "that the block does not have",
                        missing);
  job.cubin.clear();
}

Error assemble(MutableArrayRef<Assembly> jobs, const Toolchain &toolchain,
               const AssemblyOptions &options) {
  auto work = [&](size_t i, const std::string &folder) -> Error {
    Assembly &job = jobs[i];
    std::string entry;
    if (!options.cache.empty())
      entry = cacheEntry(job, toolchain, options);
    bool fresh = false;
    if (entry.empty() || !fromCache(job, entry)) {
      if (Error error = assembleOne(job, folder, toolchain, options))
        return error;
      fresh = !job.cubin.empty();
    } else if (!job.report && toolchain.canInspect()) {
      if (Error error = inspectAgain(job, folder, toolchain))
        return error;
      fresh = job.report.has_value();
    }
    if (fresh && !entry.empty())
      toCache(job, entry);
    refuseEndless(job);
    return Error::success();
  };
  Error error = runJobs(jobs.size(), options.parallel, options.progress, work);
  if (!options.cache.empty())
    pruneKept(options.cache);
  return error;
}

} // namespace fathom::nvidia
