// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tile kernels to cubins, one for each kernel and architecture.
#pragma once

#include "codegen/NVIDIA/Assembler.h"
#include "codegen/NVIDIA/Configurations.h"

#include "mlir/IR/BuiltinOps.h"

namespace fathom::nvidia {

/// On a kernel: architecture -> {workerWarps, ctas, occupancy}.
constexpr const char *kConfigurationsAttr = "tile.configurations";

struct CUDAOptions {
  std::vector<std::string> architectures;
  Toolchain toolchain;
  AssemblyOptions assembly;
};

struct CompiledKernel {
  std::string kernel, architecture, cubin;
  Configuration configuration;
  std::optional<format::KernelReport> report;
  /// Why it is not compiled as was chosen, where it is not.
  std::string refusal;
};

/// Kernels of the same operations on tiles of the same shapes, whatever the
/// sizes of their buffers, have the same class: 16 hex digits.
std::string kernelClass(mlir::Operation *kernel);

/// Whether the kernel multiplies matrices.
bool hasProducts(mlir::Operation *kernel);
/// Whether the kernel finds operands by a table of addresses.
bool readsTables(mlir::Operation *kernel);
/// Whether it may be compiled so. Classes do not tell which kernels read
/// tables, hence a choice may be another kernel's.
bool suits(mlir::Operation *kernel, const Configuration &configuration);

/// Notes on every kernel of `module` how it is compiled. Choices that are there
/// already are kept; one that does not suit is as good as none.
void chooseConfigurations(mlir::ModuleOp module,
                          llvm::ArrayRef<std::string> architectures,
                          const Configurations &known);

/// How many of the choices `given` are for kernels of `module`, and suit at
/// least one of them: the others change nothing.
size_t choicesTaken(mlir::ModuleOp module,
                    llvm::ArrayRef<std::string> architectures,
                    const Configurations &given);

/// Compiles every tile.kernel of `module` for every architecture, as its
/// attribute says, or in the first way that the assembler accepts. Sorted by
/// architecture, as given, and then in the order of the module.
llvm::Expected<std::vector<CompiledKernel>>
compileKernels(mlir::ModuleOp module, const CUDAOptions &options);

} // namespace fathom::nvidia
