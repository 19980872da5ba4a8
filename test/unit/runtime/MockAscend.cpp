// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A libascendcl and libruntime in one that are none: checks every call (what it
// names, whether it is alive and in range, order, context) and every launch
// against the convention of AscendNPU-IR's objects, and runs kernels on the
// CPU. An object is a shared library here, whose kernels take addresses of the
// device and counts in its memory.
//
// Arguments are taken when a kernel is launched, what they point to when it
// runs. Device addresses have no more alignment than CANN promises.
#include "test/unit/runtime/MockAscend.h"
#include "test/unit/runtime/MockFrame.h"

#include <cstring>
#include <dlfcn.h>
#include <memory>

using namespace fathom::test;

namespace {

constexpr int kGood = 0, kInvalid = 107000, kNoContext = 107002,
              kInvalidHandle = 107003, kAgain = 100002, kNoMemory = 207001,
              kFault = 507015;
constexpr uint32_t kBothCores = 0x43554245, kVectorCores = 0x41415246;

struct Stream {};
struct Binary {
  void *handle = nullptr;
  uint32_t magic = 0;
  /// Whose bytes it was made of, and what they were: they must stay.
  const char *bytes = nullptr;
  std::string were;
};
struct Function : MockKernel {
  Binary *binary = nullptr;
  bool isMix() const { return name == kMockMixKernel; }
};

MockAscend state;
MockFrame frame(state, {kInvalid, kInvalidHandle, kNoMemory, kFault}, 64);
thread_local void *current = nullptr;
bool initialised = false, gaveFlags = false;
int devicesSet = 0;
char contextObject;
std::set<Stream *> streams;
std::set<Binary *> binaries;
std::map<const void *, std::unique_ptr<Function>> functions;

template <typename... Args> int violation(const Args &...args) {
  return frame.violation(args...);
}

/// Notes a call; not good: it fails.
int enter(const char *name, bool needsContext = true) {
  if (int code = frame.note(name))
    return code;
  if (!initialised && std::string(name) != "aclInit")
    return violation("before aclInit");
  if (needsContext && frame.broken())
    return frame.broken();
  if (needsContext && (!current || !devicesSet))
    return violation("no context is current", kNoContext);
  return kGood;
}

#define ENTER(...)                                                             \
  if (int code = enter(__VA_ARGS__))                                           \
  return code

bool isInside(const void *address, uint64_t size) {
  return frame.isInside(reinterpret_cast<uintptr_t>(address), size);
}

int add(void *stream, Work work) {
  if (!streams.count(static_cast<Stream *>(stream)))
    return violation("a stream that is none", kInvalidHandle);
  frame.queue(std::move(work));
  return kGood;
}

bool is950() { return state.processor.rfind("Ascend950", 0) == 0; }
int64_t strideOf(const Function &f) {
  return state.withoutLoops.count(f.name) ? INT32_MAX
         : f.isMix()                      ? kMockMixBlocks
                                          : kMockVectorBlocks;
}

/// `args` are the kernel's own, without what stands before a table.
int runKernel(const Function &function, const std::vector<uint64_t> &args,
              uint32_t blocks, const int32_t *grid) {
  HostArguments host;
  if (int code = frame.onHost(function, args, 1, host))
    return code;
  const int64_t all = int64_t(grid[0]) * grid[1] * grid[2];
  // What a block begins goes on at a fixed distance. 910B and A3 take four
  // programs a turn where they multiply: in the same order.
  for (int64_t block = 0; block < blocks; ++block)
    for (int64_t i = block; i < all; i += strideOf(function))
      if (is950()) // x is fastest
        frame.run(function, host, i % grid[0], i / grid[0] % grid[1],
                  i / grid[0] / grid[1]);
      else // z is
        frame.run(function, host, i / (grid[2] * grid[1]) % grid[0],
                  i / grid[2] % grid[1], i % grid[2]);
  return kGood;
}

int launch(Function *function, uint32_t blocks, const void *arguments,
           size_t size, void *stream) {
  const std::string &name = function->name;
  const Binary &binary = *function->binary;
  if (std::memcmp(binary.bytes, binary.were.data(), binary.were.size()))
    return violation(name + ": the bytes of its object have gone");
  std::vector<uint64_t> words(size / 8);
  std::memcpy(words.data(), arguments, words.size() * 8);
  state.launches[name] = {blocks, words};
  size_t own = 0;
  for (size_t i = 0; i < function->kinds.size(); ++i)
    own += function->isTable(i) ? 2 : 1;
  const bool hasFlags = !is950();
  if (size != (hasFlags + 2 + own + 2) * 8)
    return violation(name + ": " + std::to_string(size) +
                     " bytes of arguments");
  size_t at = 0;
  if (hasFlags && (words[at++] != kMockFlags || !gaveFlags))
    return violation(name + ": not the address of the flags");
  if (words[at++])
    return violation(name + ": a lock that it does not use");
  const uint64_t workspace = words[at++], room = kMockWorkspace * blocks;
  if (function->isMix() ? workspace % 64 || !frame.isInside(workspace, room)
                        : workspace != 0)
    return violation(name + ": no workspace of all blocks");
  std::vector<uint64_t> args;
  for (size_t i = 0; i < function->kinds.size(); ++i) {
    const bool isTable = function->isTable(i);
    const uint64_t first = isTable ? words[at++] : 0, value = words[at++];
    if (!frame.isInside(value, function->bytesAt(i)) || value % 4)
      return violation(name + ": argument " + std::to_string(i) +
                       " is no address of the device");
    if (isTable && !frame.isInside(first, 1))
      return violation(name + ": no first buffer of a table");
    args.push_back(value);
  }
  int32_t grid[4];
  std::memcpy(grid, &words[at], sizeof(grid));
  const int64_t all = int64_t(grid[0]) * grid[1] * grid[2];
  if (grid[0] < 1 || grid[1] < 1 || grid[2] < 1 || grid[3] != 0)
    return violation(name + ": a grid that cannot be");
  if (blocks > 65535 || blocks != std::min(all, strideOf(*function)))
    return violation(name + ": " + std::to_string(blocks) + " blocks for " +
                     std::to_string(all) + " programs");
  return add(stream, [=, grid0 = grid[0], grid1 = grid[1], grid2 = grid[2]] {
    if (function->isMix()) // what kernels leave there is of no use
      std::memset(frame.bytes(workspace), 0xff, room);
    for (size_t i = 0, j = hasFlags + 2; i < args.size(); ++i, ++j) {
      if (!function->isTable(i))
        continue;
      // By now the table has been written: its first buffer is the one given.
      uint64_t first = 0;
      std::memcpy(&first, frame.bytes(args[i]), 8);
      if (first != words[j++])
        return violation(name + ": not the first buffer of the table", kFault);
    }
    const int32_t sizes[3] = {grid0, grid1, grid2};
    return runKernel(*function, args, blocks, sizes);
  });
}

std::string alive() {
  return frame.alive({{streams.size(), "streams"},
                      {binaries.size(), "binaries"},
                      {size_t(devicesSet), "devices"}});
}

void reset() {
  state = MockAscend();
  state.failCode = kFault;
  state.alive = alive;
  state.reset = reset;
  frame.clear();
  current = nullptr;
  initialised = gaveFlags = false;
  devicesSet = 0;
  MockFrame::destroyAll(streams);
  functions.clear();
  MockFrame::destroyAll(binaries);
}

int load(const void *data, uint64_t length, uint32_t magic, void **out) {
  if (magic != kBothCores && magic != kVectorCores)
    return violation("an object of an unknown kind");
  void *handle = nullptr;
  if (int code = frame.openLibrary(data, length, handle))
    return code;
  const char *text = static_cast<const char *>(data);
  *out =
      *binaries.insert(new Binary{handle, magic, text, {text, length}}).first;
  return kGood;
}

int unload(void *handle) {
  frame.drain();
  Binary *binary = static_cast<Binary *>(handle);
  if (!binaries.count(binary))
    return violation("what is not alive", kInvalidHandle);
  for (auto it = functions.begin(); it != functions.end();)
    it = it->second->binary == binary ? functions.erase(it) : std::next(it);
  dlclose(binary->handle);
  return frame.destroy(binaries, handle);
}

std::unique_ptr<Function> find(void *handle, const char *name) {
  Binary *binary = static_cast<Binary *>(handle);
  if (!binaries.count(binary)) {
    violation("a binary that is none");
    return nullptr;
  }
  MockKernel found;
  if (!MockFrame::findKernel(binary->handle, name, found))
    return nullptr;
  auto made = std::make_unique<Function>(Function{found, binary});
  if ((binary->magic == kBothCores) != made->isMix())
    violation(made->name + ": an object of the other kind of cores");
  return made;
}

} // namespace

extern "C" {

#define ACL __attribute__((visibility("default")))

ACL MockAscend *mockAscend() {
  if (!state.alive)
    reset();
  return &state;
}

ACL int aclInit(const char *configuration) {
  mockAscend();
  ENTER("aclInit", false);
  if (configuration)
    return violation("a configuration");
  if (initialised || state.initialisedBefore) {
    initialised = true;
    return kAgain;
  }
  initialised = true;
  return kGood;
}
ACL const char *aclGetRecentErrMsg() {
  return "the mock says so\nand a hint that nobody needs";
}
ACL const char *aclrtGetSocName() { return state.processor.c_str(); }
ACL int aclrtGetDeviceCount(uint32_t *count) {
  ENTER("aclrtGetDeviceCount", false);
  *count = state.devices;
  return kGood;
}
ACL int aclrtSetDevice(int32_t device) {
  ENTER("aclrtSetDevice", false);
  if (device < 0 || uint32_t(device) >= state.devices)
    return violation("no such device");
  ++devicesSet;
  current = &contextObject;
  return kGood;
}
ACL int aclrtResetDevice(int32_t) {
  ENTER("aclrtResetDevice", false);
  if (devicesSet == 0)
    return violation("no device is set");
  --devicesSet;
  return kGood;
}
ACL int aclrtGetCurrentContext(void **context) {
  ENTER("aclrtGetCurrentContext");
  *context = current;
  return kGood;
}
ACL int aclrtSetCurrentContext(void *context) {
  ENTER("aclrtSetCurrentContext", false);
  if (context != &contextObject || !devicesSet)
    return violation("no context");
  current = context;
  return kGood;
}

ACL int aclrtGetMemInfo(int kind, size_t *free, size_t *total) {
  ENTER("aclrtGetMemInfo");
  if (kind != 1) // memory of another kind: there is none
    return violation("memory that there is not");
  *total = state.memoryBytes;
  *free = state.memoryBytes - size_t(state.allocatedBytes);
  return kGood;
}
ACL int aclrtMalloc(void **out, size_t size, int policy) {
  ENTER("aclrtMalloc");
  if (policy != 0)
    return violation("an unknown policy");
  uint64_t address = 0;
  const int code = frame.allocate(size, address);
  *out = reinterpret_cast<void *>(address);
  return code;
}
ACL int aclrtFree(void *what) {
  ENTER("aclrtFree");
  return frame.release(reinterpret_cast<uintptr_t>(what));
}
ACL int aclrtMallocHost(void **out, size_t size) {
  ENTER("aclrtMallocHost");
  return frame.allocateHost(size, *out);
}
ACL int aclrtFreeHost(void *host) {
  ENTER("aclrtFreeHost");
  return frame.releaseHost(host);
}

ACL int aclrtMemcpyAsync(void *to, size_t room, const void *from, size_t size,
                         int kind, void *stream) {
  ENTER("aclrtMemcpyAsync");
  if (size == 0 || room < size)
    return violation("more than there is room for");
  if (kind < 1 || kind > 3)
    return violation("a copy that leads nowhere");
  const bool toDevice = kind != 2, fromDevice = kind != 1;
  if ((toDevice && !isInside(to, size)) ||
      (fromDevice && !isInside(from, size)))
    return violation("beyond what was allocated");
  auto place = [](const void *address, bool isDevice) {
    return isDevice ? frame.bytes(reinterpret_cast<uintptr_t>(address))
                    : static_cast<uint8_t *>(const_cast<void *>(address));
  };
  uint8_t *target = place(to, toDevice), *source = place(from, fromDevice);
  return add(stream, [=] {
    std::memmove(target, source, size);
    return kGood;
  });
}
ACL int aclrtMemsetAsync(void *to, size_t room, int32_t value, size_t size,
                         void *stream) {
  ENTER("aclrtMemsetAsync");
  if (size == 0 || room < size || value < 0 || value > 255)
    return violation("more than there is room for");
  if (!isInside(to, size))
    return violation("beyond what was allocated");
  uint8_t *target = frame.bytes(reinterpret_cast<uintptr_t>(to));
  return add(stream, [=] {
    std::memset(target, value, size);
    return kGood;
  });
}

ACL int aclrtCreateStream(void **stream) {
  ENTER("aclrtCreateStream");
  *stream = *streams.insert(new Stream()).first;
  return kGood;
}
ACL int aclrtDestroyStream(void *stream) {
  ENTER("aclrtDestroyStream");
  frame.drain();
  return frame.destroy(streams, stream);
}
ACL int aclrtSynchronizeStream(void *stream) {
  ENTER("aclrtSynchronizeStream");
  if (!streams.count(static_cast<Stream *>(stream)))
    return violation("a stream that is none", kInvalidHandle);
  return frame.drain();
}
ACL int aclrtCreateEventExWithFlag(void **event, uint32_t flags) {
  ENTER("aclrtCreateEventExWithFlag");
  if (flags != 9) // to be waited for, and to measure time
    return violation("an event of another kind");
  *event = frame.createEvent();
  return kGood;
}
ACL int aclrtDestroyEvent(void *event) {
  ENTER("aclrtDestroyEvent");
  return frame.destroyEvent(event);
}
ACL int aclrtRecordEvent(void *event, void *stream) {
  ENTER("aclrtRecordEvent");
  if (!frame.isEvent(event))
    return violation("an event that is none", kInvalidHandle);
  return add(stream, MockFrame::recording(static_cast<MockEvent *>(event)));
}
ACL int aclrtStreamWaitEvent(void *stream, void *event) {
  ENTER("aclrtStreamWaitEvent");
  if (!frame.isEvent(event))
    return violation("an event that is none", kInvalidHandle);
  return add(stream, [] { return kGood; });
}
ACL int aclrtEventElapsedTime(float *milliseconds, void *from, void *to) {
  ENTER("aclrtEventElapsedTime");
  return frame.elapsed(from, to, *milliseconds);
}

/// What starts kernels, which an older CANN does not show.
#ifdef FATHOM_MOCK_ASCEND_OLD
#define LAUNCH __attribute__((visibility("hidden"), used))
#else
#define LAUNCH ACL
#endif

struct RtBinary {
  uint32_t magic, version;
  const void *data;
  uint64_t length;
};
LAUNCH int rtDevBinaryRegister(const RtBinary *binary, void **handle) {
  ENTER("rtDevBinaryRegister");
  if (binary->version != 0)
    return violation("a version");
  return load(binary->data, binary->length, binary->magic, handle);
}
LAUNCH int rtDevBinaryUnRegister(void *handle) {
  ENTER("rtDevBinaryUnRegister");
  return unload(handle);
}
LAUNCH int rtFunctionRegister(void *handle, const void *stub,
                              const char *stubName, const void *kernel,
                              uint32_t mode) {
  ENTER("rtFunctionRegister");
  if (!stub || functions.count(stub) || !stubName || mode != 0)
    return violation("no stub of its own");
  std::unique_ptr<Function> made =
      find(handle, static_cast<const char *>(kernel));
  if (!made)
    return kInvalid;
  functions[stub] = std::move(made);
  return kGood;
}
LAUNCH int rtKernelLaunch(const void *stub, uint32_t blocks, void *arguments,
                          uint32_t size, void *sharedMemory, void *stream) {
  ENTER("rtKernelLaunch");
  auto it = functions.find(stub);
  if (it == functions.end() || sharedMemory)
    return violation("a kernel that is none", kInvalidHandle);
  return launch(it->second.get(), blocks, arguments, size, stream);
}
LAUNCH int rtGetC2cCtrlAddr(uint64_t *address, uint32_t *size) {
  ENTER("rtGetC2cCtrlAddr");
  *address = kMockFlags;
  *size = 4096;
  gaveFlags = true;
  return kGood;
}

struct LoadOption {
  int32_t kind;
  uint32_t value[4];
};
struct LoadOptions {
  LoadOption *options;
  size_t count;
};
LAUNCH int aclrtBinaryLoadFromData(const void *data, size_t length,
                                   const LoadOptions *options, void **handle) {
  ENTER("aclrtBinaryLoadFromData");
  if (!options || options->count != 1 || options->options->kind != 2)
    return violation("options without the kind of object");
  return load(data, length, options->options->value[0], handle);
}
LAUNCH int aclrtBinaryUnLoad(void *handle) {
  ENTER("aclrtBinaryUnLoad");
  return unload(handle);
}
LAUNCH int aclrtBinaryGetFunction(void *handle, const char *kernel,
                                  void **function) {
  ENTER("aclrtBinaryGetFunction");
  std::unique_ptr<Function> made = find(handle, kernel);
  if (!made)
    return kInvalid;
  *function = made.get();
  functions[*function] = std::move(made);
  return kGood;
}
LAUNCH int aclrtLaunchKernelWithHostArgs(void *function, uint32_t blocks,
                                         void *stream, void *configuration,
                                         void *arguments, size_t size,
                                         void *placeholders,
                                         size_t placeholderCount) {
  ENTER("aclrtLaunchKernelWithHostArgs");
  auto it = functions.find(function);
  if (it == functions.end() || configuration || placeholders ||
      placeholderCount)
    return violation("a kernel that is none", kInvalidHandle);
  return launch(it->second.get(), blocks, arguments, size, stream);
}
LAUNCH int aclrtGetHardwareSyncAddr(void **address) {
  ENTER("aclrtGetHardwareSyncAddr");
  *address = reinterpret_cast<void *>(kMockFlags);
  gaveFlags = true;
  return kGood;
}

} // extern "C"
