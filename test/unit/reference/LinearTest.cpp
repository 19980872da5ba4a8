// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Products in every weight format against a naive loop over decoded values.
#include "dialects/DSV4/Reference/Kernels/Linear.h"
#include "dialects/DSV4/Reference/Kernels/Codecs.h"
#include "dialects/DSV4/Reference/Kernels/Elementwise.h"
#include "dialects/DSV4/Reference/Kernels/MoE.h"
#include "dialects/DSV4/Reference/Kernels/Quantize.h"
#include "test/unit/reference/Random.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>

using namespace fathom::ref;

/// Element (row, column) of a stored weight, by the words of the spec.
static double element(const HostTensor &w, const HostTensor *s, int64_t row,
                      int64_t column) {
  if (w.dtype == DType::F8E4M3)
    return double(decodeE4M3(w.bytes[row * w.dim(1) + column])) *
           decodeE8M0(s->bytes[row / 128 * s->dim(1) + column / 128]);
  if (w.dtype == DType::I8) {
    uint8_t pair = w.bytes[row * w.dim(1) + column / 2];
    return double(decodeE2M1(column % 2 ? pair >> 4 : pair & 15)) *
           decodeE8M0(s->bytes[row * s->dim(1) + column / 32]);
  }
  return w.load(row * w.dim(1) + column);
}

static void checkLinear(const HostTensor &x, const HostTensor &w,
                        const HostTensor *s, DType result) {
  HostTensor y = linear(x, w, s, result);
  int64_t k = x.shape.back(), n = w.dim(0);
  ASSERT_EQ(y.shape.back(), n);
  for (int64_t t = 0; t < x.numElements() / k; ++t)
    for (int64_t r = 0; r < n; ++r) {
      double sum = 0, size = 0;
      for (int64_t i = 0; i < k; ++i) {
        double term = x.load(t * k + i) * element(w, s, r, i);
        sum += term;
        size += std::fabs(term);
      }
      double tolerance =
          size * 1e-12 + std::fabs(sum) * (result == DType::F32 ? 1e-7 : 4e-3);
      EXPECT_NEAR(y.load(t * n + r), sum, tolerance);
    }
}

TEST(Linear, EveryFormat) {
  Random random(1);
  HostTensor x = random.normal(DType::BF16, {3, 256});
  HostTensor w8 = random.codes(DType::F8E4M3, {130, 256}, 0, 0x7E);
  HostTensor s8 = random.codes(DType::F8E8M0, {2, 2}, 110, 125);
  checkLinear(x, w8, &s8, DType::F32);
  checkLinear(x, w8, &s8, DType::BF16);
  HostTensor w4 = random.codes(DType::I8, {5, 128}, 0, 255);
  HostTensor s4 = random.codes(DType::F8E8M0, {5, 8}, 110, 125);
  checkLinear(x, w4, &s4, DType::BF16);
  checkLinear(x, random.normal(DType::BF16, {7, 256}), nullptr, DType::F32);
  checkLinear(x, random.normal(DType::F32, {7, 256}), nullptr, DType::F32);
  // A K that no block divides, and a third dimension.
  HostTensor odd = random.normal(DType::F32, {2, 3, 37});
  HostTensor wOdd = random.codes(DType::F8E4M3, {5, 37}, 0, 0x7E);
  HostTensor sOdd = random.codes(DType::F8E8M0, {1, 1}, 120, 122);
  checkLinear(odd, wOdd, &sOdd, DType::F32);
  EXPECT_EQ(linear(odd, wOdd, &sOdd, DType::F32).shape,
            (std::vector<int64_t>{2, 3, 5}));
}

TEST(Linear, RowsDoNotDependOnTheBatch) {
  Random random(2);
  HostTensor x = random.normal(DType::F32, {9, 100});
  HostTensor w = random.normal(DType::F32, {11, 100});
  HostTensor all = linear(x, w, nullptr, DType::F32);
  for (int64_t t = 0; t < 9; ++t)
    EXPECT_TRUE(linear(slice(x, t, 1), w, nullptr, DType::F32) ==
                slice(all, t, 1));
}

TEST(Linear, NoTokens) {
  HostTensor x(DType::BF16, {0, 64}), w(DType::BF16, {8, 64});
  EXPECT_EQ(linear(x, w, nullptr, DType::BF16).shape,
            (std::vector<int64_t>{0, 8}));
  HostTensor heads(DType::BF16, {0, 4, 16});
  EXPECT_EQ(groupedLinear(heads, HostTensor(DType::BF16, {6, 32}), nullptr, 2,
                          DType::BF16)
                .shape,
            (std::vector<int64_t>{0, 6}));
}

TEST(GroupedLinear, IsOneLinearPerGroup) {
  Random random(3);
  const int64_t groups = 3, lora = 5, heads = 6, d = 8, k = heads / groups * d;
  HostTensor x = random.normal(DType::F32, {4, heads, d});
  HostTensor w = random.normal(DType::F32, {groups * lora, k});
  HostTensor y = groupedLinear(x, w, nullptr, groups, DType::F32);
  for (int64_t t = 0; t < 4; ++t)
    for (int64_t g = 0; g < groups; ++g) {
      HostTensor part(DType::F32, {1, k});
      for (int64_t i = 0; i < k; ++i)
        part.store(i, x.load(t * heads * d + g * k + i));
      HostTensor one =
          linear(part, slice(w, g * lora, lora), nullptr, DType::F32);
      for (int64_t r = 0; r < lora; ++r)
        EXPECT_EQ(y.load((t * groups + g) * lora + r), one.load(r));
    }
}

TEST(Route, TiesGoToTheLowerIdAndIdsAscend) {
  HostTensor scores = HostTensor::fromFloats(DType::F32, {2, 5},
                                             {1, 2, 2, 2, 1, 5, 1, 1, 1, 6});
  HostTensor bias(DType::F32, {5});
  Route route = routeTopK(scores, bias, 2, 2.5);
  EXPECT_EQ(route.ids.ints(), (std::vector<int32_t>{1, 2, 0, 4}));
  EXPECT_FLOAT_EQ(route.weights.load(0), 1.25f);
  EXPECT_FLOAT_EQ(route.weights.load(2), float(5.0 / 11 * 2.5));
  // The bias chooses, the score weighs.
  bias.store(3, 10);
  route = routeTopK(scores, bias, 2, 1.0);
  EXPECT_EQ(route.ids.ints(), (std::vector<int32_t>{1, 3, 3, 4}));
  EXPECT_FLOAT_EQ(route.weights.load(1), 0.5f);
}

TEST(Route, HashSortsTheTable) {
  HostTensor scores =
      HostTensor::fromFloats(DType::F32, {2, 4}, {1, 2, 3, 4, 1, 1, 1, 1});
  HostTensor table = HostTensor::fromInts({3, 2}, {0, 1, 3, 1, 2, 0});
  HostTensor ids = HostTensor::fromInts({2}, {1, 2});
  Route route = routeHash(scores, ids, table, 1.5);
  EXPECT_EQ(route.ids.ints(), (std::vector<int32_t>{1, 3, 0, 2}));
  EXPECT_FLOAT_EQ(route.weights.load(0), 0.5f);
  EXPECT_FLOAT_EQ(route.weights.load(1), 1.0f);
  HostTensor wide(DType::I64, {3, 2});
  for (int64_t i = 0; i < 6; ++i)
    wide.bytes[i * 8] = uint8_t(table.loadInt(i));
  EXPECT_TRUE(routeHash(scores, ids, wide, 1.5).ids == route.ids);
}

TEST(Gate, IsSqrtSoftplus) {
  HostTensor x = HostTensor::fromFloats(DType::F32, {3, 1}, {-30, 0.5f, 40});
  HostTensor w = HostTensor::fromFloats(DType::F32, {1, 1}, {1});
  HostTensor s = gate(x, w);
  EXPECT_NEAR(s.load(0), std::sqrt(std::exp(-30.0)), 1e-12);
  EXPECT_NEAR(s.load(1), std::sqrt(std::log1p(std::exp(0.5))), 1e-6);
  EXPECT_FLOAT_EQ(s.load(2), std::sqrt(40.0f));
}

namespace {
struct ExpertStack {
  HostTensor w1, w3, w2;
};
} // namespace

static HostTensor permuteExperts(const HostTensor &stack,
                                 const std::vector<int32_t> &order) {
  HostTensor result = stack;
  int64_t bytes = stack.rowElements() * elementBytes(stack.dtype);
  for (size_t e = 0; e < order.size(); ++e)
    std::copy_n(stack.bytes.begin() + order[e] * bytes, bytes,
                result.bytes.begin() + int64_t(e) * bytes);
  return result;
}

TEST(Experts, PermutationOfExpertsPermutesIdsOnly) {
  Random random(4);
  const int64_t count = 5, hidden = 12, width = 16, tokens = 7, k = 2;
  ExpertStack a{random.normal(DType::BF16, {count, hidden, width}, .3f),
                random.normal(DType::BF16, {count, hidden, width}, .3f),
                random.normal(DType::BF16, {count, width, hidden}, .3f)};
  HostTensor x = random.normal(DType::BF16, {tokens, width});
  HostTensor scores = gate(x, random.normal(DType::F32, {count, width}));
  Route route = routeTopK(scores, HostTensor(DType::F32, {count}), k, 1.0);
  HostTensor y = experts(x, route.ids, route.weights, {&a.w1, nullptr},
                         {&a.w3, nullptr}, {&a.w2, nullptr}, 10, 0);
  // New expert e is old expert order[e]: ids change, the sum of two does not.
  std::vector<int32_t> order{3, 0, 4, 2, 1}, inverse(count);
  for (int32_t e = 0; e < count; ++e)
    inverse[order[e]] = e;
  ExpertStack b{permuteExperts(a.w1, order), permuteExperts(a.w3, order),
                permuteExperts(a.w2, order)};
  std::vector<int32_t> ids = route.ids.ints();
  std::vector<float> weights = route.weights.floats();
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t j = 0; j < k; ++j)
      ids[t * k + j] = inverse[ids[t * k + j]];
    if (ids[t * k] > ids[t * k + 1]) {
      std::swap(ids[t * k], ids[t * k + 1]);
      std::swap(weights[t * k], weights[t * k + 1]);
    }
  }
  HostTensor z =
      experts(x, HostTensor::fromInts({tokens, k}, ids),
              HostTensor::fromFloats(DType::F32, {tokens, k}, weights),
              {&b.w1, nullptr}, {&b.w3, nullptr}, {&b.w2, nullptr}, 10, 0);
  EXPECT_TRUE(y == z);
}

TEST(Experts, OneExpertIsItsChainOfOperations) {
  Random random(5);
  const int64_t hidden = 128, width = 128, tokens = 3;
  HostTensor w1 = random.codes(DType::F8E4M3, {2, hidden, width}, 0, 0x50);
  HostTensor w3 = random.codes(DType::F8E4M3, {2, hidden, width}, 0x80, 0xD0);
  HostTensor w2 = random.codes(DType::I8, {2, width, hidden / 2}, 0, 255);
  HostTensor s1 = random.codes(DType::F8E8M0, {2, 1, 1}, 118, 120);
  HostTensor s2 =
      random.codes(DType::F8E8M0, {2, width, hidden / 32}, 118, 120);
  HostTensor x = random.normal(DType::BF16, {tokens, width});
  HostTensor ids = HostTensor::fromInts({tokens, 1}, {1, 1, 1});
  HostTensor ones = HostTensor::fromFloats(DType::F32, {tokens, 1}, {1, 1, 1});
  HostTensor y =
      experts(x, ids, ones, {&w1, &s1}, {&w3, &s1}, {&w2, &s2}, 10, 128);
  auto second = [](HostTensor stack) {
    HostTensor part = slice(stack, 1, 1);
    part.shape.erase(part.shape.begin());
    return part;
  };
  HostTensor m1 = second(w1), m3 = second(w3), m2 = second(w2), t1 = second(s1),
             t2 = second(s2);
  HostTensor a = swiglu(linear(x, m1, &t1, DType::BF16),
                        linear(x, m3, &t1, DType::BF16), 10, DType::BF16);
  a = fakeQuantize(a, QuantFormat::E4M3, 128, hidden);
  HostTensor z = linear(a, m2, &t2, DType::BF16);
  EXPECT_EQ(y.dtype, DType::F32);
  EXPECT_EQ(y.floats(), z.floats());
  HostTensor sum = moeCombine(y, z, DType::BF16);
  EXPECT_FLOAT_EQ(sum.load(5), roundTo(DType::BF16, 2 * z.load(5)));
}

TEST(SwiGLU, Clamps) {
  HostTensor g = HostTensor::fromFloats(DType::F32, {4}, {20, -50, 1, 0});
  HostTensor u = HostTensor::fromFloats(DType::F32, {4}, {-20, 3, 30, 1});
  HostTensor y = swiglu(g, u, 10, DType::F32);
  EXPECT_FLOAT_EQ(y.load(0), float(-100 / (1 + std::exp(-10.0))));
  EXPECT_NEAR(y.load(1), 0, 1e-18); // g has no lower clamp
  EXPECT_FLOAT_EQ(y.load(2), float(10 / (1 + std::exp(-1.0))));
  EXPECT_EQ(y.load(3), 0);
}
