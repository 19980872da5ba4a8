// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How a kernel that AscendNPU-IR compiled is called: how many blocks, and the
// one piece of memory that holds its arguments. Conventions:
// codegen/Ascend/docs/Rationale.md.
#pragma once

#include "runtime/src/Driver.h"

namespace fathom::rt {

/// Hardware counts blocks in 16 bits.
constexpr int64_t kMostAscendBlocks = 65535;
/// Kernels count programs in i32, and a loop goes past the last one by less
/// than a turn, which is up to four programs of each block.
constexpr int64_t kMostAscendPrograms = INT32_MAX - 4 * kMostAscendBlocks;

/// What the package says of a kernel's launches.
struct AscendKernelFacts {
  /// On the cores of both kinds; else on vector cores alone.
  bool mix = false;
  /// The address of the hardware's flags comes before all other arguments.
  bool flags = false;
  /// At most so many blocks, whose loops go through all programs; 0: a block
  /// for each program.
  int64_t blocks = 0;
  uint64_t workspaceBytes = 0; // of a block

  Status read(const KernelRequest &request);
  /// More than kMostAscendBlocks cannot be launched.
  int64_t blocksFor(int64_t programs) const {
    return blocks && blocks < programs ? blocks : programs;
  }
};

/// Addresses that all kernels share; those of the last stay 0 where a kernel
/// does not want them.
struct AscendAddresses {
  uint64_t flags = 0, workspace = 0;
};

constexpr uint32_t kMostAscendArguments = 512;
constexpr size_t kMostAscendWords = 2 * kMostAscendArguments + 5;

/// flags, lock, workspace, the kernel's own, then the grid as three i32, padded
/// to 8 bytes. A table is two arguments, its first buffer and the addresses of
/// all. Returns how many words there are.
size_t packArguments(const AscendKernelFacts &facts, const LaunchRecord &record,
                     const AscendAddresses &addresses, uint64_t *words);

} // namespace fathom::rt
