// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Streams, events and graphs of the emulated device. What is queued runs as
// late as the order allows: when the host waits for its stream, or when a
// stream that waits for it has to. A dependency that was forgotten therefore
// reads old bytes; and it is told at once, since every operation names the
// buffers that it uses and clocks know what comes before what.
#pragma once

#include "runtime/drivers/emulated/DeviceMemory.h"

#include <deque>
#include <functional>
#include <memory>

namespace fathom::rt {

/// What an operation does to a buffer, found by an address within it: to so
/// many bytes from there on, or to whatever part of it (0).
struct Use {
  uint64_t address;
  bool writes;
  uint64_t bytes = 0;
};

struct Operation {
  std::string name;
  std::vector<Use> uses;
  std::function<Status()> run;
};

/// How far each stream had come; number 0 is the host.
using Clock = std::vector<uint64_t>;

struct QueueEvent {
  int64_t stream = -1; // where it was recorded last
  uint64_t time = 0;   // of the operation that it is there
  Clock clock;
  uint64_t nanoseconds = 0;
  bool happened = false;
};

struct QueueGraph {
  std::vector<Operation> operations;
};

class Queues {
public:
  explicit Queues(DeviceMemory &memory) : memory(memory), clocks(1, Clock(1)) {}

  uint32_t createStream();
  Status queue(uint32_t stream, Operation operation);
  Status record(QueueEvent *event, uint32_t stream);
  Status wait(uint32_t stream, const QueueEvent *event);
  Status synchronise(uint32_t stream);
  /// Everything, of all streams.
  Status drain();

  Status beginRecording(uint32_t stream);
  Status endRecording(uint32_t stream, QueueGraph **graph);
  Status replay(uint32_t stream, QueueGraph *graph);

  /// An error for what may not be done while a graph is recorded, and the
  /// first error that there was.
  Status allowed(const char *what) const;
  /// The first error is that of everything that follows.
  Status fail(Status status);

private:
  struct Entry {
    uint64_t time;
    std::function<Status()> run;
    int64_t needsStream = -1; // waits for an operation of that stream
    uint64_t needsTime = 0;
  };
  struct Stream {
    std::deque<Entry> entries;
    uint64_t done = 0; // time of the last that ran
  };

  Status order(uint32_t stream, const Operation &operation);
  uint64_t tick(uint32_t stream);
  void push(uint32_t stream, Entry entry);
  Status runUntil(uint32_t stream, uint64_t time);
  bool isBefore(const Access &access, const Clock &now) const;

  DeviceMemory &memory;
  std::vector<Stream> streams; // number i + 1
  std::vector<Clock> clocks;   // of the host, then of each stream
  int64_t recording = -1;
  std::unique_ptr<QueueGraph> recorded;
  Status broken;
};

} // namespace fathom::rt
