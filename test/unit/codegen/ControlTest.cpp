// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loops and branches that carry tiles: no buffer may be read after it is
// reused, whatever bufferisation and scratch packing decide.
#include "test/unit/codegen/CompiledKernels.h"

#include <algorithm>
#include <cmath>

using namespace fathom::test;

TEST(CpuControl, LoopCarriesAnAccumulator) {
  auto kernels = CompiledKernels::compile(R"(
    tile.kernel @matvec(%w: memref<?x256xf32>, %x: memref<1x256xf32>, %o: memref<?x1xf32>) {
      %zero = arith.constant 0 : index
      %step = arith.constant 64 : index
      %end = arith.constant 256 : index
      %eight = arith.constant 8 : index
      %p = tile.program_id 0
      %row = arith.muli %p, %eight : index
      %init = arith.constant dense<0.0> : tensor<8x1xf32>
      %sum = scf.for %k = %zero to %end step %step iter_args(%acc = %init) -> tensor<8x1xf32> {
        %a = tile.load %w[%row, %k] : memref<?x256xf32> -> tensor<8x64xf32>
        %b = tile.load %x[%zero, %k] : memref<1x256xf32> -> tensor<1x64xf32>
        %n = tile.dot <nt> %a, %b, %acc : tensor<8x64xf32>, tensor<1x64xf32>, tensor<8x1xf32>
        scf.yield %n : tensor<8x1xf32>
      }
      tile.store %sum, %o[%row, %zero] : tensor<8x1xf32>, memref<?x1xf32>
      tile.return
    })");
  ASSERT_TRUE(kernels);
  EXPECT_LE(kernels->scratchBytes, 64u); // the accumulator alone
  auto w = random<float>(16 * 256, 1), x = random<float>(256, 2);
  std::vector<float> o(16);
  for (int p = 0; p < 2; ++p)
    kernels->run("matvec", {w.data(), x.data(), o.data()}, p);
  for (int i = 0; i < 16; ++i) {
    double sum = 0;
    for (int j = 0; j < 256; ++j)
      sum += double(w[i * 256 + j]) * x[j];
    EXPECT_NEAR(o[i], sum, 1e-4);
  }
}

TEST(CpuControl, OnlineSoftmax) {
  auto kernels = CompiledKernels::compile(R"(
    tile.kernel @softmax(%q: memref<4x32xf32>, %kv: memref<?x32xf32>, %n: index, %o: memref<4x32xf32>) {
      %zero = arith.constant 0 : index
      %step = arith.constant 16 : index
      %width = arith.constant 32 : index
      %low = arith.constant dense<-1.0e30> : tensor<4xf32>
      %nothing = arith.constant dense<0.0> : tensor<4xf32>
      %empty = arith.constant dense<0.0> : tensor<4x32xf32>
      %noscore = arith.constant dense<0.0> : tensor<4x16xf32>
      %never = arith.constant dense<-1.0e30> : tensor<4x16xf32>
      %query = tile.load %q[%zero, %zero] : memref<4x32xf32> -> tensor<4x32xf32>
      %r:3 = scf.for %at = %zero to %n step %step iter_args(%m = %low, %l = %nothing, %acc = %empty)
          -> (tensor<4xf32>, tensor<4xf32>, tensor<4x32xf32>) {
        %rows = tile.load %kv[%at, %zero] bounds [%n, %width] : memref<?x32xf32> -> tensor<16x32xf32>
        %raw = tile.dot <nt> %query, %rows, %noscore : tensor<4x32xf32>, tensor<16x32xf32>, tensor<4x16xf32>
        %i = tile.iota : tensor<16xi32>
        %ib = tile.broadcast %i dims [0] : tensor<16xi32> -> tensor<4x16xi32>
        %rest = arith.subi %n, %at : index
        %resti = arith.index_cast %rest : index to i32
        %limit = tensor.splat %resti : tensor<4x16xi32>
        %mask = arith.cmpi slt, %ib, %limit : tensor<4x16xi32>
        %s = arith.select %mask, %raw, %never : tensor<4x16xi1>, tensor<4x16xf32>
        %rowmax = tile.reduce <max> %s {dim = 1 : i64} : tensor<4x16xf32>
        %mn = arith.maximumf %m, %rowmax : tensor<4xf32>
        %d = arith.subf %m, %mn : tensor<4xf32>
        %f = math.exp %d : tensor<4xf32>
        %mb = tile.broadcast %mn dims [1] : tensor<4xf32> -> tensor<4x16xf32>
        %sm = arith.subf %s, %mb : tensor<4x16xf32>
        %p0 = math.exp %sm : tensor<4x16xf32>
        %p = arith.select %mask, %p0, %noscore : tensor<4x16xi1>, tensor<4x16xf32>
        %ps = tile.reduce <add> %p {dim = 1 : i64} : tensor<4x16xf32>
        %lf = arith.mulf %l, %f : tensor<4xf32>
        %ln = arith.addf %lf, %ps : tensor<4xf32>
        %fb = tile.broadcast %f dims [1] : tensor<4xf32> -> tensor<4x32xf32>
        %af = arith.mulf %acc, %fb : tensor<4x32xf32>
        %an = tile.dot <nn> %p, %rows, %af : tensor<4x16xf32>, tensor<16x32xf32>, tensor<4x32xf32>
        scf.yield %mn, %ln, %an : tensor<4xf32>, tensor<4xf32>, tensor<4x32xf32>
      }
      %lb = tile.broadcast %r#1 dims [1] : tensor<4xf32> -> tensor<4x32xf32>
      %out = arith.divf %r#2, %lb : tensor<4x32xf32>
      tile.store %out, %o[%zero, %zero] : tensor<4x32xf32>, memref<4x32xf32>
      tile.return
    })");
  ASSERT_TRUE(kernels);
  auto q = random<float>(4 * 32, 1), kv = random<float>(50 * 32, 2);
  for (uint64_t n : {1, 16, 37, 50}) {
    std::vector<float> o(4 * 32);
    kernels->runWords("softmax", {reinterpret_cast<uint64_t>(q.data()),
                                  reinterpret_cast<uint64_t>(kv.data()), n,
                                  reinterpret_cast<uint64_t>(o.data())});
    for (int h = 0; h < 4; ++h) {
      std::vector<double> p(n), out(32);
      double top = -1e30, sum = 0;
      for (uint64_t r = 0; r < n; ++r) {
        for (int j = 0; j < 32; ++j)
          p[r] += double(q[h * 32 + j]) * kv[r * 32 + j];
        top = std::max(top, p[r]);
      }
      for (uint64_t r = 0; r < n; ++r) {
        sum += p[r] = std::exp(p[r] - top);
        for (int j = 0; j < 32; ++j)
          out[j] += p[r] * kv[r * 32 + j];
      }
      for (int j = 0; j < 32; ++j)
        EXPECT_NEAR(o[h * 32 + j], out[j] / sum, 2e-5) << n;
    }
  }
}

TEST(CpuControl, OldValueReadAfterTheNewOne) {
  // The carried maximum is read again after the new one exists.
  auto kernels = CompiledKernels::compile(R"(
    tile.kernel @f(%a: memref<?x16xf32>, %n: index, %m: memref<16xf32>, %c: memref<16xf32>) {
      %zero = arith.constant 0 : index
      %one = arith.constant 1 : index
      %low = arith.constant dense<-1.0e30> : tensor<16xf32>
      %none = arith.constant dense<0.0> : tensor<16xf32>
      %r:2 = scf.for %i = %zero to %n step %one iter_args(%max = %low, %sum = %none) -> (tensor<16xf32>, tensor<16xf32>) {
        %x = tile.load %a[%i, %zero] : memref<?x16xf32> -> tensor<16xf32>
        %new = arith.maximumf %max, %x : tensor<16xf32>
        %both = arith.addf %new, %max : tensor<16xf32>
        %s = arith.addf %sum, %both : tensor<16xf32>
        scf.yield %new, %s : tensor<16xf32>, tensor<16xf32>
      }
      tile.store %r#0, %m[%zero] : tensor<16xf32>, memref<16xf32>
      tile.store %r#1, %c[%zero] : tensor<16xf32>, memref<16xf32>
      tile.return
    })");
  ASSERT_TRUE(kernels);
  auto a = random<float>(10 * 16);
  std::vector<float> m(16), c(16);
  kernels->runWords("f", {reinterpret_cast<uint64_t>(a.data()), 10,
                          reinterpret_cast<uint64_t>(m.data()),
                          reinterpret_cast<uint64_t>(c.data())});
  for (int j = 0; j < 16; ++j) {
    float top = -1e30f, sum = 0;
    for (int i = 0; i < 10; ++i) {
      float next = std::max(top, a[i * 16 + j]);
      sum += next + top;
      top = next;
    }
    EXPECT_EQ(m[j], top);
    EXPECT_EQ(c[j], sum);
  }
}

TEST(CpuControl, CarriedTilesChangePlaces) {
  auto kernels = CompiledKernels::compile(R"(
    tile.kernel @f(%a: memref<3x16xf32>, %n: index, %o: memref<3x16xf32>) {
      %zero = arith.constant 0 : index
      %one = arith.constant 1 : index
      %two = arith.constant 2 : index
      %x = tile.load %a[%zero, %zero] : memref<3x16xf32> -> tensor<16xf32>
      %y = tile.load %a[%one, %zero] : memref<3x16xf32> -> tensor<16xf32>
      %z = tile.load %a[%two, %zero] : memref<3x16xf32> -> tensor<16xf32>
      %r:3 = scf.for %i = %zero to %n step %one iter_args(%s = %x, %t = %y, %u = %z)
          -> (tensor<16xf32>, tensor<16xf32>, tensor<16xf32>) {
        %m = arith.negf %s : tensor<16xf32>
        scf.yield %t, %u, %m : tensor<16xf32>, tensor<16xf32>, tensor<16xf32>
      }
      %q:2 = scf.for %i = %zero to %n step %one iter_args(%s = %r#0, %t = %r#1)
          -> (tensor<16xf32>, tensor<16xf32>) {
        scf.yield %t, %s : tensor<16xf32>, tensor<16xf32>
      }
      tile.store %q#0, %o[%zero, %zero] : tensor<16xf32>, memref<3x16xf32>
      tile.store %q#1, %o[%one, %zero] : tensor<16xf32>, memref<3x16xf32>
      tile.store %r#2, %o[%two, %zero] : tensor<16xf32>, memref<3x16xf32>
      tile.return
    })");
  ASSERT_TRUE(kernels);
  auto a = random<float>(3 * 16);
  for (uint64_t n : {0, 1, 2, 5}) {
    std::vector<float> o(3 * 16);
    kernels->runWords("f", {reinterpret_cast<uint64_t>(a.data()), n,
                            reinterpret_cast<uint64_t>(o.data())});
    for (int j = 0; j < 16; ++j) {
      float r[] = {a[j], a[16 + j], a[32 + j]};
      for (uint64_t i = 0; i < n; ++i) {
        std::rotate(r, r + 1, r + 3);
        r[2] = -r[2];
      }
      EXPECT_EQ(o[j], r[n % 2]);
      EXPECT_EQ(o[16 + j], r[1 - n % 2]);
      EXPECT_EQ(o[32 + j], r[2]);
    }
  }
}

TEST(CpuControl, TilesOfIndices) {
  auto kernels = CompiledKernels::compile(R"(
    tile.kernel @f(%a: memref<32xi32>, %n: index, %o: memref<32xi32>) {
      %zero = arith.constant 0 : index
      %one = arith.constant 1 : index
      %x = tile.load %a[%zero] : memref<32xi32> -> tensor<32xi32>
      %y = arith.index_cast %x : tensor<32xi32> to tensor<32xindex>
      %z = scf.for %i = %zero to %n step %one iter_args(%t = %y) -> (tensor<32xindex>) {
        %u = arith.addi %t, %y : tensor<32xindex>
        scf.yield %u : tensor<32xindex>
      }
      %s = tensor.extract_slice %z[0] [16] [1] : tensor<32xindex> to tensor<16xindex>
      %both = tensor.insert_slice %s into %z[16] [16] [1] : tensor<16xindex> into tensor<32xindex>
      %r = arith.index_cast %both : tensor<32xindex> to tensor<32xi32>
      tile.store %r, %o[%zero] : tensor<32xi32>, memref<32xi32>
      tile.return
    })");
  ASSERT_TRUE(kernels);
  std::vector<int32_t> a(32), o(32);
  for (int i = 0; i < 32; ++i)
    a[i] = 3 * i - 20;
  kernels->runWords("f", {reinterpret_cast<uint64_t>(a.data()), 4,
                          reinterpret_cast<uint64_t>(o.data())});
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(o[i], 5 * a[i % 16]);
}

TEST(CpuControl, BranchesYieldTiles) {
  auto kernels = CompiledKernels::compile(R"(
    tile.kernel @f(%a: memref<2x16xf32>, %b: memref<16xf32>, %n: index) {
      %zero = arith.constant 0 : index
      %one = arith.constant 1 : index
      %x = tile.load %a[%zero, %zero] : memref<2x16xf32> -> tensor<16xf32>
      %y = tile.load %a[%one, %zero] : memref<2x16xf32> -> tensor<16xf32>
      %c = arith.cmpi eq, %n, %zero : index
      %r = scf.if %c -> tensor<16xf32> {
        %s = arith.addf %x, %y : tensor<16xf32>
        scf.yield %s : tensor<16xf32>
      } else {
        %p = arith.mulf %x, %y : tensor<16xf32>
        scf.yield %p : tensor<16xf32>
      }
      %t = arith.subf %r, %y : tensor<16xf32>
      tile.store %t, %b[%zero] : tensor<16xf32>, memref<16xf32>
      tile.return
    })");
  ASSERT_TRUE(kernels);
  auto a = random<float>(32);
  for (uint64_t n : {0, 1}) {
    std::vector<float> b(16);
    kernels->runWords("f", {reinterpret_cast<uint64_t>(a.data()),
                            reinterpret_cast<uint64_t>(b.data()), n});
    for (int i = 0; i < 16; ++i) {
      volatile float first = n ? a[i] * a[16 + i] : a[i] + a[16 + i];
      EXPECT_EQ(b[i], first - a[16 + i]);
    }
  }
}

// The kernels come from objects of their own; one needs scratch, which the
// caller has none of.
TEST(CpuControl, CallsAProgramOfAnotherKernel) {
  auto kernels = CompiledKernels::compile(R"(
    tile.kernel @either(%o: memref<?x8xf32>, %n: index, %x: memref<?x8xf32>, %w: memref<8x8xf32>) {
      %p = tile.program_id 0
      %two = arith.constant 2 : index
      %zero = arith.constant 0 : index
      %first = arith.cmpi ult, %p, %n : index
      scf.if %first {
        tile.call @times(%x, %w, %o, %n) at (%p, %zero, %zero) : memref<?x8xf32>, memref<8x8xf32>, memref<?x8xf32>, index
      } else {
        %q = arith.subi %p, %n : index
        %y = arith.divui %q, %two : index
        %z = arith.remui %q, %two : index
        tile.call @place(%o, %n) at (%zero, %y, %z) : memref<?x8xf32>, index
      }
      tile.return
    }
    tile.kernel @times(%x: memref<?x8xf32>, %w: memref<8x8xf32>, %o: memref<?x8xf32>, %n: index) {
      %zero = arith.constant 0 : index
      %t = tile.program_id 0
      %none = arith.constant dense<0.0> : tensor<1x8xf32>
      %a = tile.load %x[%t, %zero] : memref<?x8xf32> -> tensor<1x8xf32>
      %b = tile.load %w[%zero, %zero] : memref<8x8xf32> -> tensor<8x8xf32>
      %c = tile.dot <nt> %a, %b, %none : tensor<1x8xf32>, tensor<8x8xf32>, tensor<1x8xf32>
      tile.store %c, %o[%t, %zero] : tensor<1x8xf32>, memref<?x8xf32>
      tile.return
    }
    tile.kernel @place(%o: memref<?x8xf32>, %n: index) {
      %y = tile.program_id 1
      %z = tile.program_id 2
      %two = arith.constant 2 : index
      %rows = arith.muli %y, %two : index
      %row = arith.addi %rows, %z : index
      %at = arith.addi %row, %n : index
      %zero = arith.constant 0 : index
      %i = arith.index_cast %row : index to i32
      %f = arith.sitofp %i : i32 to f32
      %tile = tensor.splat %f : tensor<8xf32>
      tile.store %tile, %o[%at, %zero] : tensor<8xf32>, memref<?x8xf32>
      tile.return
    })");
  ASSERT_TRUE(kernels);
  EXPECT_GT(kernels->scratchBytes, 0u);
  auto x = random<float>(3 * 8, 1), w = random<float>(8 * 8, 2);
  std::vector<float> wanted(7 * 8), o(7 * 8);
  for (int t = 0; t < 3; ++t)
    kernels->runWords("times",
                      {reinterpret_cast<uint64_t>(x.data()),
                       reinterpret_cast<uint64_t>(w.data()),
                       reinterpret_cast<uint64_t>(wanted.data()), 3},
                      t);
  for (int i = 0; i < 4 * 8; ++i)
    wanted[3 * 8 + i] = float(i / 8);
  for (int p = 6; p >= 0; --p)
    kernels->runWords("either",
                      {reinterpret_cast<uint64_t>(o.data()), 3,
                       reinterpret_cast<uint64_t>(x.data()),
                       reinterpret_cast<uint64_t>(w.data())},
                      p);
  EXPECT_NE(wanted[0], 0);
  EXPECT_EQ(o, wanted);
}
