// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a code generator is to the compiler: it sees the kernels of a module
// (never dsv4 operations) and gives libraries for the package.
#ifndef FATHOM_CODEGEN_COMMON_TARGETREGISTRY_H
#define FATHOM_CODEGEN_COMMON_TARGETREGISTRY_H

#include "runtime/format/Manifest.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fathom {

/// A file of code and what the manifest says of it; size and hash are the
/// package writer's matter.
struct CompiledLibrary {
  format::Library about;
  std::string bytes;
  /// What the user should know of it, a line; or empty. Not in the package.
  std::string note = {};
};

struct TargetOptions {
  /// Of those that the target knows, in its order.
  std::vector<std::string> levels;
  /// The target's assembler or its folder, as the user named it; may be empty.
  std::string assembler;
  /// Whose code device code holds where it holds code of the host.
  std::string hostArchitecture = "x86_64";
  /// A file of choices for kernels that goes before the target's own; or empty.
  std::string configurations;
  /// The code stands in for another target's, to check a package without its
  /// device: it is to be made quickly.
  bool standsIn = false;
  /// Of the host's one level: its bits in instructions of the lowest level, so
  /// that they can be looked at where no CPU has it.
  bool plainInstructions = false;
  /// Is told how far a long compilation is; may be empty.
  std::function<void(size_t done, size_t of)> progress;
};

class TargetBackend {
public:
  virtual ~TargetBackend() = default;
  /// As on the command line and in manifests: "cpu".
  virtual llvm::StringRef name() const = 0;
  /// Whose tile programs (TileShapes) a package has that is made for these
  /// levels: all of them share its schedule.
  virtual llvm::StringRef tileShapes(const TargetOptions &options) const {
    return name();
  }
  /// One line for --help.
  virtual llvm::StringRef description() const = 0;
  /// Levels that it can compile for, and those it compiles for by default.
  virtual std::vector<std::string> levels() const = 0;
  virtual std::vector<std::string> defaultLevels() const = 0;
  /// Dialects and external models that compile() needs in its context.
  virtual void registerDialects(mlir::DialectRegistry &registry) const = 0;
  /// What the manifest says of the target. Fails where a tool is missing that
  /// compile() needs: asked for before minutes of work.
  virtual llvm::Expected<format::Target>
  describe(const TargetOptions &options) const {
    format::Target target;
    target.name = name().str();
    return target;
  }
  /// Notes on the kernels what compile() will choose, for the eye and to be
  /// changed by hand. `said`: what the user should know of it, a line each.
  virtual llvm::Error annotate(mlir::ModuleOp module,
                               const TargetOptions &options,
                               std::vector<std::string> &said) const {
    return llvm::Error::success();
  }
  /// Compiles all tile.kernel operations of `module` once for every level.
  /// Leaves the module as it was. Errors: diagnostics on the module's
  /// operations, or the error returned.
  virtual llvm::Expected<std::vector<CompiledLibrary>>
  compile(mlir::ModuleOp module, const TargetOptions &options) const = 0;
  /// Whether launches that do not wait for each other may become one kernel.
  virtual bool mergesLaunches() const { return true; }
  /// Whether a kernel can call another, so that a merged one has no copies.
  virtual bool callsKernels() const { return false; }
  /// What the user should know of what compile() gave, a line each.
  virtual std::vector<std::string>
  notes(llvm::ArrayRef<CompiledLibrary> libraries) const {
    return {};
  }
  /// The scratch memory on the host that a kernel call of the libraries needs,
  /// at most, as compile() would find it, without making code.
  virtual llvm::Expected<uint64_t>
  scratchBytes(mlir::ModuleOp module, const TargetOptions &options) const {
    return 0;
  }
  /// What of a device's memory kernels take that is known only once they are
  /// compiled, in words for people; empty: nothing.
  virtual llvm::StringRef unplannedMemory() const { return ""; }
};

/// The targets of this build. Plain object, filled by the tool: no globals.
class TargetRegistry {
public:
  void add(std::unique_ptr<TargetBackend> backend);
  /// Null where there is none of this name.
  const TargetBackend *find(llvm::StringRef name) const;
  void registerDialects(mlir::DialectRegistry &registry) const;
  /// "cpu, other"
  std::string names() const;

  /// Levels to compile for: `wanted`, or the default when it is empty. Returns
  /// the name of a level that the target does not have, if there is one.
  static std::optional<std::string>
  resolveLevels(const TargetBackend &backend, std::vector<std::string> &wanted);

private:
  std::vector<std::unique_ptr<TargetBackend>> backends;
};

} // namespace fathom

#endif // FATHOM_CODEGEN_COMMON_TARGETREGISTRY_H
