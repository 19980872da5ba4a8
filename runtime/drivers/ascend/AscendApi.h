// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the driver uses of the Ascend computing language's library, found at run
// time, so that nothing of CANN is needed to build or to run elsewhere. Names
// and signatures as Huawei's documentation gives them, declared here by
// ourselves.
#pragma once

#include "runtime/src/Status.h"

#include <cstddef>
#include <cstdint>

namespace fathom::rt {

using AclResult = int; // 0: good
using AclContext = void *;
using AclStream = void *;
using AclEvent = void *;

constexpr AclResult kAclAlreadyInitialised = 100002;
constexpr AclResult kAclBadAlloc = 200000, kAclNoMemory = 207001;
constexpr int kAclHugePagesFirst = 0;   // how memory is allocated
constexpr int kAclDDR = 0, kAclHBM = 1; // whose size is asked
constexpr int kAclToDevice = 1, kAclToHost = 2, kAclWithinDevice = 3;
/// An event that streams wait for, and one that measures time: such events can
/// be recorded as often as wanted without being reset.
constexpr uint32_t kAclEventSync = 1, kAclEventTimeLine = 8;

/// A list of (member, exported name, parameters).
#define FATHOM_ACL_CALLS(CALL)                                                 \
  CALL(init, "aclInit", (const char *configuration))                           \
  CALL(deviceCount, "aclrtGetDeviceCount", (uint32_t *count))                  \
  CALL(setDevice, "aclrtSetDevice", (int32_t device))                          \
  CALL(resetDevice, "aclrtResetDevice", (int32_t device))                      \
  CALL(currentContext, "aclrtGetCurrentContext", (AclContext * context))       \
  CALL(setContext, "aclrtSetCurrentContext", (AclContext context))             \
  CALL(memory, "aclrtGetMemInfo", (int kind, size_t *free, size_t *total))     \
  CALL(allocate, "aclrtMalloc", (void **memory, size_t bytes, int policy))     \
  CALL(release, "aclrtFree", (void *memory))                                   \
  CALL(allocateHost, "aclrtMallocHost", (void **memory, size_t bytes))         \
  CALL(releaseHost, "aclrtFreeHost", (void *memory))                           \
  CALL(copy, "aclrtMemcpyAsync",                                               \
       (void *to, size_t room, const void *from, size_t bytes, int kind,       \
        AclStream stream))                                                     \
  CALL(fill, "aclrtMemsetAsync",                                               \
       (void *to, size_t room, int32_t value, size_t bytes, AclStream stream)) \
  CALL(createStream, "aclrtCreateStream", (AclStream * stream))                \
  CALL(destroyStream, "aclrtDestroyStream", (AclStream stream))                \
  CALL(synchronise, "aclrtSynchronizeStream", (AclStream stream))              \
  CALL(createEvent, "aclrtCreateEventExWithFlag",                              \
       (AclEvent * event, uint32_t flags))                                     \
  CALL(destroyEvent, "aclrtDestroyEvent", (AclEvent event))                    \
  CALL(recordEvent, "aclrtRecordEvent", (AclEvent event, AclStream stream))    \
  CALL(waitEvent, "aclrtStreamWaitEvent", (AclStream stream, AclEvent event))  \
  CALL(elapsed, "aclrtEventElapsedTime",                                       \
       (float *milliseconds, AclEvent from, AclEvent to))

struct AscendApi {
#define FATHOM_ACL_MEMBER(member, name, parameters)                            \
  AclResult(*member) parameters = nullptr;
  FATHOM_ACL_CALLS(FATHOM_ACL_MEMBER)
#undef FATHOM_ACL_MEMBER
  const char *(*processorName)() = nullptr;
  const char *(*lastError)() = nullptr;
  /// What it was all found in.
  void *library = nullptr;

  /// Opens libascendcl.so, or what FATHOM_LIBASCENDCL names. It stays open:
  /// such a library does not survive being closed.
  Status open();

  /// "aclrtMalloc failed: error 207001 (what the library says of it)"; `what`
  /// comes before, such as a kernel's name.
  Status status(AclResult result, const char *call,
                const std::string &what = "") const;
};

} // namespace fathom::rt
