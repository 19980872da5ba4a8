// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
namespace fathom::format {
constexpr const char *kVersion = "0.1.0";
} // namespace fathom::format
