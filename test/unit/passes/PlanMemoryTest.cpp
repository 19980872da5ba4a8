// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Interval packing: no two buffers that live together share a byte, and the
// workspace stays near what must be alive at once.
#include "passes/PlanMemory.h"

#include "gtest/gtest.h"

#include <random>

using fathom::tile::assignOffsets;
using fathom::tile::kWorkspaceAlignment;
using fathom::tile::PlannedBuffer;

static int64_t rounded(int64_t bytes) {
  return (bytes + kWorkspaceAlignment - 1) / kWorkspaceAlignment *
         kWorkspaceAlignment;
}

static void expectSound(const std::vector<PlannedBuffer> &buffers,
                        int64_t size) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    const PlannedBuffer &a = buffers[i];
    EXPECT_EQ(a.offset % kWorkspaceAlignment, 0);
    EXPECT_GE(a.offset, 0);
    EXPECT_LE(a.offset + a.bytes, size);
    for (size_t j = i + 1; j < buffers.size(); ++j) {
      const PlannedBuffer &b = buffers[j];
      bool together = a.first <= b.last && b.first <= a.last;
      bool share =
          a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
      EXPECT_FALSE(together && share) << i << " and " << j;
    }
  }
}

TEST(PlanMemory, Nothing) {
  std::vector<PlannedBuffer> none;
  EXPECT_EQ(assignOffsets(none), 0);
}

TEST(PlanMemory, DisjointLivesShareBytes) {
  std::vector<PlannedBuffer> buffers = {
      {1000, 0, 1, 0}, {1000, 2, 3, 0}, {64, 1, 2, 0}};
  int64_t size = assignOffsets(buffers);
  EXPECT_EQ(size, 1024 + 64);
  EXPECT_EQ(buffers[0].offset, buffers[1].offset);
  expectSound(buffers, size);
}

// The smallest gap that fits is taken, not the first.
TEST(PlanMemory, BestFit) {
  std::vector<PlannedBuffer> buffers = {
      {640, 0, 9, 0}, {512, 0, 3, 0}, {448, 0, 9, 0},
      {256, 0, 3, 0}, {192, 0, 9, 0}, {128, 4, 9, 0},
  };
  int64_t size = assignOffsets(buffers);
  expectSound(buffers, size);
  // 512 and 256 bytes are free from launch 4 on: the latter is the better fit.
  EXPECT_EQ(buffers[5].offset, buffers[3].offset);
}

TEST(PlanMemory, SameInputSamePlan) {
  std::vector<PlannedBuffer> a = {{64, 0, 2, 0}, {64, 1, 3, 0}, {64, 2, 4, 0}};
  std::vector<PlannedBuffer> b = a;
  assignOffsets(a);
  assignOffsets(b);
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_EQ(a[i].offset, b[i].offset);
}

TEST(PlanMemory, RandomSchedules) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::vector<PlannedBuffer> buffers(60);
    std::vector<int64_t> alive(40);
    for (PlannedBuffer &buffer : buffers) {
      buffer.bytes = random() % 5000;
      buffer.first = random() % 36;
      buffer.last = buffer.first + random() % 4;
      for (int64_t t = buffer.first; t <= buffer.last; ++t)
        alive[t] += rounded(buffer.bytes);
    }
    int64_t size = assignOffsets(buffers);
    expectSound(buffers, size);
    int64_t most = *std::max_element(alive.begin(), alive.end());
    EXPECT_GE(size, most);
    EXPECT_LE(size, most * 3 / 2);
  }
}
