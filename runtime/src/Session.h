// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sequences with their caches, and the steps over them. One thread at a time.
// The functions mean what their namesakes in fathom.h say.
#pragma once

#include "runtime/src/Plan.h"

#include <memory>
#include <vector>

namespace fathom::rt {

class Session {
public:
  static Status memoryFor(const Engine &engine,
                          const fathom_session_options &options,
                          fathom_session_memory &out);
  static Status create(std::shared_ptr<Engine> engine,
                       const fathom_session_options &options,
                       std::unique_ptr<Session> &out);
  ~Session();

  Status add(int32_t &slot);
  Status remove(int32_t slot);
  int64_t length(int32_t slot) const;
  int64_t mtpLength(int32_t layer, int32_t slot) const;
  Status fillSynthetic(int32_t slot, int64_t length);
  Status readCache(const std::string &cache, const std::string &component,
                   int32_t slot, uint64_t offset, uint64_t size,
                   void *out) const;

  /// `stage` 0 is the main model, j + 1 is MTP layer j.
  Status feed(int stage, const fathom_tokens *sequences, size_t count,
              float *logits, const float **rows);
  /// What has been allocated for it, as asked of the driver, and for the
  /// engine's threads.
  uint64_t allocatedBytes() const { return ownBytes + engine->scratchBytes(); }
  int stages() const { return static_cast<int>(stageStates.size()); }

  /// Rows of the last call of the main model, `layer` from 0; streams are as
  /// wide as the port says. Null where the package does not give them.
  const void *layerStreams(int32_t layer, const format::Port **port) const;

  void profile(bool enable);
  std::vector<fathom_kernel_time> kernelTimes() const;

private:
  /// Streams of a slot that the last call of a stage left in its buffer.
  struct Kept {
    int64_t position = 0, row = 0, count = 0;
  };
  struct Stage {
    int entry = -1;
    std::vector<Plan> plans;
    std::vector<int64_t> lengths; // by slot
    std::vector<Kept> kept;       // by slot
    void *streams = nullptr;      // outputs; keptTokens rows
    uint64_t streamRowBytes = 0;  // 0: no such output
    // The streams after each layer, where the entry gives them.
    std::vector<void *> layers;       // keptTokens rows each
    std::vector<void *> layersOfStep; // where the current step's begin
  };
  struct Allocation {
    void *memory;
    uint64_t bytes;
  };
  /// A walk through the tokens of a call: where the next piece begins.
  struct Cursor {
    size_t sequence = 0;
    int64_t offset = 0;
  };

  Session() = default;
  Status allocate(uint64_t bytes, void **out);
  Status allocateAll(const fathom_session_memory &sizes);
  Status check(int stage, const fathom_tokens *sequences, size_t count,
               int64_t &tokens, int64_t &rows);
  Status checkSequence(int stage, const fathom_tokens &sequence);
  Status gatherStreams(const Stage &from, int32_t slot, int64_t position,
                       int64_t count, int64_t toRow);
  Status buildPiece(int stage, const fathom_tokens *sequences, size_t count,
                    Cursor &cursor, int64_t keepAt, int64_t &tokens,
                    int64_t &rows);
  void clearStates(int32_t slot);

  std::shared_ptr<Engine> engine;
  int64_t maxSequences = 0, maxContext = 0, maxLogitRows = 0, keptTokens = 0;
  std::vector<Allocation> allocations;
  uint64_t ownBytes = 0; // of `allocations`
  SessionBuffers buffers;
  float *logitsBuffer = nullptr;
  void *streamsInput = nullptr; // maxStepTokens rows, for MTP
  std::vector<Stage> stageStates;
  std::vector<uint8_t> active, used; // by slot
  std::vector<uint64_t> lastMention; // by slot: number of the call
  uint64_t callNumber = 0;
  bool profiling = false;
};

} // namespace fathom::rt
