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

  std::string output;
  if (!runTool(found.tileiras, {"--list-versions"}, 60, output))
    return tooOld(found.tileiras, StringRef(output).rtrim().take_back(200));
  SmallVector<StringRef> versions;
  StringRef(output).split(versions, '\n');
  if (!is_contained(versions, StringRef(kBytecodeVersion)))
    return tooOld(found.tileiras, "");
  runTool(found.tileiras, {"--version"}, 60, output);
  found.version = StringRef(output).rsplit(", ").second.split('\n').first.str();

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
