// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/cuda/CudaDriver.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

namespace fathom::rt {

namespace {

/// The first version of the driver, CUDA 13.0, that runs tile kernels.
constexpr int kLeastVersion = 13000;
constexpr uint64_t kAlignment = 256;
/// 1: no graphs, and every launch is waited for.
constexpr const char *kWait = "FATHOM_CUDA_WAIT";

CudaDriver &of(void *self) { return *static_cast<CudaDriver *>(self); }

uint64_t rounded(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

CuAddress address(const void *pointer) {
  return reinterpret_cast<uintptr_t>(pointer);
}

CuStream stream(void *pointer) { return static_cast<CuStream>(pointer); }
CuEvent event(void *pointer) { return static_cast<CuEvent>(pointer); }

std::string versionText(int version) {
  return std::to_string(version / 1000) + "." +
         std::to_string(version % 1000 / 10);
}

} // namespace

/// enter(), then a call whose failure is told by its exported name.
#define FATHOM_CUDA(driver, member, exported, ...)                             \
  [&]() -> Status {                                                            \
    if (Status entered = (driver).enter(); entered.failed())                   \
      return entered;                                                          \
    return (driver).api.status((driver).api.member(__VA_ARGS__), exported);    \
  }()

const DriverTable CudaDriver::table = {
    "cuda",
    /*sharesHostMemory=*/false,
    /*recordsGraphs=*/true,
    /*granularity=*/kAlignment,
    /*collectives=*/"NCCL",
    [](void *self) { delete static_cast<CudaDriver *>(self); },
    nullptr, // threads stay where they are
    [](void *self) { return of(self).describe(); },
    [](void *self, const std::string &isa) { return of(self).rank(isa); },
    [](void *self) { return "this GPU is an " + of(self).describe(); },
    [](void *self, uint64_t *bytes) {
      size_t free = 0, total = 0;
      Status s =
          FATHOM_CUDA(of(self), memory, "cuMemGetInfo_v2", &free, &total);
      *bytes = free;
      return s;
    },
    [](void *self, const BufferRequest *requests, size_t count, void **memory) {
      return of(self).allocate(requests, count, memory);
    },
    [](void *self, const BufferRequest *, size_t count, void *const *memory) {
      if (count)
        (void)FATHOM_CUDA(of(self), release, "cuMemFree_v2",
                          address(memory[0]));
    },
    [](void *self, uint64_t bytes, void **memory) {
      Status s = FATHOM_CUDA(of(self), allocateHost, "cuMemAllocHost_v2",
                             memory, std::max<uint64_t>(bytes, 1));
      if (!s.failed())
        std::memset(*memory, 0, bytes);
      return s;
    },
    [](void *self, void *memory, uint64_t) {
      (void)FATHOM_CUDA(of(self), releaseHost, "cuMemFreeHost", memory);
    },
    [](void *self, void **out) {
      CuStream made = nullptr;
      Status s = FATHOM_CUDA(of(self), createStream, "cuStreamCreate", &made,
                             kCuStreamNonBlocking);
      *out = made;
      return s;
    },
    [](void *self, void *out) {
      (void)FATHOM_CUDA(of(self), destroyStream, "cuStreamDestroy_v2",
                        stream(out));
    },
    [](void *self, void **out) {
      CuEvent made = nullptr;
      Status s = FATHOM_CUDA(of(self), createEvent, "cuEventCreate", &made,
                             kCuEventDefault);
      *out = made;
      return s;
    },
    [](void *self, void *out) {
      (void)FATHOM_CUDA(of(self), destroyEvent, "cuEventDestroy_v2",
                        event(out));
    },
    [](void *self, void *what, void *where) {
      return FATHOM_CUDA(of(self), recordEvent, "cuEventRecord", event(what),
                         stream(where));
    },
    [](void *self, void *who, void *what) {
      return FATHOM_CUDA(of(self), waitEvent, "cuStreamWaitEvent", stream(who),
                         event(what), 0);
    },
    [](void *self, void *from, void *to, uint64_t *nanoseconds) {
      float milliseconds = 0;
      Status s = FATHOM_CUDA(of(self), elapsed, "cuEventElapsedTime",
                             &milliseconds, event(from), event(to));
      *nanoseconds = static_cast<uint64_t>(double(milliseconds) * 1e6);
      return s;
    },
    [](void *self, void *which) { return of(self).synchronise(which); },
    [](void *self, CopyKind kind, void *to, const void *from, uint64_t bytes,
       void *where) { return of(self).copy(kind, to, from, bytes, where); },
    [](void *self, void *to, uint8_t value, uint64_t bytes, void *where) {
      if (!bytes)
        return Status();
      return FATHOM_CUDA(of(self), fill, "cuMemsetD8Async", address(to), value,
                         bytes, stream(where));
    },
    [](void *self, const char *path, const std::string &bytes, void **image) {
      return of(self).load(path, bytes, image);
    },
    [](void *self, void *image, const KernelRequest &request, void **kernel) {
      CudaDriver &driver = of(self);
      if (Status s = driver.enter(); s.failed())
        return s;
      CuKernel found = nullptr;
      const std::string who = std::string("kernel '") + request.name + "'";
      Status s = driver.api.status(
          driver.api.kernel(&found, static_cast<CuLibrary>(image),
                            request.name),
          "cuLibraryGetKernel", who);
      *kernel = found;
      return s.failed() ? s : driver.bring(found, who);
    },
    [](void *, uint64_t) { return uint64_t(0); }, // tile kernels have none
    [](void *, uint64_t) { return Status(); },
    [](void *self, const LaunchRecord &record) {
      return of(self).admit(record);
    },
    [](void *self, const LaunchRecord &record, void *where) {
      return of(self).launch(record, where);
    },
    [](void *self, void *where) {
      return FATHOM_CUDA(of(self), beginCapture, "cuStreamBeginCapture_v2",
                         stream(where), kCuCaptureThreadLocal);
    },
    [](void *self, void *where, void **graph) {
      return of(self).endRecording(where, graph);
    },
    [](void *self, void *graph, void *where) {
      return FATHOM_CUDA(of(self), launchGraph, "cuGraphLaunch",
                         static_cast<CuGraphExec>(graph), stream(where));
    },
    [](void *self, void *graph) {
      (void)FATHOM_CUDA(of(self), destroyGraphExec, "cuGraphExecDestroy",
                        static_cast<CuGraphExec>(graph));
    },
    nullptr,
};

const DriverTable CudaDriver::waitingTable = [] {
  DriverTable waiting = table;
  waiting.beginRecording = nullptr;
  return waiting;
}();

CudaDriver::~CudaDriver() {
  if (!context)
    return;
  (void)enter();
  for (CuLibrary library : libraries)
    (void)api.unloadLibrary(library);
  if (setup)
    (void)api.destroyStream(setup);
  (void)api.setContext(nullptr);
  (void)api.releaseContext(device);
}

Status CudaDriver::open(const DriverOptions &options, Driver &out) {
  auto driver = std::make_unique<CudaDriver>();
  if (Status s = driver->start(options); s.failed())
    return s;
  const DriverTable *which = driver->waits ? &waitingTable : &table;
  out = Driver{which, driver.release()};
  return Status();
}

Status CudaDriver::start(const DriverOptions &options) {
  const char *wait = std::getenv(kWait);
  waits = wait && std::string(wait) == "1";
  if (Status s = api.open(); s.failed())
    return s;
  int count = 0;
  if (Status s = api.status(api.init(0), "cuInit"); s.failed())
    return s;
  if (Status s = api.status(api.driverVersion(&version), "cuDriverGetVersion");
      s.failed())
    return s;
  if (version < kLeastVersion)
    return Status(FATHOM_UNSUPPORTED,
                  "the NVIDIA driver is one for CUDA " + versionText(version) +
                      ", tile kernels need one for CUDA " +
                      versionText(kLeastVersion) +
                      " (r580) or later; update the driver");
  if (Status s = api.status(api.deviceCount(&count), "cuDeviceGetCount");
      s.failed())
    return s;
  if (count == 0)
    return Status(FATHOM_UNSUPPORTED, "there is no NVIDIA GPU here");
  if (options.device < 0 || options.device >= count)
    return Status(FATHOM_USAGE,
                  "there is no device " + std::to_string(options.device) +
                      "; there are 0 to " + std::to_string(count - 1));
  if (Status s = api.status(api.device(&device, options.device), "cuDeviceGet");
      s.failed())
    return s;
  if (Status s = readDevice(); s.failed())
    return s;
  if (Status s = api.status(api.retainContext(&context, device),
                            "cuDevicePrimaryCtxRetain");
      s.failed()) {
    context = nullptr;
    return s;
  }
  return FATHOM_CUDA(*this, createStream, "cuStreamCreate", &setup,
                     kCuStreamNonBlocking);
}

Status CudaDriver::readDevice() {
  char text[256] = {};
  if (Status s = api.status(api.deviceName(text, sizeof(text) - 1, device),
                            "cuDeviceGetName");
      s.failed())
    return s;
  name = text;
  const std::pair<int, int *> wanted[] = {{kCuCapabilityMajor, &major},
                                          {kCuCapabilityMinor, &minor},
                                          {kCuMaxGridX, &maxGrid[0]},
                                          {kCuMaxGridY, &maxGrid[1]},
                                          {kCuMaxGridZ, &maxGrid[2]}};
  for (auto [attribute, value] : wanted)
    if (Status s = api.status(api.deviceAttribute(value, attribute, device),
                              "cuDeviceGetAttribute");
        s.failed())
      return s;
  return Status();
}

std::string CudaDriver::describe() const {
  return name + " (sm_" + std::to_string(major) + std::to_string(minor) +
         ", driver for CUDA " + versionText(version) + ")";
}

/// Code runs where it was compiled for. Until sm_90, code for one generation
/// also runs on its later members; from then on tensor instructions belong to
/// one architecture alone.
int CudaDriver::rank(const std::string &isa) const {
  const int own = major * 10 + minor;
  if (isa == "sm_" + std::to_string(own))
    return own;
  if (major != 8)
    return 0;
  for (int older = own - 1; older >= major * 10; --older)
    if (isa == "sm_" + std::to_string(older))
      return older;
  return 0;
}

Status CudaDriver::enter() const {
  return api.status(api.setContext(context), "cuCtxSetCurrent");
}

/// What a kernel does wrong comes out here, when many have been launched.
Status CudaDriver::synchronise(void *which) const {
  Status s =
      FATHOM_CUDA(*this, synchronise, "cuStreamSynchronize", stream(which));
  return !s.failed() || waits
             ? s
             : Status(s.code(), s.message() + "; with " + kWait +
                                    "=1 every kernel is waited for, and the "
                                    "one that fails is named");
}

/// One piece of the device's memory, cut up.
Status CudaDriver::allocate(const BufferRequest *requests, size_t count,
                            void **memory) {
  uint64_t total = 0;
  for (size_t i = 0; i < count; ++i)
    total += rounded(requests[i].bytes);
  if (count == 0)
    return Status();
  total = std::max(total, kAlignment);
  CuAddress base = 0;
  if (Status s = FATHOM_CUDA(*this, allocate, "cuMemAlloc_v2", &base, total);
      s.failed())
    return Status(s.code(), std::to_string(total) + " bytes for " +
                                std::to_string(count) + " buffers from '" +
                                requests[0].name + "' on: " + s.message());
  Status zeroed =
      FATHOM_CUDA(*this, fill, "cuMemsetD8Async", base, 0, total, setup);
  if (!zeroed.failed())
    zeroed = FATHOM_CUDA(*this, synchronise, "cuStreamSynchronize", setup);
  if (zeroed.failed()) {
    (void)api.release(base);
    return zeroed;
  }
  for (size_t i = 0; i < count; ++i) {
    memory[i] = reinterpret_cast<void *>(base);
    base += rounded(requests[i].bytes);
  }
  return Status();
}

Status CudaDriver::copy(CopyKind kind, void *to, const void *from,
                        uint64_t bytes, void *where) const {
  if (!bytes)
    return Status();
  switch (kind) {
  case CopyKind::ToDevice:
    return FATHOM_CUDA(*this, copyToDevice, "cuMemcpyHtoDAsync_v2", address(to),
                       from, bytes, stream(where));
  case CopyKind::ToHost:
    return FATHOM_CUDA(*this, copyToHost, "cuMemcpyDtoHAsync_v2", to,
                       address(from), bytes, stream(where));
  case CopyKind::WithinDevice:
    return FATHOM_CUDA(*this, copyWithin, "cuMemcpyDtoDAsync_v2", address(to),
                       address(from), bytes, stream(where));
  }
  return Status();
}

Status CudaDriver::load(const char *path, const std::string &bytes,
                        void **image) {
  if (Status s = enter(); s.failed())
    return s;
  CuLibrary library = nullptr;
  if (Status s = api.status(api.loadLibrary(&library, bytes.data(), nullptr,
                                            nullptr, 0, nullptr, nullptr, 0),
                            "cuLibraryLoadData", std::string("'") + path + "'");
      s.failed())
    return s;
  libraries.push_back(library);
  *image = library;
  return Status();
}

/// Code would otherwise come to the device when it is first launched, which
/// takes memory and waits.
Status CudaDriver::bring(CuKernel kernel, const std::string &who) const {
  CuFunction function = nullptr;
  if (Status s = api.status(api.function(&function, kernel),
                            "cuKernelGetFunction", who);
      s.failed())
    return s;
  return api.status(api.loadFunction(function), "cuFuncLoad", who);
}

Status CudaDriver::admit(const LaunchRecord &record) const {
  auto kernel = [&] { return std::string("kernel '") + record.name + "'"; };
  if (record.argCount > kMostArguments)
    return Status(FATHOM_UNSUPPORTED, kernel() + " has " +
                                          std::to_string(record.argCount) +
                                          " arguments");
  for (int axis = 0; axis < 3; ++axis)
    if (record.grid[axis] > maxGrid[axis])
      return Status(FATHOM_UNSUPPORTED,
                    kernel() + " wants " + std::to_string(record.grid[axis]) +
                        " programs along axis " + std::to_string(axis) +
                        ", the device takes " + std::to_string(maxGrid[axis]));
  return Status();
}

Status CudaDriver::launch(const LaunchRecord &record, void *where) const {
  if (Status s = admit(record); s.failed())
    return s;
  auto kernel = [&] { return std::string("kernel '") + record.name + "'"; };
  void *arguments[kMostArguments];
  // libcuda reads as many as the kernel has: those that a record lacks are 0.
  static uint64_t none = 0;
  std::fill(arguments + record.argCount, arguments + kMostArguments, &none);
  for (uint32_t i = 0; i < record.argCount; ++i)
    arguments[i] = const_cast<uint64_t *>(&record.args[i]);
  if (Status s = enter(); s.failed())
    return s;
  CuLaunchConfig config = {};
  config.gridX = static_cast<unsigned>(record.grid[0]);
  config.gridY = static_cast<unsigned>(record.grid[1]);
  config.gridZ = static_cast<unsigned>(record.grid[2]);
  config.blockX = config.blockY = config.blockZ = 1;
  config.stream = stream(where);
  const CuResult result = api.launch(
      &config, static_cast<CuKernel>(record.kernel), arguments, nullptr);
  if (result != 0)
    return api.status(result, "cuLaunchKernelEx", kernel());
  return waits ? api.status(api.synchronise(config.stream),
                            "cuStreamSynchronize", kernel())
               : Status();
}

Status CudaDriver::endRecording(void *where, void **out) const {
  CuGraph graph = nullptr;
  const Status entered = enter();
  // Ended in any case, or the stream could not be used for anything else.
  const Status ended =
      api.status(api.endCapture(stream(where), &graph), "cuStreamEndCapture");
  if (entered.failed() || ended.failed()) {
    if (graph)
      (void)api.destroyGraph(graph);
    return entered.failed() ? entered : ended;
  }
  CuGraphExec made = nullptr;
  Status s = api.status(api.instantiate(&made, graph, 0),
                        "cuGraphInstantiateWithFlags");
  (void)api.destroyGraph(graph);
  if (s.failed())
    return s;
  *out = made;
  // So that its first replay does not have to bring it to the device.
  return api.status(api.uploadGraph(made, stream(where)), "cuGraphUpload");
}

#undef FATHOM_CUDA

} // namespace fathom::rt
