// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/ascend/AscendDriver.h"

#include <algorithm>

namespace fathom::rt {

namespace {

constexpr uint64_t kAlignment = 256;

/// The processors that code of a level runs on, by how their names begin.
/// Members of a family have the same memories and instructions, and other
/// numbers of cores, which no kernel relies on.
struct Family {
  const char *isa, *prefix;
};
constexpr Family kFamilies[] = {
    {"910b", "Ascend910B"}, {"a3", "Ascend910_93"}, {"950", "Ascend950"}};

uint64_t rounded(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

} // namespace

/// enter(), then a call whose failure is told by its exported name.
#define FATHOM_ACL(driver, member, exported, ...)                              \
  [&]() -> Status {                                                            \
    if (Status entered = (driver).enter(); entered.failed())                   \
      return entered;                                                          \
    return (driver).api.status((driver).api.member(__VA_ARGS__), exported);    \
  }()

#define FATHOM_SELF AscendDriver &driver = *static_cast<AscendDriver *>(self)

const DriverTable AscendDriver::table = {
    "ascend",
    /*sharesHostMemory=*/false,
    /*recordsGraphs=*/true,
    /*granularity=*/kAlignment,
    /*collectives=*/"HCCL",
    [](void *self) { delete static_cast<AscendDriver *>(self); },
    nullptr, // threads stay where they are
    [](void *self) {
      FATHOM_SELF;
      return driver.describe();
    },
    [](void *self, const std::string &isa) {
      FATHOM_SELF;
      return driver.rank(isa);
    },
    [](void *self) {
      FATHOM_SELF;
      return "this processor is an " + driver.describe();
    },
    [](void *self, uint64_t *bytes) {
      FATHOM_SELF;
      return driver.memory(bytes);
    },
    [](void *self, const BufferRequest *requests, size_t count, void **memory) {
      FATHOM_SELF;
      return driver.allocate(requests, count, memory);
    },
    [](void *self, const BufferRequest *, size_t count, void *const *memory) {
      FATHOM_SELF;
      if (count)
        driver.release(memory[0]);
    },
    [](void *self, uint64_t bytes, void **memory) {
      FATHOM_SELF;
      Status s = FATHOM_ACL(driver, allocateHost, "aclrtMallocHost", memory,
                            std::max<uint64_t>(bytes, 1));
      if (!s.failed())
        std::memset(*memory, 0, bytes);
      return s;
    },
    [](void *self, void *memory, uint64_t) {
      FATHOM_SELF;
      (void)FATHOM_ACL(driver, releaseHost, "aclrtFreeHost", memory);
    },
    [](void *self, void **out) {
      FATHOM_SELF;
      return driver.createStream(out);
    },
    [](void *self, void *stream) {
      FATHOM_SELF;
      driver.destroyStream(stream);
    },
    [](void *self, void **out) {
      FATHOM_SELF;
      return FATHOM_ACL(driver, createEvent, "aclrtCreateEventExWithFlag", out,
                        kAclEventSync | kAclEventTimeLine);
    },
    [](void *self, void *event) {
      FATHOM_SELF;
      (void)FATHOM_ACL(driver, destroyEvent, "aclrtDestroyEvent", event);
    },
    [](void *self, void *event, void *stream) {
      FATHOM_SELF;
      if (Status s = driver.notRecording(stream, "an event"); s.failed())
        return s;
      return FATHOM_ACL(driver, recordEvent, "aclrtRecordEvent", event,
                        static_cast<Stream *>(stream)->handle);
    },
    [](void *self, void *stream, void *event) {
      FATHOM_SELF;
      if (Status s = driver.notRecording(stream, "waiting"); s.failed())
        return s;
      return FATHOM_ACL(driver, waitEvent, "aclrtStreamWaitEvent",
                        static_cast<Stream *>(stream)->handle, event);
    },
    [](void *self, void *from, void *to, uint64_t *nanoseconds) {
      FATHOM_SELF;
      float milliseconds = 0;
      Status s = FATHOM_ACL(driver, elapsed, "aclrtEventElapsedTime",
                            &milliseconds, from, to);
      *nanoseconds = static_cast<uint64_t>(double(milliseconds) * 1e6);
      return s;
    },
    [](void *self, void *stream) {
      FATHOM_SELF;
      if (Status s = driver.notRecording(stream, "waiting"); s.failed())
        return s;
      return FATHOM_ACL(driver, synchronise, "aclrtSynchronizeStream",
                        static_cast<Stream *>(stream)->handle);
    },
    [](void *self, CopyKind kind, void *to, const void *from, uint64_t bytes,
       void *stream) {
      FATHOM_SELF;
      return driver.copy(kind, to, from, bytes, stream);
    },
    [](void *self, void *to, uint8_t value, uint64_t bytes, void *stream) {
      FATHOM_SELF;
      return driver.fill(to, value, bytes, stream);
    },
    [](void *self, const char *path, const std::string &bytes, void **image) {
      FATHOM_SELF;
      // Its kernel must be known before it can be registered.
      driver.images.push_back(std::make_unique<Image>(Image{path, bytes}));
      *image = driver.images.back().get();
      return Status();
    },
    [](void *self, void *image, const KernelRequest &request, void **kernel) {
      FATHOM_SELF;
      return driver.findKernel(*static_cast<Image *>(image), request, kernel);
    },
    [](void *self, uint64_t) {
      FATHOM_SELF;
      return driver.workspaceBytes;
    },
    [](void *self, uint64_t) {
      FATHOM_SELF;
      return driver.reserveScratch();
    },
    [](void *self, const LaunchRecord &record) {
      FATHOM_SELF;
      return driver.admit(record);
    },
    [](void *self, const LaunchRecord &record, void *stream) {
      FATHOM_SELF;
      return driver.launch(record, stream);
    },
    [](void *self, void *stream) {
      FATHOM_SELF;
      if (Status s = driver.notRecording(stream, "recording"); s.failed())
        return s;
      static_cast<Stream *>(stream)->recording = std::make_unique<Graph>();
      return Status();
    },
    [](void *, void *stream, void **graph) {
      *graph = static_cast<Stream *>(stream)->recording.release();
      return Status();
    },
    [](void *self, void *graph, void *stream) {
      FATHOM_SELF;
      Status s = driver.notRecording(stream, "a recording");
      if (!s.failed())
        s = driver.enter();
      for (const auto &work : static_cast<Graph *>(graph)->work)
        if (!s.failed())
          s = work(static_cast<Stream *>(stream)->handle);
      return s;
    },
    [](void *, void *graph) { delete static_cast<Graph *>(graph); },
    nullptr,
};

#undef FATHOM_SELF

//===-- Beginning and end -------------------------------------------------===//

AscendDriver::~AscendDriver() {
  if (device < 0)
    return;
  if (context) {
    (void)enter();
    for (const std::unique_ptr<Kernel> &kernel : kernels)
      if (kernel->function)
        launchers.front()->unload(kernel->function);
    if (workspace)
      release(workspace);
    if (setup)
      (void)api.destroyStream(setup);
  }
  (void)api.resetDevice(device);
}

Status AscendDriver::open(const DriverOptions &options, Driver &out) {
  auto driver = std::make_unique<AscendDriver>();
  if (Status s = driver->start(options); s.failed())
    return s;
  out = Driver{&table, driver.release()};
  return Status();
}

Status AscendDriver::start(const DriverOptions &options) {
  if (Status s = api.open(); s.failed())
    return s;
  if (Status s = findLaunchers(api, launchers); s.failed())
    return s;
  // Once for a process, whoever comes first; it is never taken back, since
  // others may rely on it.
  if (const AclResult result = api.init(nullptr);
      result != kAclAlreadyInitialised)
    if (Status s = api.status(result, "aclInit"); s.failed())
      return s;
  if (Status s = chooseDevice(options.device); s.failed())
    return s;
  const char *name = api.processorName();
  processor = name ? name : "";
  if (std::none_of(std::begin(kFamilies), std::end(kFamilies),
                   [&](const Family &f) { return rank(f.isa) > 0; }))
    return Status(FATHOM_UNSUPPORTED,
                  "this processor is an '" + processor +
                      "'; Ascend 910B, A3 and 950 are supported");
  return FATHOM_ACL(*this, createStream, "aclrtCreateStream", &setup);
}

Status AscendDriver::chooseDevice(int wanted) {
  uint32_t count = 0;
  if (Status s = api.status(api.deviceCount(&count), "aclrtGetDeviceCount");
      s.failed())
    return s;
  if (count == 0)
    return Status(FATHOM_UNSUPPORTED, "there is no Ascend processor here");
  if (wanted < 0 || uint32_t(wanted) >= count)
    return Status(FATHOM_USAGE, "there is no device " + std::to_string(wanted) +
                                    "; there are 0 to " +
                                    std::to_string(count - 1));
  if (Status s = api.status(api.setDevice(wanted), "aclrtSetDevice");
      s.failed())
    return s;
  device = wanted;
  Status s = api.status(api.currentContext(&context), "aclrtGetCurrentContext");
  if (s.failed())
    context = nullptr;
  return s;
}

Status AscendDriver::enter() const {
  return api.status(api.setContext(context), "aclrtSetCurrentContext");
}

std::string AscendDriver::describe() const {
  return processor + " (device " + std::to_string(device) +
         ", kernels are launched by " + launchers.front()->name() + ")";
}

int AscendDriver::rank(const std::string &isa) const {
  for (const Family &family : kFamilies)
    if (isa == family.isa)
      return processor.rfind(family.prefix, 0) == 0;
  return 0;
}

Status AscendDriver::memory(uint64_t *bytes) const {
  size_t free = 0, total = 0;
  Status s =
      FATHOM_ACL(*this, memory, "aclrtGetMemInfo", kAclHBM, &free, &total);
  if (!s.failed() && total == 0) // a processor with memory of another kind
    s = FATHOM_ACL(*this, memory, "aclrtGetMemInfo", kAclDDR, &free, &total);
  *bytes = free;
  return s;
}

//===-- Memory ------------------------------------------------------------===//

/// Zeroed. CANN's own alignment is enough: kernels ask for an element's, and
/// only so is what the plan counts what is asked for.
Status AscendDriver::allocateBytes(uint64_t bytes, const std::string &what,
                                   void **memory) {
  void *got = nullptr;
  if (Status s = FATHOM_ACL(*this, allocate, "aclrtMalloc", &got, bytes,
                            kAclHugePagesFirst);
      s.failed())
    return Status(s.code(), std::to_string(bytes) + " bytes for " + what +
                                ": " + s.message());
  Status zeroed =
      FATHOM_ACL(*this, fill, "aclrtMemsetAsync", got, bytes, 0, bytes, setup);
  if (!zeroed.failed())
    zeroed = FATHOM_ACL(*this, synchronise, "aclrtSynchronizeStream", setup);
  if (zeroed.failed()) {
    (void)api.release(got);
    return zeroed;
  }
  *memory = got;
  return Status();
}

/// One piece of the device's memory, cut up.
Status AscendDriver::allocate(const BufferRequest *requests, size_t count,
                              void **memory) {
  if (count == 0)
    return Status();
  uint64_t total = 0;
  for (size_t i = 0; i < count; ++i)
    total += rounded(requests[i].bytes);
  void *base = nullptr;
  if (Status s = allocateBytes(std::max(total, kAlignment),
                               std::to_string(count) + " buffers from '" +
                                   requests[0].name + "' on",
                               &base);
      s.failed())
    return s;
  uint8_t *next = static_cast<uint8_t *>(base);
  for (size_t i = 0; i < count; ++i) {
    memory[i] = next;
    next += rounded(requests[i].bytes);
  }
  return Status();
}

void AscendDriver::release(void *memory) {
  if (memory)
    (void)FATHOM_ACL(*this, release, "aclrtFree", memory);
}

/// Kernels run one after the other, so that the largest need is all there is.
Status AscendDriver::reserveScratch() {
  if (!workspaceBytes || workspace)
    return Status();
  Status s =
      allocateBytes(workspaceBytes, "the kernels' workspace", &workspace);
  addresses.workspace = reinterpret_cast<uintptr_t>(workspace);
  return s;
}

//===-- Queues ------------------------------------------------------------===//

Status AscendDriver::createStream(void **out) {
  auto stream = std::make_unique<Stream>();
  Status s =
      FATHOM_ACL(*this, createStream, "aclrtCreateStream", &stream->handle);
  if (!s.failed())
    *out = stream.release();
  return s;
}

void AscendDriver::destroyStream(void *stream) {
  Stream *own = static_cast<Stream *>(stream);
  (void)FATHOM_ACL(*this, destroyStream, "aclrtDestroyStream", own->handle);
  delete own;
}

Status AscendDriver::notRecording(void *stream, const char *what) const {
  return static_cast<Stream *>(stream)->recording
             ? Status(FATHOM_FAILED,
                      std::string(what) + " cannot be part of a recording")
             : Status();
}

template <typename Work>
Status AscendDriver::queue(void *stream, Work work) const {
  Stream *own = static_cast<Stream *>(stream);
  if (own->recording) {
    own->recording->work.push_back(std::move(work));
    return Status();
  }
  if (Status s = enter(); s.failed())
    return s;
  return work(own->handle);
}

Status AscendDriver::copy(CopyKind kind, void *to, const void *from,
                          uint64_t bytes, void *stream) const {
  if (!bytes)
    return Status();
  const int way = kind == CopyKind::ToDevice ? kAclToDevice
                  : kind == CopyKind::ToHost ? kAclToHost
                                             : kAclWithinDevice;
  return queue(stream, [=](AclStream where) {
    return api.status(api.copy(to, bytes, from, bytes, way, where),
                      "aclrtMemcpyAsync");
  });
}

Status AscendDriver::fill(void *to, uint8_t value, uint64_t bytes,
                          void *stream) const {
  if (!bytes)
    return Status();
  return queue(stream, [=](AclStream where) {
    return api.status(api.fill(to, bytes, value, bytes, where),
                      "aclrtMemsetAsync");
  });
}

//===-- Kernels -----------------------------------------------------------===//

/// By the first way that takes it; once a kernel is loaded, the ways stay.
Status AscendDriver::loadFunction(const Image &image, Kernel &kernel) {
  if (Status s = enter(); s.failed())
    return s;
  std::string said;
  for (;;) {
    Status s = launchers.front()->load(image.bytes, kernel.facts.mix,
                                       kernel.name.c_str(), &kernel.function);
    if (!s.failed())
      return s;
    said += (said.empty() ? "" : "; ") + s.message();
    if (!kernels.empty() || launchers.size() == 1)
      return Status(s.code(), "'" + image.path + "': " + said);
    launchers.erase(launchers.begin());
  }
}

Status AscendDriver::findKernel(const Image &image,
                                const KernelRequest &request, void **out) {
  auto kernel = std::make_unique<Kernel>();
  kernel->name = request.name;
  if (Status s = kernel->facts.read(request); s.failed())
    return s;
  if (Status s = loadFunction(image, *kernel); s.failed())
    return s;
  const AscendKernelFacts &facts = kernel->facts;
  const bool wantsFlags = facts.flags && !addresses.flags;
  const int64_t most =
      std::min(facts.blocksFor(request.mostPrograms), kMostAscendBlocks);
  workspaceBytes =
      std::max(workspaceBytes, facts.workspaceBytes * uint64_t(most));
  *out = kernel.get();
  kernels.push_back(std::move(kernel));
  return wantsFlags ? launchers.front()->flags(&addresses.flags) : Status();
}

static int64_t programsOf(const LaunchRecord &record) {
  return record.grid[0] * record.grid[1] * record.grid[2];
}

int64_t AscendDriver::blocksOf(const LaunchRecord &record) {
  return static_cast<const Kernel *>(record.kernel)
      ->facts.blocksFor(programsOf(record));
}

Status AscendDriver::admit(const LaunchRecord &record) const {
  auto kernel = [&] { return std::string("kernel '") + record.name + "'"; };
  const int64_t blocks = blocksOf(record);
  if (blocks > kMostAscendBlocks)
    return Status(FATHOM_UNSUPPORTED,
                  kernel() + " wants " + std::to_string(blocks) +
                      " blocks, an Ascend processor takes " +
                      std::to_string(kMostAscendBlocks));
  if (const int64_t programs = programsOf(record);
      programs > kMostAscendPrograms)
    return Status(FATHOM_UNSUPPORTED, kernel() + " wants " +
                                          std::to_string(programs) +
                                          " programs, a launch has at most " +
                                          std::to_string(kMostAscendPrograms));
  if (record.argCount > kMostAscendArguments)
    return Status(FATHOM_UNSUPPORTED, kernel() + " has " +
                                          std::to_string(record.argCount) +
                                          " arguments");
  return Status();
}

Status AscendDriver::launch(const LaunchRecord &record, void *stream) const {
  if (Status s = admit(record); s.failed())
    return s;
  const Kernel &kernel = *static_cast<const Kernel *>(record.kernel);
  const int64_t blocks = blocksOf(record);
  uint64_t words[kMostAscendWords];
  const size_t bytes =
      packArguments(kernel.facts, record, addresses, words) * 8;
  auto launchWith = [this, &kernel, blocks, bytes](AclStream where,
                                                   const uint64_t *packed) {
    return launchers.front()->launch(kernel.function, kernel.name.c_str(),
                                     uint32_t(blocks), packed, bytes, where);
  };
  if (!static_cast<Stream *>(stream)->recording)
    return queue(stream,
                 [&](AclStream where) { return launchWith(where, words); });
  return queue(
      stream,
      [launchWith, kept = std::vector<uint64_t>(words, words + bytes / 8)](
          AclStream where) { return launchWith(where, kept.data()); });
}

#undef FATHOM_ACL

} // namespace fathom::rt
