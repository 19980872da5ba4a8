// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace fathom {

/// The largest resident size that this program had, in bytes; 0 if the system
/// does not tell. Not getrusage: its figure outlives exec, so that a program
/// started by a large one begins with that one's.
inline uint64_t peakResidentBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    std::istringstream words(line);
    std::string key;
    uint64_t kilobytes = 0;
    if (words >> key >> kilobytes && key == "VmHWM:")
      return kilobytes * 1024;
  }
  return 0;
}

} // namespace fathom
