// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/host/HostDriver.h"

#include "runtime/format/Manifest.h"

#include <dlfcn.h>
#include <sys/mman.h>

namespace fathom::rt {

namespace {

/// One page more than asked for: kernels may read a vector past an end.
uint64_t mappedSize(uint64_t bytes) { return (bytes / 4096 + 2) * 4096; }

void release(void *, void *memory, uint64_t bytes) {
  if (memory)
    munmap(memory, mappedSize(bytes));
}

Status copy(void *, void *to, const void *from, uint64_t bytes) {
  std::memcpy(to, from, bytes);
  return Status();
}

/// A grid of programs as one range of integers.
struct GridJob {
  format::CpuKernel kernel;
  const uint64_t *args;
  int64_t x, y;
  void *const *scratch;
};

void runRange(void *context, int64_t begin, int64_t end, int thread) {
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

} // namespace

Status HostDriver::allocate(void *self, uint64_t bytes, void **memory) {
  void *p = mmap(nullptr, mappedSize(bytes), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    return Status::fromErrno(
        "cannot map " + std::to_string(bytes) + " bytes of memory", errno);
  if (static_cast<HostDriver *>(self)->hugePages)
    adviseHugePages(p, mappedSize(bytes));
  *memory = p;
  return Status();
}

const DriverTable HostDriver::table = {
    "host",
    allocate,
    release,
    copy,
    [](void *self, const char *path) {
      return static_cast<HostDriver *>(self)->load(path);
    },
    [](void *self, const char *name, void **kernel) {
      for (void *image : static_cast<HostDriver *>(self)->images)
        if ((*kernel = dlsym(image, name)))
          return Status();
      return Status(FATHOM_BAD_FILE, std::string("the package's library has "
                                                 "no kernel '") +
                                         name + "'");
    },
    [](void *self, uint64_t bytes) {
      return static_cast<HostDriver *>(self)->reserve(bytes);
    },
    [](void *self, void *kernel, const uint64_t *args, const int64_t *grid) {
      return static_cast<HostDriver *>(self)->launch(kernel, args, grid);
    },
    [](void *) { return Status(); }, // launches are done when they return
};

HostDriver::~HostDriver() {
  for (void *memory : scratch)
    release(this, memory, scratchSize);
  for (void *image : images)
    dlclose(image);
}

Status HostDriver::start(int threads, const Placement &placement) {
  hugePages = placement.hugePages;
  return threadPool.start(threads, placement);
}

Driver HostDriver::driver() { return Driver{&table, this}; }

Status HostDriver::load(const char *path) {
  void *image = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!image) {
    const char *why = dlerror();
    return Status(FATHOM_BAD_FILE, std::string("cannot load library '") + path +
                                       "': " + (why ? why : "unknown"));
  }
  images.push_back(image);
  return Status();
}

Status HostDriver::reserve(uint64_t bytes) {
  scratchSize = bytes;
  scratch.assign(threadPool.threads(), nullptr);
  for (void *&memory : scratch)
    if (Status status = allocate(this, bytes, &memory); status.failed())
      return status;
  return Status();
}

Status HostDriver::launch(void *kernel, const uint64_t *args,
                          const int64_t grid[3]) {
  GridJob job{reinterpret_cast<format::CpuKernel>(kernel), args, grid[0],
              grid[1], scratch.data()};
  threadPool.run(runRange, &job, grid[0] * grid[1] * grid[2]);
  return Status();
}

} // namespace fathom::rt
