// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Common/Process.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>
#include <csignal>
#include <ctime>
#include <thread>

using namespace llvm;

extern char **environ;

namespace fathom {

/// Our environment without what would make NVIDIA's assembler load the
/// libraries of another toolkit, with which it fails without a word.
static std::vector<StringRef> childEnvironment() {
  std::vector<StringRef> kept;
  for (char **at = environ; *at; ++at) {
    StringRef entry(*at);
    if (!entry.starts_with("CUDA_HOME=") && !entry.starts_with("CUDA_PATH="))
      kept.push_back(entry);
  }
  return kept;
}

/// Processor time of a child that was not waited for yet, in seconds.
static double processorSeconds(pid_t child) {
  clockid_t clock;
  timespec spent;
  if (clock_getcpuclockid(child, &clock) != 0 ||
      clock_gettime(clock, &spent) != 0)
    return 0;
  return double(spent.tv_sec) + 1e-9 * double(spent.tv_nsec);
}

/// Which limit a child is past, "" for none.
static std::string pastLimit(TimeLimit limit, pid_t child,
                             std::chrono::steady_clock::time_point started) {
  if (std::chrono::steady_clock::now() - started >=
      std::chrono::seconds(limit.clock))
    return "it took more than " + std::to_string(limit.clock) + " s";
  if (limit.processor && processorSeconds(child) >= limit.processor)
    return "it took more than " + std::to_string(limit.processor) +
           " s of processor time";
  return "";
}

/// How it ended, if not well.
static std::string run(const std::string &program,
                       ArrayRef<std::string> arguments, const std::string &log,
                       TimeLimit limit) {
  std::vector<StringRef> all{program};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<StringRef> environment = childEnvironment();
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(log),
                                          StringRef(log)};
  std::string message;
  bool failed = false;
  sys::ProcessInfo process = sys::ExecuteNoWait(
      program, all, ArrayRef(environment), redirects, 0, &message, &failed);
  if (failed)
    return message.empty() ? "it cannot be started" : message;
  const auto started = std::chrono::steady_clock::now();
  for (;;) {
    sys::ProcessInfo now =
        sys::Wait(process, /*SecondsToWait=*/0, &message, nullptr,
                  /*Polling=*/true);
    if (now.Pid != 0)
      return now.ReturnCode == 0 ? ""
             : message.empty()
                 ? "it ended with status " + std::to_string(now.ReturnCode)
                 : "it died: " + message;
    std::string past = pastLimit(limit, process.Pid, started);
    if (!past.empty()) {
      ::kill(process.Pid, SIGKILL);
      sys::Wait(process, std::nullopt, nullptr);
      return past;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

bool runTool(const std::string &program, ArrayRef<std::string> arguments,
             TimeLimit limit, std::string &output) {
  SmallString<128> log;
  if (std::error_code error =
          sys::fs::createTemporaryFile("fathom-tool", "txt", log)) {
    output = error.message();
    return false;
  }
  std::string failure = run(program, arguments, log.str().str(), limit);
  output = readBytes(log.str().str());
  sys::fs::remove(log);
  if (failure.empty())
    return true;
  if (!output.empty() && output.back() != '\n')
    output += '\n';
  output += failure;
  return false;
}

std::string programIn(StringRef path, StringRef name) {
  if (path.empty())
    return "";
  SmallString<256> candidate(path);
  if (sys::fs::is_directory(candidate))
    sys::path::append(candidate, name);
  return sys::fs::can_execute(candidate) ? candidate.str().str() : "";
}

std::string lastWords(StringRef output) {
  auto [said, how] = output.rtrim().rsplit('\n');
  if (how.empty()) // a single line
    return said.str();
  said = said.rtrim();
  StringRef line = said.rsplit('\n').second;
  return (how + ": " + (line.empty() ? said : line)).str();
}

std::string readBytes(const std::string &path) {
  auto file = MemoryBuffer::getFile(path);
  return file ? (*file)->getBuffer().str() : "";
}

bool writeBytes(const std::string &path, StringRef bytes) {
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

} // namespace fathom
