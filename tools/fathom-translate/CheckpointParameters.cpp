// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathom-translate/CheckpointParameters.h"

#include "frontends/Support/FrontendError.h"

using namespace llvm;

namespace fathom {

static std::optional<ref::DType> storedAs(DType type) {
  switch (type) {
  case DType::F32:
    return ref::DType::F32;
  case DType::BF16:
    return ref::DType::BF16;
  case DType::F8_E4M3:
    return ref::DType::F8E4M3;
  case DType::F8_E8M0:
    return ref::DType::F8E8M0;
  case DType::I8:
    return ref::DType::I8;
  case DType::I32:
    return ref::DType::I32;
  case DType::I64:
    return ref::DType::I64;
  default:
    return std::nullopt;
  }
}

Expected<ref::HostTensor> CheckpointParameters::load(StringRef name) {
  const TensorInfo *tensor = checkpoint.find(name);
  if (!tensor)
    return makeError(FailureKind::BadFile, "no tensor " + quoted(name),
                     checkpoint.directory().str(),
                     "the module refers to a tensor that the checkpoint does "
                     "not have",
                     "give the checkpoint that the module was imported from");
  std::optional<ref::DType> type = storedAs(tensor->dtype);
  if (!type)
    return makeError(FailureKind::Unsupported,
                     "tensor " + quoted(name) + " has type " +
                         fathom::dtypeName(tensor->dtype).str(),
                     checkpoint.directory().str(),
                     "no tensor of a DeepSeek-V4 model has this type",
                     "use a checkpoint in the published format");
  ref::HostTensor result(
      *type, std::vector<int64_t>(tensor->shape.begin(), tensor->shape.end()));
  if (Error error = checkpoint.readTensor(*tensor, result.bytes))
    return std::move(error);
  return result;
}

} // namespace fathom
