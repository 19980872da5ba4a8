// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Input: the text of a config.json. Whatever is accepted must be legal.
#include "frontends/Config/ModelConfig.h"
#include "test/fuzz/Accepted.h"

#include <cstdlib>

using namespace fathom;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef text(reinterpret_cast<const char *>(data), size);
  llvm::Expected<ModelConfig> config = parseModelConfig(text, "input");
  if (!config) {
    llvm::consumeError(config.takeError());
    return 0;
  }
  fathom::fuzz::accepted = true;
  if (config->compressRatios.size() !=
          static_cast<size_t>(config->layers + config->mtpLayers) ||
      config->heads % config->oGroups != 0 ||
      (config->headDim - config->ropeDim) % 64 != 0 ||
      config->headDim < config->ropeDim ||
      config->expertsPerToken > config->experts)
    std::abort();
  llvm::Expected<CompileLimits> limits =
      resolveLimits(*config, std::nullopt, std::nullopt, std::nullopt);
  if (!limits)
    llvm::consumeError(limits.takeError());
  return 0;
}
