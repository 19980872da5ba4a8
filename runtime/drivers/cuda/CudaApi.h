// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the driver uses of NVIDIA's driver library, found at run time, so that
// nothing of CUDA is needed to build or to run elsewhere. Names and signatures
// as NVIDIA's documentation of the driver API gives them.
#pragma once

#include "runtime/src/Status.h"

#include <cstddef>
#include <cstdint>

namespace fathom::rt {

using CuResult = int; // 0: good
using CuDevice = int;
using CuContext = struct CuContextObject *;
using CuStream = struct CuStreamObject *;
using CuEvent = struct CuEventObject *;
using CuLibrary = struct CuLibraryObject *;
using CuKernel = struct CuKernelObject *;
using CuFunction = struct CuFunctionObject *;
using CuGraph = struct CuGraphObject *;
using CuGraphExec = struct CuGraphExecObject *;
using CuAddress = uint64_t; // of the device's memory

struct CuLaunchConfig {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  CuStream stream;
  void *attributes;
  unsigned attributeCount;
};

constexpr int kCuCapabilityMajor = 75, kCuCapabilityMinor = 76;
constexpr int kCuMaxGridX = 5, kCuMaxGridY = 6, kCuMaxGridZ = 7;
constexpr unsigned kCuStreamNonBlocking = 1, kCuEventDefault = 0;
constexpr int kCuCaptureThreadLocal = 1;
constexpr CuResult kCuOutOfMemory = 2, kCuNoDevice = 100;

/// A list of (member, exported name, parameters).
#define FATHOM_CUDA_CALLS(CALL)                                                \
  CALL(init, "cuInit", (unsigned flags))                                       \
  CALL(driverVersion, "cuDriverGetVersion", (int *version))                    \
  CALL(errorName, "cuGetErrorName", (CuResult error, const char **name))       \
  CALL(errorText, "cuGetErrorString", (CuResult error, const char **text))     \
  CALL(deviceCount, "cuDeviceGetCount", (int *count))                          \
  CALL(device, "cuDeviceGet", (CuDevice * device, int ordinal))                \
  CALL(deviceName, "cuDeviceGetName", (char *name, int size, CuDevice device)) \
  CALL(deviceAttribute, "cuDeviceGetAttribute",                                \
       (int *value, int attribute, CuDevice device))                           \
  CALL(retainContext, "cuDevicePrimaryCtxRetain",                              \
       (CuContext * context, CuDevice device))                                 \
  CALL(releaseContext, "cuDevicePrimaryCtxRelease_v2", (CuDevice device))      \
  CALL(setContext, "cuCtxSetCurrent", (CuContext context))                     \
  CALL(memory, "cuMemGetInfo_v2", (size_t *free, size_t *total))               \
  CALL(allocate, "cuMemAlloc_v2", (CuAddress * address, size_t bytes))         \
  CALL(release, "cuMemFree_v2", (CuAddress address))                           \
  CALL(allocateHost, "cuMemAllocHost_v2", (void **memory, size_t bytes))       \
  CALL(releaseHost, "cuMemFreeHost", (void *memory))                           \
  CALL(copyToDevice, "cuMemcpyHtoDAsync_v2",                                   \
       (CuAddress to, const void *from, size_t bytes, CuStream stream))        \
  CALL(copyToHost, "cuMemcpyDtoHAsync_v2",                                     \
       (void *to, CuAddress from, size_t bytes, CuStream stream))              \
  CALL(copyWithin, "cuMemcpyDtoDAsync_v2",                                     \
       (CuAddress to, CuAddress from, size_t bytes, CuStream stream))          \
  CALL(fill, "cuMemsetD8Async",                                                \
       (CuAddress to, unsigned char value, size_t bytes, CuStream stream))     \
  CALL(createStream, "cuStreamCreate", (CuStream * stream, unsigned flags))    \
  CALL(destroyStream, "cuStreamDestroy_v2", (CuStream stream))                 \
  CALL(synchronise, "cuStreamSynchronize", (CuStream stream))                  \
  CALL(waitEvent, "cuStreamWaitEvent",                                         \
       (CuStream stream, CuEvent event, unsigned flags))                       \
  CALL(createEvent, "cuEventCreate", (CuEvent * event, unsigned flags))        \
  CALL(destroyEvent, "cuEventDestroy_v2", (CuEvent event))                     \
  CALL(recordEvent, "cuEventRecord", (CuEvent event, CuStream stream))         \
  CALL(elapsed, "cuEventElapsedTime",                                          \
       (float *milliseconds, CuEvent from, CuEvent to))                        \
  CALL(loadLibrary, "cuLibraryLoadData",                                       \
       (CuLibrary * library, const void *code, int *jitOptions,                \
        void **jitValues, unsigned jitCount, int *options, void **values,      \
        unsigned count))                                                       \
  CALL(unloadLibrary, "cuLibraryUnload", (CuLibrary library))                  \
  CALL(kernel, "cuLibraryGetKernel",                                           \
       (CuKernel * kernel, CuLibrary library, const char *name))               \
  CALL(function, "cuKernelGetFunction",                                        \
       (CuFunction * function, CuKernel kernel))                               \
  CALL(loadFunction, "cuFuncLoad", (CuFunction function))                      \
  CALL(launch, "cuLaunchKernelEx",                                             \
       (const CuLaunchConfig *config, CuKernel kernel, void **arguments,       \
        void **extra))                                                         \
  CALL(beginCapture, "cuStreamBeginCapture_v2", (CuStream stream, int mode))   \
  CALL(endCapture, "cuStreamEndCapture", (CuStream stream, CuGraph * graph))   \
  CALL(instantiate, "cuGraphInstantiateWithFlags",                             \
       (CuGraphExec * made, CuGraph graph, unsigned long long flags))          \
  CALL(uploadGraph, "cuGraphUpload", (CuGraphExec graph, CuStream stream))     \
  CALL(launchGraph, "cuGraphLaunch", (CuGraphExec graph, CuStream stream))     \
  CALL(destroyGraphExec, "cuGraphExecDestroy", (CuGraphExec graph))            \
  CALL(destroyGraph, "cuGraphDestroy", (CuGraph graph))

struct CudaApi {
#define FATHOM_CUDA_MEMBER(member, name, parameters)                           \
  CuResult(*member) parameters = nullptr;
  FATHOM_CUDA_CALLS(FATHOM_CUDA_MEMBER)
#undef FATHOM_CUDA_MEMBER

  /// Opens libcuda.so.1, or what FATHOM_LIBCUDA names. It stays open: such a
  /// library does not survive being closed.
  Status open();

  /// "cuMemAlloc_v2 failed: CUDA_ERROR_OUT_OF_MEMORY (out of memory)"; `what`
  /// comes before, such as a kernel's name.
  Status status(CuResult result, const char *call,
                const std::string &what = "") const;
};

} // namespace fathom::rt
