// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "frontends/Checkpoint/Layout.h"

#include "frontends/Support/FrontendError.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace fathom {

static Error refused(StringRef path, std::error_code error) {
  return makeError(FailureKind::Resources, "cannot write the skeleton",
                   quoted(path), error.message(),
                   "choose a place on a file system that keeps holes in files, "
                   "with room for the headers");
}

/// `text`, then a hole up to `bytes`.
static Error writeFile(const std::string &path, StringRef text,
                       uint64_t bytes) {
  int fd = -1;
  if (std::error_code error = sys::fs::openFileForWrite(path, fd))
    return refused(path, error);
  raw_fd_ostream os(fd, /*shouldClose=*/true);
  os << text;
  os.flush();
  std::error_code error = os.error();
  os.clear_error();
  if (!error && bytes > text.size())
    error = sys::fs::resize_file(fd, bytes);
  return error ? refused(path, error) : Error::success();
}

Error writeSkeleton(const Skeleton &skeleton, StringRef configText,
                    StringRef directory) {
  if (std::error_code error = sys::fs::create_directories(directory))
    return refused(directory, error);
  std::string root = directory.str() + "/";
  for (auto [file, header] : zip(skeleton.files, skeleton.headers))
    if (Error error = writeFile(root + file.name, header, file.bytes))
      return error;
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
  if (Error error =
          writeFile(root + "model.safetensors.index.json", index, 0))
    return error;
  return writeFile(root + "config.json", configText, 0);
}

} // namespace fathom
