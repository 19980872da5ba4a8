// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sequences with their caches, and the steps over them. One thread at a time.
// The functions mean what their namesakes in fathom.h say.
#pragma once

#include "runtime/src/Plan.h"

#include <memory>
#include <vector>

namespace fathom::rt {

/// Steps of generate whose choices are read together.
constexpr int64_t kChosenSteps = 32;

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
                   int32_t slot, uint64_t offset, uint64_t size, void *out);

  /// `stage` 0 is the main model, j + 1 is MTP layer j.
  Status feed(int stage, const fathom_tokens *sequences, size_t count,
              float *logits, const float **rows);
  Status generate(const int32_t *slots, const int32_t *ids, size_t count,
                  int64_t steps, int32_t *chosen);
  /// What has been allocated for it, as the driver takes it, and for the
  /// engine's threads.
  uint64_t allocatedBytes() const { return ownBytes + engine->scratchBytes(); }
  int stages() const { return static_cast<int>(stageStates.size()); }

  /// Rows of the last call of the main model, `layer` from 0; streams are as
  /// wide as the port says. Null where the package does not give them.
  const void *layerStreams(int32_t layer, const format::Port **port);

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
    /// Recorded decode steps, by plan and number of tokens; null: none.
    std::vector<std::vector<void *>> graphs;
    std::vector<int64_t> lengths; // by slot
    std::vector<Kept> kept;       // by slot
    void *streams = nullptr;      // outputs; keptTokens rows
    uint64_t streamRowBytes = 0;  // 0: no such output
    // The streams after each layer, where the entry gives them.
    std::vector<void *> layers;       // keptTokens rows each
    std::vector<void *> layersOfStep; // where the current step's begin
  };
  /// A walk through the tokens of a call: where the next piece begins.
  struct Cursor {
    size_t sequence = 0;
    int64_t offset = 0;
  };
  /// Lives while a call changes the sequences that it mentions. Where it is not
  /// told of the call's end something failed: caches are half written then, and
  /// what is queued still reads the inputs of steps.
  class Change {
  public:
    explicit Change(Session &session) : session(session) {}
    ~Change() {
      if (!ended)
        session.breakOff();
    }
    Change(const Change &) = delete;
    Change &operator=(const Change &) = delete;

    /// What the call came to.
    Status end(Status status) {
      ended = !status.failed();
      return status;
    }

  private:
    Session &session;
    bool ended = false;
  };
  Session() = default;
  void want(std::string name, uint64_t bytes, void **place);
  void wantAll(std::vector<std::vector<InputBlock>> &blocks);
  Status allocate();
  Status allocateHost(uint64_t bytes, void **memory);
  Status allocateHostParts(std::vector<std::vector<InputBlock>> &blocks);
  Status makeSession(const fathom_session_options &filled);
  void makePlans(const std::vector<std::vector<InputBlock>> &blocks);

  Status check(int stage, const fathom_tokens *sequences, size_t count,
               int64_t &tokens, int64_t &rows);
  Status checkSequence(int stage, const fathom_tokens &sequence);
  Status gatherStreams(const Stage &from, int32_t slot, int64_t position,
                       int64_t count, int64_t toRow);
  Status feedPieces(int stage, const fathom_tokens *sequences, size_t count,
                    int64_t allTokens, float *logits);
  int64_t measurePiece(const Stage &stage, const fathom_tokens *sequences,
                       size_t count, Cursor cursor) const;
  Status buildPiece(int stage, Plan &plan, const fathom_tokens *sequences,
                    Cursor &cursor, int64_t keepAt, int64_t tokens,
                    int64_t &rows);
  Status runPiece(Stage &stage, size_t plan, const StepValues &values,
                  bool isFirst);
  size_t planFor(const Stage &stage, int64_t tokens) const;
  StepValues valuesAt(Stage &stage, int64_t keepAt);
  Status queueStep(Stage &stage, size_t plan, const StepValues &values,
                   const Stopwatch *watch);
  Status queueChosen(size_t plan, const StepValues &values,
                     const Stopwatch *watch);
  Status transfer(CopyKind kind, void *device, std::vector<uint8_t> &host);
  template <typename Queue> Status record(void *&graph, Queue queue);
  Status recordGraphs();
  int64_t mostChosen() const;
  Status generateGroup(const int32_t *slots, const int32_t *ids, size_t count,
                       int64_t steps, int32_t *chosen);
  Status clearStates(int32_t slot);
  void breakOff();

  std::shared_ptr<Engine> engine;
  Driver device; // the engine's
  int64_t maxSequences = 0, maxContext = 0, maxLogitRows = 0, keptTokens = 0;
  std::vector<BufferRequest> requests;
  std::vector<void **> places;
  std::vector<void *> memory; // of the requests, when they are granted
  std::vector<std::pair<void *, uint64_t>> hostMemory;
  uint64_t ownBytes = 0; // that the requests take
  void *stream = nullptr;
  Stopwatch stopwatch;
  SessionBuffers buffers;
  void *logitsBuffer = nullptr;  // of the device
  float *logitsHost = nullptr;   // the same where memory is shared
  void *streamsInput = nullptr;  // maxStepTokens rows, for MTP
  int32_t *chosenHost = nullptr; // kChosenSteps steps of all sequences
  std::vector<Stage> stageStates;
  std::vector<Plan> greedyPlans;           // by plan of the main model
  std::vector<std::vector<void *>> chains; // a step and the choice, as graphs
  std::vector<std::vector<uint8_t>> layerCopies;
  /// Of transfers that failed: a device may still be at them.
  std::vector<std::vector<uint8_t>> abandoned;
  std::vector<uint8_t> active, used; // by slot
  std::vector<uint8_t> broken;       // likewise: a call failed half-way
  std::vector<uint64_t> lastMention; // by slot: number of the call
  uint64_t callNumber = 0;
  bool profiling = false;
};

} // namespace fathom::rt
