// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a device must offer to run a package: one table. `self` is the driver's
// own state. Engine, Plan and Session know nothing else about a device, so that
// a package's launch records run unchanged on every driver.
//
// Memory of a device is not the host's: it is reached by copy and fill alone,
// unless `sharesHostMemory` says that both are one. Everything that names a
// stream is queued there and may run later; what two streams share is ordered
// by events. Host memory of a queued copy must stay as it is until the stream
// has been synchronised.
#pragma once

#include "runtime/src/Status.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace fathom::rt {

/// Device buffers that are allocated together; the name is for messages.
struct BufferRequest {
  std::string name;
  uint64_t bytes = 0;
};

enum class CopyKind : uint8_t { ToDevice, ToHost, WithinDevice };

/// What an argument of a launch stands for.
enum class ArgKind : uint8_t {
  Constant, // a buffer that no kernel writes: a weight
  Buffer,   // any other buffer
  Table,    // an array of 64-bit addresses of constants
  Count     // with countsInMemory the address of an i32, else its value
};

/// A kernel that is to be found in an image.
struct KernelRequest {
  const char *name;
  /// Of its library in the package: "workspaceBytes" -> 4096.
  const std::map<std::string, int64_t> &configuration;
  /// Programs of the largest launch that there can be.
  int64_t mostPrograms;
};

/// Of a kernel; merged ones have some dozens.
constexpr uint32_t kMostArguments = 512;

/// A kernel with its arguments, in the order of the package's record.
struct LaunchRecord {
  void *kernel;
  const char *name; // for messages
  const uint64_t *args;
  const ArgKind *kinds;
  /// Of a table, its first address; else 0.
  const uint64_t *firsts;
  uint32_t argCount;
  int64_t grid[3]; // programs, x fastest; none is empty
};

struct DriverTable {
  const char *name;
  /// Device memory is host memory: pointers mean the same on both sides,
  /// weights are used where they are mapped, inputs are written in place.
  bool sharesHostMemory;
  /// Arguments must stay the same from step to step, counts therefore lie in
  /// device memory, and sequences of launches can be recorded.
  bool recordsGraphs;
  /// A buffer takes a multiple of this many bytes: what plans count with.
  uint64_t granularity;
  /// What devices of several ranks would exchange data by; null: nothing. A
  /// reserved place: no model runs on several yet.
  const char *collectives;

  void (*destroy)(void *self);
  /// Puts the thread that opened the driver back where it was, if it is the one
  /// that calls; null: none is moved.
  void (*leave)(void *self);
  /// Which device it is, for people: "NVIDIA H100 80GB HBM3, sm_90".
  std::string (*describe)(void *self);
  /// How well it runs code of an instruction-set level or architecture: higher
  /// is better, 0 not at all.
  int (*rank)(void *self, const std::string &isa);
  /// For refusals: "this CPU runs up to x86-64-v4".
  std::string (*runs)(void *self);
  /// Bytes that this process may take on the device.
  Status (*memory)(void *self, uint64_t *bytes);

  /// Zeroed buffers, each aligned to 256 bytes (the host's to a page, with at
  /// least 64 readable bytes after its end). All or none.
  Status (*allocate)(void *self, const BufferRequest *requests, size_t count,
                     void **memory);
  /// What one call of allocate gave.
  void (*release)(void *self, const BufferRequest *requests, size_t count,
                  void *const *memory);
  /// Host memory from which copies are fast, page aligned and zeroed.
  Status (*allocateHost)(void *self, uint64_t bytes, void **memory);
  void (*releaseHost)(void *self, void *memory, uint64_t bytes);

  Status (*createStream)(void *self, void **stream);
  void (*destroyStream)(void *self, void *stream);
  Status (*createEvent)(void *self, void **event);
  void (*destroyEvent)(void *self, void *event);
  Status (*recordEvent)(void *self, void *event, void *stream);
  /// What is queued from now on waits for what was queued before the event.
  Status (*waitEvent)(void *self, void *stream, void *event);
  /// Between two events that have both happened.
  Status (*elapsed)(void *self, void *from, void *to, uint64_t *nanoseconds);
  /// Returns when everything queued has finished, with its errors.
  Status (*synchronise)(void *self, void *stream);

  Status (*copy)(void *self, CopyKind kind, void *to, const void *from,
                 uint64_t bytes, void *stream);
  Status (*fill)(void *self, void *to, uint8_t value, uint64_t bytes,
                 void *stream);

  /// Loads code: these bytes, which the file at `path` had, whatever it has
  /// now. Lives as long as the driver.
  Status (*loadImage)(void *self, const char *path, const std::string &bytes,
                      void **image);
  Status (*findKernel)(void *self, void *image, const KernelRequest &request,
                       void **kernel);
  /// What launches of the kernels found so far take of the memory above beside
  /// their arguments, where each thread of the driver may use as much as is
  /// given in a launch; and to take it.
  uint64_t (*scratchBytes)(void *self, uint64_t bytesPerThread);
  Status (*reserveScratch)(void *self, uint64_t bytesPerThread);

  /// Refuses what no launch on this device can be, by the kernel, the grid and
  /// the number of arguments: what `launch` would refuse when half of a step is
  /// queued. Null: nothing is.
  Status (*admit)(void *self, const LaunchRecord &record);
  /// Runs grid[0] * grid[1] * grid[2] independent programs.
  Status (*launch)(void *self, const LaunchRecord &record, void *stream);

  /// What is queued on the stream between these two is not run but becomes a
  /// graph, which can be queued as often as wanted. Where `recordsGraphs`;
  /// null where every launch is wanted by itself all the same.
  Status (*beginRecording)(void *self, void *stream);
  Status (*endRecording)(void *self, void *stream, void **graph);
  Status (*replay)(void *self, void *graph, void *stream);
  void (*destroyGraph)(void *self, void *graph);

  /// Runs body(context, begin, end, thread) over [0, count) on the driver's
  /// host threads, if it has any; else null.
  void (*parallel)(void *self,
                   void (*body)(void *context, int64_t begin, int64_t end,
                                int thread),
                   void *context, int64_t count);
};

struct Driver {
  const DriverTable *table = nullptr;
  void *self = nullptr;
};

} // namespace fathom::rt
