// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/Toolchain.h"

#include "frontends/Support/FrontendError.h"
#include "runtime/format/Blake3.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

using namespace llvm;

extern char **environ;

namespace fathom::nvidia {

static constexpr const char *kBytecodeVersion = "13.3";

//===-- Processes --------------------------------------------------------===//

/// Our environment without what would make the assembler load the libraries of
/// another toolkit, with which it fails without a word.
static std::vector<StringRef> childEnvironment() {
  std::vector<StringRef> kept;
  for (char **at = environ; *at; ++at) {
    StringRef entry(*at);
    if (!entry.starts_with("CUDA_HOME=") && !entry.starts_with("CUDA_PATH="))
      kept.push_back(entry);
  }
  return kept;
}

namespace {
/// One child with its output in a file.
struct Child {
  sys::ProcessInfo process;
  std::chrono::steady_clock::time_point started;
  std::string log, failure;
  bool running = false;

  void start(const std::string &program, ArrayRef<std::string> arguments,
             const std::string &logFile) {
    log = logFile;
    std::vector<StringRef> all{program};
    all.insert(all.end(), arguments.begin(), arguments.end());
    std::vector<StringRef> environment = childEnvironment();
    std::optional<StringRef> redirects[] = {StringRef(""), StringRef(log),
                                            StringRef(log)};
    bool failed = false;
    process = sys::ExecuteNoWait(program, all, ArrayRef(environment), redirects,
                                 0, &failure, &failed);
    started = std::chrono::steady_clock::now();
    running = !failed;
    if (failed && failure.empty())
      failure = "it cannot be started";
  }

  /// Whether it has ended; `failure` says how, if not well.
  bool ended(unsigned timeoutSeconds) {
    std::string message;
    sys::ProcessInfo now =
        sys::Wait(process, /*SecondsToWait=*/0, &message, nullptr,
                  /*Polling=*/true);
    if (now.Pid == 0) {
      auto spent = std::chrono::steady_clock::now() - started;
      if (spent < std::chrono::seconds(timeoutSeconds))
        return false;
      ::kill(process.Pid, SIGKILL);
      sys::Wait(process, std::nullopt, nullptr);
      failure = "it took more than " + std::to_string(timeoutSeconds) + " s";
    } else if (now.ReturnCode != 0) {
      failure = message.empty()
                    ? "it ended with status " + std::to_string(now.ReturnCode)
                    : "it died: " + message;
    }
    running = false;
    return true;
  }
};
} // namespace

static std::string readAll(const Twine &path) {
  auto file = MemoryBuffer::getFile(path);
  return file ? (*file)->getBuffer().str() : "";
}

static constexpr auto kPoll = std::chrono::milliseconds(5);

bool runTool(const std::string &program, ArrayRef<std::string> arguments,
             unsigned timeoutSeconds, std::string &output) {
  SmallString<128> log;
  if (std::error_code error =
          sys::fs::createTemporaryFile("fathom-tool", "txt", log)) {
    output = error.message();
    return false;
  }
  Child child;
  child.start(program, arguments, log.str().str());
  while (child.running && !child.ended(timeoutSeconds))
    std::this_thread::sleep_for(kPoll);
  output = readAll(log);
  sys::fs::remove(log);
  if (child.failure.empty())
    return true;
  output += child.failure;
  return false;
}

//===-- Finding it -------------------------------------------------------===//

/// `path`/tileiras, or `path` itself if it is a program.
static std::string programIn(StringRef path, StringRef name) {
  if (path.empty())
    return "";
  SmallString<256> candidate(path);
  if (sys::fs::is_directory(candidate))
    sys::path::append(candidate, name);
  return sys::fs::can_execute(candidate) ? candidate.str().str() : "";
}

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

//===-- The cache --------------------------------------------------------===//

std::string defaultCache() {
  if (std::string given = environmentOr("FATHOM_CACHE_DIR"); !given.empty())
    return given;
  SmallString<256> folder;
  if (!sys::path::cache_directory(folder))
    return "";
  sys::path::append(folder, "fathom");
  return folder.str().str();
}

static std::string hashOf(StringRef bytes) {
  return format::blake3Hex(bytes.data(), bytes.size());
}

static SmallString<256> cacheEntry(const Assembly &job,
                                   const Toolchain &toolchain,
                                   const AssemblyOptions &options) {
  SmallString<256> path(options.cache);
  std::string key = toolchain.version + '\n' + job.target + '\n' +
                    options.hostArchitecture + '\n' + job.bytecode;
  sys::path::append(path, hashOf(key) + ".cubin");
  return path;
}

/// An entry is the hash of the cubin, then the cubin: a damaged one is none.
static bool fromCache(Assembly &job, StringRef path) {
  std::string bytes = readAll(path);
  constexpr size_t kHash = 64;
  if (bytes.size() <= kHash ||
      hashOf(StringRef(bytes).drop_front(kHash)) != bytes.substr(0, kHash))
    return false;
  job.cubin = bytes.substr(kHash);
  job.cached = true;
  return true;
}

/// Another process may write the same entry: each writes its own file, and a
/// cache that cannot be written is no cache.
static void toCache(const Assembly &job, StringRef path) {
  if (sys::fs::create_directories(sys::path::parent_path(path)))
    return;
  SmallString<256> fresh;
  int fd = -1;
  if (sys::fs::createUniqueFile(path + ".%%%%%%%%", fd, fresh))
    return;
  raw_fd_ostream out(fd, /*shouldClose=*/true);
  out << hashOf(job.cubin) << job.cubin;
  out.close();
  bool failed = out.has_error();
  out.clear_error();
  if (failed || sys::fs::rename(fresh, path))
    sys::fs::remove(fresh);
}

//===-- Assembling -------------------------------------------------------===//

static bool writeBytes(const std::string &path, StringRef bytes) {
  std::error_code error;
  raw_fd_ostream out(path, error);
  if (error)
    return false;
  out << bytes;
  out.close();
  error = out.error();
  out.clear_error();
  return !error;
}

/// The last line of what the assembler said, and how it ended.
static std::string refusalOf(const Child &child) {
  std::string text = readAll(child.log);
  StringRef said(text);
  std::string line = said.rtrim().rsplit('\n').second.str();
  if (line.empty())
    line = said.rtrim().str();
  std::string how = child.failure.empty() ? "it wrote no cubin" : child.failure;
  return line.empty() ? how : how + ": " + line;
}

Error assemble(MutableArrayRef<Assembly> jobs, const Toolchain &toolchain,
               const AssemblyOptions &options) {
  SmallString<128> folder;
  if (std::error_code error =
          sys::fs::createUniqueDirectory("fathom-cuda", folder))
    return makeError(FailureKind::Resources, "cannot create a folder for files",
                     "TMPDIR", error.message(),
                     "name a folder that can be written in TMPDIR");
  std::vector<std::pair<size_t, Child>> running;
  bool noSpace = false;
  auto file = [&](size_t i, const char *extension) {
    return (folder + "/" + Twine(i) + extension).str();
  };
  auto finish = [&](size_t i, const Child &child) {
    Assembly &job = jobs[i];
    if (child.failure.empty())
      job.cubin = readAll(file(i, ".cubin"));
    if (job.cubin.empty())
      job.refusal = refusalOf(child);
    else if (!options.cache.empty())
      toCache(job, cacheEntry(job, toolchain, options));
    for (const char *extension : {".tilebc", ".cubin", ".txt"})
      sys::fs::remove(file(i, extension));
  };
  size_t next = 0;
  while (next < jobs.size() || !running.empty()) {
    while (next < jobs.size() &&
           running.size() < std::max(1u, options.parallel)) {
      size_t i = next++;
      if (!options.cache.empty() &&
          fromCache(jobs[i], cacheEntry(jobs[i], toolchain, options)))
        continue;
      if (!writeBytes(file(i, ".tilebc"), jobs[i].bytecode)) {
        noSpace = true;
        next = jobs.size();
        break;
      }
      std::vector<std::string> arguments{"--gpu-name=" + jobs[i].target, "-o",
                                         file(i, ".cubin"), file(i, ".tilebc")};
      if (!options.hostArchitecture.empty())
        arguments.push_back("--host-arch=" + options.hostArchitecture);
      Child child;
      child.start(toolchain.tileiras, arguments, file(i, ".txt"));
      if (child.running)
        running.emplace_back(i, std::move(child));
      else
        finish(i, child);
    }
    erase_if(running, [&](auto &one) {
      if (!one.second.ended(options.timeoutSeconds))
        return false;
      finish(one.first, one.second);
      return true;
    });
    if (!running.empty())
      std::this_thread::sleep_for(kPoll);
  }
  sys::fs::remove_directories(folder);
  if (noSpace)
    return makeError(FailureKind::Resources, "cannot write a temporary file",
                     quoted(folder.str()), "no space or no permission",
                     "free some space, or name another folder in TMPDIR");
  return Error::success();
}

} // namespace fathom::nvidia
