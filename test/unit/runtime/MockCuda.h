// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What tests ask of the mock of libcuda, by its one symbol beside CUDA's own:
// mockCuda().
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

struct MockCuda {
  // What it pretends to be.
  int devices = 1, major = 9, minor = 0, version = 13000;
  uint64_t memoryBytes = uint64_t(64) << 20;
  /// The n-th call from now on (1: the next) fails with this code; 0: none.
  int64_t failAt = 0;
  int failCode = 719;

  // What was done.
  std::vector<std::string> calls; // names, in order
  std::map<std::string, int64_t> count;
  /// Uses that no GPU would forgive, or that are not allowed here.
  std::vector<std::string> violations;
  int64_t allocatedBytes = 0, mostAllocatedBytes = 0;
  int64_t programs = 0;

  /// What is still alive: "1 stream, 2 libraries"; empty: nothing.
  std::string (*alive)() = nullptr;
  /// Forgets what was done and what it pretends to be.
  void (*reset)() = nullptr;
};

extern "C" MockCuda *mockCuda();
