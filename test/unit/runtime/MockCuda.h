// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What tests ask of the mock of libcuda, by its one symbol beside CUDA's own:
// mockCuda().
#pragma once

#include "test/unit/runtime/MockDevice.h"

struct MockCuda : MockDevice {
  int devices = 1, major = 9, minor = 0, version = 13000;
};

extern "C" MockCuda *mockCuda();
