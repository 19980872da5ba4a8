// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Status inside the runtime: an error code with a message, or success. Becomes
// a fathom_status at the C ABI.
#pragma once

#include "runtime/include/fathom.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace fathom::rt {

class [[nodiscard]] Status {
public:
  Status() = default;
  Status(fathom_code code, std::string message)
      : errorCode(code), text(std::move(message)) {}

  bool failed() const { return errorCode != FATHOM_OK; }
  fathom_code code() const { return errorCode; }
  const std::string &message() const { return text; }

  /// "cannot open 'x': No such file or directory". What the machine refuses
  /// (memory, disk, descriptors, permission) counts as resources.
  static Status fromErrno(const std::string &what, int error) {
    bool scarce = error == ENOMEM || error == ENOSPC || error == EMFILE ||
                  error == ENFILE || error == EDQUOT || error == EAGAIN ||
                  error == EACCES || error == EPERM || error == EROFS;
    return Status(scarce ? FATHOM_RESOURCES : FATHOM_FAILED,
                  what + ": " + std::strerror(error));
  }

  fathom_status toC() const {
    fathom_status out;
    out.code = errorCode;
    size_t size = text.size() < sizeof(out.message) - 1
                      ? text.size()
                      : sizeof(out.message) - 1;
    std::memcpy(out.message, text.data(), size);
    out.message[size] = '\0';
    return out;
  }

private:
  fathom_code errorCode = FATHOM_OK;
  std::string text;
};

} // namespace fathom::rt
