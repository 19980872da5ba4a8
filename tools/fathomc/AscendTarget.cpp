// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ascend processors as a target of the registry, and the end of packages that
// were made without CANN.
#include "tools/fathomc/AscendTarget.h"

#include "codegen/Ascend/TileToAdapter.h"
#include "codegen/Common/Cache.h"
#include "frontends/Support/FrontendError.h"
#include "tools/fathomc/Compile.h"

#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <thread>

namespace fathom {

llvm::Expected<ascend::AscendOptions>
ascendOptions(const TargetOptions &options) {
  ascend::AscendOptions ascend;
  for (const std::string &level : options.levels)
    ascend.targets.push_back(ascend::findTarget(level));
  llvm::Expected<ascend::Toolchain> tools =
      ascend::findToolchain(options.assembler, toolsFolder("ascend"));
  if (!tools)
    return tools.takeError();
  ascend.toolchain = std::move(*tools);
  ascend.compiler.parallel =
      std::clamp(std::thread::hardware_concurrency(), 1u, 64u);
  ascend.compiler.cache = defaultCache();
  ascend.compiler.progress = options.progress;
  return ascend;
}

static std::string folderOf(const ascend::Target &target) {
  return std::string("device/") + target.name + "/";
}

CompiledLibrary deviceLibrary(const ascend::Job &job, bool usesCube) {
  const ascend::Target &target = *job.target;
  CompiledLibrary library;
  format::Library &about = library.about;
  about.target = "ascend";
  about.isa = target.name;
  about.kernel = job.kernel;
  about.unresolved = job.unresolved;
  about.refusal = job.refusal;
  ascend::LaunchFacts facts =
      ascend::launchFacts(job.handOver, job.kernel, target);
  about.configuration = {{"mix", usesCube},
                         {"flags", facts.flags},
                         {"blocks", facts.blocks},
                         {"taskType", facts.taskType},
                         {"workspaceBytes", facts.workspaceBytes}};
  bool finished = !job.object.empty();
  about.form = finished ? "" : "adapter";
  about.file = folderOf(target) + job.kernel + (finished ? ".o" : ".mlir");
  library.bytes = finished ? job.object : job.module;
  return library;
}

namespace {

class AscendTarget : public TargetBackend {
public:
  llvm::StringRef name() const override { return "ascend"; }
  llvm::StringRef description() const override {
    return "Ascend 910B, A3 and 950, by AscendNPU-IR and CANN";
  }
  std::vector<std::string> levels() const override {
    std::vector<std::string> names;
    for (const ascend::Target &target : ascend::targets())
      names.push_back(target.name);
    return names;
  }
  std::vector<std::string> defaultLevels() const override { return levels(); }
  /// A package has one schedule, and the buffers of its activations are of one
  /// kind: codes as soon as one processor multiplies them.
  llvm::StringRef tileShapes(const TargetOptions &options) const override {
    bool codes = llvm::any_of(options.levels, [](const std::string &level) {
      return ascend::findTarget(level)->hasFP8;
    });
    return codes ? "ascend-codes" : "ascend";
  }
  /// Both parts of a merged kernel would share one plan of the memories.
  bool mergesLaunches() const override { return false; }
  void registerDialects(mlir::DialectRegistry &registry) const override {
    ascend::registerAdapterDialects(registry);
  }

  llvm::StringRef unplannedMemory() const override {
    return "kernels on an Ascend processor take a workspace of their own on "
           "top: it is known once the model is compiled, so that the runtime "
           "counts it and this plan does not";
  }

  llvm::Expected<format::Target>
  describe(const TargetOptions &options) const override {
    llvm::Expected<ascend::AscendOptions> ascend = ascendOptions(options);
    if (!ascend)
      return ascend.takeError();
    return format::Target{name().str(), options.hostArchitecture,
                          ascend->toolchain.describe(ascend->targets)};
  }

  llvm::Expected<std::vector<CompiledLibrary>>
  compile(mlir::ModuleOp module, const TargetOptions &options) const override {
    llvm::Expected<ascend::AscendOptions> ascend = ascendOptions(options);
    if (!ascend)
      return ascend.takeError();
    module.getContext()->loadAllAvailableDialects();
    llvm::Expected<std::vector<ascend::Job>> jobs =
        ascend::compileKernels(module, *ascend);
    if (!jobs)
      return jobs.takeError();
    std::vector<CompiledLibrary> libraries;
    for (const ascend::Job &job : *jobs) {
      auto kernel = module.lookupSymbol<tile::KernelOp>(job.kernel);
      libraries.push_back(deviceLibrary(job, ascend::usesCube(kernel)));
      if (!job.object.empty() || job.handOver.empty())
        continue;
      CompiledLibrary handOver;
      handOver.about.file = folderOf(*job.target) + job.kernel + ".hivm.mlir";
      handOver.about.target = name().str();
      handOver.about.isa = job.target->name;
      handOver.about.kernel = job.kernel;
      handOver.about.form = "hivm";
      handOver.bytes = job.handOver;
      libraries.push_back(std::move(handOver));
    }
    for (const ascend::Target *target : ascend->targets) {
      auto isUnfinished = [&](const CompiledLibrary &library) {
        return library.about.isa == target->name &&
               library.about.form == "adapter";
      };
      if (llvm::none_of(libraries, isUnfinished))
        continue;
      CompiledLibrary script;
      script.about.file = folderOf(*target) + "finish.sh";
      script.about.target = name().str();
      script.about.isa = target->name;
      script.about.form = "command";
      script.bytes = ascend::finishingScript(*target);
      libraries.push_back(std::move(script));
    }
    return libraries;
  }

  std::vector<std::string>
  notes(llvm::ArrayRef<CompiledLibrary> libraries) const override {
    std::vector<std::string> notes;
    for (const ascend::Target &target : ascend::targets()) {
      size_t unfinished = 0, all = 0;
      for (const CompiledLibrary &library : libraries) {
        const format::Library &l = library.about;
        if (l.isa != target.name || l.form == "hivm" || l.form == "command")
          continue;
        ++all;
        unfinished += l.form == "adapter" && l.refusal.empty();
        if (!l.refusal.empty())
          notes.push_back(std::string(target.name) + ": AscendNPU-IR refuses " +
                          l.kernel + ": " + l.refusal);
      }
      if (unfinished)
        notes.push_back(
            std::string(target.name) + ": " + std::to_string(unfinished) +
            " of " + std::to_string(all) +
            " kernels are accepted up to code generation, and there is no "
            "device code: that takes " +
            (target.hasFP8 ? "hivmc-a5" : "hivmc") +
            " of CANN on PATH. The package holds their modules, what the last "
            "stage would get, and the command (" +
            folderOf(target) +
            "finish.sh). On a machine with CANN: fathomc finish PACKAGE");
    }
    return notes;
  }
};

} // namespace

std::unique_ptr<TargetBackend> createAscendTarget() {
  return std::make_unique<AscendTarget>();
}

} // namespace fathom
