// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The instructions of AVX-512 and AMX that micro-kernels name, in arithmetic
// that every CPU has: a level's sums can be tested on a CPU that lacks it.
#pragma once

namespace llvm {
class IRBuilderBase;
class Module;
class Value;
} // namespace llvm

namespace fathom::cpu {

/// Replaces every call of an instruction beyond x86-64-v3, tiles included, by
/// what Intel's Software Developer's Manual says of it, bit for bit. Much
/// slower.
void replaceInstructions(llvm::Module &module);
void replaceTiles(llvm::Module &module);

/// A step of vdpbf16ps and tdpbf16ps: sum, a vector of f32, plus the products
/// of the first or the second bf16 of every pair of 32 bits of x and y, rounded
/// once. Subnormal numbers are read and written as zeros.
llvm::Value *addProductsOfPairs(llvm::IRBuilderBase &b, llvm::Value *sum,
                                llvm::Value *x, llvm::Value *y, bool second);
/// A vector of f32 whose subnormal numbers are zeros.
llvm::Value *flushSubnormals(llvm::IRBuilderBase &b, llvm::Value *x);

} // namespace fathom::cpu
