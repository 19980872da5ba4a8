// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the mocks of vendors' libraries have in common: memory of a device that
// the host cannot touch, work that is queued, events, and kernels from a shared
// library that is given as bytes. Calls, handles and codes are the mocks' own.
//
// Work runs when somebody waits for it, as late as the vendors allow, so that
// host memory which is given away too early shows.
#pragma once

#include "test/unit/runtime/MockDevice.h"

#include <deque>
#include <functional>
#include <set>

namespace fathom::test {

/// A piece of queued work; what it returns is a code, 0 if all is well.
using Work = std::function<int()>;

/// As in a library of kernels: called for each program.
using Kernel = void (*)(const uint64_t *args, int64_t x, int64_t y, int64_t z,
                        void *scratch);

struct MockEvent {
  bool recorded = false;
  uint64_t nanoseconds = 0;
};

struct MockKernel {
  std::string name;
  Kernel run = nullptr;
  std::string kinds; // b: a buffer, c: a count, digits: a table of so many

  bool isTable(size_t argument) const {
    return kinds[argument] != 'b' && kinds[argument] != 'c';
  }
  /// How many bytes there must be at least where an argument points.
  uint64_t bytesAt(size_t argument) const;
};

/// Arguments as kernels take them, with tables translated as well.
struct HostArguments {
  std::vector<uint64_t> values;
  std::vector<std::vector<uint64_t>> tables;
};

class MockFrame {
public:
  /// The vendor's codes for what many calls find out.
  struct Codes {
    int invalid, invalidHandle, noMemory, fault;
  };

  /// Addresses of the device are multiples of 4096, and `offset` behind.
  MockFrame(MockDevice &state, Codes codes, uint64_t offset)
      : state(state), codes(codes), offset(offset) {}

  /// Frees all that is alive, but for memory of the device.
  void clear();
  /// What is still alive, as MockDevice::alive says it; `others` are the
  /// mock's own kinds of things.
  std::string
  alive(std::initializer_list<std::pair<size_t, const char *>> others) const;

  /// Notes a use that is not allowed in the call of now; returns the code, by
  /// default that of a bad value.
  int violation(const std::string &what, int code);
  int violation(const std::string &what) {
    return violation(what, codes.invalid);
  }
  /// Notes a call; the code with which it fails because a test wants it to.
  int note(const char *call);

  //===-- Memory ----------------------------------------------------------===//

  /// New memory of the device, full of 0xff.
  int allocate(uint64_t size, uint64_t &address);
  /// Waits for all work first.
  int release(uint64_t address);
  int allocateHost(size_t size, void *&out);
  int releaseHost(void *host);
  bool isInside(uint64_t address, uint64_t size) const;
  /// Where memory of the device is in truth.
  uint8_t *bytes(uint64_t address) const {
    return reinterpret_cast<uint8_t *>(address - distance);
  }

  //===-- Work ------------------------------------------------------------===//

  /// Of all streams, in the order of the calls.
  void queue(Work work) { queued.push_back(std::move(work)); }
  /// Runs what is queued; the code of what failed, then and ever after.
  int drain();
  /// As after a fault on a device: the code of what failed.
  int broken() const { return brokenBy; }

  MockEvent *createEvent() { return *events.insert(new MockEvent()).first; }
  bool isEvent(void *event) const {
    return events.count(static_cast<MockEvent *>(event));
  }
  int destroyEvent(void *event) {
    drain();
    return destroy(events, event);
  }
  /// The work of recording it.
  static Work recording(MockEvent *event);
  int elapsed(void *from, void *to, float &milliseconds);

  template <typename T> int destroy(std::set<T *> &all, void *handle) {
    if (!all.erase(static_cast<T *>(handle)))
      return violation("what is not alive", codes.invalidHandle);
    delete static_cast<T *>(handle);
    return 0;
  }

  /// Of what a test left alive.
  template <typename T> static void destroyAll(std::set<T *> &all) {
    for (T *one : all)
      delete one;
    all.clear();
  }

  //===-- Kernels ---------------------------------------------------------===//

  /// Opens bytes, which have to be an ELF file, as a shared library.
  int openLibrary(const void *data, size_t size, void *&handle);
  /// Finds a kernel of an open library; false: there is none of this name.
  static bool findKernel(void *handle, const char *name, MockKernel &kernel);
  /// Translates a kernel's arguments for the host. The entries of tables have
  /// to be multiples of `alignment`.
  int onHost(const MockKernel &kernel, std::vector<uint64_t> args,
             uint64_t alignment, HostArguments &out);
  /// Runs a program of a kernel.
  void run(const MockKernel &kernel, const HostArguments &args, int64_t x,
           int64_t y, int64_t z);

private:
  MockDevice &state;
  const Codes codes;
  const uint64_t offset;
  uint64_t base = 0, next = 0, distance = 0;
  std::map<uint64_t, uint64_t> memory; // address -> bytes
  std::set<void *> pinned;
  std::set<MockEvent *> events;
  std::deque<Work> queued;
  int brokenBy = 0;
};

} // namespace fathom::test
