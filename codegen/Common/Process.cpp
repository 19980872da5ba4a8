// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Common/Process.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <optional>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace llvm;

extern char **environ;

namespace fathom {

//===-- Signals that ask us to end ---------------------------------------===//

static constexpr int kRequests[] = {SIGINT, SIGTERM, SIGHUP};

static std::atomic<int> request{0}; // the signal that came

static void noteRequest(int signal) { request = signal; }

namespace {
/// What was there before the first Interruptible.
struct Handlers {
  std::mutex mutex;
  unsigned living = 0;
  struct sigaction before[std::size(kRequests)];
};
} // namespace

static Handlers &handlers() {
  static Handlers all;
  return all;
}

Interruptible::Interruptible() {
  Handlers &all = handlers();
  std::lock_guard<std::mutex> lock(all.mutex);
  if (all.living++)
    return;
  for (size_t i = 0; i < std::size(kRequests); ++i) {
    sigaction(kRequests[i], nullptr, &all.before[i]);
    if (all.before[i].sa_handler == SIG_IGN) // as nohup wants it
      continue;
    struct sigaction ours = {};
    ours.sa_handler = noteRequest;
    // Whoever asks twice does not want to wait.
    ours.sa_flags = SA_RESETHAND | SA_RESTART;
    sigaction(kRequests[i], &ours, nullptr);
  }
}

Interruptible::~Interruptible() {
  Handlers &all = handlers();
  std::lock_guard<std::mutex> lock(all.mutex);
  if (--all.living)
    return;
  for (size_t i = 0; i < std::size(kRequests); ++i)
    sigaction(kRequests[i], &all.before[i], nullptr);
  if (int signal = request.exchange(0))
    std::raise(signal);
}

bool Interruptible::interrupted() { return request != 0; }

//===-- The machine ------------------------------------------------------===//

bool tellsOfLack(StringRef text) {
  for (int error :
       {ENOSPC, EDQUOT, EFBIG, EACCES, EROFS, EMFILE, ENFILE, ENOMEM, EAGAIN})
    if (text.contains(std::strerror(error)))
      return true;
  return text.contains_insensitive("out of memory") ||
         text.contains("bad_alloc");
}

/// Files of /proc have no size.
static std::string readStream(const Twine &path) {
  auto file = MemoryBuffer::getFileAsStream(path);
  return file ? (*file)->getBuffer().str() : "";
}

uint64_t memoryKills(StringRef vmstat) {
  uint64_t count = 0;
  for (StringRef line : split(vmstat, '\n'))
    if (line.consume_front("oom_kill ") && line.getAsInteger(10, count))
      return 0;
  return count;
}

static uint64_t memoryKillsSoFar() {
  return memoryKills(readStream("/proc/vmstat"));
}

/// Processor time of a process, of the children that it waited for and of those
/// that run, in clock ticks.
static uint64_t processorTicks(pid_t process) {
  const std::string folder = "/proc/" + std::to_string(process);
  // The name, in brackets, may hold anything.
  std::string text = readStream(folder + "/stat");
  SmallVector<StringRef> fields;
  StringRef(text).rsplit(')').second.split(fields, ' ', -1, false);
  uint64_t all = 0;
  for (size_t i = 11; i < 15 && i < fields.size(); ++i) {
    uint64_t ticks = 0;
    if (!fields[i].getAsInteger(10, ticks))
      all += ticks;
  }
  std::error_code error;
  for (sys::fs::directory_iterator thread(folder + "/task", error), end;
       thread != end && !error; thread.increment(error)) {
    std::string children = readStream(thread->path() + "/children");
    for (StringRef child : split(children, ' ')) {
      pid_t id = 0;
      if (!child.getAsInteger(10, id) && id > 0)
        all += processorTicks(id);
    }
  }
  return all;
}

//===-- One process ------------------------------------------------------===//

/// Our environment without what would make NVIDIA's assembler load the
/// libraries of another toolkit, with which it fails without a word.
static std::vector<std::string> childEnvironment(const std::string &folder) {
  std::vector<std::string> kept;
  for (char **at = environ; *at; ++at) {
    StringRef entry(*at);
    if (!entry.starts_with("CUDA_HOME=") && !entry.starts_with("CUDA_PATH=") &&
        (folder.empty() || !entry.starts_with("TMPDIR=")))
      kept.push_back(entry.str());
  }
  if (!folder.empty())
    kept.push_back("TMPDIR=" + folder);
  return kept;
}

static std::vector<char *> pointersTo(std::vector<std::string> &texts) {
  std::vector<char *> pointers;
  for (std::string &text : texts)
    pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// In a group of its own from its first instruction on. Gives an errno.
static int start(std::vector<std::string> all,
                 std::vector<std::string> environment, const std::string &log,
                 pid_t &child) {
  std::vector<char *> arguments = pointersTo(all),
                      variables = pointersTo(environment);
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  int failed = posix_spawn_file_actions_addopen(&files, STDIN_FILENO,
                                                "/dev/null", O_RDONLY, 0);
  if (!failed)
    failed = posix_spawn_file_actions_addopen(
        &files, STDOUT_FILENO, log.c_str(), O_WRONLY | O_TRUNC, 0);
  if (!failed)
    failed =
        posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  if (!failed)
    failed = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  if (!failed)
    failed = posix_spawnattr_setpgroup(&attributes, 0);
  if (!failed)
    failed = posix_spawn(&child, arguments[0], &files, &attributes,
                         arguments.data(), variables.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return failed;
}

/// Whether it ended, and how. It is not waited for: its number stays its own.
static bool hasEnded(pid_t child, siginfo_t &how) {
  how = {};
  while (waitid(P_PID, child, &how, WEXITED | WNOHANG | WNOWAIT) != 0)
    if (errno != EINTR)
      return true;
  return how.si_pid != 0;
}

/// Ends what is left of its group, and forgets it.
static void reap(pid_t child) {
  ::kill(-child, SIGKILL);
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR)
    ;
}

static void pause() {
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

/// A tool may have tools of its own, and files to remove.
static void stop(pid_t child) {
  siginfo_t how;
  ::kill(-child, SIGTERM);
  for (int i = 0; i < 400 && !hasEnded(child, how); ++i)
    pause();
  reap(child);
}

namespace {
struct End {
  ToolEnd end;
  std::string how;
};
} // namespace

static bool isOwnFault(int signal) {
  for (int own : {SIGILL, SIGSEGV, SIGABRT, SIGFPE, SIGTRAP})
    if (signal == own)
      return true;
  return false;
}

static End endOf(const siginfo_t &how, uint64_t killsBefore) {
  if (how.si_code != CLD_EXITED)
    return {isOwnFault(how.si_status) ? ToolEnd::Crashed : ToolEnd::Killed,
            std::string("it died: ") + strsignal(how.si_status)};
  if (how.si_status == 0)
    return {ToolEnd::Good, ""};
  std::string text = "it ended with status " + std::to_string(how.si_status);
  // Shells and the loader end so, who do not find a program or a library.
  if (how.si_status == 126 || how.si_status == 127)
    return {ToolEnd::NotStarted, text};
  // A tool whose own tool was killed says no more than that it failed.
  if (memoryKillsSoFar() > killsBefore)
    return {ToolEnd::Killed, text + " while memory was short"};
  return {ToolEnd::Refused, text};
}

static End run(const std::string &program, ArrayRef<std::string> arguments,
               const std::string &log, TimeLimit limit,
               const std::string &folder) {
  using std::chrono::steady_clock;
  std::vector<std::string> all{program};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const uint64_t kills = memoryKillsSoFar();
  const auto started = steady_clock::now();
  pid_t child = 0;
  if (int failed = start(std::move(all), childEnvironment(folder), log, child))
    return {ToolEnd::NotStarted,
            std::string("it cannot be started: ") + std::strerror(failed)};
  const auto ticks = uint64_t(std::max(1L, sysconf(_SC_CLK_TCK)));
  auto looked = started;
  for (;;) {
    siginfo_t how;
    if (hasEnded(child, how)) {
      reap(child);
      return endOf(how, kills);
    }
    auto seconds = [](unsigned count, const char *what) {
      return "it took more than " + std::to_string(count) + " s" + what;
    };
    const auto now = steady_clock::now();
    std::optional<End> past;
    if (Interruptible::interrupted())
      past = End{ToolEnd::Interrupted, "it was interrupted"};
    else if (now - started >= std::chrono::seconds(limit.clock))
      past = End{ToolEnd::Waiting, seconds(limit.clock, "")};
    else if (limit.processor &&
             now - looked >= std::chrono::milliseconds(100)) {
      looked = now;
      if (processorTicks(child) >= limit.processor * ticks)
        past = End{ToolEnd::Refused,
                   seconds(limit.processor, " of processor time")};
    }
    if (past) {
      stop(child);
      return *past;
    }
    pause();
  }
}

ToolRun runTool(const std::string &program, ArrayRef<std::string> arguments,
                TimeLimit limit, const std::string &folder) {
  Interruptible tidy;
  SmallString<128> log;
  std::error_code error =
      folder.empty()
          ? sys::fs::createTemporaryFile("fathom-tool", "txt", log)
          : sys::fs::createUniqueFile(folder + "/fathom-tool-%%%%%%.txt", log);
  if (error)
    return {ToolEnd::NoFiles, "a temporary file: " + error.message()};
  End end = run(program, arguments, log.str().str(), limit, folder);
  std::string output = readBytes(log.str().str());
  sys::fs::remove(log);
  if (end.end != ToolEnd::Good) {
    if (!output.empty() && output.back() != '\n')
      output += '\n';
    output += end.how;
  }
  return {end.end, std::move(output)};
}

ToolRun runToolTwice(const std::string &program,
                     ArrayRef<std::string> arguments, TimeLimit limit,
                     const std::string &folder) {
  ToolRun first = runTool(program, arguments, limit, folder);
  if (first.end != ToolEnd::Crashed && first.end != ToolEnd::Killed)
    return first;
  return runTool(program, arguments, limit, folder);
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
