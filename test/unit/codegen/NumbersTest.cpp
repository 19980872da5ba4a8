// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Narrow floats over all codes and ties, elementwise fusion, reductions, scan,
// shape changes and math.
#include "dialects/DSV4/Reference/Kernels/Codecs.h"
#include "test/unit/codegen/CompiledKernels.h"

#include <cmath>
#include <numeric>

using namespace fathom::test;
using namespace fathom;

/// Of a byte.
static std::vector<uint8_t> allCodes() {
  std::vector<uint8_t> codes(256);
  std::iota(codes.begin(), codes.end(), 0);
  return codes;
}

TEST(CpuNumbers, DecodesEveryCode) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @e4m3(%a: memref<256xf8E4M3FN>, %b: memref<256xf32>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero] : memref<256xf8E4M3FN> -> tensor<256xf8E4M3FN>
      %y = arith.extf %x : tensor<256xf8E4M3FN> to tensor<256xf32>
      tile.store %y, %b[%zero] : tensor<256xf32>, memref<256xf32>
      tile.return
    }
    tile.kernel @e8m0(%a: memref<256xf8E8M0FNU>, %b: memref<256xf32>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero] : memref<256xf8E8M0FNU> -> tensor<256xf8E8M0FNU>
      %y = arith.extf %x : tensor<256xf8E8M0FNU> to tensor<256xf32>
      tile.store %y, %b[%zero] : tensor<256xf32>, memref<256xf32>
      tile.return
    }
    tile.kernel @e2m1(%a: memref<256xi8>, %b: memref<512xf32>, %c: memref<512xbf16>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero] : memref<256xi8> -> tensor<256xi8>
      %y = tile.unpack_fp4 %x : tensor<256xi8> -> tensor<512xf32>
      tile.store %y, %b[%zero] : tensor<512xf32>, memref<512xf32>
      %z = tile.unpack_fp4 %x : tensor<256xi8> -> tensor<512xbf16>
      tile.store %z, %c[%zero] : tensor<512xbf16>, memref<512xbf16>
      tile.return
    }
    tile.kernel @e2m1short(%a: memref<4xi8>, %b: memref<8xf32>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero] : memref<4xi8> -> tensor<4xi8>
      %y = tile.unpack_fp4 %x : tensor<4xi8> -> tensor<8xf32>
      tile.store %y, %b[%zero] : tensor<8xf32>, memref<8xf32>
      tile.return
    })");
  ASSERT_TRUE(k);
  const std::vector<uint8_t> codes = allCodes();
  std::vector<float> b(512);
  std::vector<uint16_t> c(512);
  k->run("e4m3", {codes.data(), b.data()});
  for (int i = 0; i < 256; ++i)
    EXPECT_TRUE(same(b[i], ref::decodeE4M3(i))) << i << " " << b[i];
  k->run("e8m0", {codes.data(), b.data()});
  for (int i = 0; i < 256; ++i)
    EXPECT_TRUE(same(b[i], ref::decodeE8M0(i))) << i << " " << b[i];
  k->run("e2m1", {codes.data(), b.data(), c.data()});
  for (int i = 0; i < 512; ++i) {
    float expected =
        ref::decodeE2M1(i % 2 ? codes[i / 2] >> 4 : codes[i / 2] & 15);
    EXPECT_EQ(bitsOf(b[i]), bitsOf(expected)) << i;
    EXPECT_EQ(c[i], ref::encodeBF16(expected)) << i;
  }
  for (int i = 0; i < 256; i += 4) {
    k->run("e2m1short", {codes.data() + i, c.data()});
    EXPECT_EQ(std::memcmp(c.data(), b.data() + 2 * i, 32), 0);
  }
}

/// Ties, their neighbours, the ends of the range, and random bits.
static std::vector<float> hardValues() {
  std::vector<float> values;
  auto around = [&](float v) {
    for (float sign : {1.0f, -1.0f})
      for (int d = -1; d <= 1; ++d)
        values.push_back(sign * floatOf(bitsOf(v) + (v == 0 && d < 0 ? 0 : d)));
  };
  for (int i = 0; i < 0x7F; ++i) {
    around(ref::decodeE4M3(i));
    around((ref::decodeE4M3(i) + ref::decodeE4M3(i == 0x7E ? i : i + 1)) / 2);
  }
  for (float v : {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f, 6.0f, 464.0f,
                  480.0f, 1e30f, 1e-30f, 1e-40f, INFINITY,
                  std::ldexp(1.0f, -10), std::ldexp(3.0f, -11)})
    around(v);
  for (uint32_t high :
       {0x3F800000u, 0x00010000u, 0x7F7F0000u, 0x00800000u, 0x3F810000u})
    for (uint32_t low : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu})
      values.push_back(floatOf(high | low));
  values.push_back(NAN);
  values.push_back(floatOf(0x7F800001));
  values.push_back(floatOf(0xFFFFFFFF));
  std::mt19937 generator(3);
  while (values.size() < 4096)
    values.push_back(values.size() % 2
                         ? floatOf(generator())
                         : 3.0f * (float(generator()) / 4294967296.0f - 0.5f));
  return values;
}

TEST(CpuNumbers, RoundsLikeTheReference) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @round(%a: memref<4096xf32>, %b: memref<4096xbf16>, %c: memref<4096xf8E4M3FN>,
                       %d: memref<2048xi8>, %e: memref<4096xf32>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero] : memref<4096xf32> -> tensor<4096xf32>
      %y = arith.truncf %x : tensor<4096xf32> to tensor<4096xbf16>
      tile.store %y, %b[%zero] : tensor<4096xbf16>, memref<4096xbf16>
      %z = arith.truncf %x : tensor<4096xf32> to tensor<4096xf8E4M3FN>
      tile.store %z, %c[%zero] : tensor<4096xf8E4M3FN>, memref<4096xf8E4M3FN>
      %p = tile.pack_fp4 %x : tensor<4096xf32> -> tensor<2048xi8>
      tile.store %p, %d[%zero] : tensor<2048xi8>, memref<2048xi8>
      %q = arith.truncf %x : tensor<4096xf32> to tensor<4096xf4E2M1FN>
      %r = arith.extf %q : tensor<4096xf4E2M1FN> to tensor<4096xf32>
      tile.store %r, %e[%zero] : tensor<4096xf32>, memref<4096xf32>
      tile.return
    })");
  ASSERT_TRUE(k);
  std::vector<float> a = hardValues(), e(4096);
  std::vector<uint16_t> b(4096);
  std::vector<uint8_t> c(4096), d(2048);
  k->run("round", {a.data(), b.data(), c.data(), d.data(), e.data()});
  for (int i = 0; i < 4096; ++i) {
    EXPECT_EQ(b[i], ref::encodeBF16(a[i])) << i << " " << a[i];
    EXPECT_EQ(c[i], ref::encodeE4M3(a[i])) << i << " " << a[i];
    int code = i % 2 ? d[i / 2] >> 4 : d[i / 2] & 15;
    EXPECT_EQ(code, ref::encodeE2M1(a[i])) << i << " " << a[i];
    EXPECT_EQ(bitsOf(e[i]), bitsOf(ref::decodeE2M1(code))) << i << " " << a[i];
  }
}

TEST(CpuNumbers, ElementwiseBroadcastTransposeReshape) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @f(%a: memref<8x32xbf16>, %row: memref<32xf32>, %col: memref<8xf32>,
                   %o: memref<32x8xf32>, %p: memref<256xi32>, %q: memref<8x32xf32>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero, %zero] : memref<8x32xbf16> -> tensor<8x32xbf16>
      %r = tile.load %row[%zero] : memref<32xf32> -> tensor<32xf32>
      %c = tile.load %col[%zero] : memref<8xf32> -> tensor<8xf32>
      %xf = arith.extf %x : tensor<8x32xbf16> to tensor<8x32xf32>
      %rb = tile.broadcast %r dims [0] : tensor<32xf32> -> tensor<8x32xf32>
      %cb = tile.broadcast %c dims [1] : tensor<8xf32> -> tensor<8x32xf32>
      %m = arith.mulf %xf, %rb : tensor<8x32xf32>
      %s = arith.addf %m, %cb : tensor<8x32xf32>
      %t = tile.transpose %s [1, 0] : tensor<8x32xf32>
      tile.store %t, %o[%zero, %zero] : tensor<32x8xf32>, memref<32x8xf32>
      %i = tile.iota : tensor<32xi32>
      %ib = tile.broadcast %i dims [0] : tensor<32xi32> -> tensor<8x32xi32>
      %if = tile.reshape %ib : tensor<8x32xi32> -> tensor<256xi32>
      tile.store %if, %p[%zero] : tensor<256xi32>, memref<256xi32>
      %five = arith.constant dense<5> : tensor<8x32xi32>
      %none = arith.constant dense<-1.0> : tensor<8x32xf32>
      %mask = arith.cmpi slt, %ib, %five : tensor<8x32xi32>
      %sel = arith.select %mask, %s, %none : tensor<8x32xi1>, tensor<8x32xf32>
      tile.store %sel, %q[%zero, %zero] : tensor<8x32xf32>, memref<8x32xf32>
      tile.return
    })");
  ASSERT_TRUE(k);
  auto row = random<float>(32, 1), col = random<float>(8, 2),
       values = random<float>(256, 3);
  std::vector<uint16_t> a(256);
  for (int i = 0; i < 256; ++i)
    a[i] = ref::encodeBF16(values[i]);
  std::vector<float> o(256), q(256);
  std::vector<int32_t> p(256);
  k->run("f", {a.data(), row.data(), col.data(), o.data(), p.data(), q.data()});
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 32; ++j) {
      volatile float product = ref::decodeBF16(a[i * 32 + j]) * row[j];
      float expected = product + col[i];
      EXPECT_EQ(o[j * 8 + i], expected);
      EXPECT_EQ(q[i * 32 + j], j < 5 ? expected : -1);
      EXPECT_EQ(p[i * 32 + j], j);
    }
}

TEST(CpuNumbers, ReducesInOneOrder) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @f(%a: memref<4x64xf32>, %s: memref<4xf32>, %m: memref<4xf32>, %c: memref<64xf32>,
                   %i: memref<64xi32>, %n: memref<1xi32>, %o: memref<64xi32>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero, %zero] : memref<4x64xf32> -> tensor<4x64xf32>
      %0 = tile.reduce <add> %x {dim = 1 : i64} : tensor<4x64xf32>
      tile.store %0, %s[%zero] : tensor<4xf32>, memref<4xf32>
      %1 = tile.reduce <max> %x {dim = 1 : i64} : tensor<4x64xf32>
      tile.store %1, %m[%zero] : tensor<4xf32>, memref<4xf32>
      %2 = tile.reduce <add> %x {dim = 0 : i64} : tensor<4x64xf32>
      tile.store %2, %c[%zero] : tensor<64xf32>, memref<64xf32>
      %y = tile.load %i[%zero] : memref<64xi32> -> tensor<64xi32>
      %yr = tile.reshape %y : tensor<64xi32> -> tensor<1x64xi32>
      %3 = tile.reduce <min> %yr {dim = 1 : i64} : tensor<1x64xi32>
      tile.store %3, %n[%zero] : tensor<1xi32>, memref<1xi32>
      %4 = tile.scan %y {dim = 0 : i64} : tensor<64xi32>
      tile.store %4, %o[%zero] : tensor<64xi32>, memref<64xi32>
      tile.return
    })");
  ASSERT_TRUE(k);
  auto a = random<float>(256);
  std::vector<int32_t> in(64), scan(64), least(1);
  for (int i = 0; i < 64; ++i)
    in[i] = (i * 37) % 64 - 20;
  std::vector<float> s(4), m(4), c(64);
  k->run("f", {a.data(), s.data(), m.data(), c.data(), in.data(), least.data(),
               scan.data()});
  for (int r = 0; r < 4; ++r) {
    float lanes[16], largest = a[r * 64];
    for (int j = 0; j < 64; ++j) {
      lanes[j % 16] = j < 16 ? a[r * 64 + j] : lanes[j % 16] + a[r * 64 + j];
      largest = std::max(largest, a[r * 64 + j]);
    }
    for (int n = 8; n; n /= 2)
      for (int j = 0; j < n; ++j)
        lanes[j] += lanes[j + n];
    EXPECT_EQ(s[r], lanes[0]);
    EXPECT_EQ(m[r], largest);
  }
  for (int j = 0; j < 64; ++j)
    EXPECT_EQ(c[j], ((a[j] + a[64 + j]) + a[128 + j]) + a[192 + j]);
  int32_t sum = 0;
  for (int j = 0; j < 64; ++j)
    EXPECT_EQ(scan[j], sum += in[j]);
  EXPECT_EQ(least[0], -20);
}

TEST(CpuNumbers, Interleaves) {
  for (int n : {1, 2, 8, 32}) {
    auto k = CompiledKernels::compile(
        fill(R"(
    tile.kernel @f(%a: memref<2x$Mxf32>, %b: memref<2x$Nxf32>, %c: memref<2x$Nxf32>, %d: memref<2x$Mxf32>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero, %zero] : memref<2x$Mxf32> -> tensor<2x$Mxf32>
      %e, %o = tile.deinterleave %x : tensor<2x$Mxf32>
      tile.store %e, %b[%zero, %zero] : tensor<2x$Nxf32>, memref<2x$Nxf32>
      tile.store %o, %c[%zero, %zero] : tensor<2x$Nxf32>, memref<2x$Nxf32>
      %y = tile.interleave %o, %e : tensor<2x$Nxf32>
      tile.store %y, %d[%zero, %zero] : tensor<2x$Mxf32>, memref<2x$Mxf32>
      tile.return
    })",
             {{"M", std::to_string(2 * n)}, {"N", std::to_string(n)}}));
    ASSERT_TRUE(k);
    auto a = random<float>(4 * n);
    std::vector<float> b(2 * n), c(2 * n), d(4 * n);
    k->run("f", {a.data(), b.data(), c.data(), d.data()});
    for (int i = 0; i < 2 * n; ++i) {
      EXPECT_EQ(b[i], a[2 * i]);
      EXPECT_EQ(c[i], a[2 * i + 1]);
      EXPECT_EQ(d[2 * i], a[2 * i + 1]);
      EXPECT_EQ(d[2 * i + 1], a[2 * i]);
    }
  }
}

TEST(CpuNumbers, InterleavesBits) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @f(%a: memref<32xf32>, %b: memref<16xf32>, %c: memref<32xf32>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero] : memref<32xf32> -> tensor<32xf32>
      %none = arith.constant dense<0.0> : tensor<32xf32>
      %positive = arith.cmpf ogt, %x, %none : tensor<32xf32>
      %e, %o = tile.deinterleave %positive : tensor<32xi1>
      %half = arith.constant dense<0.0> : tensor<16xf32>
      %ones = arith.constant dense<1.0> : tensor<16xf32>
      %y = arith.select %e, %ones, %half : tensor<16xi1>, tensor<16xf32>
      tile.store %y, %b[%zero] : tensor<16xf32>, memref<16xf32>
      %turned = tile.interleave %o, %e : tensor<16xi1>
      %z = arith.select %turned, %x, %none : tensor<32xi1>, tensor<32xf32>
      tile.store %z, %c[%zero] : tensor<32xf32>, memref<32xf32>
      tile.return
    })");
  ASSERT_TRUE(k);
  auto a = random<float>(32);
  std::vector<float> b(16), c(32);
  k->run("f", {a.data(), b.data(), c.data()});
  for (int i = 0; i < 16; ++i)
    EXPECT_EQ(b[i], a[2 * i] > 0 ? 1 : 0);
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(c[i], a[i ^ 1] > 0 ? a[i] : 0);
}

TEST(CpuNumbers, Math) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @f(%a: memref<64xf32>, %e: memref<64xf32>, %l: memref<64xf32>, %s: memref<64xf32>, %d: memref<64xf32>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero] : memref<64xf32> -> tensor<64xf32>
      %0 = math.exp %x : tensor<64xf32>
      tile.store %0, %e[%zero] : tensor<64xf32>, memref<64xf32>
      %1 = math.log1p %0 : tensor<64xf32>
      tile.store %1, %l[%zero] : tensor<64xf32>, memref<64xf32>
      %2 = math.sqrt %1 : tensor<64xf32>
      tile.store %2, %s[%zero] : tensor<64xf32>, memref<64xf32>
      %w = arith.extf %x : tensor<64xf32> to tensor<64xf64>
      %w2 = arith.mulf %w, %w : tensor<64xf64>
      %w3 = arith.truncf %w2 : tensor<64xf64> to tensor<64xf32>
      tile.store %w3, %d[%zero] : tensor<64xf32>, memref<64xf32>
      tile.return
    })");
  ASSERT_TRUE(k);
  std::vector<float> a(64), e(64), l(64), s(64), d(64);
  for (int i = 0; i < 64; ++i)
    a[i] = (i - 40) * 0.37f;
  k->run("f", {a.data(), e.data(), l.data(), s.data(), d.data()});
  for (int i = 0; i < 64; ++i) {
    EXPECT_NEAR(e[i] / std::exp(double(a[i])), 1, 3e-7);
    EXPECT_NEAR(l[i] / std::log1p(double(e[i])), 1, 3e-7);
    EXPECT_EQ(s[i], std::sqrt(l[i]));
    EXPECT_EQ(d[i], float(double(a[i]) * double(a[i])));
  }
}

TEST(CpuNumbers, NarrowFloatsByWayOfF32) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @half(%a: memref<256xf8E4M3FN>, %o: memref<256xf32>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero] : memref<256xf8E4M3FN> -> tensor<256xf8E4M3FN>
      %h = arith.extf %x : tensor<256xf8E4M3FN> to tensor<256xf16>
      %y = arith.extf %h : tensor<256xf16> to tensor<256xf32>
      tile.store %y, %o[%zero] : tensor<256xf32>, memref<256xf32>
      tile.return
    }
    tile.kernel @math(%a: memref<64xbf16>, %r: memref<64xbf16>, %f: memref<64xbf16>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero] : memref<64xbf16> -> tensor<64xbf16>
      %y = math.sqrt %x : tensor<64xbf16>
      tile.store %y, %r[%zero] : tensor<64xbf16>, memref<64xbf16>
      %z = math.floor %x : tensor<64xbf16>
      tile.store %z, %f[%zero] : tensor<64xbf16>, memref<64xbf16>
      tile.return
    })");
  ASSERT_TRUE(k);
  const std::vector<uint8_t> codes = allCodes();
  std::vector<float> o(256);
  k->run("half", {codes.data(), o.data()});
  for (int i = 0; i < 256; ++i)
    EXPECT_TRUE(same(o[i], ref::decodeE4M3(i))) << i << " " << o[i];
  std::vector<uint16_t> a, r(64), f(64);
  for (int i = 0; i < 64; ++i)
    a.push_back(ref::encodeBF16(0.37f * i * i));
  k->run("math", {a.data(), r.data(), f.data()});
  for (int i = 0; i < 64; ++i) {
    const float x = ref::decodeBF16(a[i]);
    EXPECT_EQ(r[i], ref::encodeBF16(std::sqrt(x))) << i;
    EXPECT_EQ(f[i], ref::encodeBF16(std::floor(x))) << i;
  }
}

TEST(CpuNumbers, ConstantTablesDoublesAndKeptMasks) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @f(%p: memref<?xi32>, %o: memref<4xf32>, %q: memref<4xi32>) {
      %zero = arith.constant 0 : index
      %i = memref.load %p[%zero] : memref<?xi32>
      %x = arith.sitofp %i : i32 to f32
      %table = arith.constant dense<[1.0, 0.5, 0.1, 0.001]> : tensor<4xf32>
      %s = tensor.splat %x : tensor<4xf32>
      %a = arith.mulf %s, %table : tensor<4xf32>
      %w = arith.extf %a : tensor<4xf32> to tensor<4xf64>
      %third = arith.constant dense<0.3333333333333333> : tensor<4xf64>
      %m = arith.mulf %w, %third : tensor<4xf64>
      %r = math.roundeven %m : tensor<4xf64>
      %d = arith.subf %m, %r : tensor<4xf64>
      %n = arith.fptosi %r : tensor<4xf64> to tensor<4xi32>
      %y = arith.truncf %d : tensor<4xf64> to tensor<4xf32>
      tile.store %y, %o[%zero] : tensor<4xf32>, memref<4xf32>
      %one = arith.constant dense<1> : tensor<4xi32>
      %none = arith.constant dense<0> : tensor<4xi32>
      // A mask in memory, since a costly tile leads to it twice.
      %low = arith.remsi %n, %one : tensor<4xi32>
      %c = arith.cmpi eq, %low, %none : tensor<4xi32>
      %cond = arith.cmpi sgt, %i, %i : i32
      %mask = scf.if %cond -> tensor<4xi1> {
        %never = arith.constant dense<false> : tensor<4xi1>
        scf.yield %never : tensor<4xi1>
      } else {
        scf.yield %c : tensor<4xi1>
      }
      %sel = arith.select %mask, %n, %none : tensor<4xi1>, tensor<4xi32>
      tile.store %sel, %q[%zero] : tensor<4xi32>, memref<4xi32>
      tile.return
    })");
  ASSERT_TRUE(k);
  const float table[4] = {1.0f, 0.5f, 0.1f, 0.001f};
  for (int32_t p : {1, 17, 123456}) {
    std::vector<float> o(4);
    std::vector<int32_t> q(4);
    k->run("f", {&p, o.data(), q.data()});
    for (int j = 0; j < 4; ++j) {
      volatile double m = double(float(p) * table[j]) * 0.3333333333333333;
      EXPECT_EQ(o[j], float(m - std::nearbyint(m)));
      EXPECT_EQ(q[j], int32_t(std::nearbyint(m)));
    }
  }
}
