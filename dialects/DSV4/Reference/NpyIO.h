// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// numpy's .npy files: f32, i32 and i64, little-endian, C order.
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_NPYIO_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_NPYIO_H

#include "dialects/DSV4/Reference/Kernels/HostTensor.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

namespace fathom {

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
