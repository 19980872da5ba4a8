// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Input: the bytes of a safetensors file. Whatever is accepted must keep its
// promises: every tensor within the file, sizes that fit its type.
#include "frontends/Checkpoint/Safetensors.h"
#include "test/fuzz/Accepted.h"

#include <cstdlib>

using namespace fathom;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::ArrayRef<uint8_t> bytes(data, size);
  llvm::Expected<uint64_t> length =
      checkHeaderLength(bytes.take_front(8), size, "'input'");
  if (!length) {
    llvm::consumeError(length.takeError());
    return 0;
  }
  if (*length > size - 8)
    std::abort();
  llvm::StringRef json(reinterpret_cast<const char *>(data) + 8, *length);
  llvm::Expected<std::vector<TensorInfo>> tensors =
      parseSafetensorsHeader(json, size, "'input'", 0);
  if (!tensors) {
    llvm::consumeError(tensors.takeError());
    return 0;
  }
  fathom::fuzz::accepted = true;
  uint64_t end = 8 + *length;
  for (const TensorInfo &tensor : *tensors) {
    if (tensor.offset != end || tensor.bytes > size - tensor.offset)
      std::abort();
    end += tensor.bytes;
  }
  if (end != size)
    std::abort();
  return 0;
}
