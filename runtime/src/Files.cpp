// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/src/Files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fathom::rt {

namespace {

/// A file whose pages in memory are as large as this, on a system that keeps
/// such pages, is mapped by them if the mapping begins at a multiple.
constexpr uint64_t kHugePage = uint64_t(2) << 20;

/// Closes on scope exit.
struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0)
      close(fd);
  }
};

/// Opens a regular file; O_NONBLOCK so that a FIFO does not block us.
Status openRegular(const std::string &path, Descriptor &out, uint64_t &size) {
  out.fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (out.fd < 0) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
      return Status(FATHOM_BAD_FILE,
                    "cannot open '" + path + "': " + std::strerror(errno));
    return Status::fromErrno("cannot open '" + path + "'", errno);
  }
  struct stat info;
  if (fstat(out.fd, &info) != 0)
    return Status::fromErrno("cannot examine '" + path + "'", errno);
  if (!S_ISREG(info.st_mode))
    return Status(FATHOM_BAD_FILE, "'" + path + "' is not a regular file");
  size = static_cast<uint64_t>(info.st_size);
  return Status();
}

} // namespace

std::string joinPath(const std::string &directory, const std::string &name) {
  if (directory.empty() || directory.back() == '/')
    return directory + name;
  return directory + "/" + name;
}

Status readFile(const std::string &path, uint64_t limit, std::string &out) {
  Descriptor file;
  uint64_t size = 0;
  if (Status status = openRegular(path, file, size); status.failed())
    return status;
  if (size > limit)
    return Status(FATHOM_BAD_FILE, "'" + path + "' has " +
                                       std::to_string(size) +
                                       " bytes, more than the " +
                                       std::to_string(limit) + " expected");
  out.resize(size);
  uint64_t done = 0;
  while (done < size) {
    ssize_t got = read(file.fd, &out[done], size - done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return Status::fromErrno("cannot read '" + path + "'", errno);
    if (got == 0)
      return Status(FATHOM_BAD_FILE,
                    "'" + path + "' became shorter while it was read");
    done += static_cast<uint64_t>(got);
  }
  return Status();
}

Status readManifest(const std::string &package, uint64_t limit,
                    std::string &out) {
  const std::string path = joinPath(package, "manifest.json");
  if (access(path.c_str(), F_OK) != 0 &&
      access(joinPath(package, "config.json").c_str(), F_OK) == 0)
    return Status(FATHOM_BAD_FILE,
                  "'" + package +
                      "' is a checkpoint, not a package; compile it first: "
                      "fathomc compile " +
                      package + " -o NAME.fathom");
  return readFile(path, limit, out);
}

MappedFile::MappedFile(MappedFile &&other) noexcept
    : memory(std::exchange(other.memory, nullptr)), begin(other.begin),
      fileSize(other.fileSize), reserved(other.reserved) {}

MappedFile::~MappedFile() {
  if (memory)
    munmap(memory, reserved);
}

Status MappedFile::map(const std::string &path, uint64_t bytes) {
  Descriptor file;
  uint64_t size = 0;
  if (Status status = openRegular(path, file, size); status.failed())
    return status;
  if (size != bytes)
    return Status(FATHOM_BAD_FILE,
                  "'" + path + "' has " + std::to_string(size) +
                      " bytes, the package was compiled for a file of " +
                      std::to_string(bytes) +
                      "; the download may be incomplete or of another model");
  // Reserve one page more, then lay the file over the front of it, where a huge
  // page may begin. What is between the two stays reserved, too: it costs
  // addresses only.
  reserved = bytes / 4096 * 4096 + 2 * 4096 + kHugePage;
  void *area = mmap(nullptr, reserved, PROT_READ,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED)
    return Status::fromErrno("cannot reserve addresses for '" + path + "'",
                             errno);
  memory = area;
  fileSize = bytes;
  const uintptr_t address = reinterpret_cast<uintptr_t>(area);
  begin = static_cast<uint8_t *>(area) + (-address & (kHugePage - 1));
  if (!bytes)
    return Status();
  if (mmap(begin, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, file.fd, 0) ==
      MAP_FAILED)
    return Status::fromErrno("cannot map '" + path + "'", errno);
#ifdef MADV_HUGEPAGE
  // Before the first touch: what is not in memory yet comes in huge pages then,
  // where the file system has them.
  (void)madvise(begin, bytes, MADV_HUGEPAGE);
#endif
  return Status();
}

} // namespace fathom::rt
