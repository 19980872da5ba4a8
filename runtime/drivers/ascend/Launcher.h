// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The two ways in which CANN launches a kernel of an object file. `rt`, of
// libruntime.so, is how the objects of this compiler have been launched from
// the beginning; CANN calls it outdated. `acl`, of libascendcl.so, is meant to
// replace it.
#pragma once

#include "runtime/drivers/ascend/AscendApi.h"

#include <memory>
#include <string>
#include <vector>

namespace fathom::rt {

class Launcher {
public:
  virtual ~Launcher() = default;
  virtual const char *name() const = 0;
  /// Registers the object's one kernel. `bytes` must live as long as the
  /// launcher, the function until unload.
  virtual Status load(const std::string &bytes, bool isMix, const char *kernel,
                      void **function) = 0;
  virtual void unload(void *function) = 0;
  /// Where the hardware has the flags by which cores wait for each other.
  virtual Status flags(uint64_t *address) = 0;
  /// `arguments` may go when this returns.
  virtual Status launch(void *function, const char *kernel, uint32_t blocks,
                        const void *arguments, size_t bytes,
                        AclStream stream) = 0;
};

/// Those that there are, the preferred one first; FATHOM_ASCEND_LAUNCH ("rt" or
/// "acl") asks for one alone. None is an error.
Status findLaunchers(const AscendApi &api,
                     std::vector<std::unique_ptr<Launcher>> &out);

} // namespace fathom::rt
