// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What compiling for Ascend and finishing a package share.
#ifndef FATHOM_TOOLS_FATHOMC_ASCENDTARGET_H
#define FATHOM_TOOLS_FATHOMC_ASCENDTARGET_H

#include "codegen/Ascend/AscendBackend.h"
#include "codegen/Common/TargetRegistry.h"

namespace fathom {

llvm::Expected<ascend::AscendOptions>
ascendOptions(const TargetOptions &options);

/// A kernel as a file of a package: its code, or its module where there is
/// none.
CompiledLibrary deviceLibrary(const ascend::Job &job, bool usesCube);

} // namespace fathom

#endif // FATHOM_TOOLS_FATHOMC_ASCENDTARGET_H
