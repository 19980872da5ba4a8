// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A tile kernel as CUDA Tile IR bytecode.
//
// Arguments keep their order: a buffer becomes a pointer to its first element,
// a table a pointer to an array of 64-bit pointers, a count a pointer to an i32
// in device memory (recorded graphs need constant arguments). All pointers,
// those inside tables too, are multiples of kPointerAlignment.
#pragma once

#include "codegen/NVIDIA/Target.h"
#include "dialects/Tile/IR/Tile.h"

#include <string>

namespace fathom::nvidia {

constexpr int64_t kPointerAlignment = 16;

/// The bytecode of these kernels, entries named as they are. Failure: said by
/// diagnostics on the operation that has no translation.
mlir::FailureOr<std::string>
translateToCudaTile(llvm::ArrayRef<tile::KernelOp> kernels,
                    const Target &target, const Configuration &configuration);

} // namespace fathom::nvidia
