// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A directory that is written as a whole: everything goes into a hidden one
// beside the destination, which then takes its place in one rename, so that
// there is never half of one, and what was there stays if something fails.
#ifndef FATHOM_FRONTENDS_SUPPORT_OUTPUTDIRECTORY_H
#define FATHOM_FRONTENDS_SUPPORT_OUTPUTDIRECTORY_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>

namespace fathom {

/// The real path of what holds `path`, which must exist, plus its own name.
llvm::Expected<llvm::SmallString<256>> realParent(llvm::StringRef path);

/// What a directory that is not empty holds that its replacement would not
/// make good, in words; "" if all of it is ours.
using FindForeign = llvm::function_ref<std::string(llvm::StringRef directory)>;

/// Fails early, before minutes of work, where writing cannot succeed: no such
/// parent directory, no permission, or something there that must not be
/// replaced. `kind`: "package".
llvm::Error checkDestination(llvm::StringRef destination, llvm::StringRef kind,
                             FindForeign foreign);

/// Moves, does not copy; takes what is unfinished away with it.
class OutputDirectory {
public:
  /// Checks the destination once more.
  static llvm::Expected<OutputDirectory> create(llvm::StringRef destination,
                                                llvm::StringRef kind,
                                                FindForeign foreign);
  OutputDirectory(OutputDirectory &&other);
  OutputDirectory(const OutputDirectory &) = delete;
  OutputDirectory &operator=(const OutputDirectory &) = delete;
  ~OutputDirectory();

  /// A file, whose folders are made. A hole follows the text up to `bytes`.
  llvm::Error write(llvm::StringRef name, llvm::StringRef text,
                    uint64_t bytes = 0);
  /// Takes the place of the destination.
  llvm::Error finish();

private:
  OutputDirectory(std::string ready, std::string destination, std::string kind)
      : ready(std::move(ready)), destination(std::move(destination)),
        kind(std::move(kind)) {}
  std::string ready; // empty: moved away
  std::string destination, kind;
};

} // namespace fathom

#endif // FATHOM_FRONTENDS_SUPPORT_OUTPUTDIRECTORY_H
