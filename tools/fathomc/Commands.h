// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The commands beside compile; each returns the exit code.
#ifndef FATHOM_TOOLS_FATHOMC_COMMANDS_H
#define FATHOM_TOOLS_FATHOMC_COMMANDS_H

#include "codegen/NVIDIA/Configurations.h"
#include "tools/fathomc/Compilation.h"

#include <functional>

namespace fathom {

/// The presets with their sizes and sources.
int listPresets(const CompileOptions &options);

/// config.json, index and safetensors of a preset or a config.json: true
/// headers over holes.
int writePresetSkeleton(const CompileOptions &options);

/// What the kernels of a package became.
int listKernels(const CompileOptions &options);

/// Device code for a package that was compiled without the target's last stage.
int finishPackage(const CompileOptions &options);

/// Chooses how kernels are compiled for GPUs and writes the choices to a file.
int tuneCheckpoint(Compilation &run);

/// Writes choices into the file that they are for.
using KeepChoices =
    std::function<llvm::Error(const nvidia::Configurations &chosen)>;

/// The fastest ways on a device of the one architecture that is named: kept
/// before the first is measured, so that a file that cannot be written is told
/// at once, and after each way.
llvm::Error tuneByMeasuring(Compilation &run, const KeepChoices &keep);

/// The memory of a model, where it fits, and what to change where it does not.
int planCheckpoint(Compilation &run);

/// What a model becomes and costs: kernels before and after fusion, arithmetic,
/// bytes and predicted time by operation, and where each tensor went.
int explainCheckpoint(Compilation &run);

} // namespace fathom

#endif // FATHOM_TOOLS_FATHOMC_COMMANDS_H
