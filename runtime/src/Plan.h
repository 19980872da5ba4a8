// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A specialisation's launches with their arguments resolved to addresses, so
// that a step only fills in what changes: counts, and where outputs go.
#pragma once

#include "runtime/format/MemoryPlan.h"
#include "runtime/src/Engine.h"

#include <cstdint>
#include <vector>

namespace fathom::rt {

/// What changes from step to step. Where counts lie in device memory, they are
/// in the plan's inputs as well.
struct StepValues {
  int64_t tokens = 0, rows = 0;
  void *logits = nullptr, *streamsOut = nullptr;
  const void *streamsIn = nullptr;
  void *const *layers = nullptr; // as PortMap::layers
};

/// Where a step's inputs lie (format::InputLayout): the host writes its copy,
/// kernels read the device's. One place where they share memory.
struct InputBlock {
  int64_t maxTokens = 0; // that it has room for
  uint8_t *host = nullptr;
  void *device = nullptr;
};

/// Addresses that stay for the life of a session.
struct SessionBuffers {
  void *workspace = nullptr;
  /// [cache][component]
  std::vector<std::vector<void *>> caches;
};

/// A pair of a driver's events.
struct Stopwatch {
  void *from = nullptr, *to = nullptr;
};

ArgKind kindOf(const format::Arg &arg);
/// Fills in the grid of a launch in a step of so many tokens and rows of
/// logits; returns how many programs it has.
int64_t gridOf(const format::Launch &launch, int64_t tokens, int64_t rows,
               int64_t (&grid)[3]);

class Plan {
public:
  Plan(Engine &engine, int entry, const format::Specialisation &source,
       const SessionBuffers &buffers, const InputBlock &inputs);

  int64_t maxTokens() const { return specialisation->maxTokens; }
  const InputBlock &inputs() const { return block; }
  /// Of the host's copy of the inputs.
  int32_t *ids() const { return array(format::InputLayout::ids); }
  int32_t *positions() const { return array(layout.positions); }
  int32_t *slots() const { return array(layout.slots); }
  int32_t *rows() const { return array(layout.rows); }

  /// Notes the counts in the host's copy of the inputs.
  void setCounts(const StepValues &values);
  /// Brings the inputs to the device, counts included.
  Status upload(void *stream);
  /// Queues one step of values.tokens <= maxTokens() tokens. Allocates nothing.
  /// With a stopwatch, waits for each launch and adds to its times.
  Status launch(void *stream, const StepValues &values,
                const Stopwatch *stopwatch);

  struct Timing {
    uint64_t launches = 0, programs = 0, nanoseconds = 0;
    double weightBytes = 0;
  };
  int entryIndex() const { return entry; }
  size_t launchCount() const { return records.size(); }
  const format::Launch &launchRecord(size_t i) const {
    return specialisation->launches[i];
  }
  const Timing &timing(size_t i) const { return timings[i]; }
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

  int32_t *array(uint64_t offset) const {
    return reinterpret_cast<int32_t *>(block.host + offset);
  }
  uint64_t resolve(const format::Arg &arg, const SessionBuffers &buffers);
  uint64_t firstOf(const format::Arg &arg) const;
  uint64_t resolveInput(int index);
  uint64_t resolveOutput(int index);
  uint64_t resolveCount(format::Count count);
  uint64_t inputAddress(uint64_t offset) const;
  uint64_t patch(Changing what, size_t layer = 0);
  void fillIn(const StepValues &values);

  Engine &engine;
  int entry;
  const format::Specialisation *specialisation;
  format::InputLayout layout;
  InputBlock block;
  std::vector<uint64_t> args;
  std::vector<ArgKind> kinds;
  std::vector<uint64_t> firsts;
  std::vector<Patch> patches;
  std::vector<LaunchRecord> records;
  std::vector<Timing> timings;
};

} // namespace fathom::rt
