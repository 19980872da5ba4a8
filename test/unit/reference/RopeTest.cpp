// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/Kernels/Rope.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

using namespace fathom::ref;

/// The "f32_bits" list of one entry of the golden file.
static std::vector<uint32_t> goldenBits(const std::string &entry) {
  std::ifstream file(FATHOM_TEST_GOLDEN_DIR "/rope-frequencies.json");
  std::stringstream stream;
  stream << file.rdbuf();
  std::string text = stream.str();
  size_t at = text.find('"' + entry + '"');
  if (at == std::string::npos)
    return {};
  at = text.find("f32_bits", at);
  size_t end = text.find(']', at);
  at = text.find('[', at);
  std::vector<uint32_t> bits;
  while ((at = text.find('"', at)) < end) {
    bits.push_back(uint32_t(std::strtoul(text.c_str() + at + 1, nullptr, 16)));
    at = text.find('"', at + 1) + 1;
  }
  return bits;
}

static void expectBits(const std::vector<float> &values,
                       const std::vector<uint32_t> &golden) {
  ASSERT_EQ(golden.size(), 32u);
  ASSERT_EQ(values.size(), golden.size());
  for (size_t m = 0; m < values.size(); ++m) {
    uint32_t bits;
    std::memcpy(&bits, &values[m], 4);
    EXPECT_EQ(bits, golden[m]) << "pair " << m;
  }
}

TEST(RopeFrequencies, EqualThePublishedBits) {
  expectBits(ropeFrequencies(64, 10000), goldenBits("rd=64 theta=10000"));
  expectBits(ropeFrequencies(64, 160000, {16, 65536, 32, 1}),
             goldenBits("rd=64 theta=160000 yarn original=65536 factor=16 "
                        "beta_fast=32 beta_slow=1"));
  expectBits(ropeFrequencies(64, 160000, {4, 512, 32, 1}),
             goldenBits("rd=64 theta=160000 yarn original=512 factor=4 "
                        "beta_fast=32 beta_slow=1"));
}

TEST(RopeFrequencies, OtherWidthsAndConstants) {
  std::vector<float> f = ropeFrequencies(6, 500000);
  ASSERT_EQ(f.size(), 3u);
  for (int m = 0; m < 3; ++m)
    EXPECT_NEAR(f[m] / std::pow(500000.0, -2.0 * m / 6), 1.0, 1e-6);
  // A ramp of no length does not divide by zero.
  for (float v : ropeFrequencies(2, 10000, {8, 10, 1, 1}))
    EXPECT_TRUE(std::isfinite(v));
}

TEST(RopeTableTest, BlocksUseTheirFirstPosition) {
  HostTensor positions = HostTensor::fromInts({5}, {0, 2, 3, 4, 7});
  HostTensor starts = HostTensor::fromInts({5}, {0, 0, 0, 1, 4});
  RopeTable block = ropeTable(positions, 8, 10000, {}, 4);
  RopeTable plain = ropeTable(starts, 8, 10000, {}, 1);
  EXPECT_TRUE(block.cos == plain.cos);
  EXPECT_TRUE(block.sin == plain.sin);
}

TEST(RopeTableTest, TheAngleIsOneF32Product) {
  int32_t position = 1048575;
  RopeTable table = ropeTable(HostTensor::fromInts({1}, {position}), 64, 160000,
                              {16, 65536, 32, 1}, 1);
  std::vector<float> f = ropeFrequencies(64, 160000, {16, 65536, 32, 1});
  for (int m = 0; m < 32; ++m) {
    float angle = float(position) * f[m];
    EXPECT_EQ(table.cos.load(m), float(std::cos(double(angle))));
    EXPECT_EQ(table.sin.load(m), float(std::sin(double(angle))));
  }
}

TEST(RopeTest, RotatesTheLastPairsAndInverts) {
  HostTensor positions = HostTensor::fromInts({2}, {0, 5});
  RopeTable table = ropeTable(positions, 4, 100, {}, 1);
  std::vector<float> values(2 * 3 * 6);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = float(i) - 10;
  HostTensor x = HostTensor::fromFloats(DType::F32, {2, 3, 6}, values);
  HostTensor y = rope(x, table.cos, table.sin, false);
  for (int i = 0; i < 18; ++i) // position 0 turns nothing
    EXPECT_EQ(y.load(i), x.load(i));
  for (int h = 3; h < 6; ++h) {
    EXPECT_EQ(y.load(h * 6), x.load(h * 6)); // channels before the rope part
    double a = x.load(h * 6 + 4), b = x.load(h * 6 + 5), t = 5 * 0.1;
    EXPECT_NEAR(y.load(h * 6 + 4), a * std::cos(t) - b * std::sin(t), 1e-5);
    EXPECT_NEAR(y.load(h * 6 + 5), a * std::sin(t) + b * std::cos(t), 1e-5);
  }
  HostTensor back = rope(y, table.cos, table.sin, true);
  for (int i = 0; i < 36; ++i)
    EXPECT_NEAR(back.load(i), x.load(i), 1e-5);
  HostTensor empty(DType::BF16, {0, 6});
  RopeTable none = ropeTable(HostTensor(DType::I32, {0}), 4, 100, {}, 1);
  EXPECT_EQ(rope(empty, none.cos, none.sin, false).numElements(), 0);
}
