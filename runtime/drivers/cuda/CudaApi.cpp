// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/cuda/CudaApi.h"

#include <cstdlib>
#include <dlfcn.h>

namespace fathom::rt {

Status CudaApi::open() {
  const char *named = std::getenv("FATHOM_LIBCUDA");
  const char *file = named && *named ? named : "libcuda.so.1";
  void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *why = dlerror();
    return Status(FATHOM_UNSUPPORTED,
                  std::string("there is no NVIDIA driver here: ") +
                      (why ? why : file) +
                      (named ? " (named by FATHOM_LIBCUDA)" : ""));
  }
#define FATHOM_CUDA_FIND(member, name, parameters)                             \
  member = reinterpret_cast<decltype(member)>(dlsym(library, name));           \
  if (!member)                                                                 \
    return Status(FATHOM_UNSUPPORTED,                                          \
                  std::string("the NVIDIA driver '") + file +                  \
                      "' is too old: it has no " name "; update it");
  FATHOM_CUDA_CALLS(FATHOM_CUDA_FIND)
#undef FATHOM_CUDA_FIND
  return Status();
}

Status CudaApi::status(CuResult result, const char *call,
                       const std::string &what) const {
  if (result == 0)
    return Status();
  const char *name = nullptr, *text = nullptr;
  if (errorName(result, &name) != 0 || !name)
    name = "an unknown error";
  if (errorText(result, &text) != 0 || !text)
    text = "no description";
  return Status(result == kCuOutOfMemory ? FATHOM_RESOURCES
                : result == kCuNoDevice  ? FATHOM_UNSUPPORTED
                                         : FATHOM_FAILED,
                (what.empty() ? "" : what + ": ") + call + " failed: " + name +
                    " " + std::to_string(result) + " (" + text + ")");
}

} // namespace fathom::rt
