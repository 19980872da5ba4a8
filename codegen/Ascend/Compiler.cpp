// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Ascend/Compiler.h"

#include "codegen/Common/Process.h"
#include "frontends/Support/FrontendError.h"
#include "runtime/format/Blake3.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Base64.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

using namespace llvm;

namespace fathom::ascend {

//===-- What the tool says -----------------------------------------------===//

std::string firstComplaint(StringRef output) {
  for (StringRef line : split(output, '\n')) {
    bool isError = line.contains("error:") || line.contains("[ERROR]") ||
                   line.contains("LLVM ERROR") || line.contains("Assertion") ||
                   line.contains("UNREACHABLE");
    // Its last stage is missing, or what calls the stages says that one failed.
    if (!isError || line.contains("hivmc") ||
        line.contains("Failed to run BiSheng"))
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

LaunchFacts launchFacts(StringRef handOver, StringRef kernel) {
  auto constantOf = [&](StringRef function) -> int64_t {
    StringRef body =
        handOver.split(("@" + kernel + "_" + function + "()").str()).second;
    StringRef number =
        body.split("arith.constant ").second.take_while([](char c) {
          return isDigit(c);
        });
    int64_t value = 0;
    return body.empty() || number.getAsInteger(10, value) ? 0 : value;
  };
  return {constantOf("infer_workspace_shape_function"),
          constantOf("infer_task_type_function")};
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

static std::string hashOf(StringRef bytes) {
  return format::blake3Hex(bytes.data(), bytes.size());
}

static std::string cacheEntry(const Job &job, const Toolchain &toolchain,
                              const CompilerOptions &options) {
  std::string key = "ascend 1\n" + toolchain.version + "\n" +
                    toolchain.generatorFor(*job.target) + "\n";
  for (const std::string &argument : compilerArguments(*job.target, "", "", ""))
    key += argument + "\n";
  SmallString<256> path(options.cache);
  sys::path::append(path, hashOf(key + job.module) + ".hivm");
  return path.str().str();
}

/// An entry is the hash of the rest, and JSON; a damaged one is none.
static bool fromCache(Job &job, const std::string &path) {
  std::string bytes = readBytes(path);
  constexpr size_t kHash = 64;
  if (bytes.size() <= kHash)
    return false;
  StringRef rest = StringRef(bytes).drop_front(kHash);
  if (hashOf(rest) != StringRef(bytes).take_front(kHash))
    return false;
  Expected<json::Value> value = json::parse(rest);
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

/// Another process may write the same entry: each writes its own file, and a
/// cache that cannot be written is no cache.
static void toCache(const Job &job, const std::string &path) {
  if (sys::fs::create_directories(sys::path::parent_path(path)))
    return;
  SmallString<256> fresh;
  int fd = -1;
  if (sys::fs::createUniqueFile(path + ".%%%%%%%%", fd, fresh))
    return;
  std::string rest;
  raw_string_ostream(rest) << json::Value(json::Object{
      {"handOver", job.handOver}, {"object", encodeBase64(job.object)}});
  raw_fd_ostream out(fd, /*shouldClose=*/true);
  out << hashOf(rest) << rest;
  out.close();
  bool failed = out.has_error();
  out.clear_error();
  if (failed || sys::fs::rename(fresh, path))
    sys::fs::remove(fresh);
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
  std::string complaint = firstComplaint(output);
  bool expected = !toolchain.generatorFor(*job.target).empty();
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
  SmallString<128> folder;
  if (std::error_code error =
          sys::fs::createUniqueDirectory("fathom-ascend", folder))
    return makeError(FailureKind::Resources, "cannot create a folder for files",
                     "TMPDIR", error.message(),
                     "name a folder that can be written in TMPDIR");
  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<size_t> next{0};
  size_t done = 0;
  bool noSpace = false;
  auto work = [&] {
    for (size_t i; (i = next++) < jobs.size();) {
      Job &job = jobs[i];
      std::string entry;
      if (!options.cache.empty())
        entry = cacheEntry(job, toolchain, options);
      bool good = true;
      if (entry.empty() || !fromCache(job, entry)) {
        good = compileOne(job, (folder + "/" + Twine(i)).str(), toolchain,
                          options);
        if (!entry.empty() && !job.handOver.empty())
          toCache(job, entry);
      }
      std::lock_guard<std::mutex> lock(mutex);
      ++done;
      if (!good) {
        noSpace = true;
        next = jobs.size();
      }
      changed.notify_one();
    }
  };
  std::vector<std::thread> threads;
  const size_t count = std::min<size_t>(std::max(1u, options.parallel),
                                        std::max<size_t>(1, jobs.size()));
  for (size_t i = 0; i < count; ++i)
    threads.emplace_back(work);
  {
    std::unique_lock<std::mutex> lock(mutex);
    size_t told = 0;
    while (done < jobs.size() && !noSpace) {
      changed.wait(lock, [&] { return told != done || noSpace; });
      told = done;
      if (options.progress)
        options.progress(done, jobs.size());
    }
  }
  for (std::thread &thread : threads)
    thread.join();
  sys::fs::remove_directories(folder);
  if (noSpace)
    return makeError(FailureKind::Resources, "cannot write a temporary file",
                     quoted(folder.str()), "no space or no permission",
                     "free some space, or name another folder in TMPDIR");
  resolve(jobs, toolchain);
  return Error::success();
}

} // namespace fathom::ascend
