// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/IR/CacheLayout.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

namespace fathom::dsv4 {

llvm::SmallVector<CacheComponent> cacheComponents(CacheType type) {
  const uint64_t width = type.getWidth(), rope = type.getRope();
  llvm::SmallVector<CacheComponent> all;
  if (type.getKind() == CacheKind::State)
    all = {{"kv", 4 * width}, {"gate", 4 * width}};
  else if (type.getFormat() == CacheFormat::F32)
    all = {{"rows", 4 * width}};
  else if (type.getFormat() == CacheFormat::FP8)
    // Scales are padded to 8 bytes so that every row of them is aligned.
    all = {{"codes", width - rope},
           {"scales", llvm::alignTo(llvm::divideCeil(width - rope, 64), 8)},
           {"rope", 2 * rope}};
  else
    all = {{"codes", width / 2}, {"scales", width / 32}};
  llvm::erase_if(all, [](const auto &c) { return c.rowBytes == 0; });
  return all;
}

uint64_t cacheRowBytes(CacheType type) {
  uint64_t bytes = 0;
  for (const CacheComponent &component : cacheComponents(type))
    bytes += component.rowBytes;
  return bytes;
}

} // namespace fathom::dsv4
