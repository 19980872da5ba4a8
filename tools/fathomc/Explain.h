// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc explain: what an imported model becomes.
#ifndef FATHOM_TOOLS_FATHOMC_EXPLAIN_H
#define FATHOM_TOOLS_FATHOMC_EXPLAIN_H

#include "tools/fathomc/CommandLine.h"

#include "mlir/IR/BuiltinOps.h"

namespace fathom {

/// Prints, as text or JSON, the kernels and the bytes written for one decoded
/// token by kind of layer, before and after fusion, and what each fusion saves
/// when it is the only one. Leaves the module alone. Fails with diagnostics
/// where the module cannot be lowered.
bool explainModule(mlir::ModuleOp imported, const CompileOptions &options);

} // namespace fathom

#endif // FATHOM_TOOLS_FATHOMC_EXPLAIN_H
