// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc tune: chooses how the kernels of models are compiled for GPUs.
#include "tools/fathomc/Commands.h"

#include "codegen/NVIDIA/Tune.h"
#include "frontends/Support/FrontendError.h"
#include "tools/fathomc/CUDAOptions.h"

#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace fathom {

static Error writeChoices(const std::string &path, const std::string &text) {
  std::error_code error;
  raw_fd_ostream out(path, error);
  if (!error) {
    out << text;
    out.close();
    error = out.error();
    out.clear_error();
  }
  if (!error)
    return Error::success();
  return makeError(FailureKind::Resources, "cannot write the choices",
                   quoted(path), error.message(),
                   "choose another file with -o");
}

int tuneCheckpoint(Compilation &run) {
  auto fail = [&](Error error) { return run.fail(std::move(error)), run.code; };
  if (run.target->name() != "cuda")
    return fail(
        makeError(FailureKind::Unsupported,
                  "nothing is chosen for target " + quoted(run.target->name()),
                  "--target", "only kernels for cuda have choices",
                  "name cuda, or cuda:sm_90 and the like"));
  Expected<nvidia::Configurations> choices =
      readConfigurations(run.options.output);
  if (!choices)
    return fail(choices.takeError());
  Expected<nvidia::CUDAOptions> cuda = cudaOptions(run.targetOptions);
  if (!cuda)
    return fail(cuda.takeError());
  if (!run.options.measure && !cuda->toolchain.canInspect())
    return fail(
        makeError(FailureKind::Resources, "cubins cannot be looked at", "PATH",
                  "there is no cuobjdump or no nvdisasm beside tileiras "
                  "or on the path",
                  "install the Python packages nvidia-cuda-cuobjdump "
                  "and nvidia-cuda-nvdisasm"));
  if (!run.import() || !run.fuse() || !run.lower())
    return run.code;
  if (run.options.measure) {
    run.progress.begin("tune");
    Expected<nvidia::Configurations> found = tuneByMeasuring(run);
    if (!found)
      return fail(found.takeError());
    run.progress.end("");
    choices->merge(*found);
    if (Error error = writeChoices(run.options.output, choices->text()))
      return fail(std::move(error));
    outs().flush();
    return 0;
  }
  nvidia::TuneOptions tune;
  tune.exhaustive = run.options.exhaustive;
  if (!run.options.quiet)
    tune.told = [](const std::string &line) { outs() << line << "\n"; };
  cuda->assembly.timeoutSeconds = run.options.timeoutSeconds;
  run.progress.begin("tune");
  cuda->assembly.progress = [&](size_t done, size_t of) {
    run.progress.at(done, of);
  };
  Expected<nvidia::Configurations> found =
      nvidia::tuneStatically(*run.module, *cuda, tune);
  if (!found)
    return fail(found.takeError());
  run.progress.end("");
  choices->merge(*found);
  if (Error error = writeChoices(run.options.output, choices->text()))
    return fail(std::move(error));
  outs().flush();
  return 0;
}

} // namespace fathom
