// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc finish: device code for a package that was compiled without CANN. The
// modules in it are what is compiled; the checkpoint is not needed.
#include "tools/fathomc/AscendTarget.h"
#include "tools/fathomc/Commands.h"

#include "codegen/Common/PackageWriter.h"
#include "frontends/Support/FrontendError.h"
#include "frontends/Support/InputFile.h"
#include "runtime/format/Blake3.h"
#include "runtime/format/ManifestJson.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

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

static Error finish(const CompileOptions &options) {
  Expected<std::string> text =
      readFile(options.package, "manifest.json", format::detail::kMaxText);
  if (!text)
    return text.takeError();
  format::Manifest manifest;
  std::string problem = format::parseManifest(*text, manifest);
  if (!problem.empty())
    return makeError(FailureKind::BadFile, "cannot read a package",
                     fathom::quoted(options.package), problem,
                     "a package is a directory NAME.fathom written by fathomc "
                     "of the same version");
  TargetOptions chosen;
  chosen.assembler = options.assembler;
  Expected<ascend::AscendOptions> ascend = ascendOptions(chosen);
  if (!ascend)
    return ascend.takeError();

  std::vector<ascend::Job> jobs;
  std::vector<bool> mixed;
  std::vector<CompiledLibrary> kept;
  for (const format::Library &library : manifest.libraries) {
    const ascend::Target *target = ascend::findTarget(library.isa);
    bool isDevice = library.target == "ascend" && target;
    bool canFinish =
        isDevice && !ascend->toolchain.generatorFor(*target).empty();
    if (canFinish && (library.form == "hivm" || library.form == "command"))
      continue;
    Expected<std::string> bytes = readLibrary(options.package, library);
    if (!bytes)
      return bytes.takeError();
    if (!canFinish || library.form != "adapter") {
      kept.push_back({library, std::move(*bytes)});
      continue;
    }
    ascend::Job job;
    job.kernel = library.kernel;
    job.target = target;
    job.module = std::move(*bytes);
    jobs.push_back(std::move(job));
    auto mix = library.configuration.find("mix");
    mixed.push_back(mix != library.configuration.end() && mix->second);
  }
  if (jobs.empty())
    return makeError(
        FailureKind::Resources, "there is nothing to finish",
        fathom::quoted(options.package),
        "no kernel of it waits for a code generator that is on PATH",
        "put hivmc (910b, a3) or hivmc-a5 (950) of CANN on PATH; packages of "
        "other targets are complete");
  if (Error error =
          ascend::compileModules(jobs, ascend->toolchain, ascend->compiler))
    return error;
  for (const auto &[job, mix] : zip(jobs, mixed)) {
    if (!job.refusal.empty())
      return makeError(FailureKind::Failed, "a kernel could not be compiled",
                       job.kernel + " for " + job.target->name, job.refusal,
                       "the package is as it was; compile it again with this "
                       "version of AscendNPU-IR");
    kept.push_back(deviceLibrary(job, mix));
  }

  std::vector<PackageFile> more;
  for (const std::string &file : manifest.extraFiles) {
    Expected<std::string> bytes = readFile(options.package, file, kMostBytes);
    if (!bytes)
      return bytes.takeError();
    more.emplace_back(file, std::move(*bytes));
  }
  manifest.libraries.clear();
  manifest.extraFiles.clear();
  manifest.target.assembler = "AscendNPU-IR " + ascend->toolchain.version;
  Expected<uint64_t> written =
      writePackage(options.package, manifest, kept, /*checkpoint=*/"", more);
  if (!written)
    return written.takeError();
  errs() << formatv("fathomc: finish  {0} kernels have device code now\n",
                    jobs.size());
  return Error::success();
}

int finishPackage(const CompileOptions &options) {
  if (Error error = finish(options))
    return reportError(std::move(error), errs(), "fathomc");
  return 0;
}

} // namespace fathom
