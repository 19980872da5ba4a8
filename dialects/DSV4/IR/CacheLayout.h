// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How the rows of a cache are stored: one array a component.
#pragma once

#include "dialects/DSV4/IR/DSV4.h"

namespace fathom::dsv4 {

struct CacheComponent {
  llvm::StringLiteral name;
  uint64_t rowBytes;
};

/// The component arrays of a cache, in order; components without bytes are left
/// out.
llvm::SmallVector<CacheComponent> cacheComponents(CacheType type);

/// Bytes of a row over all components.
uint64_t cacheRowBytes(CacheType type);

} // namespace fathom::dsv4
