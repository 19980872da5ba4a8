// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/runtime/MockFrame.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

namespace fathom::test {

namespace {

constexpr uint64_t kRange = uint64_t(1) << 34, kPage = 4096;

uint64_t wholePages(uint64_t size) {
  return (size + kPage - 1) / kPage * kPage;
}

uint64_t nanoseconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return uint64_t(t.tv_sec) * 1000000000u + uint64_t(t.tv_nsec);
}

} // namespace

uint64_t MockKernel::bytesAt(size_t argument) const {
  const char kind = kinds[argument];
  return kind == 'b' ? 1 : kind == 'c' ? 4 : 8 * uint64_t(kind - '0');
}

void MockFrame::clear() {
  brokenBy = 0;
  queued.clear();
  memory.clear();
  for (void *host : pinned)
    std::free(host);
  pinned.clear();
  destroyAll(events);
}

std::string MockFrame::alive(
    std::initializer_list<std::pair<size_t, const char *>> others) const {
  std::string out;
  auto say = [&](size_t count, const char *what) {
    if (count)
      out += (out.empty() ? "" : ", ") + std::to_string(count) + " " + what;
  };
  say(memory.size(), "device memory");
  say(pinned.size(), "host memory");
  say(events.size(), "events");
  for (auto [count, what] : others)
    say(count, what);
  return out;
}

int MockFrame::violation(const std::string &what, int code) {
  state.violations.push_back((state.calls.empty() ? "" : state.calls.back()) +
                             ": " + what);
  return code;
}

int MockFrame::note(const char *call) {
  state.calls.push_back(call);
  ++state.count[call];
  return state.failAt && --state.failAt == 0 ? state.failCode : 0;
}

//===-- Memory ------------------------------------------------------------===//

int MockFrame::allocate(uint64_t size, uint64_t &address) {
  if (size == 0)
    return violation("no bytes");
  if (uint64_t(state.allocatedBytes) + size > state.memoryBytes)
    return codes.noMemory;
  if (!base) {
    // Device addresses are those of one range, their memory is in another.
    auto reserve = [] {
      return reinterpret_cast<uintptr_t>(
          mmap(nullptr, kRange, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    };
    base = next = reserve();
    distance = base - reserve();
  }
  const uint64_t pages = wholePages(size + offset);
  if (next - base + pages + kPage > kRange ||
      mprotect(bytes(next), pages, PROT_READ | PROT_WRITE) != 0)
    return codes.noMemory;
  std::memset(bytes(next), 0xff, pages); // nobody says that it is zero
  address = next + offset;
  memory[address] = size;
  next += pages + kPage;
  state.allocatedBytes += int64_t(size);
  state.mostAllocatedBytes =
      std::max(state.mostAllocatedBytes, state.allocatedBytes);
  return 0;
}

int MockFrame::release(uint64_t address) {
  auto it = memory.find(address);
  if (it == memory.end())
    return violation("an address that was not allocated");
  drain();
  mprotect(bytes(address - offset), wholePages(it->second + offset), PROT_NONE);
  state.allocatedBytes -= int64_t(it->second);
  memory.erase(it);
  return 0;
}

int MockFrame::allocateHost(size_t size, void *&out) {
  if (size == 0)
    return violation("no bytes");
  out = aligned_alloc(kPage, wholePages(size));
  std::memset(out, 0xff, size);
  pinned.insert(out);
  return 0;
}

int MockFrame::releaseHost(void *host) {
  if (!pinned.erase(host))
    return violation("what is not alive");
  drain();
  std::free(host);
  return 0;
}

bool MockFrame::isInside(uint64_t address, uint64_t size) const {
  auto it = memory.upper_bound(address);
  if (it == memory.begin())
    return false;
  --it;
  return address - it->first <= it->second &&
         size <= it->second - (address - it->first);
}

//===-- Work --------------------------------------------------------------===//

int MockFrame::drain() {
  while (!queued.empty()) {
    Work work = std::move(queued.front());
    queued.pop_front();
    if (int code = work()) {
      brokenBy = code;
      queued.clear();
    }
  }
  return brokenBy;
}

Work MockFrame::recording(MockEvent *event) {
  return [event] {
    event->recorded = true;
    event->nanoseconds = nanoseconds();
    return 0;
  };
}

int MockFrame::elapsed(void *from, void *to, float &milliseconds) {
  const MockEvent *a = static_cast<MockEvent *>(from),
                  *b = static_cast<MockEvent *>(to);
  if (!isEvent(from) || !isEvent(to) || !a->recorded || !b->recorded)
    return violation("an event that has not happened");
  milliseconds = float(double(b->nanoseconds - a->nanoseconds) * 1e-6);
  return 0;
}

//===-- Kernels -----------------------------------------------------------===//

int MockFrame::openLibrary(const void *data, size_t size, void *&handle) {
  if (size < 4 || std::memcmp(data, "\177ELF", 4))
    return codes.invalid;
  const int file = memfd_create("kernels", 0);
  if (file < 0 || write(file, data, size) != ssize_t(size))
    return codes.noMemory;
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  close(file);
  return handle ? 0 : violation(dlerror());
}

bool MockFrame::findKernel(void *handle, const char *name, MockKernel &kernel) {
  void *run = dlsym(handle, name);
  const void *kinds = dlsym(handle, (std::string(name) + "_kinds").c_str());
  if (!run || !kinds)
    return false;
  kernel = {name, reinterpret_cast<Kernel>(run),
            static_cast<const char *>(kinds)};
  return true;
}

int MockFrame::onHost(const MockKernel &kernel, std::vector<uint64_t> args,
                      uint64_t alignment, HostArguments &out) {
  for (size_t i = 0; i < args.size(); ++i) {
    if (!isInside(args[i], kernel.bytesAt(i)))
      return violation(kernel.name + ": argument " + std::to_string(i) +
                           " is no address of the device",
                       codes.fault);
    args[i] = reinterpret_cast<uintptr_t>(bytes(args[i]));
    if (!kernel.isTable(i))
      continue;
    std::vector<uint64_t> table(kernel.bytesAt(i) / 8);
    std::memcpy(table.data(), reinterpret_cast<void *>(args[i]),
                table.size() * 8);
    for (uint64_t &entry : table) {
      if (entry % alignment || !isInside(entry, 1))
        return violation(kernel.name + ": a table has no good address",
                         codes.fault);
      entry = reinterpret_cast<uintptr_t>(bytes(entry));
    }
    // A vector that is moved keeps its memory.
    args[i] = reinterpret_cast<uintptr_t>(table.data());
    out.tables.push_back(std::move(table));
  }
  out.values = std::move(args);
  return 0;
}

void MockFrame::run(const MockKernel &kernel, const HostArguments &args,
                    int64_t x, int64_t y, int64_t z) {
  alignas(64) static char scratch[1 << 16];
  kernel.run(args.values.data(), x, y, z, scratch);
  ++state.programs;
}

} // namespace fathom::test
