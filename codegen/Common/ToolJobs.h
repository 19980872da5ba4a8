// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Many runs of a vendor's tool, several at once.
#pragma once

#include "codegen/Common/TemporaryFolder.h"

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"

#include <cstddef>
#include <functional>
#include <string>

namespace fathom {

/// Told after jobs, by the caller's thread; may be empty.
using JobProgress = std::function<void(size_t done, size_t of)>;

/// Calls work(i, folder) for every i below `count`, on `parallel` threads. The
/// folder is the job's own and gone afterwards, also when we are asked to end.
/// Errors: that of a job, the first, after which none is begun; or the
/// machine's refusal of folders.
llvm::Error
runJobs(size_t count, unsigned parallel, const JobProgress &progress,
        llvm::function_ref<llvm::Error(size_t, const std::string &)> work);

/// What ended a tool, if that was not the tool's own affair but the machine's;
/// success otherwise. `program` worked at `subject` in `folder`.
llvm::Error machinesRefusal(const ToolRun &run, const std::string &program,
                            const std::string &subject,
                            const std::string &folder);

} // namespace fathom
