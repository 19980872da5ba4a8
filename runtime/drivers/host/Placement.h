// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where threads run and where their memory lies.
#pragma once

#include "runtime/src/Status.h"

#include <functional>
#include <memory>
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

/// CPUs that the calling thread may use, ascending, wherever a CallerPlacement
/// has moved it; none where the system does not say.
std::vector<int> allowedCpus();

/// CPUs for workers beside a caller that runs on `here`: those behind it come
/// first and then those before it, so that callers on different CPUs have
/// different workers; of a core that another CPU of the list (or `here`) has, a
/// CPU comes only behind all others. `coreOf` names the core of a CPU.
std::vector<int> workerCpus(const std::vector<int> &allowed, int here,
                            const std::function<int(int)> &coreOf);

/// The core of a CPU, as the first of the CPUs on it; the CPU itself where the
/// system does not say.
int coreOf(int cpu);

/// Moves the calling thread to CPUs; FATHOM_RESOURCES where that is refused.
Status moveThread(const std::vector<int> &cpus);
/// Spreads pages that the calling thread touches from now on over all nodes
/// that it may use; FATHOM_RESOURCES where the system has no such policy.
Status interleaveThread();

/// Moves the thread that calls, and puts it back when that thread leaves or
/// destroys it: where there are several, the last one what was before the
/// first. Another thread cannot; then the next one does that the first thread
/// has.
class CallerPlacement {
public:
  CallerPlacement() = default;
  ~CallerPlacement();
  CallerPlacement(const CallerPlacement &) = delete;
  CallerPlacement &operator=(const CallerPlacement &) = delete;

  Status move(int cpu);
  Status interleave();
  /// Nothing, unless the calling thread is the one that was moved.
  void leave();

  /// What was true of a thread before the first of them.
  struct Before;

private:
  void hold();
  void drop();
  /// The thread's, which may have ended: an id would be another thread's then.
  std::shared_ptr<Before> held; // null: nothing was changed
};

/// Advice only: a system without huge pages ignores it.
void adviseHugePages(void *memory, size_t bytes);

} // namespace fathom::rt
