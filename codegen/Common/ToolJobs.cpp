// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Common/ToolJobs.h"

#include "frontends/Support/FrontendError.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

using namespace llvm;

namespace fathom {

//===-- What the machine refuses -----------------------------------------===//

/// A tool that finds no space may say no more than that it failed.
static bool isFull(const std::string &folder) {
  constexpr uint64_t kEnough = uint64_t(16) << 20;
  ErrorOr<sys::fs::space_info> space = sys::fs::disk_space(folder);
  return space && space->available < kEnough;
}

static Error interrupted(const std::string &where) {
  return makeError(FailureKind::Failed, "interrupted", where,
                   "a signal asked for it",
                   "start it again: what was made is kept");
}

Error machinesRefusal(const ToolRun &run, const std::string &program,
                      const std::string &subject, const std::string &folder) {
  const std::string tool = sys::path::filename(program).str();
  auto error = [&](const std::string &what, const std::string &why,
                   const char *help) {
    return makeError(FailureKind::Resources, what, subject, why, help);
  };
  const std::string words = lastWords(run.output);
  switch (run.end) {
  case ToolEnd::Good:
    return Error::success();
  case ToolEnd::Refused:
  case ToolEnd::Crashed:
    if (tellsOfLack(run.output))
      return error(tool + " lacks what it needs", words,
                   "free some memory or space, or name another folder for "
                   "temporary files in TMPDIR");
    if (isFull(folder))
      return error(tool + " failed, and there is hardly any space left",
                   quoted(folder) + ": " + words, kMoreSpace);
    return Error::success();
  case ToolEnd::Killed:
    return error(tool + " was killed, and again when it was tried once more",
                 words,
                 "as a rule memory was short: free some, or let fewer run at "
                 "once (taskset -c 0 fathomc ... is one at a time)");
  case ToolEnd::Waiting:
    return error(tool + " does not come to an end", words,
                 "it waits for something: see whether it runs outside of "
                 "fathomc, and try again");
  case ToolEnd::NotStarted:
    return error(tool + " cannot be run", words,
                 "see whether it, its libraries and programs are there");
  case ToolEnd::NoFiles:
    return error(tool + " cannot be run", words, kMoreSpace);
  case ToolEnd::Interrupted:
    return interrupted(subject);
  }
  return Error::success();
}

//===-- Jobs -------------------------------------------------------------===//

Error runJobs(size_t count, unsigned parallel, const JobProgress &progress,
              function_ref<Error(size_t, const std::string &)> work) {
  TemporaryFolder folder;
  if (Error error = folder.make("fathom-tools"))
    return error;
  auto runOne = [&](size_t i) -> Error {
    const std::string own = folder.at(Twine(i));
    if (std::error_code error = sys::fs::create_directory(own))
      return cannotWrite(own, error.message());
    Error error = work(i, own);
    sys::fs::remove_directories(own);
    return error;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<size_t> next{0};
  size_t done = 0;
  bool failed = false;
  Error first = Error::success();
  auto takeJobs = [&] {
    for (size_t i; !Interruptible::interrupted() && (i = next++) < count;) {
      Error error = runOne(i);
      std::lock_guard<std::mutex> lock(mutex);
      ++done;
      if (error) {
        next = count;
        if (failed)
          consumeError(std::move(error));
        else
          first = joinErrors(std::move(first), std::move(error));
        failed = true;
      }
      changed.notify_one();
    }
  };
  const size_t workers = std::min<size_t>(std::max(1u, parallel), count);
  size_t running = workers;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < workers; ++i)
    threads.emplace_back([&] {
      takeJobs();
      std::lock_guard<std::mutex> lock(mutex);
      --running;
      changed.notify_one();
    });
  {
    std::unique_lock<std::mutex> lock(mutex);
    size_t told = 0;
    for (bool more = true; more;) {
      changed.wait(lock, [&] { return told != done || !running; });
      more = running;
      if (progress && told != done && !failed)
        progress(done, count);
      told = done;
    }
  }
  for (std::thread &thread : threads)
    thread.join();
  if (!failed && done < count)
    return joinErrors(std::move(first), interrupted("tools"));
  return first;
}

} // namespace fathom
