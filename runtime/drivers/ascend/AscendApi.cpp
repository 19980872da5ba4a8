// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/ascend/AscendApi.h"

#include <cstdlib>
#include <dlfcn.h>

namespace fathom::rt {

Status AscendApi::open() {
  const char *named = std::getenv("FATHOM_LIBASCENDCL");
  const char *file = named && *named ? named : "libascendcl.so";
  library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *why = dlerror();
    return Status(FATHOM_UNSUPPORTED,
                  std::string("there is no CANN here: ") + (why ? why : file) +
                      (named ? " (named by FATHOM_LIBASCENDCL)"
                             : "; install it, and source its set_env.sh"));
  }
  auto find = [&](const char *name, auto &member) {
    member =
        reinterpret_cast<std::decay_t<decltype(member)>>(dlsym(library, name));
    return member ? Status()
                  : Status(FATHOM_UNSUPPORTED,
                           std::string("the CANN library '") + file +
                               "' is too old: it has no " + name +
                               "; install CANN 8.5 or later");
  };
#define FATHOM_ACL_FIND(member, name, parameters)                              \
  if (Status s = find(name, member); s.failed())                               \
    return s;
  FATHOM_ACL_CALLS(FATHOM_ACL_FIND)
#undef FATHOM_ACL_FIND
  if (Status s = find("aclrtGetSocName", processorName); s.failed())
    return s;
  return find("aclGetRecentErrMsg", lastError);
}

Status AscendApi::status(AclResult result, const char *call,
                         const std::string &what) const {
  if (result == 0)
    return Status();
  const char *said = lastError();
  std::string text = said && *said ? said : "no description";
  // Its messages are lines with hints; the first says what happened.
  text = text.substr(0, std::min(text.find('\n'), size_t(400)));
  return Status(result == kAclNoMemory || result == kAclBadAlloc
                    ? FATHOM_RESOURCES
                    : FATHOM_FAILED,
                (what.empty() ? "" : what + ": ") + call + " failed: error " +
                    std::to_string(result) + " (" + text + ")");
}

} // namespace fathom::rt
