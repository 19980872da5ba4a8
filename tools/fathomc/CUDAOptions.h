// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From the command line to the code generator for NVIDIA's GPUs.
#ifndef FATHOM_TOOLS_FATHOMC_CUDAOPTIONS_H
#define FATHOM_TOOLS_FATHOMC_CUDAOPTIONS_H

#include "codegen/Common/TargetRegistry.h"
#include "codegen/NVIDIA/CUDABackend.h"

namespace fathom {

/// Finds the tools, too, or says where they were looked for.
llvm::Expected<nvidia::CUDAOptions> cudaOptions(const TargetOptions &options);

} // namespace fathom

#endif // FATHOM_TOOLS_FATHOMC_CUDAOPTIONS_H
