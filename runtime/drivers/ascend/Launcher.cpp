// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/ascend/Launcher.h"

#include <cstdlib>
#include <dlfcn.h>

namespace fathom::rt {

namespace {

/// What an object's code is for, as its loaders want to be told.
constexpr uint32_t kBothCores = 0x43554245, kVectorCores = 0x41415246;

uint32_t magicOf(bool isMix) { return isMix ? kBothCores : kVectorCores; }

std::string quoted(const char *kernel) {
  return std::string("kernel '") + kernel + "'";
}

#define FATHOM_ASCEND_MEMBER(member, name, parameters)                         \
  AclResult(*member) parameters = nullptr;
#define FATHOM_ASCEND_FIND(member, name, parameters)                           \
  member = reinterpret_cast<decltype(member)>(dlsym(library, name));           \
  if (!member)                                                                 \
    return std::string("it has no ") + name;

//===-- rt ----------------------------------------------------------------===//

struct RtBinary {
  uint32_t magic, version;
  const void *data;
  uint64_t length;
};

#define FATHOM_RT_CALLS(CALL)                                                  \
  CALL(registerBinary, "rtDevBinaryRegister",                                  \
       (const RtBinary *binary, void **handle))                                \
  CALL(unregisterBinary, "rtDevBinaryUnRegister", (void *handle))              \
  CALL(registerFunction, "rtFunctionRegister",                                 \
       (void *handle, const void *stub, const char *stubName,                  \
        const void *kernelName, uint32_t mode))                                \
  CALL(launchKernel, "rtKernelLaunch",                                         \
       (const void *stub, uint32_t blocks, void *arguments, uint32_t bytes,    \
        void *sharedMemory, AclStream stream))                                 \
  CALL(flagsAddress, "rtGetC2cCtrlAddr", (uint64_t *address, uint32_t *bytes))

class RtLauncher final : public Launcher {
public:
  explicit RtLauncher(const AscendApi &api) : api(api) {}

  /// What is missing; empty: nothing.
  std::string open() {
    const char *named = std::getenv("FATHOM_LIBRUNTIME");
    const char *file = named && *named ? named : "libruntime.so";
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      const char *why = dlerror();
      return why ? why : file;
    }
    FATHOM_RT_CALLS(FATHOM_ASCEND_FIND)
    return "";
  }

  const char *name() const override { return "rt"; }

  Status load(const std::string &bytes, bool isMix, const char *kernel,
              void **function) override {
    const RtBinary binary = {magicOf(isMix), 0, bytes.data(), bytes.size()};
    void *handle = nullptr;
    if (Status s = api.status(registerBinary(&binary, &handle),
                              "rtDevBinaryRegister", quoted(kernel));
        s.failed())
      return s;
    // A function is known by an address of ours from now on.
    auto stub = std::make_unique<Stub>(Stub{handle});
    if (Status s =
            api.status(registerFunction(handle, stub.get(), kernel, kernel, 0),
                       "rtFunctionRegister", quoted(kernel));
        s.failed()) {
      (void)unregisterBinary(handle);
      return s;
    }
    *function = stub.release();
    return Status();
  }

  void unload(void *function) override {
    Stub *stub = static_cast<Stub *>(function);
    (void)unregisterBinary(stub->binary);
    delete stub;
  }

  Status flags(uint64_t *address) override {
    uint32_t bytes = 0;
    return api.status(flagsAddress(address, &bytes), "rtGetC2cCtrlAddr");
  }

  Status launch(void *function, const char *kernel, uint32_t blocks,
                const void *arguments, size_t bytes,
                AclStream stream) override {
    const AclResult result =
        launchKernel(function, blocks, const_cast<void *>(arguments),
                     uint32_t(bytes), nullptr, stream);
    return result == 0 ? Status()
                       : api.status(result, "rtKernelLaunch", quoted(kernel));
  }

private:
  struct Stub {
    void *binary;
  };
  const AscendApi &api;
  FATHOM_RT_CALLS(FATHOM_ASCEND_MEMBER)
};

//===-- acl ---------------------------------------------------------------===//

/// An option is its kind and a value of 16 bytes.
struct AclLoadOption {
  int32_t kind;
  union {
    uint32_t magic;
    uint32_t reserved[4];
  };
};
struct AclLoadOptions {
  AclLoadOption *options;
  size_t count;
};
constexpr int32_t kAclLoadMagic = 2;

#define FATHOM_ACL_LAUNCH_CALLS(CALL)                                          \
  CALL(loadBinary, "aclrtBinaryLoadFromData",                                  \
       (const void *data, size_t length, const AclLoadOptions *options,        \
        void **handle))                                                        \
  CALL(unloadBinary, "aclrtBinaryUnLoad", (void *handle))                      \
  CALL(getFunction, "aclrtBinaryGetFunction",                                  \
       (void *handle, const char *kernel, void **function))                    \
  CALL(launchKernel, "aclrtLaunchKernelWithHostArgs",                          \
       (void *function, uint32_t blocks, AclStream stream,                     \
        void *configuration, void *arguments, size_t bytes,                    \
        void *placeholders, size_t placeholderCount))                          \
  CALL(flagsAddress, "aclrtGetHardwareSyncAddr", (void **address))

class AclLauncher final : public Launcher {
public:
  explicit AclLauncher(const AscendApi &api) : api(api) {}

  std::string open() {
    void *library = api.library;
    FATHOM_ACL_LAUNCH_CALLS(FATHOM_ASCEND_FIND)
    return "";
  }

  const char *name() const override { return "acl"; }

  Status load(const std::string &bytes, bool isMix, const char *kernel,
              void **function) override {
    AclLoadOption option = {};
    option.kind = kAclLoadMagic;
    option.magic = magicOf(isMix);
    const AclLoadOptions options = {&option, 1};
    auto made = std::make_unique<Function>();
    if (Status s = api.status(
            loadBinary(bytes.data(), bytes.size(), &options, &made->binary),
            "aclrtBinaryLoadFromData", quoted(kernel));
        s.failed())
      return s;
    if (Status s =
            api.status(getFunction(made->binary, kernel, &made->function),
                       "aclrtBinaryGetFunction", quoted(kernel));
        s.failed()) {
      (void)unloadBinary(made->binary);
      return s;
    }
    *function = made.release();
    return Status();
  }

  void unload(void *function) override {
    Function *made = static_cast<Function *>(function);
    (void)unloadBinary(made->binary);
    delete made;
  }

  Status flags(uint64_t *address) override {
    void *found = nullptr;
    Status s = api.status(flagsAddress(&found), "aclrtGetHardwareSyncAddr");
    *address = reinterpret_cast<uintptr_t>(found);
    return s;
  }

  Status launch(void *function, const char *kernel, uint32_t blocks,
                const void *arguments, size_t bytes,
                AclStream stream) override {
    const AclResult result = launchKernel(
        static_cast<Function *>(function)->function, blocks, stream, nullptr,
        const_cast<void *>(arguments), bytes, nullptr, 0);
    return result == 0 ? Status()
                       : api.status(result, "aclrtLaunchKernelWithHostArgs",
                                    quoted(kernel));
  }

private:
  struct Function {
    void *binary = nullptr, *function = nullptr;
  };
  const AscendApi &api;
  FATHOM_ACL_LAUNCH_CALLS(FATHOM_ASCEND_MEMBER)
};

} // namespace

Status findLaunchers(const AscendApi &api,
                     std::vector<std::unique_ptr<Launcher>> &out) {
  const char *asked = std::getenv("FATHOM_ASCEND_LAUNCH");
  const std::string wanted = asked ? asked : "";
  if (!wanted.empty() && wanted != "rt" && wanted != "acl")
    return Status(FATHOM_USAGE, "FATHOM_ASCEND_LAUNCH = '" + wanted +
                                    "'; it is rt or acl, or not set");
  std::string missing;
  auto tryOne = [&](auto launcher) {
    if (!wanted.empty() && wanted != launcher->name())
      return;
    const std::string why = launcher->open();
    if (why.empty())
      out.push_back(std::move(launcher));
    else
      missing += std::string(missing.empty() ? "" : "; ") + launcher->name() +
                 ": " + why;
  };
  tryOne(std::make_unique<RtLauncher>(api));
  tryOne(std::make_unique<AclLauncher>(api));
  if (out.empty())
    return Status(FATHOM_UNSUPPORTED,
                  "this CANN has no way to launch a kernel (" + missing +
                      "); install CANN 8.5 or later");
  return Status();
}

} // namespace fathom::rt
