// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// tile.dot and tile.dot_scaled: the sums in the promised order, the same for
// every tile size.
#include "dialects/DSV4/Reference/Kernels/Codecs.h"
#include "test/unit/codegen/CompiledKernels.h"

#include "codegen/CPU/CPUBackend.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>

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

namespace {
enum class Weights { BF16, FP8, FP4 };

/// The promised sums of a level, written down once more: which pairs of k meet
/// in which order, by plain fused multiply-adds.
struct Order {
  std::string level;
  Weights kind;
  int k;

  /// k of pair p of the v-th vector of 32, first and second.
  std::pair<int, int> pair(int v, int p) const {
    if (kind == Weights::FP4) {
      int first = v / 4 * 128 + 8 * p + v % 4;
      return {first, first + 4};
    }
    int first = v * 32 + 2 * p;
    if (kind == Weights::FP8)
      first = v / 2 * 64 + 2 * (8 * (p / 4) + 4 * (v % 2) + p % 4);
    return {first, first + 1};
  }

  float onTiles(const float *w, const float *x, float acc) const {
    for (int v = 0; v < k / 32; ++v) {
      float even = 0, odd = 0;
      for (int p = 0; p < 16; ++p) {
        auto [a, b] = pair(v, p);
        even = std::fma(w[a], x[a], even);
        odd = std::fma(w[b], x[b], odd);
      }
      acc += even + odd;
    }
    return acc;
  }

  float inPairs(const float *w, const float *x, float acc) const {
    float lanes[16] = {};
    for (int v = 0; v < k / 32; ++v)
      for (int p = 0; p < 16; ++p) {
        auto [a, b] = pair(v, p);
        lanes[p] = std::fma(w[a], x[a], std::fma(w[b], x[b], lanes[p]));
      }
    for (int n = 8; n; n /= 2)
      for (int i = 0; i < n; ++i)
        lanes[i] += lanes[i + n];
    return acc + lanes[0];
  }
};

class CpuLevel : public testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    if (!hasLevel(GetParam()))
      std::printf("this CPU has no %s: plain arithmetic stands in for its "
                  "instructions\n",
                  GetParam().c_str());
  }
};

std::string nameOf(const testing::TestParamInfo<std::string> &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Levels, CpuLevel, testing::ValuesIn(cpu::levelNames()),
                         nameOf);
} // namespace

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

static std::string plainDot(const std::string &form, int m, int n, int k,
                            bool bf16) {
  bool nt = form == "nt", tn = form == "tn";
  return fill(dotText, {{"FORM", form},
                        {"A", size(tn ? k : m)},
                        {"B", size(tn ? m : k)},
                        {"C", size(nt ? n : k)},
                        {"D", size(nt ? k : n)},
                        {"M", size(m)},
                        {"N", size(n)},
                        {"T", bf16 ? "bf16" : "f32"}});
}

static void checkDot(const std::string &level, const std::string &form, int m,
                     int n, int k, bool bf16) {
  bool nt = form == "nt", tn = form == "tn";
  auto kernels = CompiledKernels::compile(plainDot(form, m, n, k, bf16), level);
  ASSERT_TRUE(kernels);
  bool words = nt && bf16 && k % 32 == 0;
  bool columns = tn && bf16 && n % 16 == 0 && k % 32 == 0;
  Order order{level, Weights::BF16, k};
  auto x = random<float>(m * k, 1), y = random<float>(k * n, 2),
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
      if (words && level == "x86-64-v4-amx")
        expected = order.onTiles(&x[i * k], &y[j * k], expected);
      else if (words && level == "x86-64-v4-bf16")
        expected = order.inPairs(&x[i * k], &y[j * k], expected);
      else if (nt)
        expected += laneSum(&x[i * k], &y[j * k], k);
      else if (columns && level == "x86-64-v4-amx") {
        std::vector<float> left(k), right(k);
        for (int l = 0; l < k; ++l) {
          left[l] = x[l * m + i];
          right[l] = y[l * n + j];
        }
        expected = order.onTiles(left.data(), right.data(), expected);
      } else
        for (int l = 0; l < k; ++l)
          expected = std::fma(tn ? x[l * m + i] : x[i * k + l], y[l * n + j],
                              expected);
      ASSERT_EQ(bitsOf(o[i * n + j]), bitsOf(expected))
          << form << " " << m << "x" << n << "x" << k << " at " << i << ","
          << j;
    }
}

TEST_P(CpuLevel, OrderOfSumsForEverySize) {
  for (const char *form : {"nt", "nn", "tn"})
    for (auto [m, n, k] :
         {std::array{1, 1, 16}, {2, 4, 64},    {4, 1, 128}, {16, 1, 8},
          {1, 16, 32},          {8, 32, 4},    {64, 2, 64}, {16, 64, 256},
          {16, 4, 1},           {32, 1, 512},  {64, 4, 64}, {32, 64, 64},
          {16, 128, 256},       {8, 64, 64},   {1, 16, 64}, {64, 32, 64},
          {64, 8, 512},         {16, 8, 2048}, {8, 16, 64}, {32, 8, 2}})
      checkDot(GetParam(), form, m, n, k, k >= 64 && k != 128);
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

static CompiledKernels *compiledOnce(const std::string &text,
                                     const std::string &level) {
  static std::map<std::string, std::unique_ptr<CompiledKernels>> all;
  auto [entry, isNew] = all.try_emplace(level + text);
  if (isNew)
    entry->second = CompiledKernels::compile(text, level);
  EXPECT_TRUE(entry->second);
  return entry->second.get();
}

namespace {
/// Operands of a scaled dot, and its result by the promised order.
struct ScaledCase {
  std::string level;
  bool fp4;
  int m, n, k, rows, columns;
  bool bf16;
  std::vector<uint8_t> w = weightBytes(m * k),
                       s = randomBytes(rows * columns, 6);
  std::vector<float> x = random<float>(n * k, 7);

  bool narrow() const {
    return bf16 && m % 16 == 0 && k % (fp4 ? 128 : 64) == 0 &&
           rows == (fp4 ? m : 1) && columns == (fp4 ? k / 32 : (k + 127) / 128);
  }
  float scale(int i, int l) const {
    return ref::decodeE8M0(s[i / (m / rows) * columns + l / (k / columns)]);
  }
  float weight(int i, int l) const {
    return fp4 ? ref::decodeE2M1(l % 2 ? w[(i * k + l) / 2] >> 4
                                       : w[(i * k + l) / 2] & 15)
               : ref::decodeE4M3(w[i * k + l]);
  }
  bool moderate() const {
    for (uint8_t code : s)
      if (code < (fp4 ? 2 : 10) || code > (fp4 ? 252 : 246))
        return false;
    return true;
  }

  float expected(int i, int j) const {
    Order order{level, fp4 ? Weights::FP4 : Weights::FP8, k};
    std::vector<float> scaled(k);
    for (int l = 0; l < k; ++l)
      scaled[l] = weight(i, l) * scale(i, l);
    const float *token = &x[j * k];
    if (narrow() && moderate()) {
      if (level == "x86-64-v4-amx")
        return order.onTiles(scaled.data(), token, 0);
      if (level == "x86-64-v4-bf16")
        return order.inPairs(scaled.data(), token, 0);
    }
    return 0.0f + laneSum(scaled.data(), token, k);
  }

  std::vector<float> run() {
    std::vector<float> o(m * n);
    CompiledKernels *kernels =
        compiledOnce(scaled(fp4, m, n, k, rows, columns, bf16), level);
    if (!kernels)
      return o;
    std::vector<uint16_t> half;
    for (float &v : x) {
      half.push_back(ref::encodeBF16(v));
      if (bf16)
        v = ref::decodeBF16(half.back());
    }
    kernels->run("dot", {w.data(), s.data(),
                         bf16 ? static_cast<void *>(half.data()) : x.data(),
                         o.data()});
    return o;
  }

  void check() {
    std::vector<float> o = run();
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j)
        ASSERT_TRUE(same(o[i * n + j], expected(i, j)))
            << level << " " << fp4 << " " << m << "x" << n << "x" << k << " at "
            << i << "," << j << ": " << o[i * n + j] << " and not "
            << expected(i, j);
  }
};
} // namespace

static void checkScaled(const std::string &level, bool fp4, int m, int n, int k,
                        int rows, int columns, bool bf16) {
  ScaledCase test{level, fp4, m, n, k, rows, columns, bf16};
  for (uint8_t &byte : test.s)
    byte = 100 + byte % 50;
  test.check();
}

TEST_P(CpuLevel, ScaledIsDecodeThenDot) {
  const std::string &level = GetParam();
  for (int n : {1, 2, 4, 8, 16, 32, 64}) {
    checkScaled(level, false, 16, n, 256, 1, 2, true);
    checkScaled(level, true, 16, n, 256, 16, 8, n != 2);
    checkScaled(level, false, 32, n, 64, 1, 1, true);
    checkScaled(level, true, 64, n, 512, 64, 16, true);
  }
  // Rows so long that several tokens are multiplied part by part.
  for (int n : {1, 2, 4, 8}) {
    checkScaled(level, false, 16, n, 2048, 1, 16, true);
    checkScaled(level, true, 16, n, 2048, 16, 64, true);
  }
  checkScaled(level, false, 4, 2, 128, 2, 1, false);
  checkScaled(level, true, 2, 1, 32, 2, 1, true);
  checkScaled(level, true, 1, 8, 64, 1, 2, true);
}

/// Products of scales with tokens that leave the numbers of f32, or lose bits
/// in its subnormal ones, where those with weights do not.
TEST_P(CpuLevel, ScaledTokensAtTheEdges) {
  for (auto [scale, exponent] : {std::pair{240, 10},
                                 {240, -10},
                                 {7, -20},
                                 {7, -35},
                                 {7, -60},
                                 {127, 120}})
    for (int n : {1, 8, 16})
      for (bool fp4 : {false, true}) {
        if (fp4 && scale < 10)
          continue; // products of bf16 know no subnormal numbers
        ScaledCase test{GetParam(),   fp4,          16,          n,
                        256,          fp4 ? 16 : 1, fp4 ? 8 : 2,
                        /*bf16=*/true};
        for (uint8_t &byte : test.s)
          byte = uint8_t(scale);
        for (float &v : test.x)
          v = std::ldexp(v, exponent);
        for (uint8_t &byte : test.w) // small weights, that sums are finite
          byte &= fp4 ? 0x99 : 0x9F;
        test.check();
      }
}

static const char *const codedText = R"(
    tile.kernel @dot(%w: memref<$Mx$B$W>, %s: memref<$Rx$Cxf8E8M0FNU>, %x: memref<$Nx$Kxf8E4M3FN>, %t: memref<$Nx$Xxf8E8M0FNU>, %o: memref<$Mx$Nxf32>) {
      %zero = arith.constant 0 : index
      %a = tile.load %w[%zero, %zero] : memref<$Mx$B$W> -> tensor<$Mx$B$W>
      %b = tile.load %s[%zero, %zero] : memref<$Rx$Cxf8E8M0FNU> -> tensor<$Rx$Cxf8E8M0FNU>
      %c = tile.load %x[%zero, %zero] : memref<$Nx$Kxf8E4M3FN> -> tensor<$Nx$Kxf8E4M3FN>
      %d = tile.load %t[%zero, %zero] : memref<$Nx$Xxf8E8M0FNU> -> tensor<$Nx$Xxf8E8M0FNU>
      %z = arith.constant dense<0.0> : tensor<$Mx$Nxf32>
      %r = tile.dot_scaled %a, %b, %c scaled %d, %z : tensor<$Mx$B$W>, tensor<$Rx$Cxf8E8M0FNU>, tensor<$Nx$Kxf8E4M3FN> scaled tensor<$Nx$Xxf8E8M0FNU>, tensor<$Mx$Nxf32>
      tile.store %r, %o[%zero, %zero] : tensor<$Mx$Nxf32>, memref<$Mx$Nxf32>
      tile.return
    })";

/// Activations as codes: the bits that their bf16 values give.
static void checkCoded(const std::string &level, bool fp4, int m, int n, int k,
                       int blocks) {
  int rows = fp4 ? m : 1, columns = fp4 ? k / 32 : (k + 127) / 128;
  ScaledCase values{level, fp4, m, n, k, rows, columns, /*bf16=*/true};
  for (uint8_t &byte : values.s)
    byte = 100 + byte % 50;
  std::vector<uint8_t> codes = weightBytes(n * k),
                       scales = randomBytes(n * blocks, 8);
  for (uint8_t &byte : scales)
    byte = 110 + byte % 20;
  for (int i = 0; i < n * k; ++i)
    values.x[i] =
        ref::decodeE4M3(codes[i]) * ref::decodeE8M0(scales[i / (k / blocks)]);
  std::vector<float> expected = values.run(), o(m * n);
  auto kernels = CompiledKernels::compile(
      fill(codedText, {{"M", size(m)},
                       {"N", size(n)},
                       {"K", size(k)},
                       {"R", size(rows)},
                       {"C", size(columns)},
                       {"X", size(blocks)},
                       {"B", size(fp4 ? k / 2 : k) + "x"},
                       {"W", fp4 ? "i8" : "f8E4M3FN"}}),
      level);
  ASSERT_TRUE(kernels);
  kernels->run("dot", {values.w.data(), values.s.data(), codes.data(),
                       scales.data(), o.data()});
  for (int i = 0; i < m * n; ++i)
    ASSERT_TRUE(same(o[i], expected[i]))
        << level << " " << fp4 << " " << m << "x" << n << "x" << k << " at "
        << i << ": " << o[i] << " and not " << expected[i];
}

TEST_P(CpuLevel, CodedActivationsAreTheirValues) {
  for (int n : {1, 16})
    for (bool fp4 : {false, true}) {
      checkCoded(GetParam(), fp4, 32, n, 256, 2);
      checkCoded(GetParam(), fp4, 16, n, 128, 1);
    }
}

/// The text of a dot whose kernel has more arguments, which the dot takes.
static std::string withOperands(std::string text, const std::string &arguments,
                                const std::string &operands) {
  auto replace = [&](const std::string &from, const std::string &to) {
    size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, from.size(), to);
  };
  replace("f32>) {", "f32>, " + arguments + ") {");
  replace(", %z :", ", %z " + operands + " :");
  return text;
}

static std::vector<uint16_t> asBF16(const std::vector<float> &values) {
  std::vector<uint16_t> all;
  for (float v : values)
    all.push_back(ref::encodeBF16(v));
  return all;
}

/// Columns that are not asked for are not made, whatever their tokens are, and
/// those that are have the bits that they have in a full tile.
static void checkColumns(const std::string &level, const std::string &format,
                         int n, int k = 256) {
  constexpr int m = 32;
  bool fp4 = format == "fp4", plain = format == "bf16";
  std::string text = plain ? plainDot("nt", m, n, k, /*bf16=*/true)
                           : scaled(fp4, m, n, k, fp4 ? m : 1,
                                    fp4 ? k / 32 : k / 128, /*bf16=*/true);
  text = withOperands(text, "%count: index", "columns %count");
  auto kernels = CompiledKernels::compile(text, level);
  ASSERT_TRUE(kernels);
  auto scales = randomBytes(m * k / 32, 6), codes = weightBytes(m * k);
  for (uint8_t &byte : scales)
    byte = 110 + byte % 20;
  std::vector<uint16_t> w = asBF16(random<float>(m * k, 3)),
                        tokens = asBF16(random<float>(n * k, 4));
  std::vector<float> zeros(m * n);
  auto run = [&](const std::vector<uint16_t> &x, uint64_t count) {
    std::vector<float> o(m * n);
    auto word = [](const auto &v) {
      return reinterpret_cast<uint64_t>(v.data());
    };
    kernels->runWords("dot", {plain ? word(w) : word(codes),
                              plain ? word(x) : word(scales),
                              plain ? word(zeros) : word(x), word(o), count});
    return o;
  };
  std::vector<float> full = run(tokens, n);
  std::vector<int> counts{0, 1, 3, 8, 13, n / 2, n - 1};
  if (n <= 8) {
    counts.resize(size_t(n));
    std::iota(counts.begin(), counts.end(), 0);
  }
  for (int count : counts) {
    std::vector<uint16_t> x = tokens;
    std::fill(x.begin() + count * k, x.end(), uint16_t(0x7FC0)); // NaN
    std::vector<float> some = run(x, count);
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        if (j < count)
          ASSERT_EQ(bitsOf(some[i * n + j]), bitsOf(full[i * n + j]))
              << format << " " << count << " of " << n << " at " << i << ","
              << j;
        else if (j >= std::max(32, (count + 31) / 32 * 32)) // of no block
          ASSERT_EQ(some[i * n + j], 0.0f) << format << " " << count << " of "
                                           << n << " at " << i << "," << j;
      }
  }
}

TEST_P(CpuLevel, ColumnsNotAskedFor) {
  for (const char *format : {"bf16", "fp8", "fp4"})
    for (int n : {2, 4, 8, 16, 64})
      checkColumns(GetParam(), format, n);
  for (const char *format : {"fp8", "fp4"})
    checkColumns(GetParam(), format, 8, 2048); // in parts of the row
}

/// Rows of lhs that do not matter change nothing, and are left out of sums
/// except on AMX; those that do give the bits that they give among all.
static void checkRows(const std::string &level, const std::string &form,
                      bool bf16) {
  constexpr int rows = 32, heads = 16, width = 64;
  const bool tn = form == "tn";
  const int m = tn ? heads : rows, n = tn ? width : heads,
            k = tn ? rows : width, wide = tn ? heads : width;
  std::string text = plainDot(form, m, n, k, bf16);
  text = withOperands(text, "%from: index, %to: index", "rows %from to %to");
  auto kernels = CompiledKernels::compile(text, level);
  ASSERT_TRUE(kernels);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  auto x = random<float>(m * k, 1), y = random<float>(k * n, 2);
  std::vector<float> zeros(m * n);
  auto run = [&](const std::vector<float> &x, const std::vector<float> &y,
                 uint64_t from, uint64_t to) {
    std::vector<uint16_t> xh = asBF16(x), yh = asBF16(y);
    std::vector<float> o(m * n);
    auto word = [](const void *v) { return reinterpret_cast<uint64_t>(v); };
    kernels->runWords(
        "dot", {word(bf16 ? static_cast<const void *>(xh.data()) : x.data()),
                word(bf16 ? static_cast<const void *>(yh.data()) : y.data()),
                word(zeros.data()), word(o.data()), from, to});
    return o;
  };
  for (auto [from, to] : {std::array{0, rows},
                          {0, 1},
                          {31, 32},
                          {3, 20},
                          {8, 8},
                          {-5, 40},
                          {0, 17}}) {
    std::vector<float> left = x, right = y, zeroed = x;
    for (int row = 0; row < rows; ++row) {
      if (row >= from && row < to)
        continue;
      std::fill_n(zeroed.begin() + row * wide, wide, 0.0f);
      if (tn && level != "x86-64-v4-amx")
        std::fill_n(right.begin() + row * n, n, nan);
      std::fill_n(left.begin() + row * wide, wide, tn ? 0.0f : nan);
    }
    std::vector<float> some = run(left, right, uint64_t(from), uint64_t(to)),
                       all = run(zeroed, y, 0, rows);
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j)
        if (tn || (i >= from && i < to))
          ASSERT_EQ(bitsOf(some[i * n + j]), bitsOf(all[i * n + j]))
              << form << " " << from << " to " << to << " at " << i << "," << j;
  }
}

TEST_P(CpuLevel, RowsThatMatter) {
  for (const char *form : {"nt", "nn", "tn"})
    for (bool bf16 : {false, true})
      checkRows(GetParam(), form, bf16);
}

/// Tokens from before a loop are packed there, where nobody knows yet how many
/// columns a turn asks for.
TEST_P(CpuLevel, ColumnsOfATurn) {
  for (const char *type : {"f32", "bf16"}) {
    constexpr int m = 8, n = 16, k = 64, turns = 4;
    auto kernels = CompiledKernels::compile(fill(R"(
    tile.kernel @dot(%w: memref<?x64x$T>, %x: memref<16x64x$T>, %o: memref<?x16xf32>) {
      %zero = arith.constant 0 : index
      %two = arith.constant 2 : index
      %eight = arith.constant 8 : index
      %end = arith.constant 32 : index
      %x0 = tile.load %x[%zero, %zero] : memref<16x64x$T> -> tensor<16x64x$T>
      %z = arith.constant dense<0.0> : tensor<8x16xf32>
      scf.for %i = %zero to %end step %eight {
        %count = arith.addi %i, %two : index
        %w0 = tile.load %w[%i, %zero] : memref<?x64x$T> -> tensor<8x64x$T>
        %d = tile.dot <nt> %w0, %x0, %z columns %count : tensor<8x64x$T>, tensor<16x64x$T>, tensor<8x16xf32>
        tile.store %d, %o[%i, %zero] : tensor<8x16xf32>, memref<?x16xf32>
      }
      tile.return
    })",
                                                 {{"T", type}}),
                                            GetParam());
    ASSERT_TRUE(kernels);
    std::vector<float> w(turns * m * k), x(n * k), o(turns * m * n);
    for (size_t i = 0; i < w.size(); ++i)
      w[i] = float(i * 5 % 7) - 3;
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = float(i * 3 % 11) - 5;
    std::vector<uint16_t> narrowW = asBF16(w), narrowX = asBF16(x);
    if (type == std::string("f32"))
      kernels->run("dot", {w.data(), x.data(), o.data()});
    else
      kernels->run("dot", {narrowW.data(), narrowX.data(), o.data()});
    for (int i = 0; i < turns * m; ++i)
      for (int j = 0; j < std::min(n, i / m * m + 2); ++j) {
        float sum = 0;
        for (int at = 0; at < k; ++at)
          sum += w[i * k + at] * x[j * k + at];
        ASSERT_EQ(o[i * n + j], sum) << type << " " << i << "," << j;
      }
  }
}

/// Every scale, the extremes included, times every code: one weight a row.
TEST_P(CpuLevel, AllCodesTimesAllScales) {
  for (bool fp4 : {true, false}) {
    int m = 16, k = 128;
    auto kernels = CompiledKernels::compile(
        scaled(fp4, m, 1, k, fp4 ? m : 1, fp4 ? k / 32 : 1, true), GetParam());
    ASSERT_TRUE(kernels);
    for (int scale = 0; scale < 256; ++scale)
      for (int first = 0; first < (fp4 ? 16 : 256); first += 16) {
        std::vector<uint8_t> w(m * k / (fp4 ? 2 : 1));
        std::vector<uint8_t> s(fp4 ? m * 4 : 1, uint8_t(scale));
        for (int i = 0; i < m; ++i) {
          int at = (37 * i + scale) % k;
          if (fp4)
            w[(i * k + at) / 2] = uint8_t(i << at % 2 * 4);
          else
            w[i * k + at] = uint8_t(first + i);
        }
        std::vector<uint16_t> ones(k, ref::encodeBF16(1.0f));
        std::vector<float> o(m);
        kernels->run("dot", {w.data(), s.data(), ones.data(), o.data()});
        for (int i = 0; i < m; ++i) {
          float value = fp4 ? ref::decodeE2M1(i) : ref::decodeE4M3(first + i);
          float factor = ref::decodeE8M0(scale), expected = value * factor;
          // A NaN scale spoils every sum; where only the other weights of the
          // row are zero, infinity times zero may as well.
          if (std::isnan(factor) || std::isnan(value))
            ASSERT_TRUE(std::isnan(o[i])) << scale << " " << first + i;
          else
            ASSERT_EQ(o[i], expected)
                << (fp4 ? "e2m1 " : "e4m3 ") << first + i << " scale " << scale;
        }
      }
  }
}

/// A weight in a part of the row that is searched with others, or by itself.
TEST_P(CpuLevel, NaNWeightShows) {
  for (auto [n, k] : {std::pair{1, 128},
                      {2, 128},
                      {4, 128},
                      {4, 32},
                      {8, 128},
                      {8, 32},
                      {8, 2048}, // in parts of the row
                      {16, 128}}) {
    const int scales = (k + 127) / 128;
    auto kernels = CompiledKernels::compile(
        scaled(false, 16, n, k, 1, scales, /*bf16=*/true), GetParam());
    ASSERT_TRUE(kernels);
    for (uint8_t code : {0x7F, 0xFF})
      for (int at : {0, k * 3 / 5, k - 1}) {
        std::vector<uint8_t> w(16 * k, 0x38), s(scales, 127); // ones
        w[2 * k + at] = code;
        std::vector<uint16_t> x(n * k, ref::encodeBF16(1.0f));
        std::vector<float> o(16 * n);
        kernels->run("dot", {w.data(), s.data(), x.data(), o.data()});
        for (int i = 0; i < 16 * n; ++i)
          if (i / n == 2)
            EXPECT_TRUE(std::isnan(o[i])) << i;
          else
            EXPECT_EQ(o[i], float(k)) << i;
      }
  }
}

TEST(CpuDot, EveryLevelCompiles) {
  for (const std::string &level : cpu::levelNames()) {
    EXPECT_EQ(refusal(scaled(true, 16, 4, 256, 16, 8, true), level), "");
    EXPECT_EQ(refusal(scaled(false, 16, 16, 256, 1, 2, true), level), "");
  }
  EXPECT_NE(refusal(scaled(false, 16, 16, 256, 1, 2, true), "i386")
                .find("unknown instruction-set"),
            std::string::npos);
}

/// Not a test of speed: prints what the kernels reach, for those who look.
/// More shapes of tiles than AMX has registers: an error that names the kernel,
/// not the end of the program.
TEST(CpuDot, TooManyShapesAreRefused) {
  std::string text = "tile.kernel @shapes(%a: memref<?x256xbf16>, %o: "
                     "memref<?x64xf32>) {\n"
                     "%z = arith.constant 0 : index\n";
  for (int m : {8, 64, 16, 32})
    for (int n : {32, 2, 1, 16})
      text += fill(R"(
      %a$I = tile.load %a[%z, %z] : memref<?x256xbf16> -> tensor<$Mx64xbf16>
      %b$I = tile.load %a[%z, %z] : memref<?x256xbf16> -> tensor<$Nx64xbf16>
      %t$I = arith.constant dense<0.0> : tensor<$Mx$Nxf32>
      %d$I = tile.dot <nt> %a$I, %b$I, %t$I : tensor<$Mx64xbf16>, tensor<$Nx64xbf16>, tensor<$Mx$Nxf32>
      tile.store %d$I, %o[%z, %z] : tensor<$Mx$Nxf32>, memref<?x64xf32>)",
                   {{"I", size(100 * m + n)}, {"M", size(m)}, {"N", size(n)}});
  text += "\ntile.return\n}";
  const std::string why = refusal(text, "x86-64-v4-amx");
  EXPECT_NE(why.find("unsupported on x86-64-v4-amx: kernel 'shapes'"),
            std::string::npos)
      << why;
  EXPECT_EQ(refusal(text, "x86-64-v4-bf16"), "");
}

TEST_P(CpuLevel, Throughput) {
  if (!hasLevel(GetParam()))
    GTEST_SKIP() << "this CPU has no " << GetParam();
  for (bool fp4 : {false, true})
    for (int n : {1, 4, 16, 64}) {
      int m = 32, k = 512;
      auto kernels = CompiledKernels::compile(
          scaled(fp4, m, n, k, fp4 ? m : 1, fp4 ? k / 32 : k / 128, true),
          GetParam());
      ASSERT_TRUE(kernels);
      auto w = weightBytes(m * k);
      std::vector<uint8_t> s(m * k / 32, 120);
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
