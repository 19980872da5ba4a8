// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc finish: device code for a package that was compiled without CANN. The
// modules in it are what is compiled; the checkpoint is not needed.
#include "tools/fathomc/AscendTarget.h"
#include "tools/fathomc/Commands.h"
#include "tools/fathomc/Compile.h"

#include "codegen/Common/PackageWriter.h"
#include "frontends/Support/FrontendError.h"
#include "frontends/Support/InputFile.h"
#include "runtime/format/Blake3.h"
#include "runtime/format/ManifestJson.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <map>
#include <set>

using namespace llvm;

namespace fathom {

static constexpr uint64_t kMostBytes = uint64_t(1) << 31;

static Expected<std::string> readFile(StringRef package, StringRef file,
                                      uint64_t most) {
  SmallString<256> path(package);
  sys::path::append(path, file);
  return readTextFile(path, most);
}

/// The bytes of a file that the manifest describes, which must be what it says.
static Expected<std::string> readLibrary(StringRef package,
                                         const format::Library &library) {
  Expected<std::string> bytes = readFile(package, library.file, kMostBytes);
  if (!bytes)
    return bytes;
  if (format::blake3Hex(bytes->data(), bytes->size()) != library.blake3)
    return makeError(FailureKind::BadFile, "a file of the package was changed",
                     fathom::quoted(library.file),
                     "its hash is not the one in the manifest",
                     "compile the package again");
  return bytes;
}

namespace {
/// What a package holds for Ascend, sorted by what is to be done with it.
struct Work {
  std::vector<ascend::Job> jobs;
  std::vector<bool> mixed; // for each job
  std::vector<CompiledLibrary> kept;
  std::set<const ascend::Target *> targets;         // of the jobs
  size_t finished = 0;                              // before
  std::map<const ascend::Target *, size_t> waiting; // afterwards
};
} // namespace

static Error sortLibraries(StringRef package, const format::Manifest &manifest,
                           const ascend::Toolchain &tools, Work &work) {
  for (const format::Library &library : manifest.libraries) {
    const ascend::Target *target = ascend::findTarget(library.isa);
    bool isDevice = library.target == "ascend" && target;
    bool canFinish = isDevice && !tools.generatorFor(*target).empty();
    if (canFinish && (library.form == "hivm" || library.form == "command"))
      continue; // of no use any more
    Expected<std::string> bytes = readLibrary(package, library);
    if (!bytes)
      return bytes.takeError();
    bool isModule = isDevice && library.form == "adapter";
    work.finished += isDevice && library.form.empty();
    if (!isModule || !canFinish) {
      if (isModule)
        ++work.waiting[target];
      work.kept.push_back({library, std::move(*bytes)});
      continue;
    }
    ascend::Job job;
    job.kernel = library.kernel;
    job.target = target;
    job.module = std::move(*bytes);
    work.jobs.push_back(std::move(job));
    work.targets.insert(target);
    auto mix = library.configuration.find("mix");
    work.mixed.push_back(mix != library.configuration.end() && mix->second);
  }
  return Error::success();
}

static void tellWaiting(const Work &work) {
  for (auto [target, count] : work.waiting)
    errs() << formatv("fathomc: finish  {0}: {1} kernels wait for {2} of CANN "
                      "on PATH\n",
                      target->name, count,
                      target->hasFP8 ? "hivmc-a5" : "hivmc");
}

/// Writes the package once all of it is there, in the place of the old one.
static Error finish(const CompileOptions &options) {
  SmallString<256> package;
  if (std::error_code error =
          sys::fs::real_path(options.package, package)) // not a link to it
    return makeError(FailureKind::BadFile, "cannot read a package",
                     fathom::quoted(options.package), error.message(),
                     "a package is a directory NAME.fathom written by fathomc");
  Expected<std::string> text =
      readFile(package, "manifest.json", format::detail::kMaxText);
  if (!text)
    return text.takeError();
  format::Manifest manifest;
  std::string problem = format::parseManifest(*text, manifest);
  if (!problem.empty())
    return makeError(FailureKind::BadFile, "cannot read a package",
                     fathom::quoted(options.package), problem,
                     "a package is a directory NAME.fathom written by fathomc "
                     "of the same version");
  if (none_of(manifest.libraries, [](const format::Library &library) {
        return library.form == "adapter";
      })) {
    errs() << "fathomc: finish  nothing to do, all kernels have their code\n";
    return Error::success();
  }
  if (Error error = checkPackageDestination(package))
    return error;
  TargetOptions chosen;
  chosen.assembler = options.assembler;
  Expected<ascend::AscendOptions> ascend = ascendOptions(chosen);
  if (!ascend)
    return ascend.takeError();
  const ascend::Toolchain &tools = ascend->toolchain;

  Work work;
  if (Error error = sortLibraries(package, manifest, tools, work))
    return error;
  if (work.jobs.empty()) {
    tellWaiting(work);
    return makeError(
        FailureKind::Resources, "the code generator is not here",
        fathom::quoted(options.package),
        "no kernel of it waits for one that is on PATH",
        "put hivmc (910b, a3) or hivmc-a5 (950) of CANN on PATH, as its "
        "set_env.sh does");
  }
  // All that the package will hold is here before hours of work.
  std::vector<PackageFile> more;
  for (const std::string &file : manifest.extraFiles) {
    Expected<std::string> bytes = readFile(package, file, kMostBytes);
    if (!bytes)
      return bytes.takeError();
    more.emplace_back(file, std::move(*bytes));
  }
  Progress progress(options.quiet);
  progress.begin("finish");
  ascend->compiler.progress = [&](size_t done, size_t of) {
    progress.at(done, of);
  };
  if (Error error = ascend::compileModules(work.jobs, tools, ascend->compiler))
    return error;
  size_t refused = 0;
  const ascend::Job *first = nullptr;
  for (const ascend::Job &job : work.jobs)
    if (!job.refusal.empty() && !refused++)
      first = &job;
  if (first)
    return makeError(FailureKind::Failed,
                     formatv("{0} of {1} kernels could not be compiled",
                             refused, work.jobs.size()),
                     first->kernel + " for " + first->target->name,
                     first->refusal,
                     "the package is as it was; it was compiled with " +
                         manifest.target.assembler + ", these tools are " +
                         tools.describe(std::vector<const ascend::Target *>(
                             work.targets.begin(), work.targets.end())));
  for (const auto &[job, mix] : zip(work.jobs, work.mixed))
    work.kept.push_back(deviceLibrary(job, mix));
  manifest.libraries.clear();
  manifest.extraFiles.clear();
  std::string made = tools.describe(std::vector<const ascend::Target *>(
      work.targets.begin(), work.targets.end()));
  // Other processors' code may have been made by others before.
  if (work.finished && manifest.target.assembler != made)
    made = manifest.target.assembler + "; " + made;
  manifest.target.assembler = made;
  Expected<uint64_t> written = writePackage(package, manifest, work.kept,
                                            /*checkpoint=*/"", more);
  if (!written)
    return written.takeError();
  progress.end(formatv("{0} kernels have device code now, by {1}",
                       work.jobs.size() + work.finished,
                       manifest.target.assembler));
  tellWaiting(work);
  return Error::success();
}

int finishPackage(const CompileOptions &options) {
  if (Error error = finish(options))
    return reportError(std::move(error), errs(), "fathomc");
  return 0;
}

} // namespace fathom
