// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a code generator is to the compiler: it sees the kernels of a module
// (never dsv4 operations) and gives libraries for the package.
#ifndef FATHOM_CODEGEN_COMMON_TARGETREGISTRY_H
#define FATHOM_CODEGEN_COMMON_TARGETREGISTRY_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>
#include <vector>

namespace fathom {

/// The code of one level ("x86-64-v3"): a file of the package.
struct CompiledLibrary {
  std::string file; // without directory
  std::string isa;
  std::string bytes;
  uint64_t scratchBytes = 0; // that a kernel call needs, at most
};

class TargetBackend {
public:
  virtual ~TargetBackend() = default;
  /// As on the command line and in manifests: "cpu".
  virtual llvm::StringRef name() const = 0;
  /// One line for --help.
  virtual llvm::StringRef description() const = 0;
  /// Levels that it can compile for, and those it compiles for by default.
  virtual std::vector<std::string> levels() const = 0;
  virtual std::vector<std::string> defaultLevels() const = 0;
  /// Dialects and external models that compile() needs in its context.
  virtual void registerDialects(mlir::DialectRegistry &registry) const = 0;
  /// Compiles all tile.kernel operations of `module` once for every level.
  /// Leaves the module as it was. Errors: diagnostics on the module's
  /// operations, or the error returned.
  virtual llvm::Expected<std::vector<CompiledLibrary>>
  compile(mlir::ModuleOp module, llvm::ArrayRef<std::string> levels) const = 0;
  /// The scratch memory that a kernel call of the libraries needs, at most, as
  /// compile() would find it, without making code.
  virtual llvm::Expected<uint64_t>
  scratchBytes(mlir::ModuleOp module,
               llvm::ArrayRef<std::string> levels) const = 0;
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
  /// an empty string, or the name of a level that the target does not have.
  static std::string resolveLevels(const TargetBackend &backend,
                                   std::vector<std::string> &wanted);

private:
  std::vector<std::unique_ptr<TargetBackend>> backends;
};

} // namespace fathom

#endif // FATHOM_CODEGEN_COMMON_TARGETREGISTRY_H
