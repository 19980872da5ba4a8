// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Puts another library in the place of the host's in a package, for the tests:
//   fathom-replace-library PACKAGE NEW.so
#include "codegen/Common/PackageWriter.h"
#include "frontends/Support/InputFile.h"
#include "runtime/format/ManifestJson.h"

#include "llvm/Support/raw_ostream.h"

using namespace fathom;

static llvm::Error replace(const std::string &package, const char *library) {
  auto read = [](const std::string &path) {
    return readTextFile(path, uint64_t(1) << 31);
  };
  llvm::Expected<std::string> text = read(package + "/manifest.json");
  if (!text)
    return text.takeError();
  format::Manifest manifest;
  std::string problem = format::parseManifest(*text, manifest);
  if (!problem.empty())
    return llvm::createStringError(problem);
  std::vector<CompiledLibrary> libraries;
  for (const format::Library &about : manifest.libraries) {
    bool isHost = about.target == "cpu";
    llvm::Expected<std::string> bytes =
        read(isHost ? library : package + "/" + about.file);
    if (!bytes)
      return bytes.takeError();
    libraries.push_back({about, std::move(*bytes)});
  }
  std::vector<PackageFile> more;
  for (const std::string &file : manifest.extraFiles) {
    llvm::Expected<std::string> bytes = read(package + "/" + file);
    if (!bytes)
      return bytes.takeError();
    more.emplace_back(file, std::move(*bytes));
  }
  manifest.libraries.clear();
  manifest.extraFiles.clear();
  return writePackage(package, manifest, libraries, "", more).takeError();
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  if (llvm::Error error = replace(argv[1], argv[2])) {
    llvm::errs() << llvm::toString(std::move(error)) << "\n";
    return 1;
  }
  return 0;
}
