// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Common/PackageWriter.h"

#include "codegen/Common/Process.h"
#include "frontends/Support/FrontendError.h"
#include "frontends/Support/InputFile.h"
#include "frontends/Support/OutputDirectory.h"
#include "runtime/format/ManifestJson.h"
#include "runtime/format/Version.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"

#include <future>
#include <optional>

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

//===-- Places -----------------------------------------------------------===//

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

/// Of what tells a package: all else, which may be much, is not kept.
static nlohmann::json parseOutline(const std::string &text) {
  using nlohmann::json;
  auto keep = [](int depth, json::parse_event_t event, json &key) {
    if (depth != 1 || event != json::parse_event_t::key)
      return true;
    for (const char *name :
         {"format", "major", "producer", "libraries", "extraFiles"})
      if (key == name)
        return true;
    return false;
  };
  if (!format::detail::checkJsonText(text).empty())
    return json();
  return json::parse(text, keep, /*allow_exceptions=*/false);
}

static std::string textOf(const nlohmann::json &value) {
  return value.is_string() ? value.get<std::string>() : "";
}

/// `key` of an object; null if there is none, and of what is no object.
static nlohmann::json fieldOf(const nlohmann::json &object, const char *key) {
  auto at = object.find(key);
  return at == object.end() ? nlohmann::json() : *at;
}

/// What a package of this manifest, of whatever version, holds: the first parts
/// of names. Nothing where it is not a package's.
static std::optional<StringSet<>> entriesOf(const nlohmann::json &manifest) {
  if (textOf(fieldOf(manifest, "format")) != "fathom-package" ||
      !fieldOf(manifest, "major").is_number_integer() ||
      !fieldOf(manifest, "producer").is_string())
    return std::nullopt;
  StringSet<> names;
  names.insert("manifest.json");
  auto add = [&](const std::string &file) {
    names.insert(StringRef(file).split('/').first);
  };
  for (const nlohmann::json &library : fieldOf(manifest, "libraries"))
    add(textOf(fieldOf(library, "file")));
  for (const nlohmann::json &file : fieldOf(manifest, "extraFiles"))
    add(textOf(file));
  return names;
}

/// See FindForeign.
static std::string foreignInPackage(StringRef directory) {
  SmallString<256> path(directory);
  sys::path::append(path, "manifest.json");
  Expected<std::string> text = readTextFile(path, format::detail::kMaxText);
  if (!text) {
    consumeError(text.takeError());
    return "it has no manifest.json that can be read";
  }
  std::optional<StringSet<>> ours = entriesOf(parseOutline(*text));
  if (!ours)
    return "its manifest.json is not a package's";
  std::error_code error;
  for (sys::fs::directory_iterator at(directory, error), end;
       !error && at != end; at.increment(error))
    if (StringRef name = sys::path::filename(at->path()); !ours->contains(name))
      return "its manifest.json does not name " + quoted(name);
  return error ? error.message() : "";
}

Error checkPackageDestination(StringRef package) {
  return checkDestination(package, "package", foreignInPackage);
}

//===-- Writing ----------------------------------------------------------===//

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

  Interruptible tidy; // a signal acts once an unfinished directory is gone
  Expected<OutputDirectory> directory =
      OutputDirectory::create(package, "package", foreignInPackage);
  if (!directory)
    return directory.takeError();
  uint64_t total = 0;
  auto put = [&](StringRef name, StringRef bytes) {
    total += bytes.size();
    return directory->write(name, bytes);
  };
  for (const CompiledLibrary &library : libraries)
    if (Error error = put(library.about.file, library.bytes))
      return std::move(error);
  for (const auto &file : *extra)
    if (Error error = put(file.first, file.second))
      return std::move(error);
  if (Error error = put("manifest.json", text))
    return std::move(error);
  if (std::string why = problem.get(); !why.empty())
    return makeError(FailureKind::Failed, "the manifest is not well formed",
                     "package writer", std::move(why),
                     "this is a bug in Fathom; please report it");
  if (Error error = directory->finish())
    return std::move(error);
  return total;
}

} // namespace fathom
