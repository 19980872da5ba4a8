// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Common/PackageWriter.h"

#include "frontends/Support/FrontendError.h"
#include "frontends/Support/InputFile.h"
#include "runtime/format/ManifestJson.h"
#include "runtime/format/Version.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <future>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace llvm;

namespace fathom {

/// Files of a checkpoint that travel with a package, and a bound on the size
/// of each (bytes): they are copied, so a hostile one must not fill the disk.
static constexpr const char *kCopiedFiles[] = {
    "config.json", "generation_config.json", "tokenizer.json",
    "tokenizer_config.json"};
static constexpr uint64_t kMaxCopiedBytes = uint64_t(256) << 20;

//===-- Manifest ---------------------------------------------------------===//

void describeModel(dsv4::ModelAttr model, StringRef architecture,
                   format::Manifest &manifest) {
  manifest.producer = std::string("fathom ") + format::kVersion;
  format::Model &m = manifest.model;
  m.architecture = architecture.str();
  m.numerics = stringifyEnum(model.getNumerics().getValue()).str();
  m.hiddenSize = model.getHidden();
  m.layers = model.getLayers();
  m.vocabularySize = model.getVocabulary();
  m.streams = model.getStreams();
  m.heads = model.getHeads();
  m.headDim = model.getHeadDim();
  m.experts = model.getExperts();
  m.expertsPerToken = model.getExpertsPerToken();
  m.mtpLayers = model.getMtpLayers();
  m.bosToken = model.getBos();
  m.eosTokens.assign(model.getEos().asArrayRef().begin(),
                     model.getEos().asArrayRef().end());
  m.compressRatios.assign(model.getRatios().asArrayRef().begin(),
                          model.getRatios().asArrayRef().end());
  manifest.limits = {model.getMaxContext(), model.getMaxSequences(),
                     model.getMaxStepTokens()};
}

//===-- Paths ------------------------------------------------------------===//

/// An error of the operating system: no space and no permission are the
/// machine's refusals, everything else is a failure.
static Error systemError(std::string what, StringRef where, int error) {
  std::string why = std::strerror(error), help;
  FailureKind kind = FailureKind::Failed;
  switch (error) {
  case ENOSPC:
  case EDQUOT:
  case EFBIG:
    kind = FailureKind::Resources;
    help = "free some space or choose another place with -o";
    break;
  case EACCES:
  case EPERM:
  case EROFS:
    kind = FailureKind::Resources;
    help = "choose a place that you may write to with -o";
    break;
  case ENOENT:
  case ENOTDIR:
    kind = FailureKind::Failed;
    help = "create the directory first, or correct the path";
    break;
  default:
    help = "check the path and the disk";
  }
  return makeError(kind, std::move(what), quoted(where), std::move(why),
                   std::move(help));
}

/// Absolute, without a slash at the end.
static SmallString<256> absolutePath(StringRef path) {
  SmallString<256> full(path);
  sys::fs::make_absolute(full);
  sys::path::remove_dots(full, /*remove_dot_dot=*/false);
  while (full.size() > 1 && full.ends_with("/"))
    full.pop_back();
  return full;
}

/// The real path of what holds `path`, plus its own name.
static Expected<SmallString<256>> realParent(StringRef path) {
  SmallString<256> full = absolutePath(path), real;
  StringRef name = sys::path::filename(full);
  if (name == "." || name == ".." || full == "/") {
    if (std::error_code error = sys::fs::real_path(full, real))
      return systemError("cannot resolve a path", path, error.value());
    return real;
  }
  if (std::error_code error =
          sys::fs::real_path(sys::path::parent_path(full), real))
    return systemError("cannot resolve a path", sys::path::parent_path(full),
                       error.value());
  sys::path::append(real, name);
  return real;
}

Expected<std::string> relativeToPackage(StringRef directory,
                                        StringRef package) {
  Expected<SmallString<256>> from = realParent(package);
  if (!from)
    return from.takeError();
  Expected<SmallString<256>> to = realParent(directory);
  if (!to)
    return to.takeError();
  auto a = sys::path::begin(*from), aEnd = sys::path::end(*from);
  auto b = sys::path::begin(*to), bEnd = sys::path::end(*to);
  while (a != aEnd && b != bEnd && *a == *b)
    ++a, ++b;
  SmallString<256> relative;
  for (; a != aEnd; ++a)
    sys::path::append(relative, "..");
  for (; b != bEnd; ++b)
    sys::path::append(relative, *b);
  if (!json::isUTF8(relative))
    return makeError(FailureKind::Unsupported,
                     "the path of the checkpoint cannot be written down",
                     quoted(relative),
                     "a manifest is UTF-8, which this path is not",
                     "rename the directory, or name a link to it in a place "
                     "whose path is UTF-8");
  return relative.empty() ? "." : relative.str().str();
}

/// Whether there is a directory that is empty or holds a package.
static bool mayReplace(const std::string &path) {
  struct stat status;
  if (lstat(path.c_str(), &status) != 0)
    return true;
  if (!S_ISDIR(status.st_mode))
    return false;
  SmallString<256> manifest(StringRef{path});
  sys::path::append(manifest, "manifest.json");
  if (sys::fs::is_regular_file(manifest))
    return true;
  std::error_code error;
  sys::fs::directory_iterator first(path, error), end;
  return !error && first == end;
}

Error checkPackageDestination(StringRef package) {
  Expected<SmallString<256>> path = realParent(package);
  if (!path)
    return path.takeError();
  StringRef parent = sys::path::parent_path(*path);
  if (parent.empty())
    return makeError(FailureKind::Failed, "cannot write the package",
                     quoted(package), "this is the root directory",
                     "name a directory to create, such as model.fathom");
  if (access(parent.str().c_str(), W_OK | X_OK) != 0)
    return systemError("cannot write the package", package, errno);
  if (!mayReplace(path->str().str()))
    return makeError(FailureKind::Failed, "will not replace what is there",
                     quoted(package),
                     "it is neither a Fathom package nor an empty directory",
                     "remove it yourself, or choose another name with -o");
  return Error::success();
}

//===-- Writing ----------------------------------------------------------===//

static Error writeFile(const Twine &directory, StringRef name,
                       StringRef bytes) {
  SmallString<256> path;
  directory.toVector(path);
  sys::path::append(path, name);
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0)
    return systemError("cannot create a file of the package", path, errno);
  const char *next = bytes.data();
  size_t left = bytes.size();
  int error = 0;
  while (left && !error) {
    ssize_t n = write(fd, next, std::min<size_t>(left, size_t(1) << 30));
    if (n < 0 && errno != EINTR)
      error = errno;
    if (n > 0) {
      next += n;
      left -= n;
    }
  }
  // Some file systems report a full disk only here.
  if (!error && fsync(fd) != 0 && errno != EINVAL && errno != EROFS)
    error = errno;
  if (close(fd) != 0 && !error)
    error = errno;
  if (error)
    return systemError("cannot write a file of the package", path, error);
  return Error::success();
}

/// Takes the place of `destination`, which may be a package. Where the system
/// can exchange two names there is no moment without a package; elsewhere the
/// old one steps aside first and comes back if the new one cannot take over.
static Error takePlace(const std::string &ready,
                       const std::string &destination) {
  if (rename(ready.c_str(), destination.c_str()) == 0)
    return Error::success(); // nothing there, or an empty directory
  if (errno != ENOTEMPTY && errno != EEXIST)
    return systemError("cannot put the package in its place", destination,
                       errno);
#if defined(SYS_renameat2)
  constexpr unsigned kExchange = 2;
  if (syscall(SYS_renameat2, AT_FDCWD, ready.c_str(), AT_FDCWD,
              destination.c_str(), kExchange) == 0)
    return Error::success(); // the caller removes what is now `ready`
#endif
  const std::string aside = ready + ".old";
  if (rename(destination.c_str(), aside.c_str()) != 0)
    return systemError("cannot replace the package", destination, errno);
  if (rename(ready.c_str(), destination.c_str()) != 0) {
    int error = errno;
    (void)rename(aside.c_str(), destination.c_str());
    return systemError("cannot replace the package", destination, error);
  }
  sys::fs::remove_directories(aside);
  return Error::success();
}

/// Small files of the checkpoint, read whole: name and text.
static Expected<std::vector<PackageFile>> readExtraFiles(StringRef checkpoint) {
  std::vector<PackageFile> files;
  if (checkpoint.empty())
    return files;
  for (const char *name : kCopiedFiles) {
    SmallString<256> path(checkpoint);
    sys::path::append(path, name);
    if (!sys::fs::exists(path))
      continue;
    Expected<std::string> text = readTextFile(path, kMaxCopiedBytes);
    if (!text)
      return text.takeError();
    files.emplace_back(name, std::move(*text));
  }
  return files;
}

/// Our own promise: what we write is what the runtime accepts.
static std::string selfCheck(const std::string &text) {
  format::Manifest again;
  return format::parseManifest(text, again);
}

Expected<uint64_t> writePackage(StringRef package, format::Manifest manifest,
                                ArrayRef<CompiledLibrary> libraries,
                                StringRef checkpoint,
                                ArrayRef<PackageFile> more) {
  auto extra = readExtraFiles(checkpoint);
  if (!extra)
    return extra.takeError();
  extra->insert(extra->end(), more.begin(), more.end());
  for (const auto &file : *extra)
    manifest.extraFiles.push_back(file.first);
  for (const CompiledLibrary &library : libraries) {
    format::Library about = library.about;
    about.blake3 =
        format::blake3Hex(library.bytes.data(), library.bytes.size());
    about.bytes = library.bytes.size();
    manifest.libraries.push_back(std::move(about));
  }
  std::string text = format::sealedText(manifest);
  // As long as writing all the files takes; waited for in any case.
  std::future<std::string> problem =
      std::async(std::launch::async, [&text] { return selfCheck(text); });

  if (Error error = checkPackageDestination(package))
    return std::move(error);
  Expected<SmallString<256>> destination = realParent(package);
  if (!destination)
    return destination.takeError();
  SmallString<256> hidden(sys::path::parent_path(*destination));
  sys::path::append(hidden, "." + sys::path::filename(*destination) +
                                ".writing-XXXXXX");
  std::string ready = hidden.str().str();
  if (!mkdtemp(ready.data()))
    return systemError("cannot create a directory beside the package", package,
                       errno);
  scope_exit cleanUp([&] { sys::fs::remove_directories(ready); });
  // mkdtemp gives 0700; a package is as readable as any directory.
  mode_t mask = umask(0);
  umask(mask);
  if (chmod(ready.c_str(), 0777 & ~mask) != 0)
    return systemError("cannot write the package", ready, errno);

  uint64_t total = 0;
  auto put = [&](StringRef name, StringRef bytes) {
    total += bytes.size();
    return writeFile(ready, name, bytes);
  };
  for (const CompiledLibrary &library : libraries) {
    SmallString<256> folder(ready);
    sys::path::append(folder, sys::path::parent_path(library.about.file));
    if (std::error_code error = sys::fs::create_directories(folder))
      return systemError("cannot create a folder of the package", folder,
                         error.value());
    if (Error error = put(library.about.file, library.bytes))
      return std::move(error);
  }
  for (const auto &file : *extra)
    if (Error error = put(file.first, file.second))
      return std::move(error);
  if (Error error = put("manifest.json", text))
    return std::move(error);
  if (std::string why = problem.get(); !why.empty())
    return makeError(FailureKind::Failed, "the manifest is not well formed",
                     "package writer", std::move(why),
                     "this is a bug in Fathom; please report it");
  if (Error error = takePlace(ready, destination->str().str()))
    return std::move(error);
  return total;
}

} // namespace fathom
