// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A device that is not there: the package's code for the CPU behind the table
// of a device with memory, streams and graphs of its own. Launch records are
// those of a GPU (constant addresses, counts in device memory); what would go
// wrong there silently is an error here. For tests, not for speed.
#pragma once

#include "runtime/drivers/emulated/Queues.h"
#include "runtime/drivers/host/HostDriver.h"

namespace fathom::rt {

class EmulatedDriver {
public:
  static Status open(const DriverOptions &options, Driver &out);

  EmulatedDriver() : queues(memory) {}
  EmulatedDriver(const EmulatedDriver &) = delete;
  EmulatedDriver &operator=(const EmulatedDriver &) = delete;

private:
  static const DriverTable table;

  Status allocate(const BufferRequest *requests, size_t count, void **out);
  void release(size_t count, void *const *buffers);
  Status copy(CopyKind kind, void *to, const void *from, uint64_t bytes,
              uint32_t stream);
  Status fill(void *to, uint8_t value, uint64_t bytes, uint32_t stream);
  Status launch(const LaunchRecord &record, uint32_t stream);

  struct Arguments;
  Status translate(const std::string &who, Arguments &arguments);
  Status execute(const std::string &who, Arguments &arguments);

  DeviceMemory memory;
  Queues queues;
  HostDriver host;
};

} // namespace fathom::rt
