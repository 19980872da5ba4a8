// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The CPU code generator as a target of the registry.
#include "tools/fathomc/Compile.h"

namespace fathom {
namespace {

class CPUTarget : public TargetBackend {
public:
  llvm::StringRef name() const override { return "cpu"; }
  llvm::StringRef description() const override {
    return "x86-64 processors with AVX2 or more";
  }
  std::vector<std::string> levels() const override { return {"x86-64-v3"}; }
  std::vector<std::string> defaultLevels() const override {
    return {"x86-64-v3"};
  }
  llvm::Expected<std::vector<CompiledLibrary>>
  compile(mlir::ModuleOp, llvm::ArrayRef<std::string>) const override {
    return std::vector<CompiledLibrary>();
  }
};

} // namespace

std::unique_ptr<TargetBackend> createCPUTarget() {
  return std::make_unique<CPUTarget>();
}

} // namespace fathom
