// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "frontends/Support/InputFile.h"

#include "frontends/Support/FrontendError.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace llvm;

namespace fathom {

static Error openError(const std::string &path, int code) {
  std::string why = std::strerror(code);
  switch (code) {
  case EACCES:
  case EPERM:
    return makeError(FailureKind::Resources, "cannot open a file", quoted(path),
                     why, "give this user permission to read it");
  case EMFILE:
  case ENFILE:
  case ENOMEM:
    return makeError(FailureKind::Resources, "cannot open a file", quoted(path),
                     why,
                     "raise the limit (ulimit -n) or free memory, then repeat");
  default:
    return makeError(FailureKind::BadFile, "cannot open a file", quoted(path),
                     why, "check the path, and that the download is complete");
  }
}

Expected<InputFile> InputFile::open(StringRef name) {
  std::string path = name.str();
  if (name.contains('\0'))
    return openError(path, EINVAL);
  // O_NONBLOCK: opening a pipe without a writer would wait for ever.
  int fd;
  do
    fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  while (fd < 0 && errno == EINTR);
  if (fd < 0)
    return openError(path, errno);
  struct stat info;
  if (::fstat(fd, &info) != 0) {
    int code = errno;
    ::close(fd);
    return openError(path, code);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return makeError(FailureKind::BadFile, "not a regular file", quoted(path),
                     S_ISDIR(info.st_mode) ? "it is a directory"
                                           : "it is a pipe, socket or device",
                     "give a checkpoint directory with ordinary files");
  }
  return InputFile(fd, static_cast<uint64_t>(info.st_size), std::move(path));
}

InputFile::InputFile(InputFile &&other)
    : fd(other.fd), bytes(other.bytes), filePath(std::move(other.filePath)) {
  other.fd = -1;
}

InputFile &InputFile::operator=(InputFile &&other) {
  std::swap(fd, other.fd);
  std::swap(bytes, other.bytes);
  std::swap(filePath, other.filePath);
  return *this;
}

InputFile::~InputFile() {
  if (fd >= 0)
    ::close(fd);
}

Error InputFile::read(uint64_t offset, MutableArrayRef<uint8_t> out) const {
  uint8_t *to = out.data();
  size_t left = out.size();
  while (left > 0) {
    ssize_t got = ::pread(fd, to, std::min<size_t>(left, size_t(1) << 30),
                          static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return makeError(FailureKind::Resources, "cannot read a file",
                       quoted(filePath), std::strerror(errno),
                       "check the disk or network share, then repeat");
    if (got == 0)
      return makeError(FailureKind::BadFile, "a file ends too early",
                       quoted(filePath),
                       "it has fewer bytes than when it was opened, or than "
                       "its header says",
                       "do not change a checkpoint while it is read; download "
                       "the file again");
    to += got;
    left -= static_cast<size_t>(got);
    offset += static_cast<uint64_t>(got);
  }
  return Error::success();
}

Expected<std::string> readTextFile(StringRef path, uint64_t limit) {
  Expected<InputFile> file = InputFile::open(path);
  if (!file)
    return file.takeError();
  if (file->size() > limit)
    return makeError(FailureKind::BadFile, "a file is too large", quoted(path),
                     "it has " + std::to_string(file->size()) +
                         " bytes, the limit is " + std::to_string(limit),
                     "this is not the file it should be; download it again");
  std::string text(file->size(), '\0');
  if (Error error = file->read(
          0, MutableArrayRef<uint8_t>(reinterpret_cast<uint8_t *>(text.data()),
                                      text.size())))
    return std::move(error);
  return text;
}

} // namespace fathom
