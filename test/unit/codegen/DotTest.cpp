// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// tile.dot and tile.dot_scaled: the sums in the promised order, the same for
// every tile size.
#include "dialects/DSV4/Reference/Kernels/Codecs.h"
#include "test/unit/codegen/CompiledKernels.h"

#include <chrono>
#include <cmath>
#include <cstdio>

using namespace fathom::test;
using namespace fathom;

static std::string size(int64_t n) { return std::to_string(n); }

static float laneSum(const float *x, const float *y, int k) {
  float lanes[16] = {};
  int n = std::min(k, 16);
  for (int i = 0; i < k; ++i)
    lanes[i % n] = std::fma(x[i], y[i], lanes[i % n]);
  for (n /= 2; n; n /= 2)
    for (int i = 0; i < n; ++i)
      lanes[i] += lanes[i + n];
  return lanes[0];
}

static const char *dotText = R"(
    tile.kernel @dot(%a: memref<$Ax$Bx$T>, %b: memref<$Cx$Dx$T>, %c: memref<$Mx$Nxf32>, %o: memref<$Mx$Nxf32>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero, %zero] : memref<$Ax$Bx$T> -> tensor<$Ax$Bx$T>
      %y = tile.load %b[%zero, %zero] : memref<$Cx$Dx$T> -> tensor<$Cx$Dx$T>
      %z = tile.load %c[%zero, %zero] : memref<$Mx$Nxf32> -> tensor<$Mx$Nxf32>
      %r = tile.dot <$FORM> %x, %y, %z : tensor<$Ax$Bx$T>, tensor<$Cx$Dx$T>, tensor<$Mx$Nxf32>
      tile.store %r, %o[%zero, %zero] : tensor<$Mx$Nxf32>, memref<$Mx$Nxf32>
      tile.return
    })";

static void checkDot(const std::string &form, int m, int n, int k, bool bf16) {
  bool nt = form == "nt", tn = form == "tn";
  int a = tn ? k : m, b = tn ? m : k, c = nt ? n : k, d = nt ? k : n;
  auto kernels =
      CompiledKernels::compile(fill(dotText, {{"FORM", form},
                                              {"A", size(a)},
                                              {"B", size(b)},
                                              {"C", size(c)},
                                              {"D", size(d)},
                                              {"M", size(m)},
                                              {"N", size(n)},
                                              {"T", bf16 ? "bf16" : "f32"}}));
  ASSERT_TRUE(kernels);
  auto x = random<float>(a * b, 1), y = random<float>(c * d, 2),
       z = random<float>(m * n, 3);
  std::vector<uint16_t> xh, yh;
  for (auto [from, to] : {std::pair{&x, &xh}, std::pair{&y, &yh}})
    for (float &v : *from) {
      to->push_back(ref::encodeBF16(v));
      if (bf16)
        v = ref::decodeBF16(to->back());
    }
  std::vector<float> o(m * n);
  kernels->run("dot", {bf16 ? static_cast<void *>(xh.data()) : x.data(),
                       bf16 ? static_cast<void *>(yh.data()) : y.data(),
                       z.data(), o.data()});
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      float expected = z[i * n + j];
      if (nt)
        expected += laneSum(&x[i * k], &y[j * k], k);
      else
        for (int l = 0; l < k; ++l)
          expected = std::fma(tn ? x[l * m + i] : x[i * k + l], y[l * n + j],
                              expected);
      ASSERT_EQ(bitsOf(o[i * n + j]), bitsOf(expected))
          << form << " " << m << "x" << n << "x" << k << " at " << i << ","
          << j;
    }
}

TEST(CpuDot, OrderOfSumsForEverySize) {
  for (const char *form : {"nt", "nn", "tn"})
    for (auto [m, n, k] : {std::array{1, 1, 16},
                           {2, 4, 64},
                           {4, 1, 128},
                           {16, 1, 8},
                           {1, 16, 32},
                           {8, 32, 4},
                           {64, 2, 64},
                           {16, 64, 256},
                           {16, 4, 1},
                           {32, 8, 2}})
      checkDot(form, m, n, k, k == 64 || k == 256);
}

static const char *scaledText = R"(
    tile.kernel @dot(%w: memref<$Mx$B$W>, %s: memref<$Rx$Cxf8E8M0FNU>, %x: memref<$Nx$Kx$T>, %o: memref<$Mx$Nxf32>) {
      %zero = arith.constant 0 : index
      %a = tile.load %w[%zero, %zero] : memref<$Mx$B$W> -> tensor<$Mx$B$W>
      %b = tile.load %s[%zero, %zero] : memref<$Rx$Cxf8E8M0FNU> -> tensor<$Rx$Cxf8E8M0FNU>
      %c = tile.load %x[%zero, %zero] : memref<$Nx$Kx$T> -> tensor<$Nx$Kx$T>
      %z = arith.constant dense<0.0> : tensor<$Mx$Nxf32>
      %r = tile.dot_scaled %a, %b, %c, %z : tensor<$Mx$B$W>, tensor<$Rx$Cxf8E8M0FNU>, tensor<$Nx$Kx$T>, tensor<$Mx$Nxf32>
      tile.store %r, %o[%zero, %zero] : tensor<$Mx$Nxf32>, memref<$Mx$Nxf32>
      tile.return
    })";

static std::string scaled(bool fp4, int m, int n, int k, int rows, int columns,
                          bool bf16) {
  return fill(scaledText, {{"M", size(m)},
                           {"N", size(n)},
                           {"K", size(k)},
                           {"R", size(rows)},
                           {"C", size(columns)},
                           {"B", size(fp4 ? k / 2 : k) + "x"},
                           {"W", fp4 ? "i8" : "f8E4M3FN"},
                           {"T", bf16 ? "bf16" : "f32"}});
}

static std::vector<uint8_t> weightBytes(size_t count) {
  auto bytes = randomBytes(count, 5);
  for (uint8_t &byte : bytes)
    if ((byte & 0x7F) == 0x7F) // no NaN
      byte ^= 1;
  return bytes;
}

static void checkScaled(bool fp4, int m, int n, int k, int rows, int columns,
                        bool bf16) {
  auto kernels =
      CompiledKernels::compile(scaled(fp4, m, n, k, rows, columns, bf16));
  ASSERT_TRUE(kernels);
  auto w = weightBytes(m * k), s = randomBytes(rows * columns, 6);
  for (uint8_t &byte : s)
    byte = 100 + byte % 50;
  auto x = random<float>(n * k, 7);
  std::vector<uint16_t> half;
  for (float &v : x) {
    half.push_back(ref::encodeBF16(v));
    if (bf16)
      v = ref::decodeBF16(half.back());
  }
  std::vector<float> o(m * n), row(k);
  kernels->run("dot",
               {w.data(), s.data(),
                bf16 ? static_cast<void *>(half.data()) : x.data(), o.data()});
  for (int i = 0; i < m; ++i) {
    for (int l = 0; l < k; ++l) {
      float value = fp4 ? ref::decodeE2M1(l % 2 ? w[(i * k + l) / 2] >> 4
                                                : w[(i * k + l) / 2] & 15)
                        : ref::decodeE4M3(w[i * k + l]);
      row[l] = value *
               ref::decodeE8M0(s[i / (m / rows) * columns + l / (k / columns)]);
    }
    for (int j = 0; j < n; ++j)
      ASSERT_EQ(bitsOf(o[i * n + j]),
                bitsOf(0.0f + laneSum(row.data(), &x[j * k], k)))
          << fp4 << " " << m << "x" << n << "x" << k << " at " << i << "," << j;
  }
}

TEST(CpuDot, ScaledIsDecodeThenDot) {
  for (int n : {1, 2, 4, 8, 16}) {
    checkScaled(false, 16, n, 256, 1, 2, true);
    checkScaled(true, 16, n, 256, 16, 8, n != 4);
  }
  checkScaled(false, 4, 2, 128, 2, 1, false);
  checkScaled(true, 2, 1, 32, 2, 1, true);
  checkScaled(true, 1, 8, 64, 1, 2, true);
}

TEST(CpuDot, NaNWeightShows) {
  for (int n : {1, 16}) {
    auto kernels = CompiledKernels::compile(scaled(false, 4, n, 128, 1, 1, false));
    ASSERT_TRUE(kernels);
    for (uint8_t code : {0x7F, 0xFF}) {
      std::vector<uint8_t> w(4 * 128, 0x38), s{127}; // ones
      w[2 * 128 + 77] = code;
      std::vector<float> x(n * 128, 1.0f), o(4 * n);
      kernels->run("dot", {w.data(), s.data(), x.data(), o.data()});
      for (int i = 0; i < 4 * n; ++i)
        if (i / n == 2)
          EXPECT_TRUE(std::isnan(o[i])) << i;
        else
          EXPECT_EQ(o[i], 128.0f) << i;
    }
  }
}

TEST(CpuDot, CompilesForTheWiderLevel) {
  EXPECT_EQ(refusal(scaled(true, 16, 4, 256, 16, 8, true), "x86-64-v4"), "");
  EXPECT_EQ(refusal(scaled(false, 16, 16, 256, 1, 2, true), "x86-64-v4"), "");
  EXPECT_NE(refusal(scaled(false, 16, 16, 256, 1, 2, true), "i386")
                .find("unknown instruction-set"),
            std::string::npos);
}

/// Not a test of speed: prints what the kernels reach, for those who look.
TEST(CpuDot, Throughput) {
  for (bool fp4 : {false, true})
    for (int n : {1, 16}) {
      int m = 32, k = 1024;
      auto kernels = CompiledKernels::compile(
          scaled(fp4, m, n, k, fp4 ? m : 1, fp4 ? k / 32 : k / 128, true));
      ASSERT_TRUE(kernels);
      auto w = weightBytes(m * k), s = randomBytes(m * k / 32, 6);
      std::vector<uint16_t> x(n * k);
      std::vector<float> o(m * n);
      double best = 1e9;
      for (int i = 0; i < 200; ++i) {
        auto start = std::chrono::steady_clock::now();
        kernels->run("dot", {w.data(), s.data(), x.data(), o.data()});
        best = std::min(best, std::chrono::duration<double>(
                                  std::chrono::steady_clock::now() - start)
                                  .count());
      }
      std::printf("%s N=%d: %.1f us, %.1f GB/s of weights, %.1f GFLOP/s, "
                  "compiled in %.0f ms\n",
                  fp4 ? "FP4" : "FP8", n, best * 1e6,
                  m * k / (fp4 ? 2.0 : 1.0) / best / 1e9,
                  2.0 * m * n * k / best / 1e9, kernels->seconds * 1e3);
    }
}
