// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Common/ToolJobs.h"

#include "codegen/Common/Process.h"
#include "frontends/Support/FrontendError.h"
#include "runtime/format/Blake3.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

using namespace llvm;

namespace fathom {

//===-- The cache --------------------------------------------------------===//

std::string defaultCache() {
  const char *given = std::getenv("FATHOM_CACHE_DIR");
  if (given && *given)
    return given;
  SmallString<256> folder;
  if (!sys::path::cache_directory(folder))
    return "";
  sys::path::append(folder, "fathom");
  return folder.str().str();
}

std::string hashOf(StringRef bytes) {
  return format::blake3Hex(bytes.data(), bytes.size());
}

/// An entry is the hash of the rest, and the rest.
std::optional<std::string> readKept(const std::string &path) {
  std::string bytes = readBytes(path);
  constexpr size_t kHash = 64;
  if (bytes.size() <= kHash)
    return std::nullopt;
  StringRef rest = StringRef(bytes).drop_front(kHash);
  if (hashOf(rest) != StringRef(bytes).take_front(kHash))
    return std::nullopt;
  return rest.str();
}

void keep(const std::string &path, StringRef bytes) {
  if (sys::fs::create_directories(sys::path::parent_path(path)))
    return;
  SmallString<256> fresh;
  int fd = -1;
  if (sys::fs::createUniqueFile(path + ".%%%%%%%%", fd, fresh))
    return;
  raw_fd_ostream out(fd, /*shouldClose=*/true);
  out << hashOf(bytes) << bytes;
  out.close();
  bool failed = out.has_error();
  out.clear_error();
  if (failed || sys::fs::rename(fresh, path))
    sys::fs::remove(fresh);
}

//===-- Jobs -------------------------------------------------------------===//

Error runJobs(size_t count, unsigned parallel, const JobProgress &progress,
              function_ref<bool(size_t, const std::string &)> work) {
  SmallString<128> folder;
  if (std::error_code error =
          sys::fs::createUniqueDirectory("fathom-tools", folder))
    return makeError(FailureKind::Resources, "cannot create a folder for files",
                     "TMPDIR", error.message(),
                     "name a folder that can be written in TMPDIR");
  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<size_t> next{0};
  size_t done = 0;
  bool noSpace = false;
  auto takeJobs = [&] {
    for (size_t i; (i = next++) < count;) {
      bool good = work(i, (folder + "/" + Twine(i)).str());
      std::lock_guard<std::mutex> lock(mutex);
      ++done;
      if (!good) {
        noSpace = true;
        next = count;
      }
      changed.notify_one();
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < std::min<size_t>(std::max(1u, parallel), count); ++i)
    threads.emplace_back(takeJobs);
  {
    std::unique_lock<std::mutex> lock(mutex);
    size_t told = 0;
    while (done < count && !noSpace) {
      changed.wait(lock, [&] { return told != done || noSpace; });
      told = done;
      if (progress)
        progress(done, count);
    }
  }
  for (std::thread &thread : threads)
    thread.join();
  sys::fs::remove_directories(folder);
  if (noSpace)
    return makeError(FailureKind::Resources, "cannot write a temporary file",
                     quoted(folder.str()), "no space or no permission",
                     "free some space, or name another folder in TMPDIR");
  return Error::success();
}

} // namespace fathom
