// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Puts a package together and writes it as a whole (OutputDirectory.h). Equal
// inputs give equal bytes: no times, no absolute paths.
#ifndef FATHOM_CODEGEN_COMMON_PACKAGEWRITER_H
#define FATHOM_CODEGEN_COMMON_PACKAGEWRITER_H

#include "codegen/Common/TargetRegistry.h"
#include "dialects/DSV4/IR/DSV4.h"
#include "runtime/format/Manifest.h"

namespace fathom {

/// model, limits and producer of a manifest from the module attribute
/// dsv4.model. `architecture` as in config.json.
void describeModel(dsv4::ModelAttr model, llvm::StringRef architecture,
                   format::Manifest &manifest);

/// `directory` as seen from inside the package directory `package` (which need
/// not exist, but the directory that holds it must): what checkpointDirectory
/// says. Symbolic links on the way are resolved, since ".." is physical.
llvm::Expected<std::string> relativeToPackage(llvm::StringRef directory,
                                              llvm::StringRef package);

/// See checkDestination: a package may be replaced, of any version, if its
/// manifest names all that the directory holds.
llvm::Error checkPackageDestination(llvm::StringRef package);

/// A file of a package beside manifest and code: name and bytes.
using PackageFile = std::pair<std::string, std::string>;

/// Writes manifest, libraries, `more`, and those of tokenizer.json,
/// tokenizer_config.json, generation_config.json and config.json that
/// `checkpoint` (which may be empty) has; fills libraries, extraFiles and contentBlake3 of the
/// manifest. An existing package of this name is replaced. Returns the bytes
/// written. On error nothing is left and what was there is as before.
llvm::Expected<uint64_t> writePackage(llvm::StringRef package,
                                      format::Manifest manifest,
                                      llvm::ArrayRef<CompiledLibrary> libraries,
                                      llvm::StringRef checkpoint,
                                      llvm::ArrayRef<PackageFile> more = {});

} // namespace fathom

#endif // FATHOM_CODEGEN_COMMON_PACKAGEWRITER_H
