// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Ascend/Target.h"

namespace fathom::ascend {

static constexpr int64_t kKB = 1024;

static constexpr Target kTargets[] = {
    {"910b", "Ascend910B3", 20, 40, 192 * kKB, 512 * kKB, 64 * kKB, 128 * kKB,
     false, "c220"},
    {"a3", "Ascend910_9392", 24, 48, 192 * kKB, 512 * kKB, 64 * kKB, 128 * kKB,
     false, "c220"},
    {"950", "Ascend950PR_9599", 36, 72, 248 * kKB, 512 * kKB, 64 * kKB,
     256 * kKB, true, "c310"},
};

llvm::ArrayRef<Target> targets() { return kTargets; }

const Target *findTarget(llvm::StringRef name) {
  for (const Target &target : kTargets)
    if (name == target.name)
      return &target;
  return nullptr;
}

} // namespace fathom::ascend
