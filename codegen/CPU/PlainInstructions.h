// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The instructions of AVX-512 that micro-kernels name, in arithmetic that every
// CPU has.
#pragma once

namespace llvm {
class Module;
}

namespace fathom::cpu {

/// Replaces every call of an instruction beyond x86-64-v3 by what Intel's
/// Software Developer's Manual says of it, bit for bit: a level's sums can then
/// be tested on a CPU that lacks it. Tiles stay as they are. Much slower.
void replaceInstructions(llvm::Module &module);

} // namespace fathom::cpu
