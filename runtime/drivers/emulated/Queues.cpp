// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/emulated/Queues.h"

#include <algorithm>
#include <time.h>

namespace fathom::rt {

namespace {

void join(Clock &into, const Clock &other) {
  into.resize(std::max(into.size(), other.size()));
  for (size_t i = 0; i < other.size(); ++i)
    into[i] = std::max(into[i], other[i]);
}

uint64_t nanoseconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return uint64_t(t.tv_sec) * 1000000000u + uint64_t(t.tv_nsec);
}

} // namespace

Status Queues::fail(Status status) {
  if (status.failed() && !broken.failed())
    broken = status;
  return status;
}

Status Queues::allowed(const char *what) const {
  if (broken.failed())
    return broken;
  if (recording >= 0)
    return Status(FATHOM_FAILED, std::string(what) +
                                     " while a graph is recorded, which no "
                                     "device allows");
  return Status();
}

uint32_t Queues::createStream() {
  streams.emplace_back();
  clocks.emplace_back(streams.size() + 1);
  return static_cast<uint32_t>(streams.size());
}

/// The number of the stream's next operation, which comes after all that the
/// host has waited for.
uint64_t Queues::tick(uint32_t stream) {
  Clock &clock = clocks[stream];
  join(clock, clocks[0]);
  clock.resize(std::max<size_t>(clock.size(), stream + 1));
  return ++clock[stream];
}

bool Queues::isBefore(const Access &access, const Clock &now) const {
  return access.time == 0 ||
         (access.stream < now.size() && access.time <= now[access.stream]);
}

/// Holds an operation's buffers against those of other streams.
Status Queues::order(uint32_t stream, const Operation &operation) {
  const Clock &now = clocks[stream];
  for (const Use &use : operation.uses) {
    DeviceBuffer *buffer = nullptr;
    if (Status s = memory.find(operation.name, use.address, 0, &buffer);
        s.failed())
      return s;
    auto clash = [&](const Access &other, const char *what) {
      return Status(FATHOM_FAILED,
                    operation.name + " on stream " + std::to_string(stream) +
                        (use.writes ? " writes '" : " reads '") + buffer->name +
                        "', which stream " + std::to_string(other.stream) +
                        " may still be " + what + ": no event orders them");
    };
    Access here{stream, now[stream], buffer->start,
                buffer->start + std::max<uint64_t>(buffer->bytes, 1)};
    if (use.bytes) {
      here.begin = use.address;
      here.end = use.address + use.bytes;
    }
    auto notBefore = [&](const std::vector<Access> &others) {
      auto found =
          std::find_if(others.begin(), others.end(), [&](const Access &other) {
            return other.meets(here) && !isBefore(other, now);
          });
      return found == others.end() ? nullptr : &*found;
    };
    if (const Access *write = notBefore(buffer->writes))
      return clash(*write, "writing");
    auto forget = [&](std::vector<Access> &others, bool ofAll) {
      others.erase(std::remove_if(others.begin(), others.end(),
                                  [&](const Access &other) {
                                    return here.covers(other) &&
                                           (ofAll || other.stream == stream);
                                  }),
                   others.end());
    };
    if (use.writes) {
      if (const Access *read = notBefore(buffer->reads))
        return clash(*read, "reading");
      forget(buffer->writes, /*ofAll=*/true);
      forget(buffer->reads, /*ofAll=*/true);
      buffer->writes.push_back(here);
    } else {
      forget(buffer->reads, /*ofAll=*/false);
      buffer->reads.push_back(here);
    }
  }
  return Status();
}

void Queues::push(uint32_t stream, Entry entry) {
  streams[stream - 1].entries.push_back(std::move(entry));
}

Status Queues::queue(uint32_t stream, Operation operation) {
  if (broken.failed())
    return broken;
  if (recording == int64_t(stream)) {
    recorded->operations.push_back(std::move(operation));
    return Status();
  }
  const uint64_t time = tick(stream);
  if (Status s = order(stream, operation); s.failed())
    return fail(s);
  push(stream, {time, std::move(operation.run)});
  return Status();
}

Status Queues::record(QueueEvent *event, uint32_t stream) {
  if (Status s = allowed("an event"); s.failed())
    return s;
  const uint64_t time = tick(stream);
  event->stream = stream;
  event->time = time;
  event->clock = clocks[stream];
  event->happened = false;
  push(stream, {time, [event] {
                  event->nanoseconds = nanoseconds();
                  event->happened = true;
                  return Status();
                }});
  return Status();
}

Status Queues::wait(uint32_t stream, const QueueEvent *event) {
  if (Status s = allowed("waiting for an event"); s.failed())
    return s;
  if (event->stream < 0) // one that was never recorded holds nobody up
    return Status();
  const uint64_t time = tick(stream);
  join(clocks[stream], event->clock);
  push(stream, {time, [] { return Status(); }, event->stream, event->time});
  return Status();
}

Status Queues::runUntil(uint32_t stream, uint64_t time) {
  Stream &own = streams[stream - 1];
  while (own.done < time && !own.entries.empty()) {
    Entry entry = std::move(own.entries.front());
    own.entries.pop_front();
    if (entry.needsStream > 0)
      if (Status s = runUntil(uint32_t(entry.needsStream), entry.needsTime);
          s.failed())
        return s;
    own.done = entry.time;
    if (Status s = entry.run(); s.failed())
      return fail(s);
  }
  return Status();
}

Status Queues::synchronise(uint32_t stream) {
  if (Status s = allowed("waiting for a stream"); s.failed())
    return s;
  if (Status s = runUntil(stream, ~uint64_t(0)); s.failed())
    return s;
  join(clocks[0], clocks[stream]);
  return Status();
}

Status Queues::drain() {
  for (uint32_t stream = 1; stream <= streams.size(); ++stream)
    if (Status s = synchronise(stream); s.failed())
      return s;
  return Status();
}

Status Queues::beginRecording(uint32_t stream) {
  if (Status s = allowed("beginning a graph"); s.failed())
    return s;
  recording = stream;
  recorded = std::make_unique<QueueGraph>();
  return Status();
}

Status Queues::endRecording(uint32_t stream, QueueGraph **graph) {
  if (recording != int64_t(stream))
    return Status(FATHOM_FAILED, "no graph is recorded on this stream");
  recording = -1;
  *graph = recorded.release();
  return broken;
}

Status Queues::replay(uint32_t stream, QueueGraph *graph) {
  if (Status s = allowed("a graph"); s.failed())
    return s;
  for (const Operation &operation : graph->operations)
    if (Status s = queue(stream, operation); s.failed())
      return s;
  return Status();
}

} // namespace fathom::rt
