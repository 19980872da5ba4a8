// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Number formats over all codes, every tie between neighbours and the values
// beside each tie.
#include "dialects/DSV4/Reference/Kernels/Codecs.h"
#include "dialects/DSV4/Reference/Kernels/Quantize.h"

#include "gtest/gtest.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

using namespace fathom::ref;

static uint32_t bits(float value) {
  uint32_t result;
  std::memcpy(&result, &value, 4);
  return result;
}
static float fromBits(uint32_t value) {
  float result;
  std::memcpy(&result, &value, 4);
  return result;
}
static float up(float value) { return std::nextafterf(value, INFINITY); }
static float down(float value) { return std::nextafterf(value, -INFINITY); }

TEST(E4M3, DecodesTheFormat) {
  EXPECT_EQ(decodeE4M3(0x00), 0.0f);
  EXPECT_EQ(decodeE4M3(0x01), 0x1p-9f);
  EXPECT_EQ(decodeE4M3(0x07), 7 * 0x1p-9f);
  EXPECT_EQ(decodeE4M3(0x08), 0x1p-6f);
  EXPECT_EQ(decodeE4M3(0x38), 1.0f);
  EXPECT_EQ(decodeE4M3(0x7E), 448.0f);
  EXPECT_TRUE(std::isnan(decodeE4M3(0x7F)));
  EXPECT_TRUE(std::isnan(decodeE4M3(0xFF)));
  EXPECT_EQ(bits(decodeE4M3(0x80)), 0x80000000u);
}

TEST(E4M3, EveryCodeRoundTrips) {
  for (int code = 0; code < 256; ++code) {
    if ((code & 0x7F) == 0x7F)
      continue;
    EXPECT_EQ(encodeE4M3(decodeE4M3(uint8_t(code))), code) << code;
  }
  EXPECT_EQ(encodeE4M3(NAN), 0x7F);
}

TEST(E4M3, TiesGoToTheEvenCodeAndNeighboursToTheNearest) {
  for (int code = 0; code < 0x7E; ++code)
    for (int sign : {0, 0x80}) {
      float low = decodeE4M3(uint8_t(code)),
            high = decodeE4M3(uint8_t(code + 1));
      float tie = (low + high) / 2, flip = sign ? -1.0f : 1.0f;
      int even = code % 2 == 0 ? code : code + 1;
      EXPECT_EQ(encodeE4M3(flip * tie), even | sign) << code;
      EXPECT_EQ(encodeE4M3(flip * down(tie)), code | sign) << code;
      EXPECT_EQ(encodeE4M3(flip * up(tie)), (code + 1) | sign) << code;
    }
}

TEST(E4M3, Saturates) {
  for (float value : {448.0f, 449.0f, 464.0f, 1e30f, INFINITY}) {
    EXPECT_EQ(encodeE4M3(value), 0x7E);
    EXPECT_EQ(encodeE4M3(-value), 0xFE);
  }
}

TEST(E2M1, EveryCodeRoundTripsAndTiesAreEven) {
  const float values[] = {0, .5f, 1, 1.5f, 2, 3, 4, 6};
  for (int code = 0; code < 16; ++code) {
    EXPECT_EQ(std::fabs(decodeE2M1(uint8_t(code))), values[code & 7]);
    EXPECT_EQ(std::signbit(decodeE2M1(uint8_t(code))), code >= 8);
    EXPECT_EQ(encodeE2M1(decodeE2M1(uint8_t(code))), code);
  }
  const float ties[][2] = {{.25f, 0}, {.75f, 1}, {1.25f, 1}, {1.75f, 2},
                           {2.5f, 2}, {3.5f, 4}, {5, 4}};
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(decodeE2M1(encodeE2M1(ties[i][0])), ties[i][1]);
    EXPECT_EQ(decodeE2M1(encodeE2M1(-ties[i][0])), -ties[i][1]);
    EXPECT_EQ(encodeE2M1(down(ties[i][0])), i);
    EXPECT_EQ(encodeE2M1(up(ties[i][0])), i + 1);
  }
  EXPECT_EQ(decodeE2M1(encodeE2M1(100.0f)), 6.0f);
  EXPECT_EQ(decodeE2M1(encodeE2M1(-INFINITY)), -6.0f);
}

TEST(E8M0, EveryCodeRoundTrips) {
  for (int code = 0; code < 255; ++code) {
    EXPECT_EQ(decodeE8M0(uint8_t(code)), std::ldexp(1.0f, code - 127));
    EXPECT_EQ(encodeE8M0(decodeE8M0(uint8_t(code))), code);
  }
  EXPECT_TRUE(std::isnan(decodeE8M0(255)));
}

TEST(BF16, EveryCodeRoundTripsAndTiesAreEven) {
  for (uint32_t code = 0; code < 0x10000; ++code) {
    float value = decodeBF16(uint16_t(code));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(decodeBF16(encodeBF16(value)))) << code;
      continue;
    }
    EXPECT_EQ(encodeBF16(value), code);
    if ((code & 0x7FFF) >= 0x7F80)
      continue; // infinity has no upper neighbour
    uint32_t tie = (code << 16) | 0x8000;
    EXPECT_EQ(encodeBF16(fromBits(tie)), code % 2 ? code + 1 : code);
    EXPECT_EQ(encodeBF16(fromBits(tie - 1)), code);
    EXPECT_EQ(encodeBF16(fromBits(tie + 1)), code + 1);
  }
}

TEST(Scale, IsTheSmallestSufficientPowerOfTwo) {
  std::mt19937 random(7);
  for (int i = 0; i < 200000; ++i) {
    // Any positive normal float in the range of activations.
    float amax = fromBits(0x20000000u + random() % 0x40000000u);
    float s8 = scaleForE4M3(amax), s4 = scaleForE2M1(amax);
    EXPECT_LE(amax, 448.0 * s8);
    EXPECT_GT(amax, 224.0 * s8);
    EXPECT_LE(amax, 6.0 * s4);
    EXPECT_GT(amax, 3.0 * s4);
    int e;
    EXPECT_EQ(std::frexp(s8, &e), 0.5f);
  }
  EXPECT_EQ(scaleForE4M3(448.0f), 1.0f);
  EXPECT_EQ(scaleForE4M3(up(448.0f)), 2.0f);
  EXPECT_EQ(scaleForE4M3(down(448.0f)), 1.0f);
  EXPECT_EQ(scaleForE2M1(6.0f), 1.0f);
  EXPECT_EQ(scaleForE2M1(up(6.0f)), 2.0f);
}

TEST(FakeQuantize, ZeroBlocksKeepTheClampedScale) {
  std::vector<float> zeros(64, 0.0f);
  EXPECT_EQ(blockScale(QuantFormat::E4M3, zeros.data(), 64), 0x1p-22f);
  EXPECT_EQ(blockScale(QuantFormat::E2M1, zeros.data(), 32), 0x1p-126f);
  fakeQuantizeRow(QuantFormat::E4M3, zeros.data(), 64, 64);
  for (float v : zeros)
    EXPECT_EQ(v, 0.0f);
}

TEST(FakeQuantize, TwiceIsOnceAndBF16HoldsTheGrid) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  for (auto [format, block] :
       {std::pair{QuantFormat::E4M3, 64}, std::pair{QuantFormat::E4M3, 128},
        std::pair{QuantFormat::E2M1, 32}})
    for (int trial = 0; trial < 200; ++trial) {
      float size = std::exp2(float(int(random() % 60)) - 30);
      std::vector<float> values(128);
      for (float &v : values)
        v = normal(random) * size;
      fakeQuantizeRow(format, values.data(), 128, block);
      std::vector<float> again = values;
      fakeQuantizeRow(format, again.data(), 128, block);
      EXPECT_EQ(values, again);
      for (float v : values)
        EXPECT_EQ(decodeBF16(encodeBF16(v)), v);
    }
}

TEST(FakeQuantize, ChannelsBeyondPassThrough) {
  std::vector<float> values(96);
  for (int i = 0; i < 96; ++i)
    values[i] = 1.0f + i * 0.001f;
  HostTensor x = HostTensor::fromFloats(DType::F32, {1, 96}, values);
  HostTensor y = fakeQuantize(x, QuantFormat::E4M3, 64, 64);
  EXPECT_NE(y.load(63), x.load(63));
  for (int i = 64; i < 96; ++i)
    EXPECT_EQ(y.load(i), x.load(i));
}

TEST(HostTensorTest, EmptyAndDescription) {
  HostTensor empty(DType::BF16, {0, 4});
  EXPECT_EQ(empty.numElements(), 0);
  EXPECT_TRUE(empty.floats().empty());
  EXPECT_EQ(describe(empty), "bf16[0x4]");
  EXPECT_EQ(HostTensor::fromInts({2}, {-1, 7}).ints(),
            (std::vector<int32_t>{-1, 7}));
}
