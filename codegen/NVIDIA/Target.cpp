// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/Target.h"

namespace fathom::nvidia {

static constexpr int64_t kKB = 1024;

static constexpr Target kTargets[] = {
    {"sm_80", 80, 163 * kKB, false, false, 0, 0, {"HMMA", nullptr}},
    {"sm_86", 86, 99 * kKB, false, false, 0, 0, {"HMMA", nullptr}},
    {"sm_89", 89, 99 * kKB, true, false, 0, 0, {"HMMA", "QMMA"}},
    {"sm_90", 90, 227 * kKB, true, true, 0, 0, {"HGMMA", "QGMMA"}},
    {"sm_100", 100, 227 * kKB, true, true, 128, 32, {"UTCHMMA", "UTCQMMA"}},
    {"sm_103", 103, 227 * kKB, true, true, 128, 32, {"UTCHMMA", "UTCQMMA"}},
    {"sm_110", 110, 227 * kKB, true, true, 128, 32, {"UTCHMMA", "UTCQMMA"}},
    {"sm_120", 120, 99 * kKB, true, true, 64, 16, {"HMMA", "QMMA"}},
    {"sm_121", 121, 99 * kKB, true, true, 64, 16, {"HMMA", "QMMA"}},
};

llvm::ArrayRef<Target> targets() { return kTargets; }

const Target *findTarget(llvm::StringRef name) {
  for (const Target &target : kTargets)
    if (name == target.name)
      return &target;
  return nullptr;
}

const Target *siblingOf(const Target &target) {
  switch (target.number) {
  case 103:
  case 110:
    return findTarget("sm_100");
  case 121:
    return findTarget("sm_120");
  default:
    return nullptr;
  }
}

} // namespace fathom::nvidia
