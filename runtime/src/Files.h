// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reading whole files with a bound, and read-only mappings.
#pragma once

#include "runtime/src/Status.h"

#include <cstdint>
#include <string>

namespace fathom::rt {

/// `directory`/`name` with exactly one slash between them.
std::string joinPath(const std::string &directory, const std::string &name);

/// Reads a regular file of at most `limit` bytes. A file that is missing or
/// too large is FATHOM_BAD_FILE.
Status readFile(const std::string &path, uint64_t limit, std::string &out);

/// The text of a package's manifest.json. A checkpoint is no package, and is
/// told so.
Status readManifest(const std::string &package, uint64_t limit,
                    std::string &out);

/// A regular file (or a symbolic link to one), mapped for reading, followed by
/// at least 4096 readable bytes. Moves, does not copy.
class MappedFile {
public:
  MappedFile() = default;
  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&) = delete;
  ~MappedFile();

  /// `bytes` is the size that the file must have.
  Status map(const std::string &path, uint64_t bytes);
  const uint8_t *data() const { return begin; }
  uint64_t size() const { return fileSize; }

private:
  void *memory = nullptr; // all that is reserved
  uint8_t *begin = nullptr;
  uint64_t fileSize = 0, reserved = 0;
};

} // namespace fathom::rt
