// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The CPU code generator as a target of the registry.
#include "tools/fathomc/Compile.h"

#include "codegen/CPU/CPUBackend.h"
#include "codegen/CPU/Passes.h"
#include "codegen/Common/Cache.h"

#include <algorithm>
#include <thread>

namespace fathom {
namespace {

cpu::CPUOptions optionsOf(const std::string &level,
                          const TargetOptions &target) {
  cpu::CPUOptions options;
  options.isa = level;
  // More threads make it faster up to a point and cost memory.
  options.threads = std::clamp(std::thread::hardware_concurrency(), 1u, 8u);
  options.fewPasses = target.standsIn;
  options.plainInstructions = target.plainInstructions;
  options.cache = defaultCache();
  return options;
}

class CPUTarget : public TargetBackend {
public:
  llvm::StringRef name() const override { return "cpu"; }
  llvm::StringRef description() const override {
    return "x86-64 processors with AVX2 or more";
  }
  std::vector<std::string> levels() const override { return cpu::levelNames(); }
  std::vector<std::string> defaultLevels() const override {
    return cpu::levelNames();
  }
  bool callsKernels() const override { return true; }
  void registerDialects(mlir::DialectRegistry &registry) const override {
    cpu::registerCPUDialects(registry);
  }

  llvm::Expected<std::vector<CompiledLibrary>>
  compile(mlir::ModuleOp module, const TargetOptions &target) const override {
    std::vector<CompiledLibrary> libraries;
    for (const std::string &level : target.levels) {
      cpu::CPUOptions options = optionsOf(level, target);
      if (target.progress)
        options.progress = [&, before = libraries.size()](size_t done,
                                                          size_t of) {
          target.progress(before * of + done, target.levels.size() * of);
        };
      llvm::Expected<cpu::CompiledLibrary> library =
          cpu::compileKernels(module, options);
      if (!library)
        return library.takeError();
      format::Library about;
      about.target = "cpu";
      about.isa = target.plainInstructions ? levels().front() : level;
      about.file = "host-" + about.isa + ".so";
      about.scratchBytes = library->scratchBytes;
      libraries.push_back({about, std::move(library->bytes)});
    }
    return libraries;
  }

  llvm::Expected<uint64_t>
  scratchBytes(mlir::ModuleOp module,
               const TargetOptions &target) const override {
    uint64_t most = 0;
    for (const std::string &level : target.levels) {
      llvm::Expected<uint64_t> bytes =
          cpu::scratchBytes(module, optionsOf(level, target));
      if (!bytes)
        return bytes;
      most = std::max(most, *bytes);
    }
    return most;
  }
};

} // namespace

std::unique_ptr<TargetBackend> createCPUTarget() {
  return std::make_unique<CPUTarget>();
}

} // namespace fathom
