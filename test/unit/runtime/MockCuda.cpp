// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A libcuda that is none: checks every call (what it names, whether it is alive
// and in range, alignment, order, what may be done while a graph is captured)
// and runs kernels on the CPU. A cubin is a shared library here, whose kernels
// take addresses of the device and counts in its memory.
//
// Work runs as late as CUDA allows, when somebody waits for it, so that host
// memory which is given away too early shows. Device addresses cannot be
// touched by the host.
#include "test/unit/runtime/MockCuda.h"

#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <functional>
#include <set>
#include <string>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr int kGood = 0, kInvalid = 1, kOutOfMemory = 2, kNoContext = 201,
              kInvalidHandle = 400, kNotFound = 500, kLaunchFailed = 719,
              kNotAllowed = 900;
constexpr uint64_t kRange = uint64_t(1) << 34;

using Work = std::function<int()>;
/// As in a library of kernels: called for each program.
using Kernel = void (*)(const uint64_t *args, int64_t x, int64_t y, int64_t z,
                        void *scratch);

struct Stream {
  bool capturing = false;
  std::vector<Work> captured;
};
struct Event {
  bool recorded = false;
  uint64_t nanoseconds = 0;
};
struct Library {
  void *handle;
};
struct Function {
  Library *library;
  std::string name;
  Kernel run;
  std::string kinds; // b: a buffer, c: a count, digits: a table of so many
};
struct Graph {
  std::vector<Work> work;
};

MockCuda state;
thread_local void *current = nullptr;
int retained = 0;
char contextObject;
uint64_t base = 0, next = 0, distance = 0;
std::map<uint64_t, uint64_t> memory; // address -> bytes
std::set<void *> pinned;
std::set<Stream *> streams;
std::set<Event *> events;
std::set<Library *> libraries;
std::map<Function *, bool> functions; // whether it is on the device
std::set<Graph *> graphs, executables;
std::deque<Work> queue; // of all streams, in the order of the calls
int broken = kGood;     // as after a fault on a device

uint64_t nanoseconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return uint64_t(t.tv_sec) * 1000000000u + uint64_t(t.tv_nsec);
}

int violation(const std::string &what, int code = kInvalid) {
  state.violations.push_back((state.calls.empty() ? "" : state.calls.back()) +
                             ": " + what);
  return code;
}

/// Notes a call; not good: it fails.
int enter(const char *name, bool needsContext = true) {
  state.calls.push_back(name);
  ++state.count[name];
  if (state.failAt && --state.failAt == 0)
    return state.failCode;
  if (broken && needsContext)
    return broken;
  if (needsContext && (!current || !retained))
    return violation("no context is current", kNoContext);
  return kGood;
}

#define ENTER(...)                                                             \
  if (int code = enter(__VA_ARGS__))                                           \
  return code

bool isCapturing() {
  for (Stream *s : streams)
    if (s->capturing)
      return true;
  return false;
}

#define NOT_WHILE_CAPTURING()                                                  \
  if (isCapturing())                                                           \
  return violation("while a graph is captured", kNotAllowed)

uint8_t *bytes(uint64_t address) {
  return reinterpret_cast<uint8_t *>(address - distance);
}

bool isInside(uint64_t address, uint64_t size) {
  auto it = memory.upper_bound(address);
  if (it == memory.begin())
    return false;
  --it;
  return address - it->first <= it->second &&
         size <= it->second - (address - it->first);
}

int drain() {
  while (!queue.empty()) {
    Work work = std::move(queue.front());
    queue.pop_front();
    if (int code = work()) {
      broken = code;
      queue.clear();
    }
  }
  return broken;
}

int add(void *handle, Work work) {
  Stream *stream = static_cast<Stream *>(handle);
  if (!streams.count(stream))
    return violation("a stream that is none", kInvalidHandle);
  if (stream->capturing)
    stream->captured.push_back(std::move(work));
  else if (isCapturing())
    return violation("another stream is captured", kNotAllowed);
  else
    queue.push_back(std::move(work));
  return kGood;
}

int runKernel(const Function &function, std::vector<uint64_t> args,
              const unsigned *grid) {
  std::vector<std::vector<uint64_t>> tables;
  tables.reserve(args.size());
  for (size_t i = 0; i < args.size(); ++i) {
    const char kind = function.kinds[i];
    const uint64_t size = kind == 'b' ? 1 : kind == 'c' ? 4 : 8 * (kind - '0');
    if (!isInside(args[i], size))
      return violation(function.name + ": argument " + std::to_string(i) +
                           " is no address of the device",
                       kLaunchFailed);
    args[i] = reinterpret_cast<uintptr_t>(bytes(args[i]));
    if (kind == 'b' || kind == 'c')
      continue;
    std::vector<uint64_t> table(size_t(kind - '0'));
    std::memcpy(table.data(), reinterpret_cast<void *>(args[i]),
                table.size() * 8);
    for (uint64_t &entry : table) {
      if (entry % 16 || !isInside(entry, 1))
        return violation(function.name + ": a table has no good address",
                         kLaunchFailed);
      entry = reinterpret_cast<uintptr_t>(bytes(entry));
    }
    tables.push_back(std::move(table));
    args[i] = reinterpret_cast<uintptr_t>(tables.back().data());
  }
  alignas(64) static char scratch[1 << 16];
  for (unsigned z = 0; z < grid[2]; ++z)
    for (unsigned y = 0; y < grid[1]; ++y)
      for (unsigned x = 0; x < grid[0]; ++x, ++state.programs)
        function.run(args.data(), x, y, z, scratch);
  return kGood;
}

std::string alive() {
  std::string out;
  auto say = [&](size_t count, const char *what) {
    if (count)
      out += (out.empty() ? "" : ", ") + std::to_string(count) + " " + what;
  };
  say(memory.size(), "device memory");
  say(pinned.size(), "host memory");
  say(streams.size(), "streams");
  say(events.size(), "events");
  say(libraries.size(), "libraries");
  say(graphs.size(), "graphs");
  say(executables.size(), "executable graphs");
  say(size_t(retained), "contexts");
  return out;
}

void reset() {
  state = MockCuda();
  state.alive = alive;
  state.reset = reset;
  broken = kGood;
  queue.clear();
  current = nullptr;
  retained = 0;
  memory.clear();
  pinned.clear();
  streams.clear();
  events.clear();
  libraries.clear();
  functions.clear();
  graphs.clear();
  executables.clear();
}

template <typename T> int destroy(std::set<T *> &all, void *handle) {
  if (!all.erase(static_cast<T *>(handle)))
    return violation("what is not alive", kInvalidHandle);
  delete static_cast<T *>(handle);
  return kGood;
}

} // namespace

extern "C" {

#define CUDA __attribute__((visibility("default")))

CUDA MockCuda *mockCuda() {
  if (!state.alive)
    reset();
  return &state;
}

CUDA int cuInit(unsigned) {
  mockCuda();
  ENTER("cuInit", false);
  return kGood;
}
CUDA int cuDriverGetVersion(int *version) {
  ENTER("cuDriverGetVersion", false);
  *version = state.version;
  return kGood;
}
CUDA int cuGetErrorName(int error, const char **name) {
  *name = error == kOutOfMemory    ? "CUDA_ERROR_OUT_OF_MEMORY"
          : error == kLaunchFailed ? "CUDA_ERROR_LAUNCH_FAILED"
          : error == kNotFound     ? "CUDA_ERROR_NOT_FOUND"
                                   : nullptr;
  return *name ? kGood : kInvalid;
}
CUDA int cuGetErrorString(int, const char **text) {
  *text = "the mock says so";
  return kGood;
}
CUDA int cuDeviceGetCount(int *count) {
  ENTER("cuDeviceGetCount", false);
  *count = state.devices;
  return kGood;
}
CUDA int cuDeviceGet(int *device, int ordinal) {
  ENTER("cuDeviceGet", false);
  *device = ordinal;
  return ordinal < state.devices ? kGood : violation("no such device");
}
CUDA int cuDeviceGetName(char *name, int size, int) {
  ENTER("cuDeviceGetName", false);
  strncpy(name, "Mock GPU", size_t(size));
  return kGood;
}
CUDA int cuDeviceGetAttribute(int *value, int attribute, int) {
  ENTER("cuDeviceGetAttribute", false);
  switch (attribute) {
  case 75:
    *value = state.major;
    return kGood;
  case 76:
    *value = state.minor;
    return kGood;
  case 5:
    *value = 2147483647;
    return kGood;
  case 6:
  case 7:
    *value = 65535;
    return kGood;
  }
  return violation("an attribute that the mock does not know");
}
CUDA int cuDevicePrimaryCtxRetain(void **context, int) {
  ENTER("cuDevicePrimaryCtxRetain", false);
  ++retained;
  *context = &contextObject;
  return kGood;
}
CUDA int cuDevicePrimaryCtxRelease_v2(int) {
  ENTER("cuDevicePrimaryCtxRelease_v2", false);
  if (retained == 0)
    return violation("no context is retained");
  --retained;
  return kGood;
}
CUDA int cuCtxSetCurrent(void *context) {
  ENTER("cuCtxSetCurrent", false);
  if (context && context != &contextObject)
    return violation("no context");
  current = context;
  return kGood;
}

CUDA int cuMemGetInfo_v2(size_t *free, size_t *total) {
  ENTER("cuMemGetInfo_v2");
  *total = state.memoryBytes;
  *free = state.memoryBytes - size_t(state.allocatedBytes);
  return kGood;
}
CUDA int cuMemAlloc_v2(uint64_t *address, size_t size) {
  ENTER("cuMemAlloc_v2");
  NOT_WHILE_CAPTURING();
  if (size == 0)
    return violation("no bytes");
  if (uint64_t(state.allocatedBytes) + size > state.memoryBytes)
    return kOutOfMemory;
  if (!base) {
    auto reserve = [] {
      return reinterpret_cast<uintptr_t>(
          mmap(nullptr, kRange, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    };
    base = next = reserve();
    distance = base - reserve();
  }
  const uint64_t pages = (size + 4095) / 4096 * 4096;
  if (next - base + pages + 4096 > kRange ||
      mprotect(bytes(next), pages, PROT_READ | PROT_WRITE) != 0)
    return kOutOfMemory;
  std::memset(bytes(next), 0xff, pages); // nobody says that it is zero
  *address = next;
  memory[next] = size;
  next += pages + 4096;
  state.allocatedBytes += int64_t(size);
  state.mostAllocatedBytes =
      std::max(state.mostAllocatedBytes, state.allocatedBytes);
  return kGood;
}
CUDA int cuMemFree_v2(uint64_t address) {
  ENTER("cuMemFree_v2");
  NOT_WHILE_CAPTURING();
  auto it = memory.find(address);
  if (it == memory.end())
    return violation("an address that was not allocated");
  drain();
  mprotect(bytes(address), (it->second + 4095) / 4096 * 4096, PROT_NONE);
  state.allocatedBytes -= int64_t(it->second);
  memory.erase(it);
  return kGood;
}
CUDA int cuMemAllocHost_v2(void **out, size_t size) {
  ENTER("cuMemAllocHost_v2");
  NOT_WHILE_CAPTURING();
  if (size == 0)
    return violation("no bytes");
  *out = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
  std::memset(*out, 0xff, size);
  pinned.insert(*out);
  return kGood;
}
CUDA int cuMemFreeHost(void *host) {
  ENTER("cuMemFreeHost");
  if (!pinned.erase(host))
    return violation("what is not alive");
  drain();
  std::free(host);
  return kGood;
}

CUDA int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size,
                              void *stream) {
  ENTER("cuMemcpyHtoDAsync_v2");
  if (!isInside(to, size))
    return violation("beyond what was allocated");
  return add(stream, [=] {
    std::memcpy(bytes(to), from, size);
    return kGood;
  });
}
CUDA int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size,
                              void *stream) {
  ENTER("cuMemcpyDtoHAsync_v2");
  if (!isInside(from, size))
    return violation("beyond what was allocated");
  return add(stream, [=] {
    std::memcpy(to, bytes(from), size);
    return kGood;
  });
}
CUDA int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t size,
                              void *stream) {
  ENTER("cuMemcpyDtoDAsync_v2");
  if (!isInside(from, size) || !isInside(to, size))
    return violation("beyond what was allocated");
  return add(stream, [=] {
    std::memmove(bytes(to), bytes(from), size);
    return kGood;
  });
}
CUDA int cuMemsetD8Async(uint64_t to, unsigned char value, size_t size,
                         void *stream) {
  ENTER("cuMemsetD8Async");
  if (!isInside(to, size))
    return violation("beyond what was allocated");
  return add(stream, [=] {
    std::memset(bytes(to), value, size);
    return kGood;
  });
}

CUDA int cuStreamCreate(void **stream, unsigned flags) {
  ENTER("cuStreamCreate");
  if (flags != 1)
    return violation("a stream that waits for the legacy one");
  *stream = *streams.insert(new Stream()).first;
  return kGood;
}
CUDA int cuStreamDestroy_v2(void *stream) {
  ENTER("cuStreamDestroy_v2");
  return destroy(streams, stream);
}
CUDA int cuStreamSynchronize(void *stream) {
  ENTER("cuStreamSynchronize");
  NOT_WHILE_CAPTURING();
  if (!streams.count(static_cast<Stream *>(stream)))
    return violation("a stream that is none", kInvalidHandle);
  return drain();
}
CUDA int cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
  ENTER("cuStreamWaitEvent");
  NOT_WHILE_CAPTURING();
  if (flags || !events.count(static_cast<Event *>(event)))
    return violation("an event that is none", kInvalidHandle);
  return add(stream, [] { return kGood; });
}
CUDA int cuEventCreate(void **event, unsigned flags) {
  ENTER("cuEventCreate");
  if (flags)
    return violation("an event that measures no time");
  *event = *events.insert(new Event()).first;
  return kGood;
}
CUDA int cuEventDestroy_v2(void *event) {
  ENTER("cuEventDestroy_v2");
  drain();
  return destroy(events, event);
}
CUDA int cuEventRecord(void *event, void *stream) {
  ENTER("cuEventRecord");
  NOT_WHILE_CAPTURING();
  Event *e = static_cast<Event *>(event);
  if (!events.count(e))
    return violation("an event that is none", kInvalidHandle);
  return add(stream, [e] {
    e->recorded = true;
    e->nanoseconds = nanoseconds();
    return kGood;
  });
}
CUDA int cuEventElapsedTime(float *milliseconds, void *from, void *to) {
  ENTER("cuEventElapsedTime");
  Event *a = static_cast<Event *>(from), *b = static_cast<Event *>(to);
  if (!events.count(a) || !events.count(b) || !a->recorded || !b->recorded)
    return violation("an event that has not happened");
  *milliseconds = float(double(b->nanoseconds - a->nanoseconds) * 1e-6);
  return kGood;
}

CUDA int cuLibraryLoadData(void **library, const void *code, int *, void **,
                           unsigned jit, int *, void **, unsigned options) {
  ENTER("cuLibraryLoadData");
  NOT_WHILE_CAPTURING();
  if (jit || options)
    return violation("options");
  // Its end is not told: as with a real one, the header knows.
  struct Header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, programs, sections;
    uint32_t flags;
    uint16_t size, programSize, programCount, sectionSize, sectionCount;
  } header;
  std::memcpy(&header, code, sizeof(header));
  if (std::memcmp(header.ident, "\177ELF", 4))
    return kInvalid;
  const size_t size =
      header.sections + size_t(header.sectionSize) * header.sectionCount;
  const int file = memfd_create("cubin", 0);
  if (file < 0 || write(file, code, size) != ssize_t(size))
    return kOutOfMemory;
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  void *handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  close(file);
  if (!handle)
    return violation(dlerror());
  *library = *libraries.insert(new Library{handle}).first;
  return kGood;
}
CUDA int cuLibraryUnload(void *library) {
  ENTER("cuLibraryUnload");
  drain();
  Library *l = static_cast<Library *>(library);
  if (!libraries.count(l))
    return violation("what is not alive", kInvalidHandle);
  for (auto it = functions.begin(); it != functions.end();)
    if (it->first->library == l) {
      delete it->first;
      it = functions.erase(it);
    } else {
      ++it;
    }
  dlclose(l->handle);
  return destroy(libraries, library);
}
CUDA int cuLibraryGetKernel(void **kernel, void *library, const char *name) {
  ENTER("cuLibraryGetKernel");
  Library *l = static_cast<Library *>(library);
  if (!libraries.count(l))
    return violation("a library that is none", kInvalidHandle);
  void *run = dlsym(l->handle, name);
  const char *kinds = static_cast<const char *>(
      dlsym(l->handle, (std::string(name) + "_kinds").c_str()));
  if (!run || !kinds)
    return kNotFound;
  Function *made = new Function{l, name, reinterpret_cast<Kernel>(run), kinds};
  functions[made] = false;
  *kernel = made;
  return kGood;
}

CUDA int cuKernelGetFunction(void **function, void *kernel) {
  ENTER("cuKernelGetFunction");
  if (!functions.count(static_cast<Function *>(kernel)))
    return violation("a kernel that is none", kInvalidHandle);
  *function = static_cast<char *>(kernel) + 1; // another handle
  return kGood;
}
CUDA int cuFuncLoad(void *function) {
  ENTER("cuFuncLoad");
  NOT_WHILE_CAPTURING();
  auto it = functions.find(
      reinterpret_cast<Function *>(static_cast<char *>(function) - 1));
  if (it == functions.end())
    return violation("a function that is none", kInvalidHandle);
  it->second = true;
  return kGood;
}

struct LaunchConfig {
  unsigned grid[3], block[3], sharedBytes;
  void *stream, *attributes;
  unsigned attributeCount;
};
CUDA int cuLaunchKernelEx(const LaunchConfig *config, void *kernel,
                          void **params, void **extra) {
  ENTER("cuLaunchKernelEx");
  Function *function = static_cast<Function *>(kernel);
  if (!functions.count(function))
    return violation("a kernel that is none", kInvalidHandle);
  if (!functions[function])
    return violation(function->name + " would have to be loaded first");
  if (extra || config->attributes || config->attributeCount ||
      config->sharedBytes)
    return violation("attributes, shared memory or extra arguments");
  for (int axis = 0; axis < 3; ++axis) {
    if (config->block[axis] != 1)
      return violation("a block that is not 1x1x1");
    if (config->grid[axis] == 0 || (axis && config->grid[axis] > 65535))
      return violation("a grid that cannot be");
  }
  std::vector<uint64_t> args;
  for (size_t i = 0; i < function->kinds.size(); ++i) {
    uint64_t value = 0;
    std::memcpy(&value, params[i], 8);
    if (value % 16)
      return violation(function->name + ": argument " + std::to_string(i) +
                       " is not aligned to 16 bytes");
    args.push_back(value);
  }
  const std::vector<unsigned> grid(config->grid, config->grid + 3);
  return add(config->stream,
             [=] { return runKernel(*function, args, grid.data()); });
}

CUDA int cuStreamBeginCapture_v2(void *stream, int mode) {
  ENTER("cuStreamBeginCapture_v2");
  NOT_WHILE_CAPTURING();
  Stream *s = static_cast<Stream *>(stream);
  if (!streams.count(s) || mode < 0 || mode > 2)
    return violation("a stream that is none", kInvalidHandle);
  s->capturing = true;
  s->captured.clear();
  return kGood;
}
CUDA int cuStreamEndCapture(void *stream, void **graph) {
  Stream *s = static_cast<Stream *>(stream);
  const bool was = streams.count(s) && s->capturing;
  if (was)
    s->capturing = false; // whatever comes of it
  ENTER("cuStreamEndCapture");
  if (!was)
    return violation("a stream that is not captured", kInvalidHandle);
  *graph = *graphs.insert(new Graph{std::move(s->captured)}).first;
  return kGood;
}
CUDA int cuGraphInstantiateWithFlags(void **made, void *graph,
                                     unsigned long long) {
  ENTER("cuGraphInstantiateWithFlags");
  NOT_WHILE_CAPTURING();
  Graph *g = static_cast<Graph *>(graph);
  if (!graphs.count(g))
    return violation("a graph that is none", kInvalidHandle);
  *made = *executables.insert(new Graph(*g)).first;
  return kGood;
}
CUDA int cuGraphUpload(void *graph, void *stream) {
  ENTER("cuGraphUpload");
  if (!executables.count(static_cast<Graph *>(graph)))
    return violation("a graph that is none", kInvalidHandle);
  return add(stream, [] { return kGood; });
}
CUDA int cuGraphLaunch(void *graph, void *stream) {
  ENTER("cuGraphLaunch");
  NOT_WHILE_CAPTURING();
  Graph *g = static_cast<Graph *>(graph);
  if (!executables.count(g))
    return violation("a graph that is none", kInvalidHandle);
  for (const Work &work : g->work)
    if (int code = add(stream, work))
      return code;
  return kGood;
}
CUDA int cuGraphExecDestroy(void *graph) {
  ENTER("cuGraphExecDestroy");
  drain();
  return destroy(executables, graph);
}
CUDA int cuGraphDestroy(void *graph) {
  ENTER("cuGraphDestroy");
  return destroy(graphs, graph);
}

} // extern "C"
