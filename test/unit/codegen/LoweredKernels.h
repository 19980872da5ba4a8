// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "passes/DSV4ToTile/Lowering.h"

#include <string>

namespace fathom::test {

/// The kernels that `lower` makes of operations of a function, which is given
/// as text, as text. Its tensors have one row each; tiles have the CPU's
/// shapes.
std::string
kernelsOf(const std::string &function, int64_t maxTokens,
          llvm::function_ref<void(Lowering &, mlir::func::FuncOp)> lower);

/// The name in `text` that begins so; empty if there is none.
std::string nameIn(const std::string &text, const std::string &prefix);

} // namespace fathom::test
