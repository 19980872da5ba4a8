// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Engine: weights and tables in the memory of a device that has its own.
#include "runtime/format/MemoryPlan.h"
#include "runtime/src/Engine.h"

#include <algorithm>
#include <array>

namespace fathom::rt {

namespace {

constexpr uint64_t kMaxStagingBytes = uint64_t(16) << 20;

/// Two pieces of fast host memory that are filled and copied in turns, so that
/// reading the files and copying to the device go on at the same time.
class Staging {
public:
  Staging(Driver device, uint64_t largest)
      : device(device),
        size(std::max<uint64_t>(std::min(largest, kMaxStagingBytes), 4096)) {}
  ~Staging() {
    if (stream)
      (void)device.table->synchronise(device.self, stream);
    for (Half &half : halves) {
      if (half.memory)
        device.table->releaseHost(device.self, half.memory, size);
      if (half.event)
        device.table->destroyEvent(device.self, half.event);
      if (half.stream)
        device.table->destroyStream(device.self, half.stream);
    }
    if (stream)
      device.table->destroyStream(device.self, stream);
  }
  Staging(const Staging &) = delete;
  Staging &operator=(const Staging &) = delete;

  Status open() {
    if (Status s = device.table->createStream(device.self, &stream); s.failed())
      return s;
    for (Half &half : halves) {
      if (Status s =
              device.table->allocateHost(device.self, size, &half.memory);
          s.failed())
        return s;
      if (Status s = device.table->createStream(device.self, &half.stream);
          s.failed())
        return s;
      if (Status s = device.table->createEvent(device.self, &half.event);
          s.failed())
        return s;
    }
    return Status();
  }

  Status copy(void *to, const void *from, uint64_t bytes) {
    while (bytes) {
      Half &half = halves[next];
      next ^= 1;
      const uint64_t piece = std::min(bytes, size);
      // What this half was filled with before must have left it.
      if (Status s = device.table->synchronise(device.self, half.stream);
          s.failed())
        return s;
      std::memcpy(half.memory, from, piece);
      if (Status s = device.table->copy(device.self, CopyKind::ToDevice, to,
                                        half.memory, piece, half.stream);
          s.failed())
        return s;
      if (Status s =
              device.table->recordEvent(device.self, half.event, half.stream);
          s.failed())
        return s;
      if (Status s = device.table->waitEvent(device.self, stream, half.event);
          s.failed())
        return s;
      to = static_cast<uint8_t *>(to) + piece;
      from = static_cast<const uint8_t *>(from) + piece;
      bytes -= piece;
    }
    return Status();
  }

  /// All copies have arrived.
  Status finish() { return device.table->synchronise(device.self, stream); }

private:
  struct Half {
    void *memory = nullptr, *stream = nullptr, *event = nullptr;
  };
  Driver device;
  uint64_t size;          // of each piece
  void *stream = nullptr; // waits for both
  std::array<Half, 2> halves;
  int next = 0;
};

} // namespace

/// A session of one sequence must fit beside the weights, or there is no use
/// in bringing them to the device.
Status Engine::checkWeightsFit() const {
  const format::SessionSizes sizes =
      format::defaultSessionSizes(content, /*sequences=*/1);
  format::MemoryPlan plan;
  if (!format::planMemory(content, sizes, scratch, allocationRules(), plan))
    return Status(FATHOM_RESOURCES,
                  "the model would need more memory than can be addressed");
  const std::string why = format::whyNot(content, sizes, plan, memory);
  if (why.empty())
    return Status();
  return Status(FATHOM_RESOURCES, "the model does not fit into the memory of " +
                                      description + ": " + why);
}

Status Engine::uploadWeights(const fathom_engine_options &options) {
  if (Status s = checkWeightsFit(); s.failed())
    return s;
  if (Status s = device.table->reserveScratch(device.self, scratchPerThread);
      s.failed())
    return s;
  uint64_t total = 0, done = 0, largest = 0;
  for (const format::Weight &weight : content.weights) {
    deviceRequests.push_back({weight.name, weight.bytes});
    total += weight.bytes;
    largest = std::max(largest, weight.bytes);
  }
  for (const format::WeightTable &table : content.tables)
    deviceRequests.push_back({table.name, table.weights.size() * 8});
  if (deviceRequests.empty())
    return Status();
  std::vector<void *> buffers(deviceRequests.size(), nullptr);
  if (Status s = device.table->allocate(device.self, deviceRequests.data(),
                                        deviceRequests.size(), buffers.data());
      s.failed())
    return s;
  deviceBuffers = std::move(buffers);
  Staging staging(device, largest);
  if (Status s = staging.open(); s.failed())
    return s;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (Status s = staging.copy(deviceBuffers[i], weights[i],
                                content.weights[i].bytes);
        s.failed())
      return s;
    weights[i] = deviceBuffers[i];
    done += content.weights[i].bytes;
    if (options.progress)
      options.progress(options.progress_context, done, total);
  }
  for (size_t i = 0; i < content.tables.size(); ++i) {
    std::vector<uint64_t> addresses;
    for (uint32_t index : content.tables[i].weights)
      addresses.push_back(reinterpret_cast<uintptr_t>(weights[index]));
    void *place = deviceBuffers[weights.size() + i];
    if (Status s = staging.copy(place, addresses.data(), addresses.size() * 8);
        s.failed())
      return s;
    tables.push_back(place);
  }
  return staging.finish();
}

/// A copy within the device reads a byte and writes one.
Status Engine::deviceBandwidth(double seconds, double &bytesPerSecond) {
  const DriverTable &table = *device.table;
  uint64_t left = 0; // beside weights and sessions
  if (Status s = table.memory(device.self, &left); s.failed())
    return s;
  left = left ? left : memory;
  uint64_t size = uint64_t(256) << 20;
  while (size > (uint64_t(1) << 20) && size > left / 8)
    size /= 2;
  std::vector<BufferRequest> requests = {{"bandwidth, from", size},
                                         {"bandwidth, to", size}};
  void *buffers[2] = {}, *stream = nullptr, *events[2] = {};
  Status status = table.allocate(device.self, requests.data(), 2, buffers);
  if (status.failed())
    return status;
  auto attempt = [&](Status next) {
    if (!status.failed())
      status = std::move(next);
    return !status.failed();
  };
  double elapsed = 0, copied = 0;
  if (attempt(table.createStream(device.self, &stream)) &&
      attempt(table.createEvent(device.self, &events[0])) &&
      attempt(table.createEvent(device.self, &events[1]))) {
    do {
      uint64_t took = 0;
      if (!attempt(table.recordEvent(device.self, events[0], stream)) ||
          !attempt(table.copy(device.self, CopyKind::WithinDevice, buffers[1],
                              buffers[0], size, stream)) ||
          !attempt(table.recordEvent(device.self, events[1], stream)) ||
          !attempt(table.synchronise(device.self, stream)) ||
          !attempt(table.elapsed(device.self, events[0], events[1], &took)))
        break;
      elapsed += double(std::max<uint64_t>(took, 1)) * 1e-9;
      copied += 2 * double(size);
    } while (elapsed < seconds);
  }
  for (void *event : events)
    if (event)
      table.destroyEvent(device.self, event);
  if (stream)
    table.destroyStream(device.self, stream);
  table.release(device.self, requests.data(), 2, buffers);
  if (!status.failed())
    bytesPerSecond = copied / elapsed;
  return status;
}

} // namespace fathom::rt
