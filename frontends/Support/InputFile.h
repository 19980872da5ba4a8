// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reading files that somebody else wrote: regular files only (a pipe or a
// device could block or never end), sizes known before anything is allocated.
#ifndef FATHOM_FRONTENDS_SUPPORT_INPUTFILE_H
#define FATHOM_FRONTENDS_SUPPORT_INPUTFILE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>

namespace fathom {

/// An open regular file. Moves, does not copy; closes itself.
class InputFile {
public:
  /// Follows symbolic links. Errors: absent or not a regular file (BadFile),
  /// no permission or no handles (Resources).
  static llvm::Expected<InputFile> open(llvm::StringRef path);

  InputFile(InputFile &&other);
  InputFile &operator=(InputFile &&other);
  InputFile(const InputFile &) = delete;
  InputFile &operator=(const InputFile &) = delete;
  ~InputFile();

  /// Bytes, as of opening.
  uint64_t size() const { return bytes; }
  llvm::StringRef path() const { return filePath; }

  /// Fills `out` from `offset`; a file that became shorter is an error.
  llvm::Error read(uint64_t offset, llvm::MutableArrayRef<uint8_t> out) const;

private:
  InputFile(int fd, uint64_t bytes, std::string path)
      : fd(fd), bytes(bytes), filePath(std::move(path)) {}
  int fd = -1;
  uint64_t bytes = 0;
  std::string filePath;
};

/// The whole of a text file of at most `limit` bytes.
llvm::Expected<std::string> readTextFile(llvm::StringRef path, uint64_t limit);

} // namespace fathom

#endif // FATHOM_FRONTENDS_SUPPORT_INPUTFILE_H
