// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One file's header: types, shapes, offsets.
#include "frontends/Checkpoint/Safetensors.h"

#include "frontends/Support/FrontendError.h"
#include "frontends/Support/StrictJson.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace llvm;

namespace fathom {

namespace {

struct DTypeRow {
  DType type;
  StringLiteral name;
  unsigned bits;
};

constexpr DTypeRow kTypes[] = {
    {DType::BOOL, "BOOL", 8},
    {DType::U8, "U8", 8},
    {DType::I8, "I8", 8},
    {DType::F8_E5M2, "F8_E5M2", 8},
    {DType::F8_E4M3, "F8_E4M3", 8},
    {DType::F8_E8M0, "F8_E8M0", 8},
    {DType::F8_E4M3FNUZ, "F8_E4M3FNUZ", 8},
    {DType::F8_E5M2FNUZ, "F8_E5M2FNUZ", 8},
    {DType::F4, "F4", 4},
    {DType::F6_E2M3, "F6_E2M3", 6},
    {DType::F6_E3M2, "F6_E3M2", 6},
    {DType::I16, "I16", 16},
    {DType::U16, "U16", 16},
    {DType::F16, "F16", 16},
    {DType::BF16, "BF16", 16},
    {DType::I32, "I32", 32},
    {DType::U32, "U32", 32},
    {DType::F32, "F32", 32},
    {DType::I64, "I64", 64},
    {DType::U64, "U64", 64},
    {DType::F64, "F64", 64},
    {DType::C64, "C64", 64},
};

constexpr uint64_t kLargestHeader = 100'000'000; // the format's own limit
constexpr size_t kMostDimensions = 16;

const char *const kDownloadAgain =
    "the file is damaged or incomplete; download it again";

Error badFile(StringRef where, std::string what, std::string why) {
  return makeError(FailureKind::BadFile, std::move(what), where.str(),
                   std::move(why), kDownloadAgain);
}

Error badTensor(StringRef where, StringRef name, std::string why) {
  return badFile(where, "bad safetensors header: tensor " + quoted(name),
                 std::move(why));
}

/// An integer of at least 0; nothing else is an extent or an offset.
std::optional<uint64_t> asExtent(const json::Value &value) {
  std::optional<int64_t> integer = value.getAsInteger();
  if (!integer || *integer < 0)
    return std::nullopt;
  return static_cast<uint64_t>(*integer);
}

/// Bytes of a tensor, or the reason why there is no such number.
std::optional<uint64_t> bytesOf(ArrayRef<int64_t> shape, unsigned bits,
                                std::string &why) {
  uint64_t count = 1;
  for (int64_t extent : shape) {
    std::optional<uint64_t> product =
        checkedMulUnsigned<uint64_t>(count, static_cast<uint64_t>(extent));
    if (!product) {
      why = "the number of its elements does not fit 64 bits";
      return std::nullopt;
    }
    count = *product;
  }
  std::optional<uint64_t> total = checkedMulUnsigned<uint64_t>(count, bits);
  if (!total || *total % 8 != 0) {
    why = total ? "its elements do not fill whole bytes"
                : "its size does not fit 64 bits";
    return std::nullopt;
  }
  return *total / 8;
}

Error readEntry(StringRef where, const json::Value &value, uint64_t dataBytes,
                TensorInfo &tensor, uint64_t &begin) {
  StringRef name = tensor.name;
  const json::Object *entry = value.getAsObject();
  if (!entry)
    return badTensor(where, name,
                     "its entry must be an object, but is " +
                         describeKind(value).str());
  for (const auto &field : *entry) {
    StringRef key = field.first;
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      return badTensor(where, name, "unknown key " + quoted(key));
  }
  std::optional<StringRef> typeName = entry->getString("dtype");
  if (!typeName)
    return badTensor(where, name, "'dtype' is missing or not a string");
  std::optional<DType> type = dtypeFromName(*typeName);
  if (!type)
    return badTensor(where, name, "unknown dtype " + quoted(*typeName));
  tensor.dtype = *type;

  const json::Array *shape = entry->getArray("shape");
  if (!shape)
    return badTensor(where, name, "'shape' is missing or not an array");
  if (shape->size() > kMostDimensions)
    return badTensor(where, name,
                     "it has " + std::to_string(shape->size()) +
                         " dimensions, more than " +
                         std::to_string(kMostDimensions));
  for (const json::Value &element : *shape) {
    std::optional<uint64_t> extent = asExtent(element);
    if (!extent)
      return badTensor(where, name, "'shape' must hold integers of at least 0");
    tensor.shape.push_back(static_cast<int64_t>(*extent));
  }
  std::string why;
  std::optional<uint64_t> bytes = bytesOf(tensor.shape, dtypeBits(*type), why);
  if (!bytes)
    return badTensor(where, name, why);

  const json::Array *offsets = entry->getArray("data_offsets");
  std::optional<uint64_t> from, to;
  if (offsets && offsets->size() == 2) {
    from = asExtent((*offsets)[0]);
    to = asExtent((*offsets)[1]);
  }
  if (!from || !to)
    return badTensor(where, name,
                     "'data_offsets' must be two integers of at least 0");
  if (*from > *to || *to > dataBytes)
    return badTensor(where, name,
                     "its bytes " + std::to_string(*from) + " to " +
                         std::to_string(*to) + " do not lie within the " +
                         std::to_string(dataBytes) + " data bytes of the file");
  if (*to - *from != *bytes)
    return badTensor(where, name,
                     "its offsets span " + std::to_string(*to - *from) +
                         " bytes, but dtype and shape need " +
                         std::to_string(*bytes));
  begin = *from;
  tensor.bytes = *bytes;
  return Error::success();
}

/// `tensors` sorted by offset, which is still relative to the data.
Error checkCover(StringRef where, ArrayRef<TensorInfo> tensors,
                 uint64_t dataBytes) {
  uint64_t end = 0;
  StringRef previous = "the header";
  for (const TensorInfo &tensor : tensors) {
    if (tensor.offset < end)
      return badTensor(where, tensor.name,
                       "it overlaps " + quoted(previous) + ": it begins at " +
                           std::to_string(tensor.offset) +
                           ", the other ends at " + std::to_string(end));
    if (tensor.offset > end)
      return badTensor(where, tensor.name,
                       "there is a gap of " +
                           std::to_string(tensor.offset - end) +
                           " bytes before it");
    end = tensor.offset + tensor.bytes;
    previous = tensor.name;
  }
  if (end != dataBytes)
    return badFile(where, "a safetensors file is too long",
                   std::to_string(dataBytes - end) +
                       " bytes at its end belong to no tensor");
  return Error::success();
}

Error checkMetadata(StringRef where, const json::Value &value) {
  const json::Object *metadata = value.getAsObject();
  if (!metadata)
    return badFile(where, "bad safetensors header: '__metadata__'",
                   "it must be an object, but is " + describeKind(value).str());
  for (const auto &field : *metadata)
    if (field.second.kind() != json::Value::String)
      return badFile(where, "bad safetensors header: '__metadata__'",
                     "the value of " + quoted(StringRef(field.first)) +
                         " must be a string");
  return Error::success();
}

} // namespace

StringRef dtypeName(DType type) {
  return kTypes[static_cast<size_t>(type)].name;
}

unsigned dtypeBits(DType type) {
  return kTypes[static_cast<size_t>(type)].bits;
}

std::optional<DType> dtypeFromName(StringRef name) {
  for (const DTypeRow &row : kTypes)
    if (row.name == name)
      return row.type;
  return std::nullopt;
}

Expected<uint64_t> checkHeaderLength(ArrayRef<uint8_t> firstEight,
                                     uint64_t fileBytes, StringRef where) {
  if (fileBytes < 8 || firstEight.size() < 8)
    return badFile(where, "not a safetensors file",
                   "it has " + std::to_string(fileBytes) +
                       " bytes, fewer than the 8 of the header length");
  uint64_t length = support::endian::read64le(firstEight.data());
  if (length > fileBytes - 8)
    return badFile(where, "a safetensors file is too short",
                   "its header should have " + std::to_string(length) +
                       " bytes, but only " + std::to_string(fileBytes - 8) +
                       " follow");
  if (length > kLargestHeader)
    return badFile(where, "not a safetensors file",
                   "its header of " + std::to_string(length) +
                       " bytes exceeds the format's limit of " +
                       std::to_string(kLargestHeader));
  return length;
}

Expected<std::vector<TensorInfo>> parseSafetensorsHeader(StringRef json,
                                                         uint64_t fileBytes,
                                                         StringRef where,
                                                         uint32_t file) {
  if (fileBytes < 8 || json.size() > fileBytes - 8)
    return badFile(where, "a safetensors file is too short",
                   "its header reaches beyond its end");
  uint64_t headerBytes = 8 + json.size();
  uint64_t dataBytes = fileBytes - headerBytes;
  Expected<json::Object> header = parseJsonObject(json, where);
  if (!header)
    return header.takeError();
  std::vector<TensorInfo> tensors;
  tensors.reserve(header->size());
  for (const auto &field : *header) {
    StringRef name = field.first;
    if (name == "__metadata__") {
      if (Error error = checkMetadata(where, field.second))
        return std::move(error);
      continue;
    }
    if (name.empty())
      return badTensor(where, name, "it has no name");
    TensorInfo tensor;
    tensor.name = name.str();
    tensor.file = file;
    if (Error error =
            readEntry(where, field.second, dataBytes, tensor, tensor.offset))
      return std::move(error);
    tensors.push_back(std::move(tensor));
  }
  // Empty tensors first where several begin at one offset; then by name, so
  // that the order does not depend on the hash table.
  llvm::sort(tensors, [](const TensorInfo &a, const TensorInfo &b) {
    return std::tie(a.offset, a.bytes, a.name) <
           std::tie(b.offset, b.bytes, b.name);
  });
  if (Error error = checkCover(where, tensors, dataBytes))
    return std::move(error);
  for (TensorInfo &tensor : tensors)
    tensor.offset += headerBytes;
  return tensors;
}

} // namespace fathom
