// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// numpy's .npy files: f32, i32 and i64, little-endian, C order.
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_NPYIO_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_NPYIO_H

#include "dialects/DSV4/Reference/Kernels/HostTensor.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <system_error>

namespace fathom {

/// The codes of errors: a file that is not there or has something else in it,
/// and what the machine refuses: to write, or to read for want of permission.
constexpr std::errc kBadFile = std::errc::invalid_argument;
constexpr std::errc kRefused = std::errc::io_error;
inline std::errc whyUnread(std::error_code error) {
  return error == std::errc::permission_denied ? kRefused : kBadFile;
}

/// Reads a file of '<f4', '<i4' or '<i8'. Errors name the file: not there, not
/// of the format, another element type, Fortran order, size other than the
/// shape needs.
llvm::Expected<ref::HostTensor> readNpy(llvm::StringRef path);

/// Parses the content of such a file; `path` is for messages.
llvm::Expected<ref::HostTensor> parseNpy(llvm::StringRef content,
                                         llvm::StringRef path);

/// Writes f32, i32 or i64 as they are and bf16 as f32. The file appears whole
/// or not at all.
llvm::Error writeNpy(llvm::StringRef path, const ref::HostTensor &tensor);

} // namespace fathom

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_NPYIO_H
