// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What control groups of either version allow, from files as the kernel writes
// them.
#include "runtime/src/Limits.h"
#include "test/unit/runtime/FakePackage.h"

#include <filesystem>
#include <gtest/gtest.h>

using namespace fathom::rt;
using namespace fathom::test;

namespace {

class Limits : public testing::Test {
protected:
  /// Writes a file below the root, with the folders that it needs.
  void put(const std::string &name, const std::string &text) {
    const std::filesystem::path path = root + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    writeFile(path.string(), text + "\n");
  }
  GroupLimits read(const std::string &membership) {
    put("membership", membership);
    return readGroupLimits(root, root + "/membership");
  }
  TemporaryDirectory directory;
  std::string root = directory.path();
};

constexpr uint64_t kNoBytes = ~uint64_t(0);

TEST_F(Limits, None) {
  EXPECT_EQ(readGroupLimits(root, root + "/absent").memoryBytes, kNoBytes);
  put("memory.max", "max");
  put("cpu.max", "max 100000");
  for (const char *text : {"", "0::/", "0::/a/b", "0::/../..", "nonsense",
                           "::", "3:memory:/x\n2:cpu,cpuacct:/x"}) {
    EXPECT_EQ(read(text).memoryBytes, kNoBytes) << text;
    EXPECT_GT(read(text).cpus, 1e8) << text;
  }
}

TEST_F(Limits, SecondVersion) {
  put("user/job/memory.max", "1000000");
  put("user/job/cpu.max", "150000 100000");
  put("user/memory.max", "max");
  put("user/cpu.max", "max 100000");
  GroupLimits l = read("0::/user/job");
  EXPECT_EQ(l.memoryBytes, 1000000u);
  EXPECT_EQ(l.cpus, 1.5);
  // A group above allows less.
  put("user/memory.max", "700000");
  put("user/cpu.max", "50000 100000");
  l = read("0::/user/job");
  EXPECT_EQ(l.memoryBytes, 700000u);
  EXPECT_EQ(l.cpus, .5);
  // Another group.
  EXPECT_EQ(read("0::/other").memoryBytes, kNoBytes);
  // A container sees its group as the root, whatever its path is called.
  put("memory.max", "5000");
  for (const char *text : {"0::/", "0::/docker/abc", "0::/../../abc"})
    EXPECT_EQ(read(text).memoryBytes, 5000u) << text;
}

TEST_F(Limits, FirstVersion) {
  put("memory/job/memory.limit_in_bytes", "3000");
  put("memory/memory.limit_in_bytes", "9223372036854771712");
  put("cpu,cpuacct/job/cpu.cfs_quota_us", "200000");
  put("cpu,cpuacct/job/cpu.cfs_period_us", "100000");
  put("cpu,cpuacct/cpu.cfs_quota_us", "-1");
  put("cpu,cpuacct/cpu.cfs_period_us", "100000");
  const GroupLimits l =
      read("5:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/job\n0::/job");
  EXPECT_EQ(l.memoryBytes, 3000u);
  EXPECT_EQ(l.cpus, 2);
}

TEST(LimitsOfThis, AreSome) {
  EXPECT_GE(availableCpus(), 1);
  EXPECT_GT(availableMemory(), uint64_t(16) << 20);
}

} // namespace
