// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "frontends/Support/OutputDirectory.h"

#include "frontends/Support/FrontendError.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

using namespace llvm;

namespace fathom {

/// An error of the operating system: the machine refuses, whatever the reason.
static Error systemError(std::string what, StringRef where, int error) {
  std::string why = std::strerror(error), help;
  switch (error) {
  case ENOSPC:
  case EDQUOT:
  case EFBIG:
    help = "free some space or choose another place with -o";
    break;
  case EACCES:
  case EPERM:
  case EROFS:
    help = "choose a place that you may write to with -o";
    break;
  case ENOENT:
  case ENOTDIR:
    help = "create the directory first, or correct the path";
    break;
  default:
    help = "check the path and the disk";
  }
  return makeError(FailureKind::Resources, std::move(what), quoted(where),
                   std::move(why), std::move(help));
}

/// Absolute, without a slash at the end.
static SmallString<256> absolutePath(StringRef path) {
  SmallString<256> full(path);
  sys::fs::make_absolute(full);
  sys::path::remove_dots(full, /*remove_dot_dot=*/false);
  while (full.size() > 1 && full.ends_with("/"))
    full.pop_back();
  return full;
}

Expected<SmallString<256>> realParent(StringRef path) {
  SmallString<256> full = absolutePath(path), real;
  StringRef name = sys::path::filename(full);
  if (name == "." || name == ".." || full == "/") {
    if (std::error_code error = sys::fs::real_path(full, real))
      return systemError("cannot resolve a path", path, error.value());
    return real;
  }
  if (std::error_code error =
          sys::fs::real_path(sys::path::parent_path(full), real))
    return systemError("cannot resolve a path", sys::path::parent_path(full),
                       error.value());
  sys::path::append(real, name);
  return real;
}

/// Why what is at `path` must stay; "": nothing, or nothing to miss.
static std::string whyItStays(const std::string &path, FindForeign foreign) {
  struct stat status;
  if (lstat(path.c_str(), &status) != 0)
    return "";
  if (!S_ISDIR(status.st_mode))
    return "it is no directory";
  std::error_code error;
  sys::fs::directory_iterator first(path, error), end;
  if (error)
    return error.message();
  return first == end ? "" : foreign(path);
}

Error checkDestination(StringRef destination, StringRef kind,
                       FindForeign foreign) {
  const std::string what = "cannot write the " + kind.str();
  Expected<SmallString<256>> path = realParent(destination);
  if (!path)
    return path.takeError();
  StringRef parent = sys::path::parent_path(*path);
  if (parent.empty())
    return makeError(FailureKind::Failed, what, quoted(destination),
                     "this is the root directory",
                     "name a directory to create");
  if (access(parent.str().c_str(), W_OK | X_OK) != 0)
    return systemError(what, destination, errno);
  std::string why = whyItStays(path->str().str(), foreign);
  if (why.empty())
    return Error::success();
  return makeError(FailureKind::Failed, "will not replace what is there",
                   quoted(destination),
                   "it is neither a " + kind.str() +
                       " of Fathom nor an empty directory: " + why,
                   "remove it yourself, or choose another name with -o");
}

//===-- Writing ----------------------------------------------------------===//

Expected<OutputDirectory> OutputDirectory::create(StringRef destination,
                                                  StringRef kind,
                                                  FindForeign foreign) {
  if (Error error = checkDestination(destination, kind, foreign))
    return std::move(error);
  Expected<SmallString<256>> path = realParent(destination);
  if (!path)
    return path.takeError();
  const std::string what = "cannot write the " + kind.str();
  SmallString<256> hidden(sys::path::parent_path(*path));
  sys::path::append(hidden,
                    "." + sys::path::filename(*path) + ".writing-XXXXXX");
  std::string ready = hidden.str().str();
  // What holds it is there: /proc, for one, takes no directories and says so
  // with ENOENT.
  if (!mkdtemp(ready.data()))
    return systemError(what, destination, errno == ENOENT ? EPERM : errno);
  OutputDirectory made(std::move(ready), path->str().str(), kind.str());
  // mkdtemp gives 0700; this is as readable as any directory.
  mode_t mask = umask(0);
  umask(mask);
  if (chmod(made.ready.c_str(), 0777 & ~mask) != 0)
    return systemError(what, made.ready, errno);
  return std::move(made);
}

OutputDirectory::OutputDirectory(OutputDirectory &&other)
    : ready(std::exchange(other.ready, "")),
      destination(std::move(other.destination)), kind(std::move(other.kind)) {}

OutputDirectory::~OutputDirectory() {
  if (!ready.empty())
    sys::fs::remove_directories(ready);
}

Error OutputDirectory::write(StringRef name, StringRef text, uint64_t bytes) {
  SmallString<256> path(ready);
  sys::path::append(path, name);
  if (std::error_code error = sys::fs::create_directories(
          sys::path::parent_path(path),
          /*IgnoreExisting=*/true, sys::fs::perms::all_all))
    return systemError("cannot create a folder of the " + kind, path,
                       error.value());
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0)
    return systemError("cannot create a file of the " + kind, path, errno);
  const char *next = text.data();
  size_t left = text.size();
  int error = 0;
  if (bytes > text.size() && ftruncate(fd, static_cast<off_t>(bytes)) != 0)
    error = errno;
  while (left && !error) {
    ssize_t n = ::write(fd, next, std::min<size_t>(left, size_t(1) << 30));
    if (n < 0 && errno != EINTR)
      error = errno;
    if (n > 0) {
      next += n;
      left -= n;
    }
  }
  // Some file systems report a full disk only here.
  if (!error && fsync(fd) != 0 && errno != EINVAL && errno != EROFS)
    error = errno;
  if (close(fd) != 0 && !error)
    error = errno;
  if (error)
    return systemError("cannot write a file of the " + kind, path, error);
  return Error::success();
}

/// Where the system can exchange two names there is no moment without either;
/// elsewhere the old one steps aside first and comes back if the new one cannot
/// take over.
Error OutputDirectory::finish() {
  if (rename(ready.c_str(), destination.c_str()) == 0)
    return Error::success(); // nothing there, or an empty directory
  if (errno != ENOTEMPTY && errno != EEXIST)
    return systemError("cannot put the " + kind + " in its place", destination,
                       errno);
#if defined(SYS_renameat2)
  constexpr unsigned kExchange = 2;
  if (syscall(SYS_renameat2, AT_FDCWD, ready.c_str(), AT_FDCWD,
              destination.c_str(), kExchange) == 0)
    return Error::success(); // the destructor removes what is now `ready`
#endif
  const std::string aside = ready + ".old";
  if (rename(destination.c_str(), aside.c_str()) != 0)
    return systemError("cannot replace the " + kind, destination, errno);
  if (rename(ready.c_str(), destination.c_str()) != 0) {
    int error = errno;
    (void)rename(aside.c_str(), destination.c_str());
    return systemError("cannot replace the " + kind, destination, error);
  }
  sys::fs::remove_directories(aside);
  return Error::success();
}

} // namespace fathom
