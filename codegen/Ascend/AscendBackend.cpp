// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Ascend/AscendBackend.h"

#include "codegen/Ascend/TileToAdapter.h"

namespace fathom::ascend {

llvm::Expected<std::vector<Job>> compileKernels(mlir::ModuleOp module,
                                                const AscendOptions &options) {
  std::vector<Job> jobs;
  for (const Target *target : options.targets)
    for (auto kernel : module.getOps<tile::KernelOp>()) {
      auto adapter = translateToAdapter(kernel, *target);
      if (mlir::failed(adapter))
        return llvm::createStringError("kernel " + kernel.getSymName().str() +
                                       " has no form for " + target->name);
      Job job;
      job.kernel = kernel.getSymName().str();
      job.target = target;
      job.module = printAdapter(**adapter);
      jobs.push_back(std::move(job));
    }
  if (llvm::Error error =
          compileModules(jobs, options.toolchain, options.compiler))
    return std::move(error);
  return std::move(jobs);
}

} // namespace fathom::ascend
