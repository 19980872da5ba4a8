// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One run of the compiler as a sequence of phases; commands take those that
// they need. Each phase returns whether to go on and leaves the exit code
// otherwise; everything there is to say has been said by then.
#ifndef FATHOM_TOOLS_FATHOMC_COMPILATION_H
#define FATHOM_TOOLS_FATHOMC_COMPILATION_H

#include "codegen/Common/PackageWriter.h"
#include "frontends/Checkpoint/Safetensors.h"
#include "frontends/Config/ModelConfig.h"
#include "runtime/format/Manifest.h"
#include "tools/fathomc/Compile.h"
#include "tools/fathomc/Devices.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

namespace fathom {

class Compilation {
public:
  Compilation(const CompileOptions &options, const TargetRegistry &targets);

  bool chooseTarget();
  bool chooseFusions();
  /// Checks where the package goes and reads what travels with it.
  bool prepareWriting();
  /// Reads the checkpoint, or makes that of a preset in memory, into a module
  /// of dsv4.
  bool import();
  /// Where the package will find the checkpoint.
  bool placeCheckpoint();
  bool fuse();
  /// To tile, with memory planned and launches recorded in the manifest.
  bool lower();
  bool generate();
  bool write();
  /// Bytes of scratch memory that a thread needs, at most over all levels.
  bool measureScratch(uint64_t &bytes);
  bool fail(llvm::Error error);
  /// What was asked for makes no sense.
  bool wrongUsage(llvm::StringRef what, llvm::StringRef where,
                  llvm::StringRef help);
  void note(llvm::StringRef text) { progress.note(text); }
  /// For every output, after import().
  void noticeOtherDevice(const Device &device);

  const CompileOptions &options;
  mlir::MLIRContext context;
  std::optional<ModelConfig> config;
  std::optional<Checkpoint> checkpoint;
  /// What the user should know about the model, for every output.
  std::vector<std::string> notices;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  format::Manifest manifest;
  const TargetBackend *target = nullptr;
  TargetOptions targetOptions;
  Progress progress;
  int code = 0;

private:
  bool openSource();
  /// As told, or by the encoder that comes with the checkpoint.
  bool choosePromptProfile();
  bool runPasses(llvm::StringRef phase,
                 llvm::function_ref<void(mlir::OpPassManager &)> add);
  /// Dumps the IR after a phase; false where the run stops here.
  bool afterPhase(llvm::StringRef name, Phase phase);
  bool writeIR(llvm::StringRef path);
  void printSummary(uint64_t packageBytes);

  const TargetRegistry &targets;
  bool chooseLevels(const TargetBackend &backend, llvm::StringRef option,
                    TargetOptions &chosen);
  bool compileFor(const TargetBackend &backend, TargetOptions &chosen);

  /// The host's code of the same kernels, in packages for another target.
  const TargetBackend *host = nullptr;
  TargetOptions hostOptions;
  std::vector<CompiledLibrary> libraries;
  std::vector<PackageFile> moreFiles;
};

} // namespace fathom

#endif // FATHOM_TOOLS_FATHOMC_COMPILATION_H
