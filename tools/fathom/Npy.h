// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A float32 .npy file [rows, columns] whose rows are written in any order. It
// appears under its name only when it is complete; until then, and after a
// failure or an interrupt, there is at most a temporary file beside it, which
// is removed.
#pragma once

#include "tools/fathom/Tool.h"

namespace fathom::tool {

class NpyWriter {
public:
  NpyWriter() = default;
  ~NpyWriter(); // removes what is not finished
  NpyWriter(const NpyWriter &) = delete;
  NpyWriter &operator=(const NpyWriter &) = delete;

  /// Creates the temporary file and claims its space on the disk.
  Failure open(const std::string &path, int64_t rows, int64_t columns);
  Failure write(int64_t firstRow, int64_t rows, const float *values);
  Failure finish();

private:
  Failure writeAt(uint64_t offset, const void *data, uint64_t size);
  Failure failed(const char *what, int error);

  std::string target, temporary;
  int fd = -1;
  uint64_t headerBytes = 0;
  int64_t columns = 0;
};

/// The header of such a file, a multiple of 64 bytes long.
std::string npyHeader(int64_t rows, int64_t columns);

} // namespace fathom::tool
