// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathom/Npy.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace fathom::tool {

namespace {

/// The file that an interrupt must remove. One writer at a time.
char pendingPath[4096];

void removeAndDie(int signal) {
  if (pendingPath[0])
    unlink(pendingPath);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void watchSignals(const std::string &path) {
  if (path.size() >= sizeof(pendingPath))
    return;
  std::memcpy(pendingPath, path.c_str(), path.size() + 1);
  for (int signal : {SIGINT, SIGTERM, SIGHUP})
    std::signal(signal, removeAndDie);
}

void unwatchSignals() {
  for (int signal : {SIGINT, SIGTERM, SIGHUP})
    std::signal(signal, SIG_DFL);
  pendingPath[0] = '\0';
}

} // namespace

std::string npyHeader(int64_t rows, int64_t columns) {
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                     std::to_string(rows) + ", " + std::to_string(columns) +
                     "), }";
  // Magic, version and length take 10 bytes; the text ends in a newline.
  while ((10 + text.size() + 1) % 64)
    text += ' ';
  text += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(text.size() & 0xff);
  out += static_cast<char>(text.size() >> 8);
  return out + text;
}

Failure NpyWriter::failed(const char *what, int error) {
  return {FATHOM_RESOURCES, // the machine refuses, whatever the reason
          std::string("cannot ") + what + " '" + target +
              "': " + std::strerror(error),
          error == ENOENT
              ? "create the folder first, or name another place with -o"
              : "make room, or name a place with -o that may be written to"};
}

Failure NpyWriter::open(const std::string &path, int64_t rows,
                        int64_t columnCount) {
  columns = columnCount;
  if (Failure f = outputPath(path, target))
    return f;
  // Writing beyond the file size limit is then an error, not a signal.
  std::signal(SIGXFSZ, SIG_IGN);
  const std::string name = target + ".tmp." + std::to_string(getpid());
  fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0)
    return failed("create", errno);
  temporary = name;
  watchSignals(temporary);
  const std::string header = npyHeader(rows, columns);
  headerBytes = header.size();
  const uint64_t bytes = uint64_t(rows) * uint64_t(columns) * 4;
  // Hours of work should not end in a full disk.
  if (fallocate(fd, 0, 0, off_t(headerBytes + bytes)) != 0 &&
      errno != EOPNOTSUPP && errno != ENOSYS)
    return failed("write to", errno);
  return writeAt(0, header.data(), header.size());
}

Failure NpyWriter::writeAt(uint64_t offset, const void *data, uint64_t size) {
  const char *bytes = static_cast<const char *>(data);
  while (size) {
    const ssize_t done = pwrite(fd, bytes, size, off_t(offset));
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return failed("write to", errno);
    bytes += done;
    offset += uint64_t(done);
    size -= uint64_t(done);
  }
  return {};
}

Failure NpyWriter::write(int64_t firstRow, int64_t rows, const float *values) {
  const uint64_t rowBytes = uint64_t(columns) * 4;
  return writeAt(headerBytes + uint64_t(firstRow) * rowBytes, values,
                 uint64_t(rows) * rowBytes);
}

Failure NpyWriter::finish() {
  const int file = fd;
  fd = -1;
  if (close(file) != 0)
    return failed("write to", errno);
  if (rename(temporary.c_str(), target.c_str()) != 0)
    return failed("rename the finished file to", errno);
  temporary.clear();
  unwatchSignals();
  return {};
}

NpyWriter::~NpyWriter() {
  if (fd >= 0)
    close(fd);
  if (temporary.empty())
    return;
  unlink(temporary.c_str());
  unwatchSignals();
}

} // namespace fathom::tool
