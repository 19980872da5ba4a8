// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a kernel became: resources and instructions, from NVIDIA's own tools.
#pragma once

#include "codegen/NVIDIA/Toolchain.h"
#include "runtime/format/Manifest.h"

namespace fathom::nvidia {

/// Resource usage as cuobjdump prints it.
bool parseResources(llvm::StringRef text, format::KernelReport &report);
/// A listing of nvdisasm -c. Main loops are the innermost ones with tensor
/// instructions; where there are none, all loops.
/// Wide loads are those of operands: pointers, of tables, do not count.
void parseListing(llvm::StringRef text, format::KernelReport &report);

/// Threads of a block, as the cubin says of its only kernel.
std::optional<uint64_t> threadsOf(llvm::StringRef cubin);
/// Registers that a block's threads want beyond those it is started with: with
/// any, the kernel waits for ever, since none is given back.
uint64_t missingRegisters(const format::KernelReport &report);

/// Of the cubin in `file`; nothing where the tools are missing or refuse it. An
/// error is the machine's refusal.
llvm::Expected<std::optional<format::KernelReport>>
inspectCubin(const Toolchain &toolchain, const std::string &file);

} // namespace fathom::nvidia
