// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Input: the text of a model.safetensors.index.json. No accepted file name may
// leave the directory.
#include "frontends/Checkpoint/Safetensors.h"
#include "test/fuzz/Accepted.h"

#include <cstdlib>

using namespace fathom;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef text(reinterpret_cast<const char *>(data), size);
  llvm::Expected<llvm::StringMap<std::string>> map =
      parseSafetensorsIndex(text, "'input'");
  if (!map) {
    llvm::consumeError(map.takeError());
    return 0;
  }
  fathom::fuzz::accepted = true;
  for (const auto &entry : *map) {
    llvm::StringRef name = entry.second;
    if (name.empty() || name == "." || name == ".." || name.contains('/') ||
        name.contains('\0'))
      std::abort();
  }
  return 0;
}
