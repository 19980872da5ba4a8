// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What tests ask of the mock of CANN, by its one symbol beside CANN's own:
// mockAscend().
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

/// The toy's one kernel that it takes for one of both kinds of cores, and the
/// workspace of each of its blocks.
constexpr const char *kMockMixKernel = "fake_sum";
constexpr uint64_t kMockWorkspace = 512;
/// On a 950, blocks go through programs at this distance.
constexpr int64_t kMockCubeCores = 36, kMockVectorCores = 72;
/// Where its hardware's flags are.
constexpr uint64_t kMockFlags = 0xf1a65000;

struct MockAscend {
  // What it pretends to be.
  uint32_t devices = 1;
  std::string processor = "Ascend910B3";
  uint64_t memoryBytes = uint64_t(64) << 20;
  /// Somebody else in the process has called aclInit.
  bool initialisedBefore = false;
  /// The n-th call from now on (1: the next) fails with this code; 0: none.
  int64_t failAt = 0;
  int failCode = 507015;

  // What was done.
  std::vector<std::string> calls; // names, in order
  std::map<std::string, int64_t> count;
  struct Launch {
    uint32_t blocks = 0;
    std::vector<uint64_t> words; // its arguments
  };
  std::map<std::string, Launch> launches; // the last of each kernel
  /// Uses that no processor would forgive, or that are not allowed here.
  std::vector<std::string> violations;
  int64_t allocatedBytes = 0, mostAllocatedBytes = 0;
  int64_t programs = 0;

  /// What is still alive: "1 streams, 2 binaries"; empty: nothing.
  std::string (*alive)() = nullptr;
  /// Forgets what was done and what it pretends to be.
  void (*reset)() = nullptr;
};

extern "C" MockAscend *mockAscend();
