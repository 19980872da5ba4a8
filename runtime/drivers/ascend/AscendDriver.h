// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The driver for Ascend processors: objects that CANN made of what AscendNPU-IR
// handed over. A launch is a number of blocks and one piece of arguments
// (Arguments.h); what kernels need beside their arguments is one workspace that
// all launches share, since those of one engine run one after the other.
#pragma once

#include "runtime/drivers/Drivers.h"
#include "runtime/drivers/ascend/Arguments.h"
#include "runtime/drivers/ascend/Launcher.h"

#include <functional>

namespace fathom::rt {

class AscendDriver {
public:
  static Status open(const DriverOptions &options, Driver &out);

  AscendDriver() = default;
  ~AscendDriver();
  AscendDriver(const AscendDriver &) = delete;
  AscendDriver &operator=(const AscendDriver &) = delete;

private:
  static const DriverTable table;

  struct Image {
    std::string path, bytes;
  };
  struct Kernel {
    std::string name;
    AscendKernelFacts facts;
    void *function = nullptr;
  };
  /// Work that was recorded instead of queued: it is queued again and again.
  struct Graph {
    std::vector<std::function<Status(AclStream)>> work;
  };
  struct Stream {
    AclStream handle = nullptr;
    std::unique_ptr<Graph> recording; // or nothing
  };

  Status start(const DriverOptions &options);
  Status chooseDevice(int wanted);
  std::string describe() const;
  int rank(const std::string &isa) const;
  Status memory(uint64_t *bytes) const;
  /// Makes the device's context that of the calling thread.
  Status enter() const;

  Status allocate(const BufferRequest *requests, size_t count, void **memory);
  Status allocateBytes(uint64_t bytes, const std::string &what, void **memory);
  void release(void *memory);
  Status createStream(void **out);
  void destroyStream(void *stream);
  /// Queues the work, or keeps it where the stream is recorded.
  template <typename Work> Status queue(void *stream, Work work) const;
  Status copy(CopyKind kind, void *to, const void *from, uint64_t bytes,
              void *stream) const;
  Status fill(void *to, uint8_t value, uint64_t bytes, void *stream) const;
  Status notRecording(void *stream, const char *what) const;

  Status findKernel(const Image &image, const KernelRequest &request,
                    void **out);
  Status loadFunction(const Image &image, Kernel &kernel);
  Status reserveScratch();
  static int64_t blocksOf(const LaunchRecord &record);
  Status admit(const LaunchRecord &record) const;
  Status launch(const LaunchRecord &record, void *stream) const;

  AscendApi api;
  std::vector<std::unique_ptr<Launcher>> launchers; // in use: the first
  int device = -1;                                  // set: it is ours
  std::string processor;
  AclContext context = nullptr;
  AclStream setup = nullptr;
  std::vector<std::unique_ptr<Image>> images;
  std::vector<std::unique_ptr<Kernel>> kernels;
  AscendAddresses addresses;
  uint64_t workspaceBytes = 0;
  void *workspace = nullptr;
};

} // namespace fathom::rt
