// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/Toolchain.h"

#include "codegen/Common/Process.h"
#include "frontends/Support/FrontendError.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

#include <cstdlib>

using namespace llvm;

namespace fathom::nvidia {

static constexpr const char *kBytecodeVersion = "13.3";

static std::string environmentOr(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

static Error tooOld(StringRef tileiras, StringRef found) {
  return makeError(
      FailureKind::Unsupported, "this tileiras is too old", quoted(tileiras),
      "it does not read Tile IR bytecode " + std::string(kBytecodeVersion) +
          (found.empty() ? "" : " (" + found.str() + ")"),
      "install CUDA 13.3 or later (best 13.5), or the Python package "
      "nvidia-cuda-tileiras, and name it with --tileiras");
}

static Error cannotRun(StringRef tileiras, const ToolRun &run) {
  return makeError(
      FailureKind::Resources, "tileiras cannot be run", quoted(tileiras),
      lastWords(run.output).substr(0, 400),
      run.end == ToolEnd::NoFiles
          ? "name a folder that can be written in TMPDIR"
          : "see whether it, its libraries and programs are there (it must "
            "answer to --version), or name another one with --tileiras");
}

/// "V13.5.37"; empty where it is not said.
static StringRef versionIn(StringRef text) {
  StringRef version = text.rsplit(", ").second.split('\n').first.trim();
  StringRef number = version;
  if (!number.consume_front("V") || number.empty() || !isDigit(number[0]))
    return "";
  return version;
}

/// What it reads, and who it is: cubins are kept by that.
static Error describe(Toolchain &found) {
  ToolRun run = runTool(found.tileiras, {"--list-versions"}, 60);
  if (!run.good()) {
    // Those before 13.3 may not know the option.
    if (run.end == ToolEnd::Refused && !tellsOfLack(run.output))
      return tooOld(found.tileiras, lastWords(run.output).substr(0, 200));
    return cannotRun(found.tileiras, run);
  }
  SmallVector<StringRef> versions;
  StringRef(run.output).split(versions, '\n');
  if (!is_contained(versions, StringRef(kBytecodeVersion)))
    return tooOld(found.tileiras, "");
  run = runTool(found.tileiras, {"--version"}, 60);
  if (!run.good())
    return cannotRun(found.tileiras, run);
  found.version = versionIn(run.output).str();
  if (!found.version.empty())
    return Error::success();
  return makeError(FailureKind::Unsupported,
                   "this tileiras does not say its version",
                   quoted(found.tileiras),
                   "what it makes cannot be told from what others make",
                   "use the one of CUDA, or of the Python package "
                   "nvidia-cuda-tileiras");
}

Expected<Toolchain> findToolchain(StringRef path, StringRef wheels) {
  Toolchain found;
  auto named = [&](StringRef place, StringRef where) -> Error {
    found.tileiras = programIn(place, "tileiras");
    if (place.empty() || !found.tileiras.empty())
      return Error::success();
    return makeError(FailureKind::Resources, "there is no tileiras",
                     where.str() + " = " + quoted(place),
                     "no program of this name can be run there",
                     "name the program or its folder");
  };
  if (Error error = named(path, "--tileiras"))
    return std::move(error);
  if (found.tileiras.empty())
    if (Error error =
            named(environmentOr("FATHOM_TILEIRAS"), "FATHOM_TILEIRAS"))
      return std::move(error);
  std::string home = environmentOr("CUDA_HOME");
  if (found.tileiras.empty() && !home.empty())
    found.tileiras = programIn(home + "/bin", "tileiras");
  if (found.tileiras.empty())
    if (auto onPath = sys::findProgramByName("tileiras"))
      found.tileiras = *onPath;
  if (found.tileiras.empty())
    found.tileiras = programIn(wheels, "tileiras");
  if (found.tileiras.empty())
    return makeError(FailureKind::Resources,
                     "there is no tileiras, NVIDIA's assembler",
                     "--tileiras, FATHOM_TILEIRAS, CUDA_HOME/bin, PATH",
                     "targets of NVIDIA need it",
                     "install CUDA 13.3 or later, or the Python package "
                     "nvidia-cuda-tileiras, and name it with --tileiras");

  if (Error error = describe(found))
    return std::move(error);

  StringRef folder = sys::path::parent_path(found.tileiras);
  auto beside = [&](const char *name) {
    std::string program = programIn(folder, name);
    if (program.empty())
      if (auto onPath = sys::findProgramByName(name))
        program = *onPath;
    return program;
  };
  found.cuobjdump = beside("cuobjdump");
  found.nvdisasm = beside("nvdisasm");
  return found;
}

} // namespace fathom::nvidia
