// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/host/HostDriver.h"

#include "runtime/drivers/host/Cpu.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <memory>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

namespace fathom::rt {

namespace {

/// One page more than asked for: kernels may read a vector past an end.
uint64_t mappedSize(uint64_t bytes) { return (bytes / 4096 + 2) * 4096; }

HostDriver &of(void *self) { return *static_cast<HostDriver *>(self); }

uint64_t nanoseconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return uint64_t(t.tv_sec) * 1000000000u + uint64_t(t.tv_nsec);
}

} // namespace

int hostRank(const std::string &isa) {
  const int rank = isaRank(isa);
  if (rank > cpuRank(rank))
    return 0;
  // Between them there is room for one that runs but is not the best.
  if (isa == "x86-64-v4-bf16" && !multipliesBF16Fast())
    return 2 * isaRank("x86-64-v4") - 1;
  return 2 * rank;
}

std::string hostRuns() {
  if (const int rank = cpuRank())
    return "this CPU runs up to " + isaName(rank);
  return "this CPU lacks " + missingForV3() + ", which x86-64-v3 needs";
}

void GridJob::run(void *context, int64_t begin, int64_t end, int thread) {
  const GridJob &job = *static_cast<const GridJob *>(context);
  int64_t x = begin % job.x, rest = begin / job.x;
  int64_t y = rest % job.y, z = rest / job.y;
  void *scratch = job.scratch[thread];
  for (int64_t i = begin; i < end; ++i) {
    job.kernel(job.args, x, y, z, scratch);
    if (++x == job.x) {
      x = 0;
      if (++y == job.y) {
        y = 0;
        ++z;
      }
    }
  }
}

const DriverTable HostDriver::table = {
    "host",
    /*sharesHostMemory=*/true,
    /*recordsGraphs=*/false,
    /*granularity=*/1,
    /*collectives=*/nullptr,
    [](void *self) { delete static_cast<HostDriver *>(self); },
    [](void *self) { of(self).threadPool.leave(); },
    [](void *) { return std::string("CPU"); },
    [](void *, const std::string &isa) { return hostRank(isa); },
    [](void *) { return hostRuns(); },
    // What the process may take, which its caller knows.
    [](void *, uint64_t *bytes) {
      *bytes = 0;
      return Status();
    },
    [](void *self, const BufferRequest *requests, size_t count, void **memory) {
      for (size_t i = 0; i < count; ++i)
        if (Status s = of(self).allocate(requests[i].bytes, &memory[i]);
            s.failed()) {
          while (i--)
            release(memory[i], requests[i].bytes);
          return s;
        }
      return Status();
    },
    [](void *, const BufferRequest *requests, size_t count,
       void *const *memory) {
      for (size_t i = 0; i < count; ++i)
        release(memory[i], requests[i].bytes);
    },
    [](void *self, uint64_t bytes, void **memory) {
      return of(self).allocate(bytes, memory);
    },
    [](void *, void *memory, uint64_t bytes) { release(memory, bytes); },
    [](void *, void **stream) {
      *stream = nullptr;
      return Status();
    },
    [](void *, void *) {},
    [](void *, void **event) {
      *event = new uint64_t(0);
      return Status();
    },
    [](void *, void *event) { delete static_cast<uint64_t *>(event); },
    [](void *, void *event, void *) {
      *static_cast<uint64_t *>(event) = nanoseconds();
      return Status();
    },
    [](void *, void *, void *) { return Status(); }, // nothing is queued
    [](void *, void *from, void *to, uint64_t *out) {
      *out = *static_cast<uint64_t *>(to) - *static_cast<uint64_t *>(from);
      return Status();
    },
    [](void *, void *) { return Status(); }, // all is done when a call returns
    [](void *, CopyKind, void *to, const void *from, uint64_t bytes, void *) {
      std::memcpy(to, from, bytes);
      return Status();
    },
    [](void *, void *to, uint8_t value, uint64_t bytes, void *) {
      std::memset(to, value, bytes);
      return Status();
    },
    [](void *self, const char *path, const std::string &bytes, void **image) {
      return of(self).load(path, bytes, image);
    },
    [](void *, void *image, const KernelRequest &request, void **kernel) {
      return find(image, request.name, kernel);
    },
    [](void *self, uint64_t bytes) {
      return bytes * uint64_t(of(self).threadPool.threads());
    },
    [](void *self, uint64_t bytes) { return of(self).reserve(bytes); },
    nullptr, // every launch can be
    [](void *self, const LaunchRecord &record, void *) {
      HostDriver &driver = of(self);
      GridJob job{reinterpret_cast<format::CpuKernel>(record.kernel),
                  record.args, record.grid[0], record.grid[1],
                  driver.scratch.data()};
      driver.threadPool.run(GridJob::run, &job,
                            record.grid[0] * record.grid[1] * record.grid[2]);
      return Status();
    },
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    [](void *self, ThreadPool::Body body, void *context, int64_t count) {
      of(self).threadPool.run(body, context, count);
    },
};

HostDriver::~HostDriver() {
  for (void *memory : scratch)
    release(memory, scratchSize);
  for (auto [image, file] : images) {
    dlclose(image);
    close(file);
  }
}

Status HostDriver::open(const DriverOptions &options, Driver &out) {
  auto driver = std::make_unique<HostDriver>();
  if (Status s = driver->start(options); s.failed())
    return s;
  out = Driver{&table, driver.release()};
  return Status();
}

Status HostDriver::start(const DriverOptions &options) {
  hugePages = options.placement.hugePages;
  return threadPool.start(options.threads, options.placement);
}

Status HostDriver::allocate(uint64_t bytes, void **memory) const {
  void *p = mmap(nullptr, mappedSize(bytes), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    return Status::fromErrno(
        "cannot map " + std::to_string(bytes) + " bytes of memory", errno);
  if (hugePages)
    adviseHugePages(p, mappedSize(bytes));
  *memory = p;
  return Status();
}

void HostDriver::release(void *memory, uint64_t bytes) {
  if (memory)
    munmap(memory, mappedSize(bytes));
}

namespace {

std::string pathOf(int file) { return "/proc/self/fd/" + std::to_string(file); }

bool isLoaded(const std::string &path) {
  void *image = dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (image)
    dlclose(image);
  return image;
}

/// Closes a file where something failed; errno says what.
int abandon(int file) {
  const int error = errno;
  if (file >= 0)
    close(file);
  errno = error;
  return -1;
}

/// Moves a descriptor to a number whose path no loaded library has: somebody
/// may have closed a descriptor and kept the library that came from it.
int unloadedNumber(int file) {
  while (file >= 0 && isLoaded(pathOf(file))) {
    const int next = fcntl(file, F_DUPFD_CLOEXEC, file + 1);
    (void)abandon(file);
    file = next;
  }
  return file;
}

/// A file that has no place in the file system, and these bytes for good; -1
/// where the system refuses. `name` is what /proc/PID/maps calls it.
int sealedFile(const std::string &name, const std::string &bytes) {
  // Counts for files in memory, and a write beyond it ends the process.
  rlimit most;
  if (getrlimit(RLIMIT_FSIZE, &most) == 0 && bytes.size() > most.rlim_cur) {
    errno = EFBIG;
    return -1;
  }
  int file = memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  size_t done = 0;
  while (file >= 0 && done < bytes.size()) {
    const ssize_t wrote = write(file, bytes.data() + done, bytes.size() - done);
    if (wrote < 0 && errno == EINTR)
      continue;
    if (wrote <= 0)
      break;
    done += size_t(wrote);
  }
  if (file >= 0 && done == bytes.size() &&
      fcntl(file, F_ADD_SEALS,
            F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0)
    return unloadedNumber(file);
  return abandon(file);
}

} // namespace

/// From memory, not from `path`: the file there may be another one by now, and
/// dlopen takes what it has loaded from a path before without looking at the
/// file, and expands a $ in it.
Status HostDriver::load(const char *path, const std::string &bytes,
                        void **image) {
  const std::string quoted = std::string("library '") + path + "'";
  const char *slash = std::strrchr(path, '/');
  // The kernel takes names of up to 249 bytes.
  const std::string name = std::string(slash ? slash + 1 : path).substr(0, 200);
  const int file = sealedFile(name, bytes);
  if (file < 0)
    return Status(FATHOM_RESOURCES,
                  "cannot bring " + quoted + " into a file of " +
                      std::to_string(bytes.size()) +
                      " bytes in memory: " + std::strerror(errno) +
                      "; allow memfd_create, descriptors (ulimit -n) and files "
                      "of this size (ulimit -f)");
  *image = dlopen(pathOf(file).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!*image) {
    const char *why = dlerror();
    Status s(FATHOM_BAD_FILE, "cannot load " + quoted + " (from memory, by " +
                                  pathOf(file) + ", for which /proc must be " +
                                  "mounted): " + (why ? why : "unknown"));
    close(file);
    return s;
  }
  // The descriptor keeps its number, by which dlopen knows the library.
  images.push_back({*image, file});
  return Status();
}

Status HostDriver::find(void *image, const char *name, void **kernel) {
  if ((*kernel = dlsym(image, name)))
    return Status();
  return Status(FATHOM_BAD_FILE,
                std::string("the package's library has no kernel '") + name +
                    "'");
}

Status HostDriver::reserve(uint64_t bytesPerThread) {
  scratchSize = bytesPerThread;
  scratch.assign(threadPool.threads(), nullptr);
  for (void *&memory : scratch)
    if (Status status = allocate(bytesPerThread, &memory); status.failed())
      return status;
  return Status();
}

} // namespace fathom::rt
