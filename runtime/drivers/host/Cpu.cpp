// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/host/Cpu.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fathom::rt {

namespace {
struct Level {
  const char *name;
  int rank;
};
constexpr Level kLevels[] = {{"x86-64-v3", 3},
                             {"x86-64-v4", 4},
                             {"x86-64-v4-bf16", 5},
                             {"x86-64-v4-amx", 6}};
} // namespace

int isaRank(const std::string &isa) {
  for (const Level &level : kLevels)
    if (isa == level.name)
      return level.rank;
  return 0;
}

std::string isaName(int rank) {
  for (const Level &level : kLevels)
    if (rank == level.rank)
      return level.name;
  return "";
}

#if defined(__x86_64__)

namespace {

struct Leaves {
  uint32_t basicEcx = 0, amdEcx = 0, xcr0 = 0;
  uint32_t extendedEbx = 0, extendedEcx = 0, extendedEdx = 0; // leaf 7, 0
  uint32_t moreEax = 0;                                       // leaf 7, 1
};

Leaves readLeaves() {
  Leaves out;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d))
    out.basicEcx = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
    out.extendedEbx = b, out.extendedEcx = c, out.extendedEdx = d;
  if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
    out.moreEax = a;
  if (__get_cpuid(0x80000001u, &a, &b, &c, &d))
    out.amdEcx = c;
  if (out.basicEcx & (1u << 27)) { // OSXSAVE: xgetbv may be executed
    uint32_t low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    out.xcr0 = low;
  }
  return out;
}

} // namespace

bool multipliesBF16Fast() {
  constexpr uint32_t kGenu = 0x756e6547; // of "GenuineIntel"
  uint32_t a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(0, &a, &b, &c, &d) && b != kGenu;
}

std::string missingForV3() {
  const Leaves cpu = readLeaves();
  std::string missing;
  auto need = [&](bool present, const char *name) {
    if (!present)
      missing += (missing.empty() ? "" : ", ") + std::string(name);
  };
  need(cpu.basicEcx >> 12 & 1, "FMA");
  need(cpu.basicEcx >> 22 & 1, "MOVBE");
  need(cpu.basicEcx >> 28 & 1, "AVX");
  need(cpu.basicEcx >> 29 & 1, "F16C");
  need(cpu.extendedEbx >> 5 & 1, "AVX2");
  need(cpu.extendedEbx >> 3 & 1, "BMI1");
  need(cpu.extendedEbx >> 8 & 1, "BMI2");
  need(cpu.amdEcx >> 5 & 1, "LZCNT");
  need((cpu.xcr0 & 0x6) == 0x6, "AVX state enabled by the system (XCR0)");
  return missing;
}

/// Linux enables the tile registers of a process when it asks for them, for
/// all its threads and for good. A sandbox may refuse.
static bool mayUseTiles() {
  constexpr long kArchPrctl = 158, kRequestPermission = 0x1023, kTileData = 18;
  return syscall(kArchPrctl, kRequestPermission, kTileData) == 0;
}

int cpuRank(int most) {
  if (!missingForV3().empty() || most < 3)
    return 0;
  const Leaves cpu = readLeaves();
  // AVX512 F, DQ, CD, BW, VL, and their registers enabled.
  const uint32_t wanted = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;
  if (most < 4 || (cpu.extendedEbx & wanted) != wanted ||
      (cpu.xcr0 & 0xe6) != 0xe6)
    return 3;
  // AVX512-VBMI, AVX512-BF16.
  if (most < 5 || !(cpu.extendedEcx >> 1 & 1) || !(cpu.moreEax >> 5 & 1))
    return 4;
  // AMX-BF16, AMX-TILE, and their state.
  const uint32_t tiles = 1u << 22 | 1u << 24;
  if (most < 6 || (cpu.extendedEdx & tiles) != tiles ||
      (cpu.xcr0 & 0x60000) != 0x60000 || !mayUseTiles())
    return 5;
  return 6;
}

#else

std::string missingForV3() { return "an x86-64 processor"; }
int cpuRank(int) { return 0; }
bool multipliesBF16Fast() { return false; }

#endif

} // namespace fathom::rt
