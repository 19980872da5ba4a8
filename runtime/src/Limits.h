// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What of a machine this process may use.
#pragma once

#include <cstdint>
#include <string>

namespace fathom::rt {

/// CPUs that the calling thread may use, or fewer where control groups allow
/// the process less time: so many that threads of a pool are not stopped in
/// the middle of a step. At least 1.
int availableCpus();

/// Bytes of memory that this process may use: of the machine, or what its
/// control groups allow where that is less.
uint64_t availableMemory();

/// What the control groups of a process allow, each the least of its group and
/// of all above it.
struct GroupLimits {
  uint64_t memoryBytes = ~uint64_t(0);
  double cpus = 1e9; // time a second
};

/// Reads both versions of control groups. `root` is where they are mounted
/// (/sys/fs/cgroup), `membership` says of which groups a process is
/// (/proc/self/cgroup). A container often sees its own group as the root, and
/// a path that is not below it: what is not there limits nothing.
GroupLimits readGroupLimits(const std::string &root,
                            const std::string &membership);

} // namespace fathom::rt
