// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc tune --measure: the model is compiled in each way of the space, run
// by `fathom bench --per-kernel` on a device, and each class of kernels keeps
// the way in which it took the least time. Both run as children: this program
// links no runtime, and a kernel that hangs takes nothing along.
#include "tools/fathomc/Commands.h"

#include "codegen/Common/TemporaryFolder.h"
#include "codegen/NVIDIA/CUDABackend.h"
#include "codegen/NVIDIA/TileToCudaTile.h"
#include "frontends/Support/FrontendError.h"
#include "frontends/Support/InputFile.h"
#include "runtime/format/ManifestJson.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"

#include <algorithm>
#include <map>
#include <set>

using namespace llvm;

namespace fathom {

namespace {

constexpr unsigned kCompileSeconds = 24 * 3600, kBenchSeconds = 3600;
/// Prompts and steps of one token, for one sequence and for several: every
/// specialisation of a model runs.
struct Load {
  int64_t sequences, prompt, steps;
};

class Measurement {
public:
  Measurement(Compilation &run, StringRef architecture)
      : run(run), architecture(architecture.str()),
        // The whole model is compiled in one way at a time.
        space(nvidia::configurationSpace(*nvidia::findTarget(architecture),
                                         /*readsTables=*/true)) {
    for (auto kernel : run.module->getOps<tile::KernelOp>())
      classes[kernel.getSymName().str()] = nvidia::kernelClass(kernel);
  }

  /// All ways; `keep` is told what is best so far after each.
  Error execute(const KeepChoices &keep);

private:
  nvidia::Configurations chosen() const;
  void tellBest() const;
  Error measure(const nvidia::Configuration &way);
  Error child(StringRef program, std::vector<std::string> arguments,
              unsigned seconds, std::string &output);
  Error compile(const nvidia::Configuration &way);
  Error bench(const Load &load, std::map<std::string, double> &seconds);
  Expected<std::map<std::string, nvidia::Configuration>> made() const;

  Compilation &run;
  std::string architecture;
  SmallVector<nvidia::Configuration, 0> space;
  TemporaryFolder folder;
  std::map<std::string, std::string> classes; // by kernel
  struct Best {
    nvidia::Configuration way;
    double seconds = 0;
    unsigned ways = 0; // that were measured
  };
  std::map<std::string, Best> best; // by class
};

} // namespace

Error Measurement::child(StringRef program, std::vector<std::string> arguments,
                         unsigned seconds, std::string &output) {
  static int here;
  SmallString<256> path(
      sys::path::parent_path(sys::fs::getMainExecutable(nullptr, &here)));
  sys::path::append(path, program);
  ToolRun run = runTool(path.str().str(), arguments, seconds);
  output = std::move(run.output);
  if (run.good())
    return Error::success();
  return makeError(FailureKind::Failed,
                   "a measurement failed: " + program.str() + " " +
                       arguments.front(),
                   fathom::quoted(path.str().str()), lastWords(output),
                   "measuring needs the device that the code is for "
                   "(fathom bench PACKAGE runs there), and fathom beside "
                   "fathomc");
}

Error Measurement::compile(const nvidia::Configuration &way) {
  nvidia::Configurations all;
  for (const auto &[kernel, kind] : classes)
    all.set(kind, kernel, architecture, way);
  const std::string choices = folder.at("way.json");
  if (!writeBytes(choices, all.text()))
    return cannotWrite(choices);
  sys::fs::remove_directories(folder.at("way.fathom"));
  const CompileOptions &o = run.options;
  SmallString<256> checkpoint(o.checkpoint);
  sys::fs::make_absolute(checkpoint);
  std::vector<std::string> arguments{
      "compile",
      checkpoint.str().str(),
      "-o",
      folder.at("way.fathom"),
      "--numerics",
      o.numerics,
      "--target",
      "cuda:" + architecture,
      "--configurations",
      choices,
      "--cpu", // its code is not what is measured
      "x86-64-v3",
      "-q"};
  auto add = [&](const char *name, const std::string &value) {
    if (!value.empty())
      arguments.insert(arguments.end(), {name, value});
  };
  auto limit = [&](const char *name, const std::optional<int64_t> &value) {
    if (value)
      add(name, std::to_string(*value));
  };
  add("--tileiras", o.assembler);
  add("--disable-fusion", join(o.disabledFusions, ","));
  limit("--max-context", o.maxContext);
  limit("--max-sequences", o.maxSequences);
  limit("--max-step-tokens", o.maxStepTokens);
  std::string output;
  return child("fathomc", std::move(arguments), kCompileSeconds, output);
}

/// How each kernel was compiled in the end: a way that the assembler refuses is
/// replaced.
Expected<std::map<std::string, nvidia::Configuration>>
Measurement::made() const {
  Expected<std::string> text = readTextFile(
      folder.at("way.fathom/manifest.json"), format::detail::kMaxText);
  if (!text)
    return text.takeError();
  format::Manifest manifest;
  if (std::string problem = format::parseManifest(*text, manifest);
      !problem.empty())
    return createStringError(problem);
  std::map<std::string, nvidia::Configuration> all;
  for (const format::Library &library : manifest.libraries) {
    if (library.isa != architecture)
      continue;
    auto number = [&](const char *name) {
      auto it = library.configuration.find(name);
      return it == library.configuration.end() ? 0 : int(it->second);
    };
    all[library.kernel] = {number("workerWarps"), number("ctas"),
                           number("occupancy")};
  }
  return all;
}

/// Adds a launch's time of each kernel.
Error Measurement::bench(const Load &load,
                         std::map<std::string, double> &seconds) {
  const CompileOptions &o = run.options;
  std::string output;
  if (Error error =
          child("fathom",
                {"bench", folder.at("way.fathom"), "--per-kernel", "--json",
                 "--driver", o.driver, "--device", std::to_string(o.ordinal),
                 "--prompt-tokens", std::to_string(load.prompt), "--new-tokens",
                 std::to_string(load.steps), "--sequences",
                 std::to_string(load.sequences), "--repeat", "2"},
                kBenchSeconds, output))
    return error;
  // Progress may come before it.
  StringRef text(output);
  text = text.substr(std::min(text.find('{'), text.size()));
  Expected<json::Value> value = json::parse(text);
  const json::Array *kernels = value && value->getAsObject()
                                   ? value->getAsObject()->getArray("kernels")
                                   : nullptr;
  if (!kernels) {
    if (!value)
      consumeError(value.takeError());
    return createStringError("fathom bench printed no table of kernels");
  }
  for (const json::Value &one : *kernels) {
    const json::Object *kernel = one.getAsObject();
    if (!kernel)
      continue;
    const double launches = kernel->getNumber("launches").value_or(0);
    if (launches > 0)
      seconds[kernel->getString("kernel").value_or("").str()] +=
          kernel->getNumber("seconds").value_or(0) / launches;
  }
  return Error::success();
}

Error Measurement::measure(const nvidia::Configuration &way) {
  if (Error error = compile(way))
    return error;
  Expected<std::map<std::string, nvidia::Configuration>> ways = made();
  if (!ways)
    return ways.takeError();
  const format::Limits &limits = run.manifest.limits;
  const int64_t several = std::min<int64_t>(limits.maxSequences, 16);
  const int64_t steps = std::min<int64_t>(8, limits.maxContext / 4);
  const int64_t room = limits.maxContext - steps;
  std::map<std::string, double> seconds;
  for (const Load &load : {Load{1, std::min(limits.maxStepTokens, room), steps},
                           Load{several, std::min<int64_t>(32, room), steps}})
    if (Error error = bench(load, seconds))
      return error;
  std::map<std::string, double> byClass;
  std::set<std::string> others; // with a kernel that was made in another way
  for (const auto &[kernel, time] : seconds) {
    auto known = classes.find(kernel);
    if (known == classes.end())
      continue;
    auto as = ways->find(kernel);
    if (as == ways->end() || !(as->second == way))
      others.insert(known->second);
    byClass[known->second] += time;
  }
  for (const auto &[kind, time] : byClass) {
    if (others.count(kind))
      continue; // this way is not for all of them
    Best &before = best[kind];
    if (!before.ways++ || time < before.seconds) {
      before.seconds = time;
      before.way = way;
    }
  }
  return Error::success();
}

nvidia::Configurations Measurement::chosen() const {
  nvidia::Configurations all;
  for (const auto &[kernel, kind] : classes)
    if (auto known = best.find(kind); known != best.end())
      all.set(kind, kernel, architecture, known->second.way);
  return all;
}

void Measurement::tellBest() const {
  for (const auto &[kernel, kind] : classes) {
    auto known = best.find(kind);
    if (known == best.end())
      continue; // of the MTP layer, which bench does not run
    const Best &b = known->second;
    outs() << formatv("{0} {1}: warps {2}, CTAs {3}, occupancy {4}: {5:F1} "
                      "us, the best of {6} ways\n",
                      architecture, kernel, b.way.workerWarps, b.way.ctas,
                      b.way.occupancy, b.seconds * 1e6, b.ways);
  }
}

Error Measurement::execute(const KeepChoices &keep) {
  if (Error error = folder.make("fathom-tune"))
    return error;
  for (size_t i = 0; i < space.size(); ++i) {
    if (Error error = measure(space[i]))
      return error;
    if (Error error = keep(chosen()))
      return error;
    run.progress.at(i + 1, space.size());
  }
  if (!run.options.quiet)
    tellBest();
  return Error::success();
}

Error tuneByMeasuring(Compilation &run, const KeepChoices &keep) {
  if (run.targetOptions.levels.size() != 1)
    return makeError(
        FailureKind::Unsupported, "a device has one architecture", "--target",
        "what is measured is code for " + join(run.targetOptions.levels, ", "),
        "name the device's own, such as cuda:sm_90");
  if (run.options.checkpoint.empty())
    return makeError(FailureKind::Unsupported, "a preset cannot be measured",
                     "--preset", "it has no weights",
                     "give the directory of a checkpoint");
  return Measurement(run, run.targetOptions.levels.front()).execute(keep);
}

} // namespace fathom
