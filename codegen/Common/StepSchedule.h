// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From planned schedule functions to the launch records of a manifest: the
// weights, tables, caches and ports that launches name get numbers.
#ifndef FATHOM_CODEGEN_COMMON_STEPSCHEDULE_H
#define FATHOM_CODEGEN_COMMON_STEPSCHEDULE_H

#include "frontends/Checkpoint/Safetensors.h"
#include "runtime/format/Manifest.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"

namespace fathom {

/// The caches of an imported module (before it is lowered): every function
/// argument of cache type with a dsv4.cache_name, in the order of functions
/// and arguments, each name once. Diagnoses a name used with two types.
mlir::FailureOr<std::vector<format::Cache>>
collectCaches(mlir::ModuleOp imported);

/// Fills files, weights, tables and entries of `manifest`; its caches must be
/// there. `planned`: a module whose functions with tile.entry went through
/// memory planning. Only tensors that a launch names are listed. Diagnoses
/// names that the checkpoint or the caches lack, buffers of another size than
/// the tensor, and forms that a manifest cannot express.
mlir::LogicalResult scheduleEntries(mlir::ModuleOp planned,
                                    const Checkpoint &checkpoint,
                                    format::Manifest &manifest);

} // namespace fathom

#endif // FATHOM_CODEGEN_COMMON_STEPSCHEDULE_H
