// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/emulated/DeviceMemory.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

namespace fathom::rt {

namespace {

constexpr uint64_t kRange = uint64_t(1) << 40, kPage = 4096;
/// How much of the range buffers may have; no bytes are in the rest.
constexpr uint64_t kGiven = kRange / 2;
constexpr uint64_t kReadPastEnd = 64, kAlignment = 256;
constexpr uint8_t kPoison = 0xff;

/// ThreadSanitizer calls a handler with all signals blocked, whatever it asked
/// for: who jumps out of one has to bring the mask back.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FATHOM_THREAD_SANITIZER
#endif
#endif
#if defined(FATHOM_THREAD_SANITIZER) || defined(__SANITIZE_THREAD__)
constexpr int kSaveMask = 1;
#else
constexpr int kSaveMask = 0;
#endif

// ---- Faults
// -------------------------------------------------------------------

struct Landing {
  sigjmp_buf back;
  volatile uint64_t address = 0;
};

thread_local Landing *landing = nullptr;
struct sigaction actionBefore;
constexpr int kMaxRanges = 64;
std::atomic<uint64_t> ranges[kMaxRanges]; // starts; 0: none

bool isOurs(uint64_t address) {
  for (const std::atomic<uint64_t> &start : ranges)
    if (const uint64_t from = start.load(); from && address - from < kRange)
      return true;
  return false;
}

void say(const char *text) {
  if (write(STDERR_FILENO, text, std::strlen(text)) < 0)
    return; // nobody to tell
}

void onFault(int signal, siginfo_t *info, void *) {
  const uint64_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  if (landing) { // whatever a kernel touches, it is told with its name
    landing->address = std::max<uint64_t>(address, 1);
    siglongjmp(landing->back, 1);
  }
  if (isOurs(address)) {
    say("fathom: the host touched an address of the emulated device's memory; "
        "it has to go through the driver's copies\n");
  }
  // Not ours to handle: as it would have been without us.
  sigaction(signal, &actionBefore, nullptr);
}

void installHandler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = onFault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &actionBefore);
  });
}

Status registerRange(uint64_t from) {
  for (std::atomic<uint64_t> &start : ranges) {
    uint64_t none = 0;
    if (start.compare_exchange_strong(none, from))
      return Status();
  }
  return Status(FATHOM_RESOURCES, "too many emulated devices in one process");
}

void unregisterRange(uint64_t from) {
  for (std::atomic<uint64_t> &start : ranges) {
    uint64_t expected = from;
    if (from && start.compare_exchange_strong(expected, 0))
      return;
  }
}

uint64_t reserve() {
  void *p = mmap(nullptr, kRange, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? 0 : reinterpret_cast<uintptr_t>(p);
}

bool isPoison(const uint8_t *from, uint64_t bytes) {
  return std::all_of(from, from + bytes,
                     [](uint8_t b) { return b == kPoison; });
}

} // namespace

uint64_t runGuarded(void (*body)(void *, int64_t, int64_t, int), void *context,
                    int64_t begin, int64_t end, int thread) {
  Landing here;
  landing = &here;
  if (sigsetjmp(here.back, kSaveMask) == 0)
    body(context, begin, end, thread);
  landing = nullptr;
  return here.address;
}

// ---- Buffers
// ------------------------------------------------------------------

DeviceMemory::~DeviceMemory() {
  unregisterRange(base);
  if (device)
    munmap(device, kRange);
  unregisterRange(base - distance);
  if (backing)
    munmap(backing, kRange);
}

Status DeviceMemory::open() {
  base = reserve();
  if (!base)
    return Status::fromErrno("cannot reserve addresses for an emulated device",
                             errno);
  device = reinterpret_cast<void *>(base);
  const uint64_t behind = reserve();
  if (!behind)
    return Status::fromErrno("cannot reserve memory for an emulated device",
                             errno);
  backing = reinterpret_cast<void *>(behind);
  distance = base - behind;
  next = base + kPage;
  installHandler();
  if (Status s = registerRange(base); s.failed())
    return s;
  return registerRange(behind);
}

Status DeviceMemory::allocate(const std::string &name, uint64_t size,
                              uint64_t *address) {
  const uint64_t pageBytes =
      (size + kReadPastEnd + kAlignment + kPage - 1) / kPage * kPage;
  if (size > kGiven || next - base > kGiven - pageBytes - kPage)
    return Status(FATHOM_RESOURCES, "the emulated device has no addresses left "
                                    "for '" +
                                        name + "' (" + std::to_string(size) +
                                        " bytes)");
  if (mprotect(bytes(next), pageBytes, PROT_READ | PROT_WRITE) != 0)
    return Status::fromErrno(
        "cannot get " + std::to_string(size) + " bytes for '" + name +
            "' of the emulated device (buffer " +
            std::to_string(buffers.size()) +
            "; each takes two mappings, which vm.max_map_count limits)",
        errno);
  DeviceBuffer buffer;
  buffer.name = name;
  buffer.pages = next;
  buffer.pageBytes = pageBytes;
  buffer.bytes = size;
  buffer.start =
      (next + pageBytes - kReadPastEnd - size) / kAlignment * kAlignment;
  const uint64_t end = buffer.start + size;
  std::memset(bytes(next), kPoison, buffer.start - next);
  std::memset(bytes(end), kPoison, next + pageBytes - end);
  *address = buffer.start;
  buffers.emplace(next, std::move(buffer));
  next += pageBytes + kPage;
  return Status();
}

Status DeviceMemory::release(uint64_t address) {
  DeviceBuffer *buffer = nullptr;
  if (Status s = find("release", address, 0, &buffer); s.failed())
    return s;
  Status intact = checkPoison("something", *buffer);
  mprotect(bytes(buffer->pages), buffer->pageBytes, PROT_NONE);
  madvise(bytes(buffer->pages), buffer->pageBytes, MADV_DONTNEED);
  buffer->released = true;
  return intact;
}

uint64_t DeviceMemory::nowhere() const { return base - distance + kGiven; }

std::string DeviceMemory::describe(uint64_t address) const {
  if (backing && address - (base - distance) < kRange)
    address += distance;
  auto it = buffers.upper_bound(address);
  if (address - base >= kGiven || it == buffers.begin())
    return "an address that is none of the device's";
  const DeviceBuffer *buffer = &std::prev(it)->second;
  // A guard page belongs to the buffer that is nearer.
  if (it != buffers.end() && address >= buffer->pages + buffer->pageBytes &&
      it->second.start - address < address - (buffer->start + buffer->bytes))
    buffer = &it->second;
  const std::string name = "'" + buffer->name + "' (" +
                           std::to_string(buffer->bytes) + " bytes" +
                           (buffer->released ? ", released)" : ")");
  const uint64_t end = buffer->start + buffer->bytes;
  if (address < buffer->start)
    return std::to_string(buffer->start - address) +
           " bytes before the beginning of " + name;
  if (address >= end)
    return std::to_string(address - end) + " bytes after the end of " + name;
  return "byte " + std::to_string(address - buffer->start) + " of " + name;
}

Status DeviceMemory::find(const std::string &who, uint64_t address,
                          uint64_t size, DeviceBuffer **out) {
  auto it = buffers.upper_bound(address);
  if (it != buffers.begin()) {
    DeviceBuffer &buffer = std::prev(it)->second;
    if (!buffer.released && address >= buffer.start &&
        address - buffer.start <= buffer.bytes &&
        size <= buffer.bytes - (address - buffer.start)) {
      *out = &buffer;
      return Status();
    }
  }
  return Status(FATHOM_FAILED,
                who + " is given " + describe(address) +
                    (size ? " for " + std::to_string(size) + " bytes" : ""));
}

Status DeviceMemory::checkPoison(const std::string &who,
                                 const DeviceBuffer &buffer) const {
  const uint64_t end = buffer.start + buffer.bytes;
  const bool before =
      isPoison(bytes(buffer.pages), buffer.start - buffer.pages);
  if (before && isPoison(bytes(end), buffer.pages + buffer.pageBytes - end))
    return Status();
  return Status(FATHOM_FAILED, who + " wrote " + (before ? "after" : "before") +
                                   " the buffer '" + buffer.name + "' (" +
                                   std::to_string(buffer.bytes) + " bytes)");
}

} // namespace fathom::rt
