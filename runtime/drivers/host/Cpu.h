// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What this CPU, and the operating system on it, can execute.
#pragma once

#include <string>

namespace fathom::rt {

/// Rank of an instruction-set level by name, higher is better ("x86-64-v3": 3,
/// "x86-64-v4": 4, "x86-64-v4-bf16": 5, "x86-64-v4-amx": 6), 0 for a name that
/// this runtime does not know.
int isaRank(const std::string &isa);

/// The name of a rank, "" for none.
std::string isaName(int rank);

/// The rank of the best level that can run here, of those up to `most`: 0 when
/// not even x86-64-v3 (CPU flags by cpuid, register state enabled by the system
/// by XCR0). Where AMX is asked for and the CPU has it, asks the system for its
/// registers first, which is for good and for all of the process.
int cpuRank(int most = 6);

/// Whether a product of bf16 (vdpbf16ps) takes no longer than one of f32. On
/// AMD's processors it takes half the time, on Intel's twice as long, as
/// measured on Sapphire Rapids.
bool multipliesBF16Fast();

/// What x86-64-v3 needs and this CPU lacks ("AVX2, FMA"), "" if nothing.
std::string missingForV3();

} // namespace fathom::rt
