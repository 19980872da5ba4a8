// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Objects to a shared object, and a check of what it needs.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <string>

namespace fathom::cpu {

/// Links ELF objects (their bytes) in process. Deterministic. Fails if an
/// undefined symbol is left that is not memset, memcpy or memmove. Of kind
/// Resources where there is no place for temporary files.
llvm::Expected<std::string> linkObjects(llvm::ArrayRef<std::string> objects);

} // namespace fathom::cpu
