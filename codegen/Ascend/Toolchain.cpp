// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Ascend/Toolchain.h"

#include "codegen/Common/Process.h"
#include "frontends/Support/FrontendError.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

#include <cstdlib>

using namespace llvm;

namespace fathom::ascend {

static constexpr StringLiteral kCompiler = "bishengir-compile";

static std::string onPath(StringRef name) {
  auto found = sys::findProgramByName(name);
  return found ? *found : "";
}

/// CANN is updated in place: the path alone would not tell.
static void describeGenerator(const std::string &path, std::string &identity,
                              std::string &version) {
  if (path.empty())
    return;
  // Old ones do not know the option, which is no reason to refuse them.
  if (ToolRun run = runTool(path, {"--version"}, 60); run.good())
    version =
        StringRef(run.output).split('\n').first.trim().substr(0, 80).str();
  sys::fs::file_status status;
  if (!sys::fs::status(path, status))
    identity = path + " " + version + " " + std::to_string(status.getSize()) +
               " " +
               std::to_string(
                   status.getLastModificationTime().time_since_epoch().count());
}

std::string Toolchain::describe(ArrayRef<const Target *> targets) const {
  std::string text = "AscendNPU-IR " + version;
  std::vector<StringRef> said;
  for (const Target *target : targets) {
    StringRef one = target->hasFP8 ? hivmcA5Version : hivmcVersion;
    if (one.empty() || is_contained(said, one))
      continue;
    said.push_back(one);
    text += ", " + one.str();
  }
  return text;
}

Expected<Toolchain> findToolchain(StringRef path, StringRef wheel) {
  Toolchain found;
  const char *variable = std::getenv("FATHOM_BISHENGIR");
  const std::pair<StringRef, StringRef> named[] = {
      {path, "--bishengir"}, {variable ? variable : "", "FATHOM_BISHENGIR"}};
  for (auto [place, where] : named) {
    if (place.empty() || !found.compile.empty())
      continue;
    found.compile = programIn(place, kCompiler);
    if (found.compile.empty())
      return makeError(FailureKind::Resources, "there is no bishengir-compile",
                       where.str() + " = " + quoted(place),
                       "no program of this name can be run there",
                       "name the program or its folder");
  }
  if (found.compile.empty())
    found.compile = onPath(kCompiler);
  if (found.compile.empty())
    found.compile = programIn((wheel + "/bin").str(), kCompiler);
  if (found.compile.empty())
    return makeError(
        FailureKind::Resources,
        "there is no bishengir-compile, the compiler of AscendNPU-IR",
        "--bishengir, FATHOM_BISHENGIR, PATH", "targets of Ascend need it",
        "install the Python package ascendnpu-ir, or CANN, and name it with "
        "--bishengir");

  ToolRun run = runTool(found.compile, {"--version"}, 60);
  if (!run.good())
    return makeError(FailureKind::Resources, "bishengir-compile does not run",
                     quoted(found.compile), lastWords(run.output),
                     "install the Python package ascendnpu-ir again");
  // "bishengir-compile 1.2.0 (...)"
  StringRef rest = StringRef(run.output).split("bishengir-compile ").second;
  found.version = rest.take_until([](char c) { return isSpace(c); }).str();
  if (found.version.empty())
    return makeError(FailureKind::Unsupported,
                     "this bishengir-compile does not say its version",
                     quoted(found.compile),
                     "what it makes cannot be told from what others make",
                     "use the one of the Python package ascendnpu-ir");

  StringRef folder = sys::path::parent_path(found.compile);
  found.compileA5 = programIn(folder, "bishengir-compile-a5");
  if (found.compileA5.empty())
    found.compileA5 = found.compile; // it hands over to the other one itself
  SmallString<256> library(sys::path::parent_path(folder));
  sys::path::append(library, "lib");
  if (sys::fs::exists(library + "/meta_op.aiv.bc"))
    found.library = library.str().str();
  found.hivmc = onPath("hivmc");
  found.hivmcA5 = onPath("hivmc-a5");
  describeGenerator(found.hivmc, found.hivmcIdentity, found.hivmcVersion);
  describeGenerator(found.hivmcA5, found.hivmcA5Identity, found.hivmcA5Version);
  return found;
}

StringRef generatorName(const Target &target) {
  return target.hasFP8 ? "hivmc-a5" : "hivmc";
}

std::vector<std::string> compilerArguments(const Target &target,
                                           const std::string &input,
                                           const std::string &temporaries,
                                           const std::string &output) {
  std::vector<std::string> arguments{
      std::string("--target=") + target.soc, input,
      // Hardware counts blocks in 16 bits, and a workspace is a block's.
      "--enable-auto-blockify-loop", "--enable-auto-multi-buffer=True",
      "--enable-auto-bind-sub-block=True", "--enable-hfusion-compile=true",
      "--enable-triton-kernel-compile=true",
      // Its tiling of loops with both cores in
      // them fails on interleaved operands.
      "--tile-mix-vector-loop=1", "--tile-mix-cube-loop=1"};
  if (target.hasFP8) {
    arguments.push_back("--disable-ffts");
    // Products and sums are rounded one by one.
    arguments.push_back("--disable-fma");
  } else {
    arguments.push_back("--enable-hivm-compile=true");
  }
  if (!temporaries.empty())
    arguments.push_back("--save-temps=" + temporaries);
  arguments.push_back("-o");
  arguments.push_back(output);
  return arguments;
}

std::string finishingScript(const Target &target) {
  std::string call =
      target.hasFP8 ? "bishengir-compile-a5" : "bishengir-compile";
  for (const std::string &argument :
       compilerArguments(target, "\"$module\"", "", "\"${module%.mlir}.o\""))
    call += " " + argument;
  return "#!/bin/sh\n"
         "# Makes device code of every module beside this script. It needs "
         "bishengir-compile\n"
         "# and " +
         generatorName(target).str() +
         " of CANN on PATH. `fathomc finish` does the same and puts the code\n"
         "# into the package.\n"
         "set -e\n"
         "cd \"$(dirname \"$0\")\"\n"
         "for module in *.mlir; do\n"
         "  case \"$module\" in *.hivm.mlir) continue ;; esac\n"
         "  " +
         call + "\ndone\n";
}

} // namespace fathom::ascend
