// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the commands of fathomc share: targets, progress, diagnostics.
#ifndef FATHOM_TOOLS_FATHOMC_COMPILE_H
#define FATHOM_TOOLS_FATHOMC_COMPILE_H

#include "codegen/Common/TargetRegistry.h"
#include "tools/fathomc/CommandLine.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringRef.h"

#include <chrono>
#include <utility>
#include <vector>

namespace fathom {

/// Exit code of the tool; everything there is to say has been said.
int runCommand(const CompileOptions &options, const TargetRegistry &targets);

/// The registry's entries.
std::unique_ptr<TargetBackend> createCPUTarget();
std::unique_ptr<TargetBackend> createCUDATarget();
std::unique_ptr<TargetBackend> createAscendTarget();

/// Where tools/setup puts a vendor's Python packages ("cuda"), seen from this
/// program.
std::string toolsFolder(llvm::StringRef vendor);

/// Progress lines (standard error) and the seconds of each phase.
class Progress {
public:
  explicit Progress(bool quiet) : quiet(quiet) {}
  void begin(llvm::StringRef phase);
  /// Ends the phase with a line "fathomc: PHASE  1.23 s  DETAIL".
  void end(const std::string &detail);
  void note(llvm::StringRef text);
  /// A line now and then while a phase lasts longer than a few seconds.
  void at(size_t done, size_t of);
  const std::vector<std::pair<std::string, double>> &seconds() const {
    return times;
  }

private:
  using Clock = std::chrono::steady_clock;
  bool quiet;
  std::string current;
  Clock::time_point started, shown;
  std::vector<std::pair<std::string, double>> times;
};

/// Turns MLIR diagnostics into "fathomc: error: ..." lines while it lives, and
/// knows which exit code they mean: a message that says "unsupported" is about
/// the model (3), any other one is a failure of the compiler (1).
class DiagnosticReport {
public:
  explicit DiagnosticReport(mlir::MLIRContext &context);
  /// Prints a closing help line and returns the exit code. `said`: the reason
  /// has been printed by other means.
  int finish(llvm::StringRef phase, bool said = false);

private:
  mlir::ScopedDiagnosticHandler handler;
  unsigned errors = 0;
  bool unsupported = false;
};

} // namespace fathom

#endif // FATHOM_TOOLS_FATHOMC_COMPILE_H
