// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What tests ask of the mock of CANN, by its one symbol beside CANN's own:
// mockAscend().
#pragma once

#include "test/unit/runtime/MockDevice.h"

#include <set>

/// The toy's one kernel that it takes for one of both kinds of cores, and the
/// workspace of each of its blocks.
constexpr const char *kMockMixKernel = "fake_sum";
constexpr uint64_t kMockWorkspace = 512;
/// Blocks go through programs at this distance. True packages have 20 to 72:
/// with so few the toy's loops go on, too.
constexpr int64_t kMockMixBlocks = 2, kMockVectorBlocks = 3;
/// Where its hardware's flags are.
constexpr uint64_t kMockFlags = 0xf1a65000;

struct MockAscend : MockDevice {
  uint32_t devices = 1;
  std::string processor = "Ascend910B3";
  /// Somebody else in the process has called aclInit.
  bool initialisedBefore = false;
  /// Kernels whose blocks are their programs.
  std::set<std::string> withoutLoops;

  struct Launch {
    uint32_t blocks = 0;
    std::vector<uint64_t> words; // its arguments
  };
  std::map<std::string, Launch> launches; // the last of each kernel
};

extern "C" MockAscend *mockAscend();
