// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Common/TemporaryFolder.h"

#include "frontends/Support/FrontendError.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"

using namespace llvm;

namespace fathom {

TemporaryFolder::~TemporaryFolder() {
  if (!folder.empty())
    sys::fs::remove_directories(folder);
}

Error TemporaryFolder::make(StringRef name) {
  SmallString<128> made;
  if (std::error_code error = sys::fs::createUniqueDirectory(name, made))
    return makeError(FailureKind::Resources,
                     "cannot create a folder for temporary files", "TMPDIR",
                     error.message(),
                     "name a folder that can be written in TMPDIR");
  folder = made.str().str();
  return Error::success();
}

std::string TemporaryFolder::at(const Twine &file) const {
  return (folder + "/" + file).str();
}

Error cannotWrite(const std::string &file, const std::string &why) {
  return makeError(FailureKind::Resources, "cannot write a temporary file",
                   quoted(file), why, kMoreSpace);
}

} // namespace fathom
