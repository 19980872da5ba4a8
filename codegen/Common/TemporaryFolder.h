// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A folder for files of ours, and what is said where there is no place for
// them.
#pragma once

#include "codegen/Common/Process.h"

#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"

#include <string>

namespace fathom {

/// Goes with all that lies in it, also where a signal asks us to end meanwhile.
class TemporaryFolder {
public:
  TemporaryFolder() = default;
  ~TemporaryFolder();
  /// In TMPDIR; its name begins so.
  llvm::Error make(llvm::StringRef name);
  const std::string &path() const { return folder; }
  std::string at(const llvm::Twine &file) const;

private:
  Interruptible tidy; // the last to go: a signal acts once the folder is gone
  std::string folder;
};

/// What helps where a temporary file finds no space.
inline constexpr const char *kMoreSpace =
    "free some space, or name another folder in TMPDIR";

/// That a temporary file cannot be written.
llvm::Error cannotWrite(const std::string &file,
                        const std::string &why = "no space or no permission");

} // namespace fathom
