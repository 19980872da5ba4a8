// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc tune: chooses how the kernels of models are compiled for GPUs.
#include "tools/fathomc/Commands.h"

#include "codegen/Common/Process.h"
#include "codegen/NVIDIA/TileToCudaTile.h"
#include "codegen/NVIDIA/Tune.h"
#include "frontends/Support/FrontendError.h"
#include "tools/fathomc/CUDAOptions.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace fathom {

/// In one step: whoever stops the search finds a whole file, and no part.
/// Without `stays` nothing is left: it is found out whether it can be written.
static Error writeChoices(const std::string &path, const std::string &text,
                          bool stays = true) {
  Interruptible tidy;
  const std::string part = path + ".part";
  Error error = writeToOutput(part, [&](raw_ostream &out) {
    out << text;
    return Error::success();
  });
  if (!error)
    error = errorCodeToError(stays ? sys::fs::rename(part, path)
                                   : sys::fs::remove(part));
  if (!error)
    return Error::success();
  return makeError(FailureKind::Resources, "cannot write the choices",
                   quoted(path), toString(std::move(error)),
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
      nvidia::Configurations::read(run.options.output);
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
  KeepChoices keep = [&](const nvidia::Configurations &chosen) {
    nvidia::Configurations all = *choices;
    all.merge(chosen);
    return writeChoices(run.options.output, all.text());
  };
  // A file that cannot be written is told before the search.
  if (Error error =
          writeChoices(run.options.output, choices->text(), /*stays=*/false))
    return fail(std::move(error));
  if (run.options.measure) {
    run.progress.begin("tune");
    if (Error error = tuneByMeasuring(run, keep))
      return fail(std::move(error));
    run.progress.end("");
    return 0;
  }
  nvidia::TuneOptions tune;
  tune.exhaustive = run.options.exhaustive;
  tune.verify = run.options.verify;
  const std::vector<std::string> &texts = run.options.kernels;
  for (const std::string &text : texts)
    if (none_of(run.module->getOps<tile::KernelOp>(), [&](tile::KernelOp k) {
          return k.getSymName().contains(text);
        }))
      return run.wrongUsage("no kernel has " + quoted(text) + " in its name",
                            "--kernels",
                            "fathomc compile --stop-after tile shows the "
                            "model's kernels"),
             run.code;
  if (!texts.empty())
    tune.wants = [&](StringRef kernel) {
      return any_of(texts, [&](StringRef t) { return kernel.contains(t); });
    };
  if (!run.options.again)
    tune.known = *choices;
  tune.told = [&](const nvidia::Configurations &chosen,
                  const std::string &line) -> Error {
    if (!run.options.quiet) {
      outs() << line << "\n";
      outs().flush();
    }
    return keep(chosen);
  };
  // By the clock only if the assembler waits for something: how busy the
  // machine is must not choose.
  unsigned seconds = run.options.timeoutSeconds;
  cuda->assembly.limit = TimeLimit(60 * seconds, seconds);
  run.progress.begin("tune");
  cuda->assembly.progress = [&](size_t done, size_t of) {
    run.progress.at(done, of);
  };
  Expected<nvidia::Configurations> found =
      nvidia::tuneStatically(*run.module, *cuda, tune);
  if (!found)
    return fail(found.takeError());
  run.progress.end("");
  return 0;
}

} // namespace fathom
