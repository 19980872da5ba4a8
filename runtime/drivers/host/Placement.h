// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where threads run and where their memory lies.
#pragma once

#include "runtime/src/Status.h"

#include <string>
#include <vector>

namespace fathom::rt {

struct Placement {
  /// Workers get a CPU each (when there are enough), the caller stays free.
  bool pin = true;
  /// If not empty: thread i runs on cpus[i mod size], the caller, which is
  /// thread 0, included.
  std::vector<int> cpus;
  /// Pages that the engine's threads touch first are spread over the NUMA
  /// nodes instead of lying at the node of whoever touched them.
  bool interleave = false;
  /// Ask for huge pages for caches, workspace and scratch.
  bool hugePages = false;
};

/// From the texts of fathom_engine_options. `pin`: null or "auto", "none", or
/// CPU numbers and ranges such as "0-3,8"; `numa`: null or "local",
/// "interleave". FATHOM_USAGE for anything else, and for CPUs that this process
/// may not use.
Status parsePlacement(const char *pin, const char *numa, bool hugePages,
                      Placement &out);

/// Moves the calling thread to a CPU; FATHOM_RESOURCES where that is refused.
Status pinThread(int cpu);
/// Spreads pages that the calling thread touches from now on over all nodes
/// that it may use; FATHOM_RESOURCES where the system has no such policy.
Status interleaveThread();
/// Advice only: a system without huge pages ignores it.
void adviseHugePages(void *memory, size_t bytes);

} // namespace fathom::rt
