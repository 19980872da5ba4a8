// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A libcuda that is none: checks every call (what it names, whether it is alive
// and in range, alignment, order, what may be done while a graph is captured)
// and runs kernels on the CPU. A cubin is a shared library here, whose kernels
// take addresses of the device and counts in its memory.
#include "test/unit/runtime/MockCuda.h"
#include "test/unit/runtime/MockFrame.h"

#include <cstring>
#include <dlfcn.h>

using namespace fathom::test;

namespace {

constexpr int kGood = 0, kInvalid = 1, kOutOfMemory = 2, kNoContext = 201,
              kInvalidHandle = 400, kNotFound = 500, kLaunchFailed = 719,
              kNotAllowed = 900;

struct Stream {
  bool capturing = false;
  std::vector<Work> captured;
};
struct Library {
  void *handle;
};
struct Function : MockKernel {
  Library *library = nullptr;
};
struct Graph {
  std::vector<Work> work;
};

MockCuda state;
MockFrame frame(state, {kInvalid, kInvalidHandle, kOutOfMemory, kLaunchFailed},
                0);
thread_local void *current = nullptr;
int retained = 0;
char contextObject;
std::set<Stream *> streams;
std::set<Library *> libraries;
std::map<Function *, bool> functions; // whether it is on the device
std::set<Graph *> graphs, executables;

template <typename... Args> int violation(const Args &...args) {
  return frame.violation(args...);
}

/// Notes a call; not good: it fails.
int enter(const char *name, bool needsContext = true) {
  if (int code = frame.note(name))
    return code;
  if (needsContext && frame.broken())
    return frame.broken();
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

int add(void *handle, Work work) {
  Stream *stream = static_cast<Stream *>(handle);
  if (!streams.count(stream))
    return violation("a stream that is none", kInvalidHandle);
  if (stream->capturing)
    stream->captured.push_back(std::move(work));
  else if (isCapturing())
    return violation("another stream is captured", kNotAllowed);
  else
    frame.queue(std::move(work));
  return kGood;
}

std::string alive() {
  return frame.alive({{streams.size(), "streams"},
                      {libraries.size(), "libraries"},
                      {graphs.size(), "graphs"},
                      {executables.size(), "executable graphs"},
                      {size_t(retained), "contexts"}});
}

void reset() {
  state = MockCuda();
  state.failCode = kLaunchFailed;
  state.alive = alive;
  state.reset = reset;
  frame.clear();
  current = nullptr;
  retained = 0;
  MockFrame::destroyAll(streams);
  MockFrame::destroyAll(libraries);
  for (const auto &[function, loaded] : functions)
    delete function;
  functions.clear();
  MockFrame::destroyAll(graphs);
  MockFrame::destroyAll(executables);
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
CUDA int cuDeviceTotalMem_v2(size_t *bytes, int) {
  ENTER("cuDeviceTotalMem_v2", false);
  *bytes = state.memoryBytes;
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
  return frame.allocate(size, *address);
}
CUDA int cuMemFree_v2(uint64_t address) {
  ENTER("cuMemFree_v2");
  NOT_WHILE_CAPTURING();
  return frame.release(address);
}
CUDA int cuMemAllocHost_v2(void **out, size_t size) {
  ENTER("cuMemAllocHost_v2");
  NOT_WHILE_CAPTURING();
  return frame.allocateHost(size, *out);
}
CUDA int cuMemFreeHost(void *host) {
  ENTER("cuMemFreeHost");
  return frame.releaseHost(host);
}

CUDA int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size,
                              void *stream) {
  ENTER("cuMemcpyHtoDAsync_v2");
  if (!frame.isInside(to, size))
    return violation("beyond what was allocated");
  return add(stream, [=] {
    std::memcpy(frame.bytes(to), from, size);
    return kGood;
  });
}
CUDA int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size,
                              void *stream) {
  ENTER("cuMemcpyDtoHAsync_v2");
  if (!frame.isInside(from, size))
    return violation("beyond what was allocated");
  return add(stream, [=] {
    std::memcpy(to, frame.bytes(from), size);
    return kGood;
  });
}
CUDA int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t size,
                              void *stream) {
  ENTER("cuMemcpyDtoDAsync_v2");
  if (!frame.isInside(from, size) || !frame.isInside(to, size))
    return violation("beyond what was allocated");
  return add(stream, [=] {
    std::memmove(frame.bytes(to), frame.bytes(from), size);
    return kGood;
  });
}
CUDA int cuMemsetD8Async(uint64_t to, unsigned char value, size_t size,
                         void *stream) {
  ENTER("cuMemsetD8Async");
  if (!frame.isInside(to, size))
    return violation("beyond what was allocated");
  return add(stream, [=] {
    std::memset(frame.bytes(to), value, size);
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
  return frame.destroy(streams, stream);
}
CUDA int cuStreamSynchronize(void *stream) {
  ENTER("cuStreamSynchronize");
  NOT_WHILE_CAPTURING();
  if (!streams.count(static_cast<Stream *>(stream)))
    return violation("a stream that is none", kInvalidHandle);
  return frame.drain();
}
CUDA int cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
  ENTER("cuStreamWaitEvent");
  NOT_WHILE_CAPTURING();
  if (flags || !frame.isEvent(event))
    return violation("an event that is none", kInvalidHandle);
  return add(stream, [] { return kGood; });
}
CUDA int cuEventCreate(void **event, unsigned flags) {
  ENTER("cuEventCreate");
  if (flags)
    return violation("an event that measures no time");
  *event = frame.createEvent();
  return kGood;
}
CUDA int cuEventDestroy_v2(void *event) {
  ENTER("cuEventDestroy_v2");
  return frame.destroyEvent(event);
}
CUDA int cuEventRecord(void *event, void *stream) {
  ENTER("cuEventRecord");
  NOT_WHILE_CAPTURING();
  if (!frame.isEvent(event))
    return violation("an event that is none", kInvalidHandle);
  return add(stream, MockFrame::recording(static_cast<MockEvent *>(event)));
}
CUDA int cuEventElapsedTime(float *milliseconds, void *from, void *to) {
  ENTER("cuEventElapsedTime");
  return frame.elapsed(from, to, *milliseconds);
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
  const size_t size =
      header.sections + size_t(header.sectionSize) * header.sectionCount;
  void *handle = nullptr;
  if (int failed = frame.openLibrary(code, size, handle))
    return failed;
  *library = *libraries.insert(new Library{handle}).first;
  return kGood;
}
CUDA int cuLibraryUnload(void *library) {
  ENTER("cuLibraryUnload");
  frame.drain();
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
  return frame.destroy(libraries, library);
}
CUDA int cuLibraryGetKernel(void **kernel, void *library, const char *name) {
  ENTER("cuLibraryGetKernel");
  Library *l = static_cast<Library *>(library);
  if (!libraries.count(l))
    return violation("a library that is none", kInvalidHandle);
  MockKernel found;
  if (!MockFrame::findKernel(l->handle, name, found))
    return kNotFound;
  Function *made = new Function{found, l};
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
  const int64_t x = config->grid[0], y = config->grid[1], z = config->grid[2];
  return add(config->stream, [=] {
    HostArguments host;
    if (int code = frame.onHost(*function, args, 16, host))
      return code;
    for (int64_t k = 0; k < z; ++k)
      for (int64_t j = 0; j < y; ++j)
        for (int64_t i = 0; i < x; ++i)
          frame.run(*function, host, i, j, k);
    return kGood;
  });
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
  frame.drain();
  return frame.destroy(executables, graph);
}
CUDA int cuGraphDestroy(void *graph) {
  ENTER("cuGraphDestroy");
  return frame.destroy(graphs, graph);
}

} // extern "C"
