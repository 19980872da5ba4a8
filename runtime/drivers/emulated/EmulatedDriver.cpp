// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/emulated/EmulatedDriver.h"

#include <algorithm>
#include <atomic>
#include <cstdio>

namespace fathom::rt {

namespace {

/// What kernels for a GPU assume of every address (the compiler states it to
/// the assembler).
constexpr uint64_t kPointerAlignment = 16;

EmulatedDriver &of(void *self) { return *static_cast<EmulatedDriver *>(self); }

uint64_t address(const void *pointer) {
  return reinterpret_cast<uintptr_t>(pointer);
}

uint32_t number(void *stream) { return static_cast<uint32_t>(address(stream)); }

/// A grid whose ranges come back from a fault.
struct GuardedJob {
  GridJob grid;
  std::atomic<uint64_t> fault{0};

  static void run(void *context, int64_t begin, int64_t end, int thread) {
    GuardedJob &job = *static_cast<GuardedJob *>(context);
    if (job.fault)
      return;
    if (uint64_t at = runGuarded(GridJob::run, &job.grid, begin, end, thread))
      job.fault = at;
  }
};

} // namespace

/// A launch that is queued, and what its arguments are for a CPU kernel.
struct EmulatedDriver::Arguments {
  format::CpuKernel kernel;
  int64_t grid[3];
  std::vector<uint64_t> args;
  std::vector<ArgKind> kinds;

  std::vector<uint64_t> translated;
  std::vector<std::vector<uint64_t>> tables;
};

const DriverTable EmulatedDriver::table = {
    "emulated",
    /*sharesHostMemory=*/false,
    /*recordsGraphs=*/true,
    /*granularity=*/256, // as on the devices that it stands for
    /*collectives=*/nullptr,
    [](void *self) { delete static_cast<EmulatedDriver *>(self); },
    [](void *self) { of(self).host.pool().leave(); },
    [](void *) { return std::string("a device that the CPU stands in for"); },
    [](void *, const std::string &isa) { return hostRank(isa); },
    [](void *) { return hostRuns(); },
    [](void *, uint64_t *bytes) {
      *bytes = 0;
      return Status();
    },
    [](void *self, const BufferRequest *requests, size_t count, void **out) {
      return of(self).allocate(requests, count, out);
    },
    [](void *self, const BufferRequest *, size_t count, void *const *buffers) {
      of(self).release(count, buffers);
    },
    [](void *self, uint64_t bytes, void **out) {
      if (Status s = of(self).queues.allowed("allocating host memory");
          s.failed())
        return s;
      return of(self).host.allocate(bytes, out);
    },
    [](void *, void *out, uint64_t bytes) { HostDriver::release(out, bytes); },
    [](void *self, void **stream) {
      *stream = reinterpret_cast<void *>(
          static_cast<uintptr_t>(of(self).queues.createStream()));
      return Status();
    },
    [](void *self, void *stream) {
      (void)of(self).queues.synchronise(number(stream));
    },
    [](void *, void **event) {
      *event = new QueueEvent();
      return Status();
    },
    [](void *self, void *event) {
      (void)of(self).queues.drain(); // it may still have to happen
      delete static_cast<QueueEvent *>(event);
    },
    [](void *self, void *event, void *stream) {
      return of(self).queues.record(static_cast<QueueEvent *>(event),
                                    number(stream));
    },
    [](void *self, void *stream, void *event) {
      return of(self).queues.wait(number(stream),
                                  static_cast<QueueEvent *>(event));
    },
    [](void *, void *from, void *to, uint64_t *out) {
      const QueueEvent &a = *static_cast<QueueEvent *>(from);
      const QueueEvent &b = *static_cast<QueueEvent *>(to);
      if (!a.happened || !b.happened)
        return Status(FATHOM_FAILED, "the time between events of which one has "
                                     "not happened");
      *out = b.nanoseconds - a.nanoseconds;
      return Status();
    },
    [](void *self, void *stream) {
      return of(self).queues.synchronise(number(stream));
    },
    [](void *self, CopyKind kind, void *to, const void *from, uint64_t bytes,
       void *stream) {
      return of(self).copy(kind, to, from, bytes, number(stream));
    },
    [](void *self, void *to, uint8_t value, uint64_t bytes, void *stream) {
      return of(self).fill(to, value, bytes, number(stream));
    },
    [](void *self, const char *path, const std::string &bytes, void **image) {
      return of(self).host.load(path, bytes, image);
    },
    [](void *, void *image, const KernelRequest &request, void **kernel) {
      return HostDriver::find(image, request.name, kernel);
    },
    // The threads' scratch is not the device's memory.
    [](void *, uint64_t) { return uint64_t(0); },
    [](void *self, uint64_t bytes) { return of(self).host.reserve(bytes); },
    nullptr, // every launch can be
    [](void *self, const LaunchRecord &record, void *stream) {
      return of(self).launch(record, number(stream));
    },
    [](void *self, void *stream) {
      return of(self).queues.beginRecording(number(stream));
    },
    [](void *self, void *stream, void **graph) {
      QueueGraph *made = nullptr;
      Status s = of(self).queues.endRecording(number(stream), &made);
      *graph = made;
      return s;
    },
    [](void *self, void *graph, void *stream) {
      return of(self).queues.replay(number(stream),
                                    static_cast<QueueGraph *>(graph));
    },
    [](void *, void *graph) { delete static_cast<QueueGraph *>(graph); },
    nullptr,
};

Status EmulatedDriver::open(const DriverOptions &options, Driver &out) {
  auto driver = std::make_unique<EmulatedDriver>();
  if (Status s = driver->memory.open(); s.failed())
    return s;
  if (Status s = driver->host.start(options); s.failed())
    return s;
  out = Driver{&table, driver.release()};
  return Status();
}

Status EmulatedDriver::allocate(const BufferRequest *requests, size_t count,
                                void **out) {
  if (Status s = queues.allowed("allocating"); s.failed())
    return s;
  for (size_t i = 0; i < count; ++i) {
    uint64_t at = 0;
    if (Status s = memory.allocate(requests[i].name, requests[i].bytes, &at);
        s.failed()) {
      release(i, out);
      return s;
    }
    out[i] = reinterpret_cast<void *>(static_cast<uintptr_t>(at));
  }
  return Status();
}

void EmulatedDriver::release(size_t count, void *const *buffers) {
  (void)queues.drain();
  for (size_t i = 0; i < count; ++i)
    if (Status s = memory.release(address(buffers[i])); s.failed()) {
      // Found too late for a caller to be told.
      std::fprintf(stderr, "fathom: emulated device: %s\n",
                   s.message().c_str());
      (void)queues.fail(std::move(s));
    }
}

Status EmulatedDriver::copy(CopyKind kind, void *to, const void *from,
                            uint64_t bytes, uint32_t stream) {
  if (bytes == 0)
    return Status();
  Operation operation;
  operation.name = "a copy of " + std::to_string(bytes) + " bytes";
  const bool toDevice = kind != CopyKind::ToHost,
             fromDevice = kind != CopyKind::ToDevice;
  if (fromDevice)
    operation.uses.push_back({address(from), false, bytes});
  if (toDevice)
    operation.uses.push_back({address(to), true, bytes});
  operation.run = [=, name = operation.name]() -> Status {
    DeviceBuffer *buffer = nullptr;
    const void *source = from;
    void *target = to;
    if (fromDevice) {
      if (Status s = memory.find(name, address(from), bytes, &buffer);
          s.failed())
        return s;
      source = memory.bytes(address(from));
    }
    if (toDevice) {
      if (Status s = memory.find(name, address(to), bytes, &buffer); s.failed())
        return s;
      target = memory.bytes(address(to));
    }
    std::memmove(target, source, bytes);
    return Status();
  };
  return queues.queue(stream, std::move(operation));
}

Status EmulatedDriver::fill(void *to, uint8_t value, uint64_t bytes,
                            uint32_t stream) {
  if (bytes == 0)
    return Status();
  Operation operation;
  operation.name = "a fill of " + std::to_string(bytes) + " bytes";
  operation.uses.push_back({address(to), true, bytes});
  operation.run = [=, name = operation.name]() -> Status {
    DeviceBuffer *buffer = nullptr;
    if (Status s = memory.find(name, address(to), bytes, &buffer); s.failed())
      return s;
    std::memset(memory.bytes(address(to)), value, bytes);
    return Status();
  };
  return queues.queue(stream, std::move(operation));
}

Status EmulatedDriver::launch(const LaunchRecord &record, uint32_t stream) {
  auto arguments = std::make_shared<Arguments>();
  arguments->kernel = reinterpret_cast<format::CpuKernel>(record.kernel);
  std::copy(record.grid, record.grid + 3, arguments->grid);
  arguments->args.assign(record.args, record.args + record.argCount);
  arguments->kinds.assign(record.kinds, record.kinds + record.argCount);
  Operation operation;
  operation.name = std::string("kernel '") + record.name + "'";
  for (int64_t size : record.grid)
    if (size <= 0)
      return Status(FATHOM_FAILED, operation.name + " has an empty grid");
  for (uint32_t i = 0; i < record.argCount; ++i) {
    if (record.args[i] % kPointerAlignment)
      return queues.fail(Status(
          FATHOM_FAILED,
          operation.name + ": argument " + std::to_string(i) +
              " is not a multiple of 16: " + memory.describe(record.args[i])));
    operation.uses.push_back(
        {record.args[i], record.kinds[i] == ArgKind::Buffer});
  }
  operation.run = [this, arguments, name = operation.name] {
    return execute(name, *arguments);
  };
  return queues.queue(stream, std::move(operation));
}

/// Device addresses become those of the bytes, counts their values.
Status EmulatedDriver::translate(const std::string &who, Arguments &a) {
  a.translated.clear();
  a.tables.clear();
  a.tables.reserve(a.args.size());
  for (size_t i = 0; i < a.args.size(); ++i) {
    const std::string name = who + ", argument " + std::to_string(i) + ",";
    DeviceBuffer *buffer = nullptr;
    const bool isCount = a.kinds[i] == ArgKind::Count;
    if (Status s = memory.find(name, a.args[i], isCount ? 4 : 0, &buffer);
        s.failed())
      return s;
    const uint8_t *bytes = memory.bytes(a.args[i]);
    if (isCount) {
      int32_t value = 0;
      std::memcpy(&value, bytes, 4);
      if (value < 0)
        return Status(FATHOM_FAILED,
                      name + " is a count of " + std::to_string(value));
      a.translated.push_back(uint64_t(value));
      continue;
    }
    if (a.kinds[i] != ArgKind::Table) {
      a.translated.push_back(address(bytes));
      continue;
    }
    const size_t count = (buffer->start + buffer->bytes - a.args[i]) / 8;
    std::vector<uint64_t> entries(count);
    std::memcpy(entries.data(), bytes, count * 8);
    for (uint64_t &entry : entries) {
      if (Status s =
              memory.find(name + " an entry of its table,", entry, 0, &buffer);
          s.failed())
        return s;
      if (entry % kPointerAlignment)
        return Status(FATHOM_FAILED, name + " an entry of its table, is not a "
                                            "multiple of 16");
      entry = address(memory.bytes(entry));
    }
    a.tables.push_back(std::move(entries));
    a.translated.push_back(address(a.tables.back().data()));
  }
  // A kernel may take more than its record has.
  a.translated.resize(std::max<size_t>(a.args.size(), kMostArguments),
                      memory.nowhere());
  return Status();
}

Status EmulatedDriver::execute(const std::string &who, Arguments &a) {
  if (Status s = translate(who, a); s.failed())
    return s;
  GuardedJob job;
  job.grid = {a.kernel, a.translated.data(), a.grid[0], a.grid[1],
              host.scratchByThread()};
  host.pool().run(GuardedJob::run, &job, a.grid[0] * a.grid[1] * a.grid[2]);
  if (uint64_t at = job.fault)
    return Status(FATHOM_FAILED, who + " touched " + memory.describe(at));
  for (size_t i = 0; i < a.args.size(); ++i) {
    if (a.kinds[i] != ArgKind::Buffer)
      continue;
    DeviceBuffer *buffer = nullptr;
    if (Status s = memory.find(who, a.args[i], 0, &buffer); s.failed())
      return s;
    if (Status s = memory.checkPoison(who, *buffer); s.failed())
      return s;
  }
  return Status();
}

} // namespace fathom::rt
