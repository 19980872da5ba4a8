// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "frontends/Checkpoint/Layout.h"

#include "frontends/Support/FrontendError.h"
#include "frontends/Support/InputFile.h"
#include "frontends/Support/OutputDirectory.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace fathom {

static constexpr StringLiteral kConfig = "config.json",
                               kIndex = "model.safetensors.index.json";

/// Whether a file's header says that holes follow: real weights have another.
static bool isSkeletonFile(StringRef path) {
  constexpr size_t kLength = 8; // of the header, in front of it
  Expected<InputFile> file = InputFile::open(path);
  if (!file || file->size() < kLength + kSkeletonHeader.size()) {
    consumeError(file.takeError());
    return false;
  }
  std::string begin(kSkeletonHeader.size(), '\0');
  MutableArrayRef<uint8_t> bytes(reinterpret_cast<uint8_t *>(begin.data()),
                                 begin.size());
  if (Error error = file->read(kLength, bytes)) {
    consumeError(std::move(error));
    return false;
  }
  return begin == kSkeletonHeader;
}

/// See FindForeign.
static std::string foreignInSkeleton(StringRef directory) {
  std::error_code error;
  bool isSkeleton = false;
  for (sys::fs::directory_iterator at(directory, error), end;
       !error && at != end; at.increment(error)) {
    StringRef name = sys::path::filename(at->path());
    if (name == kConfig || name == kIndex)
      continue;
    if (!name.ends_with(".safetensors") || !isSkeletonFile(at->path()))
      return quoted(name) + " was not written as part of one";
    isSkeleton = true;
  }
  if (error)
    return error.message();
  return isSkeleton ? "" : "it has no file of one";
}

static std::string indexOf(const Skeleton &skeleton) {
  std::string index;
  raw_string_ostream os(index);
  os << "{\n \"metadata\": {\"total_size\": " << skeleton.dataBytes()
     << "},\n \"weight_map\": {";
  const char *separator = "\n";
  for (const TensorInfo &tensor : skeleton.tensors) {
    os << separator << "  \"" << tensor.name << "\": \""
       << skeleton.files[tensor.file].name << '"';
    separator = ",\n";
  }
  os << "\n }\n}\n";
  return index;
}

Error writeSkeleton(const Skeleton &skeleton, StringRef configText,
                    StringRef directory) {
  Expected<OutputDirectory> output =
      OutputDirectory::create(directory, "skeleton", foreignInSkeleton);
  if (!output)
    return output.takeError();
  for (auto [file, header] : zip(skeleton.files, skeleton.headers))
    if (Error error = output->write(file.name, header, file.bytes))
      return error;
  if (Error error = output->write(kIndex, indexOf(skeleton)))
    return error;
  if (Error error = output->write(kConfig, configText))
    return error;
  return output->finish();
}

} // namespace fathom
