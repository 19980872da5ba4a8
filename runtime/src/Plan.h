// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A specialisation's launches with their arguments resolved to addresses, so
// that a step only fills in what changes: counts, and where outputs go.
#pragma once

#include "runtime/src/Engine.h"

#include <cstdint>
#include <vector>

namespace fathom::rt {

/// What changes from step to step.
struct StepValues {
  int64_t tokens = 0, rows = 0;
  void *logits = nullptr, *streamsOut = nullptr;
  const void *streamsIn = nullptr;
  void *const *layers = nullptr; // as PortMap::layers
};

/// Addresses that stay for the life of a session.
struct SessionBuffers {
  int32_t *ids = nullptr, *positions = nullptr, *slots = nullptr,
          *rows = nullptr;
  void *workspace = nullptr;
  /// [cache][component]
  std::vector<std::vector<void *>> caches;
};

class Plan {
public:
  Plan(Engine &engine, int entry, const format::Specialisation &source,
       const SessionBuffers &buffers);

  int64_t maxTokens() const { return specialisation->maxTokens; }

  /// Runs one step of values.tokens <= maxTokens() tokens. Allocates nothing.
  /// With `timed`, adds to the times of each launch.
  Status run(Driver device, const StepValues &values, bool timed);

  struct Timing {
    uint64_t launches = 0, programs = 0, nanoseconds = 0;
    double weightBytes = 0;
  };
  size_t launchCount() const { return launches.size(); }
  const format::Launch &launch(size_t i) const {
    return specialisation->launches[i];
  }
  const Timing &timing(size_t i) const { return launches[i].timing; }
  void clearTimings();

private:
  enum class Changing : uint8_t {
    Tokens,
    Rows,
    Logits,
    StreamsOut,
    StreamsIn,
    Layer
  };
  struct Patch {
    size_t at;
    Changing what;
    size_t layer;
  };
  struct Resolved {
    void *kernel;
    size_t firstArg;
    Timing timing;
  };

  uint64_t resolve(const format::Arg &arg, const SessionBuffers &buffers);
  void patch(Changing what, size_t layer = 0);

  Engine &engine;
  int entry;
  const format::Specialisation *specialisation;
  std::vector<uint64_t> args;
  std::vector<Patch> patches;
  std::vector<Resolved> launches;
};

} // namespace fathom::rt
