// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/src/Limits.h"

#include "runtime/drivers/host/Placement.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>
#include <unistd.h>

namespace fathom::rt {

namespace {

/// Calls `read` with the directory of a group and of all above it.
template <typename Read>
void upwards(const std::string &root, std::string path, Read read) {
  if (path.find("..") != std::string::npos) // outside of what is mounted
    path.clear();
  for (;;) {
    while (!path.empty() && path.back() == '/')
      path.pop_back();
    read(root + path);
    if (path.empty())
      return;
    path.erase(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

void limitMemory(const std::string &file, GroupLimits &limits) {
  std::ifstream in(file);
  uint64_t bytes = 0;
  if (in >> bytes && bytes > 0) // "max" is no number
    limits.memoryBytes = std::min(limits.memoryBytes, bytes);
}

void limitCpus(double quota, double period, GroupLimits &limits) {
  if (quota > 0 && period > 0) // -1: none
    limits.cpus = std::min(limits.cpus, quota / period);
}

bool names(const std::string &controllers, const std::string &one) {
  return ("," + controllers + ",").find("," + one + ",") != std::string::npos;
}

} // namespace

GroupLimits readGroupLimits(const std::string &root,
                            const std::string &membership) {
  GroupLimits limits;
  auto second = [&](const std::string &group) {
    limitMemory(group + "/memory.max", limits);
    std::ifstream in(group + "/cpu.max");
    double quota = 0, period = 0;
    if (in >> quota >> period)
      limitCpus(quota, period, limits);
  };
  auto firstMemory = [&](const std::string &group) {
    limitMemory(group + "/memory.limit_in_bytes", limits);
  };
  auto firstCpu = [&](const std::string &group) {
    double quota = 0, period = 0;
    std::ifstream a(group + "/cpu.cfs_quota_us"),
        b(group + "/cpu.cfs_period_us");
    if (a >> quota && b >> period)
      limitCpus(quota, period, limits);
  };
  std::ifstream in(membership);
  std::string line;
  // Number, controllers of version 1 (none: version 2), path.
  while (std::getline(in, line)) {
    const size_t a = line.find(':'), b = line.find(':', a + 1);
    if (a == std::string::npos || b == std::string::npos)
      continue;
    const std::string which = line.substr(a + 1, b - a - 1),
                      path = line.substr(b + 1);
    if (which.empty()) {
      upwards(root, path, second);
      upwards(root + "/unified", path, second);
      continue;
    }
    if (names(which, "memory"))
      upwards(root + "/memory", path, firstMemory);
    if (names(which, "cpu"))
      upwards(root + "/" + which, path, firstCpu);
  }
  return limits;
}

static GroupLimits limitsOfThisProcess() {
  return readGroupLimits("/sys/fs/cgroup", "/proc/self/cgroup");
}

int availableCpus() {
  int cpus = static_cast<int>(allowedCpus().size());
  if (cpus == 0)
    cpus = static_cast<int>(std::thread::hardware_concurrency());
  return static_cast<int>(std::max(
      1.0, std::min(double(cpus), std::ceil(limitsOfThisProcess().cpus))));
}

uint64_t availableMemory() {
  const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  const uint64_t bytes =
      pages > 0 && size > 0 ? uint64_t(pages) * uint64_t(size) : ~uint64_t(0);
  return std::min(bytes, limitsOfThisProcess().memoryBytes);
}

} // namespace fathom::rt
