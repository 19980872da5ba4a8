// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What tests ask of every mock of a vendor's library: it lies in the mock's
// memory, and the mock's one symbol beside the vendor's own gives it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

struct MockDevice {
  // What it pretends to be.
  uint64_t memoryBytes = uint64_t(64) << 20;
  /// The n-th call from now on (1: the next) fails with this code, by default
  /// a kernel's fault; 0: none.
  int64_t failAt = 0;
  int failCode = 0;

  // What was done.
  std::vector<std::string> calls; // names, in order
  std::map<std::string, int64_t> count;
  /// Uses that no device would forgive, or that are not allowed here.
  std::vector<std::string> violations;
  int64_t allocatedBytes = 0, mostAllocatedBytes = 0;
  int64_t programs = 0;

  /// What is still alive: "1 streams, 2 libraries"; empty: nothing.
  std::string (*alive)() = nullptr;
  /// Forgets what was done and what it pretends to be.
  void (*reset)() = nullptr;
};
