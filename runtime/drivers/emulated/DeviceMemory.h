// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Memory of a device that is not there. Addresses of the device lie in a range
// that nobody can touch; the bytes lie in a second range at a fixed distance,
// where only the driver's copies and kernels reach them. A host that takes a
// device address for its own is stopped by the machine.
//
// Each buffer has pages of its own between pages that cannot be touched, and
// poison (0xff: a NaN in every float format that kernels know, -1 as a count)
// in what is left of them. It ends as near to the guard as the 64 bytes allow
// that kernels may read past an end. Addresses are never used again, so that an
// access after release is told as what it is.
#pragma once

#include "runtime/src/Status.h"

#include <csetjmp>
#include <cstdint>
#include <map>
#include <vector>

namespace fathom::rt {

/// When something used a part of a buffer: operation number `time` of a stream.
struct Access {
  uint32_t stream = 0;
  uint64_t time = 0;
  uint64_t begin = 0, end = 0; // addresses

  bool meets(const Access &other) const {
    return begin < other.end && other.begin < end;
  }
  bool covers(const Access &other) const {
    return begin <= other.begin && other.end <= end;
  }
};

struct DeviceBuffer {
  std::string name;
  uint64_t start = 0, bytes = 0;
  uint64_t pages = 0, pageBytes = 0; // that it lies in
  bool released = false;
  /// Of every part the last write, and what each stream has read since then.
  std::vector<Access> writes, reads;
};

class DeviceMemory {
public:
  DeviceMemory() = default;
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory &) = delete;
  DeviceMemory &operator=(const DeviceMemory &) = delete;

  Status open();
  Status allocate(const std::string &name, uint64_t bytes, uint64_t *address);
  /// An error where bytes around the buffer were written.
  Status release(uint64_t address);

  /// The buffer that [address, address + bytes) lies in; an error that begins
  /// with `who` for anything else.
  Status find(const std::string &who, uint64_t address, uint64_t bytes,
              DeviceBuffer **out);
  Status checkPoison(const std::string &who, const DeviceBuffer &buffer) const;
  /// Where the bytes are.
  uint8_t *bytes(uint64_t address) const {
    return reinterpret_cast<uint8_t *>(address - distance);
  }
  /// Where no bytes are, and none near.
  uint64_t nowhere() const;
  /// "64 bytes after the end of 'logits' (4096 bytes)", of an address of
  /// either range.
  std::string describe(uint64_t address) const;

private:
  std::map<uint64_t, DeviceBuffer> buffers; // by the start of their pages
  uint64_t base = 0, next = 0, distance = 0;
  void *device = nullptr, *backing = nullptr;
};

/// Runs body(context, begin, end, thread) and comes back when it touches what
/// it must not: the address then, else 0.
uint64_t runGuarded(void (*body)(void *, int64_t, int64_t, int), void *context,
                    int64_t begin, int64_t end, int thread);

} // namespace fathom::rt
