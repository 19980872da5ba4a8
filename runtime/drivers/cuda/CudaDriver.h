// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The driver for NVIDIA GPUs: cubins of tile kernels through the driver API.
// A tile kernel is launched with blocks of 1x1x1, since its code knows its
// threads, and a grid of programs; all its arguments are addresses.
#pragma once

#include "runtime/drivers/Drivers.h"
#include "runtime/drivers/cuda/CudaApi.h"

#include <vector>

namespace fathom::rt {

class CudaDriver {
public:
  static Status open(const DriverOptions &options, Driver &out);

  CudaDriver() = default;
  ~CudaDriver();
  CudaDriver(const CudaDriver &) = delete;
  CudaDriver &operator=(const CudaDriver &) = delete;

private:
  static const DriverTable table;
  /// Without graphs, to find a kernel that fails.
  static const DriverTable waitingTable;

  Status start(const DriverOptions &options);
  Status readDevice();
  std::string describe() const;
  int rank(const std::string &isa) const;
  /// Makes the context that of the calling thread.
  Status enter() const;
  Status synchronise(void *stream) const;

  Status allocate(const BufferRequest *requests, size_t count, void **memory);
  Status copy(CopyKind kind, void *to, const void *from, uint64_t bytes,
              void *stream) const;
  Status load(const char *path, const std::string &bytes, void **image);
  Status bring(CuKernel kernel, const std::string &who) const;
  Status admit(const LaunchRecord &record) const;
  Status launch(const LaunchRecord &record, void *stream) const;
  Status endRecording(void *stream, void **graph) const;

  CudaApi api;
  bool waits = false; // for every kernel
  CuDevice device = 0;
  CuContext context = nullptr;
  CuStream setup = nullptr; // for zeroing what is allocated
  std::string name;
  int version = 0, major = 0, minor = 0, maxGrid[3] = {};
  std::vector<CuLibrary> libraries;
};

} // namespace fathom::rt
