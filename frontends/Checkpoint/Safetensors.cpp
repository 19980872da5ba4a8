// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The files of a checkpoint directory and the index that binds them.
#include "frontends/Checkpoint/Safetensors.h"

#include "frontends/Support/FrontendError.h"
#include "frontends/Support/InputFile.h"
#include "frontends/Support/StrictJson.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <optional>

using namespace llvm;

namespace fathom {

namespace {

constexpr uint64_t kLargestIndex = 256 << 20;
constexpr size_t kMostFiles = 100000;
constexpr StringLiteral kIndexName = "model.safetensors.index.json";
constexpr StringLiteral kSingleName = "model.safetensors";

/// Why a file name of an index is refused, or nothing.
std::optional<std::string> complaint(StringRef name) {
  if (name.empty())
    return "it is empty";
  if (name.size() > 255)
    return "it is longer than 255 bytes";
  if (name.find_first_of("/\\") != StringRef::npos)
    return "a file name of an index may not contain a directory";
  if (name.starts_with("."))
    return "a file name of an index may not begin with a dot";
  if (any_of(name, [](char c) { return static_cast<unsigned char>(c) < 32; }))
    return "it contains a control character";
  if (!name.ends_with(".safetensors"))
    return "it does not end in .safetensors";
  return std::nullopt;
}

/// What the header of one file says.
struct Header {
  SafetensorsFile file;
  std::vector<TensorInfo> tensors;
};

/// Counts names and keeps the first ten in order.
class NameList {
public:
  void add(StringRef name) { names.push_back(name.str()); }
  bool empty() const { return names.empty(); }
  std::string text() {
    llvm::sort(names);
    return countedList(names.size(), names, "tensor");
  }

private:
  std::vector<std::string> names;
};

} // namespace

Expected<StringMap<std::string>> parseSafetensorsIndex(StringRef json,
                                                       StringRef where) {
  Expected<json::Object> root = parseJsonObject(json, where);
  if (!root)
    return root.takeError();
  auto bad = [&](std::string what, std::string why) {
    return makeError(FailureKind::BadFile, std::move(what), where.str(),
                     std::move(why),
                     "the index is damaged or hostile; download it again");
  };
  const json::Object *map = root->getObject("weight_map");
  if (!map)
    return bad("bad safetensors index", "'weight_map' is missing or not an "
                                        "object");
  if (map->empty())
    return bad("bad safetensors index", "'weight_map' names no tensor");
  StringMap<std::string> result;
  for (const auto &field : *map) {
    StringRef tensor = field.first;
    std::optional<StringRef> file = field.second.getAsString();
    if (!file)
      return bad("bad safetensors index: tensor " + quoted(tensor),
                 "its file must be a string, but is " +
                     describeKind(field.second).str());
    if (std::optional<std::string> why = complaint(*file))
      return bad("bad safetensors index: file name " + quoted(*file),
                 *why + " (tensor " + quoted(tensor) + ")");
    result[tensor] = file->str();
  }
  return result;
}

Expected<Checkpoint> Checkpoint::open(StringRef directory) {
  Checkpoint checkpoint;
  checkpoint.root = directory.str();
  if (directory.empty() || directory.contains('\0') ||
      !sys::fs::is_directory(directory))
    return makeError(FailureKind::BadFile, "no checkpoint directory",
                     quoted(directory), "it does not exist or is no directory",
                     "give the directory that holds config.json and the "
                     "safetensors files");
  std::string indexPath = checkpoint.root + "/" + kIndexName.str();
  // A dangling link counts as there, so that opening it says what is wrong.
  sys::fs::file_status status;
  bool hasIndex = !sys::fs::status(indexPath, status, /*follow=*/false);
  if (!hasIndex) {
    if (!sys::fs::exists(checkpoint.root + "/" + kSingleName.str()))
      return makeError(FailureKind::BadFile, "no weights in the directory",
                       quoted(directory),
                       "there is neither " + kIndexName.str() + " nor " +
                           kSingleName.str(),
                       "give the directory that holds config.json and the "
                       "safetensors files");
    if (Error error = checkpoint.addFiles({kSingleName.str()}))
      return std::move(error);
    return checkpoint;
  }
  Expected<std::string> text = readTextFile(indexPath, kLargestIndex);
  if (!text)
    return text.takeError();
  std::string where = quoted(indexPath);
  Expected<StringMap<std::string>> weightMap =
      parseSafetensorsIndex(*text, where);
  if (!weightMap)
    return weightMap.takeError();
  StringSet<> unique;
  for (const auto &entry : *weightMap)
    unique.insert(entry.second);
  if (unique.size() > kMostFiles)
    return makeError(FailureKind::BadFile, "bad safetensors index", where,
                     "it names " + std::to_string(unique.size()) + " files",
                     "the index is damaged or hostile; download it again");
  std::vector<std::string> names;
  for (const auto &entry : unique)
    names.push_back(entry.getKey().str());
  llvm::sort(names);
  if (Error error = checkpoint.addFiles(names))
    return std::move(error);
  if (Error error = checkpoint.checkIndex(*weightMap, where))
    return std::move(error);
  return checkpoint;
}

Checkpoint Checkpoint::inMemory(std::string name,
                                std::vector<SafetensorsFile> files,
                                std::vector<TensorInfo> tensors) {
  Checkpoint checkpoint;
  checkpoint.root = std::move(name);
  checkpoint.fileList = std::move(files);
  checkpoint.tensorList = std::move(tensors);
  for (auto [index, tensor] : enumerate(checkpoint.tensorList))
    checkpoint.byName[tensor.name] = static_cast<uint32_t>(index);
  return checkpoint;
}

static Expected<Header> readHeader(const std::string &name,
                                   const std::string &path, uint32_t index) {
  std::string where = quoted(path);
  Expected<InputFile> file = InputFile::open(path);
  if (!file)
    return file.takeError();
  std::vector<uint8_t> header(std::min<uint64_t>(8, file->size()));
  if (Error error = file->read(0, header))
    return std::move(error);
  Expected<uint64_t> length = checkHeaderLength(header, file->size(), where);
  if (!length)
    return length.takeError();
  header.resize(8 + *length);
  if (Error error =
          file->read(8, MutableArrayRef<uint8_t>(header).drop_front(8)))
    return std::move(error);
  StringRef json(reinterpret_cast<const char *>(header.data()) + 8, *length);
  Expected<std::vector<TensorInfo>> tensors =
      parseSafetensorsHeader(json, file->size(), where, index);
  if (!tensors)
    return tensors.takeError();
  return Header{{name, toHex(BLAKE3::hash<32>(header), true), file->size(),
                 header.size()},
                std::move(*tensors)};
}

/// All of them, on several threads: published models have up to a hundred files
/// of a thousand tensors. Nothing behind the first bad one, and that for sure.
static std::vector<std::optional<Expected<Header>>>
readHeaders(const std::string &root, ArrayRef<std::string> names) {
  std::vector<std::optional<Expected<Header>>> headers(names.size());
  std::atomic<size_t> bad{names.size()};
  DefaultThreadPool pool(
      hardware_concurrency(std::min<size_t>(8, names.size())));
  for (size_t i = 0; i < names.size(); ++i)
    pool.async([&, i] {
      if (i > bad)
        return;
      headers[i].emplace(readHeader(names[i], root + "/" + names[i],
                                    static_cast<uint32_t>(i)));
      if (*headers[i])
        return;
      size_t known = bad;
      while (i < known && !bad.compare_exchange_weak(known, i))
        ;
    });
  pool.wait();
  return headers;
}

Error Checkpoint::addFiles(ArrayRef<std::string> names) {
  Error first = Error::success();
  for (auto &header : readHeaders(root, names)) {
    if (!header)
      continue;
    if (first) { // of an earlier file
      if (!*header)
        consumeError(header->takeError());
    } else if (!*header) {
      first = header->takeError();
    } else {
      std::string where = quoted(root + "/" + (*header)->file.name);
      fileList.push_back(std::move((*header)->file));
      first = addTensors(std::move((*header)->tensors), where);
    }
  }
  return first;
}

Error Checkpoint::addTensors(std::vector<TensorInfo> ofFile, StringRef where) {
  for (TensorInfo &tensor : ofFile) {
    auto [place, isNew] = byName.try_emplace(
        tensor.name, static_cast<uint32_t>(tensorList.size()));
    if (!isNew)
      return makeError(
          FailureKind::BadFile, "a tensor occurs twice: " + quoted(tensor.name),
          where.str(),
          "it is also in " +
              quoted(fileList[tensorList[place->second].file].name),
          "remove files that do not belong to the checkpoint");
    tensorList.push_back(std::move(tensor));
  }
  return Error::success();
}

Error Checkpoint::checkIndex(const StringMap<std::string> &weightMap,
                             StringRef where) const {
  NameList absent, misplaced, unlisted;
  for (const auto &entry : weightMap) {
    const TensorInfo *tensor = find(entry.getKey());
    if (!tensor)
      absent.add(entry.getKey());
    else if (fileList[tensor->file].name != entry.second)
      misplaced.add(entry.getKey());
  }
  for (const TensorInfo &tensor : tensorList)
    if (!weightMap.contains(tensor.name))
      unlisted.add(tensor.name);
  if (absent.empty() && misplaced.empty() && unlisted.empty())
    return Error::success();
  std::string why;
  if (!absent.empty())
    why = "the index names what no file holds, " + absent.text();
  else if (!misplaced.empty())
    why = "other files hold than the index says, " + misplaced.text();
  else
    why = "the files hold what the index does not name, " + unlisted.text();
  return makeError(FailureKind::BadFile,
                   "the safetensors index does not fit the files", where.str(),
                   std::move(why),
                   "index and files come from different downloads; download "
                   "the checkpoint again");
}

const TensorInfo *Checkpoint::find(StringRef name) const {
  auto found = byName.find(name);
  return found == byName.end() ? nullptr : &tensorList[found->second];
}

Error Checkpoint::readTensor(const TensorInfo &tensor,
                             MutableArrayRef<uint8_t> out) const {
  if (tensor.file >= fileList.size() || out.size() != tensor.bytes)
    return makeError(FailureKind::Failed,
                     "cannot read tensor " + quoted(tensor.name), quoted(root),
                     "the buffer has " + std::to_string(out.size()) +
                         " bytes, the tensor " + std::to_string(tensor.bytes),
                     "this is a bug in Fathom; please report it");
  std::string path = root + "/" + fileList[tensor.file].name;
  Expected<InputFile> file = InputFile::open(path);
  if (!file)
    return file.takeError();
  if (file->size() != fileList[tensor.file].bytes)
    return makeError(FailureKind::BadFile, "a file has changed", quoted(path),
                     "its size was " +
                         std::to_string(fileList[tensor.file].bytes) +
                         " and is " + std::to_string(file->size()),
                     "do not change a checkpoint while it is read");
  return file->read(tensor.offset, out);
}

} // namespace fathom
