// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Ascend/Compiler.h"

#include "codegen/Common/Process.h"
#include "codegen/Common/ToolJobs.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Base64.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

using namespace llvm;

namespace fathom::ascend {

//===-- What the tool says -----------------------------------------------===//

std::string firstComplaint(StringRef output, bool hasLastStage) {
  for (StringRef line : split(output, '\n')) {
    bool isError = line.contains("error:") || line.contains("[ERROR]") ||
                   line.contains("LLVM ERROR") || line.contains("Assertion") ||
                   line.contains("UNREACHABLE");
    // What calls the stages says that one failed.
    if (!isError || line.contains("Failed to run BiSheng"))
      continue;
    if (!hasLastStage && line.contains("hivmc"))
      continue;
    // Without the place in a file that is gone.
    if (line.starts_with("loc("))
      line = line.drop_front(std::min(line.size(), line.rfind("): ") + 3));
    return line.trim().substr(0, 400).str();
  }
  return "";
}

std::vector<std::string> calledFunctions(StringRef handOver) {
  std::vector<std::string> names;
  static constexpr StringLiteral kDeclared = "func.func private @";
  for (size_t at = handOver.find(kDeclared); at != StringRef::npos;
       at = handOver.find(kDeclared, at)) {
    at += kDeclared.size();
    StringRef line =
        handOver.substr(at).take_until([](char c) { return c == '\n'; });
    if (!line.ends_with("{")) // a body follows
      names.push_back(line.take_until([](char c) { return c == '('; }).str());
  }
  return names;
}

/// The arguments of the kernel's function, or of its part for the cube cores;
/// both parts have the same.
static StringRef entryArguments(StringRef handOver, StringRef kernel) {
  for (StringRef part : {"(", "_mix_aic("}) {
    StringRef rest =
        handOver.split(("func.func @" + kernel + part).str()).second;
    if (!rest.empty())
      return rest.split(") attributes").first;
  }
  return "";
}

LaunchFacts launchFacts(StringRef handOver, StringRef kernel,
                        const Target &target, bool usesCube) {
  auto numberAfter = [](StringRef text, StringRef what) -> int64_t {
    StringRef number =
        text.split(what).second.take_while([](char c) { return isDigit(c); });
    int64_t value = 0;
    return number.getAsInteger(10, value) ? 0 : value;
  };
  auto constantOf = [&](StringRef function) {
    StringRef body =
        handOver.split(("@" + kernel + "_" + function + "()").str()).second;
    // As an operation of arith: "%c10_i8 = arith.constant 10 : i8".
    return numberAfter(body, "arith.constant ");
  };
  LaunchFacts facts;
  facts.flags = entryArguments(handOver, kernel).contains("ffts_base_address");
  if (blocksLoop(target))
    facts.blocks = numberAfter(handOver, usesCube ? "\"CUBE_CORE_COUNT\", "
                                                  : "\"VECTOR_CORE_COUNT\", ");
  facts.workspaceBytes = constantOf("infer_workspace_shape_function");
  facts.taskType = constantOf("infer_task_type_function");
  return facts;
}

//===-- The device library -----------------------------------------------===//

namespace {
/// The files of one generation. Names stand in their string tables as they are,
/// also in those that this LLVM cannot read as bitcode.
class Library {
public:
  Library(const Toolchain &toolchain, const Target &target) {
    if (toolchain.library.empty())
      return;
    std::string suffix = target.hasFP8 ? std::string(".") + target.library : "";
    for (const char *part : {"aic", "aiv", "mix.aic", "mix.aiv"})
      bytes.push_back(
          readBytes(toolchain.library + "/meta_op." + part + suffix + ".bc"));
  }
  bool has(const std::string &name) {
    auto [it, fresh] = known.try_emplace(name, false);
    if (fresh)
      it->second = any_of(bytes, [&](const std::string &text) {
        return text.find("_mlir_ciface_" + name) != std::string::npos;
      });
    return it->second;
  }
  bool empty() const { return bytes.empty(); }

private:
  std::vector<std::string> bytes;
  StringMap<bool> known;
};
} // namespace

//===-- The cache --------------------------------------------------------===//

static std::string cacheEntry(const Job &job, const Toolchain &toolchain,
                              const CompilerOptions &options) {
  std::string key = "ascend 1\n" + toolchain.version + "\n" +
                    toolchain.generatorIdentity(*job.target) + "\n";
  for (const std::string &argument : compilerArguments(*job.target, "", "", ""))
    key += argument + "\n";
  SmallString<256> path(options.cache);
  sys::path::append(path, hashOf(key + job.module) + ".hivm");
  return path.str().str();
}

/// An entry is JSON.
static bool fromCache(Job &job, const std::string &path) {
  std::optional<std::string> bytes = readKept(path);
  if (!bytes)
    return false;
  Expected<json::Value> value = json::parse(*bytes);
  if (!value) {
    consumeError(value.takeError());
    return false;
  }
  json::Path::Root root;
  json::ObjectMapper map(*value, root);
  std::string handOver, object;
  std::vector<char> decoded;
  if (!map || !map.map("handOver", handOver) || !map.map("object", object) ||
      handOver.empty())
    return false;
  if (Error error = decodeBase64(object, decoded)) {
    consumeError(std::move(error));
    return false;
  }
  job.handOver = std::move(handOver);
  job.object.assign(decoded.begin(), decoded.end());
  job.cached = true;
  return true;
}

static void toCache(const Job &job, const std::string &path) {
  std::string bytes;
  raw_string_ostream(bytes) << json::Value(json::Object{
      {"handOver", job.handOver}, {"object", encodeBase64(job.object)}});
  keep(path, bytes);
}

//===-- Compiling --------------------------------------------------------===//

/// One kernel in a folder of its own, which is gone afterwards. False: files
/// could not be written.
static bool compileOne(Job &job, const std::string &folder,
                       const Toolchain &toolchain,
                       const CompilerOptions &options) {
  const std::string source = folder + "/kernel.mlir",
                    object = folder + "/kernel.o";
  if (sys::fs::create_directories(folder) || !writeBytes(source, job.module))
    return false;
  std::string output;
  bool good = runTool(toolchain.compilerFor(*job.target),
                      compilerArguments(*job.target, source, folder, object),
                      options.timeoutSeconds, output);
  std::string handOver = readBytes(folder + "/module.hivm.opt.mlir");
  bool expected = !toolchain.generatorFor(*job.target).empty();
  std::string complaint = firstComplaint(output, expected);
  std::string ending = lastWords(output);
  // Without the last stage the tool ends with status 1, and with that alone.
  if (!good && !expected && complaint.empty() &&
      !StringRef(ending).starts_with("it ended with status 1:") &&
      ending != "it ended with status 1")
    complaint = ending;
  if (!good && expected && complaint.empty())
    complaint = ending;
  if (expected)
    job.object = readBytes(object);
  if (complaint.empty() && handOver.empty())
    complaint = "it handed nothing over to the last stage";
  if (complaint.empty() && expected && job.object.empty())
    complaint = "it wrote no object";
  if (complaint.empty())
    job.handOver = std::move(handOver);
  else
    job.object.clear();
  job.refusal = std::move(complaint);
  sys::fs::remove_directories(folder);
  return true;
}

static void resolve(MutableArrayRef<Job> jobs, const Toolchain &toolchain) {
  std::map<const Target *, Library> libraries;
  for (Job &job : jobs) {
    auto it = libraries.try_emplace(job.target, toolchain, *job.target).first;
    if (it->second.empty())
      continue;
    for (const std::string &name : calledFunctions(job.handOver))
      if (!it->second.has(name))
        job.unresolved.push_back(name);
  }
}

Error compileModules(MutableArrayRef<Job> jobs, const Toolchain &toolchain,
                     const CompilerOptions &options) {
  auto work = [&](size_t i, const std::string &folder) {
    Job &job = jobs[i];
    std::string entry;
    if (!options.cache.empty())
      entry = cacheEntry(job, toolchain, options);
    if (!entry.empty() && fromCache(job, entry))
      return true;
    bool good = compileOne(job, folder, toolchain, options);
    if (!entry.empty() && !job.handOver.empty())
      toCache(job, entry);
    return good;
  };
  if (Error error =
          runJobs(jobs.size(), options.parallel, options.progress, work))
    return error;
  resolve(jobs, toolchain);
  return Error::success();
}

} // namespace fathom::ascend
