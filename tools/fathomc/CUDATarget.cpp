// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NVIDIA's GPUs as a target of the registry.
#include "tools/fathomc/CUDAOptions.h"
#include "tools/fathomc/Compile.h"

#include "codegen/Common/Cache.h"
#include "frontends/Support/FrontendError.h"

#include "llvm/ADT/StringExtras.h"

#include <algorithm>
#include <thread>

namespace fathom {

llvm::Expected<nvidia::CUDAOptions> cudaOptions(const TargetOptions &options) {
  nvidia::CUDAOptions cuda;
  cuda.architectures = options.levels;
  llvm::Expected<nvidia::Toolchain> tools =
      nvidia::findToolchain(options.assembler, toolsFolder("cuda") + "/bin");
  if (!tools)
    return tools.takeError();
  cuda.toolchain = std::move(*tools);
  cuda.assembly.parallel =
      std::clamp(std::thread::hardware_concurrency(), 1u, 64u);
  // Some kernels take a minute each. A busy machine must not make another
  // choice of it, hence processor time; the clock is for an assembler that
  // waits.
  cuda.assembly.limit = TimeLimit(7200, 600);
  cuda.assembly.hostArchitecture = options.hostArchitecture;
  cuda.assembly.cache = defaultCache();
  cuda.assembly.progress = options.progress;
  return cuda;
}

namespace {

class CUDATarget : public TargetBackend {
public:
  llvm::StringRef name() const override { return "cuda"; }
  llvm::StringRef description() const override {
    return "NVIDIA GPUs from Ampere on";
  }
  std::vector<std::string> levels() const override {
    std::vector<std::string> names;
    for (const nvidia::Target &target : nvidia::targets())
      names.push_back(target.name);
    return names;
  }
  std::vector<std::string> defaultLevels() const override {
    return {"sm_90", "sm_100"};
  }
  /// The dialects of tile kernels are all that is needed.
  void registerDialects(mlir::DialectRegistry &registry) const override {}

  llvm::Expected<format::Target>
  describe(const TargetOptions &options) const override {
    llvm::Expected<nvidia::CUDAOptions> cuda = cudaOptions(options);
    if (!cuda)
      return cuda.takeError();
    return format::Target{name().str(), options.hostArchitecture,
                          "tileiras " + cuda->toolchain.version};
  }

  llvm::Error annotate(mlir::ModuleOp module, const TargetOptions &options,
                       std::vector<std::string> &said) const override {
    llvm::Expected<nvidia::Configurations> known =
        nvidia::Configurations::builtIn();
    if (!known)
      return known.takeError();
    if (!options.configurations.empty()) {
      llvm::Expected<nvidia::Configurations> given =
          nvidia::Configurations::read(options.configurations);
      if (!given)
        return given.takeError();
      const size_t all = given->size();
      const size_t taken = nvidia::choicesTaken(module, options.levels, *given);
      if (taken < all || !all)
        said.push_back(
            std::to_string(taken) + " of the " + std::to_string(all) +
            " choices in " + quoted(options.configurations) +
            " are for kernels of this model and " +
            llvm::join(options.levels, ", ") + "; the others change nothing");
      known->merge(*given);
    }
    nvidia::chooseConfigurations(module, options.levels, *known);
    return llvm::Error::success();
  }

  llvm::Expected<std::vector<CompiledLibrary>>
  compile(mlir::ModuleOp module, const TargetOptions &options) const override {
    llvm::Expected<nvidia::CUDAOptions> cuda = cudaOptions(options);
    if (!cuda)
      return cuda.takeError();
    llvm::Expected<std::vector<nvidia::CompiledKernel>> kernels =
        nvidia::compileKernels(module, *cuda);
    if (!kernels)
      return kernels.takeError();
    std::vector<CompiledLibrary> libraries;
    for (nvidia::CompiledKernel &kernel : *kernels) {
      format::Library about;
      about.file =
          "device/" + kernel.architecture + "/" + kernel.kernel + ".cubin";
      about.target = name().str();
      about.isa = kernel.architecture;
      about.kernel = kernel.kernel;
      const nvidia::Configuration &c = kernel.configuration;
      about.configuration = {{"workerWarps", c.workerWarps},
                             {"ctas", c.ctas},
                             {"occupancy", c.occupancy}};
      about.report = std::move(kernel.report);
      std::string note;
      if (!kernel.refusal.empty())
        note = about.isa + ": " + about.kernel + " is compiled with " +
               textOf(c) + ", since tileiras refuses what was chosen (" +
               kernel.refusal + ")";
      libraries.push_back(
          {std::move(about), std::move(kernel.cubin), std::move(note)});
    }
    return libraries;
  }

  std::vector<std::string>
  notes(llvm::ArrayRef<CompiledLibrary> libraries) const override {
    std::vector<std::string> notes;
    for (const CompiledLibrary &library : libraries)
      if (!library.note.empty())
        notes.push_back(library.note);
    return notes;
  }
};

} // namespace

std::unique_ptr<TargetBackend> createCUDATarget() {
  return std::make_unique<CUDATarget>();
}

} // namespace fathom
