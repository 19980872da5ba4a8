// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Load, store, gather, scatter, tables, counts and the calling convention.
#include "dialects/DSV4/Reference/Kernels/Codecs.h"
#include "test/unit/codegen/CompiledKernels.h"

#include <array>

using namespace fathom::test;
using namespace fathom;

TEST(CpuMemory, AddsOneTile) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @add(%a: memref<?x64xf32>, %b: memref<?x64xf32>, %c: memref<?x64xf32>) {
      %i = tile.program_id 0
      %zero = arith.constant 0 : index
      %x = tile.load %a[%i, %zero] : memref<?x64xf32> -> tensor<64xf32>
      %y = tile.load %b[%i, %zero] : memref<?x64xf32> -> tensor<64xf32>
      %s = arith.addf %x, %y : tensor<64xf32>
      tile.store %s, %c[%i, %zero] : tensor<64xf32>, memref<?x64xf32>
      tile.return
    })");
  ASSERT_TRUE(k);
  auto a = random<float>(3 * 64, 1), b = random<float>(3 * 64, 2);
  std::vector<float> c(3 * 64, -1);
  for (int i = 0; i < 3; ++i)
    k->run("add", {a.data(), b.data(), c.data()}, i);
  for (size_t i = 0; i < c.size(); ++i)
    EXPECT_EQ(c[i], a[i] + b[i]);
}

TEST(CpuMemory, BoundsAtEveryEdge) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @copy(%a: memref<?x24xf32>, %b: memref<?x24xf32>, %rows: index, %columns: index) {
      %i = tile.program_id 0
      %j = tile.program_id 1
      %four = arith.constant 4 : index
      %thirtytwo = arith.constant 32 : index
      %r = arith.muli %i, %four : index
      %c = arith.muli %j, %thirtytwo : index
      %x = tile.load %a[%r, %c] bounds [%rows, %columns] : memref<?x24xf32> -> tensor<4x32xf32>
      %y = arith.addf %x, %x : tensor<4x32xf32>
      tile.store %y, %b[%r, %c] bounds [%rows, %columns] : tensor<4x32xf32>, memref<?x24xf32>
      tile.return
    }
    tile.kernel @padded(%a: memref<?x24xf32>, %b: memref<4x32xf32>, %rows: index, %columns: index) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero, %zero] bounds [%rows, %columns] : memref<?x24xf32> -> tensor<4x32xf32>
      tile.store %x, %b[%zero, %zero] : tensor<4x32xf32>, memref<4x32xf32>
      tile.return
    })");
  ASSERT_TRUE(k);
  for (uint64_t rows : {0, 1, 4, 7})
    for (uint64_t columns : {0, 1, 15, 16, 17, 24}) {
      auto a = random<float>(7 * 24);
      std::vector<float> b(8 * 24, -1), p(4 * 32, -1);
      auto pa = reinterpret_cast<uint64_t>(a.data()),
           pb = reinterpret_cast<uint64_t>(b.data());
      for (int i = 0; i < 2; ++i)
        k->runWords("copy", {pa, pb, rows, columns}, i);
      for (uint64_t r = 0; r < 8; ++r)
        for (uint64_t c = 0; c < 24; ++c)
          EXPECT_EQ(b[r * 24 + c],
                    r < rows && c < columns ? 2 * a[r * 24 + c] : -1);
      k->runWords("padded",
                  {pa, reinterpret_cast<uint64_t>(p.data()), rows, columns});
      for (uint64_t r = 0; r < 4; ++r)
        for (uint64_t c = 0; c < 32; ++c)
          EXPECT_EQ(p[r * 32 + c], r < rows && c < columns ? a[r * 24 + c] : 0);
    }
}

/// A bounded load is a view of its buffer where all lies inside, else a copy.
TEST(CpuMemory, LargeBoundedLoad) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @take(%a: memref<?x3x256xbf16>, %b: memref<64x256xbf16>, %rows: index) {
      %zero = arith.constant 0 : index
      %one = arith.constant 1 : index
      %three = arith.constant 3 : index
      %width = arith.constant 256 : index
      %p = tile.program_id 0
      %x = tile.load %a[%p, %one, %zero] bounds[%rows, %three, %width] : memref<?x3x256xbf16> -> tensor<64x1x256xbf16>
      %y = tile.reshape %x : tensor<64x1x256xbf16> -> tensor<64x256xbf16>
      %f = arith.extf %y : tensor<64x256xbf16> to tensor<64x256xf32>
      %n = arith.negf %f : tensor<64x256xf32>
      %t = arith.truncf %n : tensor<64x256xf32> to tensor<64x256xbf16>
      tile.store %t, %b[%zero, %zero] : tensor<64x256xbf16>, memref<64x256xbf16>
      tile.return
    })");
  ASSERT_TRUE(k);
  std::vector<uint16_t> a(80 * 3 * 256), b(64 * 256);
  for (size_t i = 0; i < a.size(); ++i)
    a[i] = 0x3F80 + i % 127;
  for (uint64_t rows : {80, 70, 64, 33, 1, 0})
    for (uint64_t first : {0, 6, 40}) {
      b.assign(b.size(), 1);
      k->runWords("take",
                  {reinterpret_cast<uint64_t>(a.data()),
                   reinterpret_cast<uint64_t>(b.data()), rows},
                  first);
      for (uint64_t i = 0; i < 64; ++i)
        for (uint64_t j = 0; j < 256; ++j) {
          uint64_t row = first + i;
          EXPECT_EQ(b[i * 256 + j],
                    row < rows ? 0x8000 | a[(row * 3 + 1) * 256 + j] : 0x8000)
              << rows << "," << first << ": " << i << "," << j;
        }
    }
}

TEST(CpuMemory, Transpose) {
  const int sizes[][2] = {{64, 4}, {128, 16}, {8, 16}, {32, 64}, {16, 2},
                          {4, 8},  {16, 32},  {2, 2},  {8, 1}};
  for (auto [rows, columns] : sizes) {
    auto k = CompiledKernels::compile(
        fill(R"(
      tile.kernel @turn(%a: memref<$Rx$Cxf32>, %b: memref<$Cx$Rxf32>, %c: memref<$Cx$Rxf32>) {
        %zero = arith.constant 0 : index
        %x = tile.load %a[%zero, %zero] : memref<$Rx$Cxf32> -> tensor<$Rx$Cxf32>
        %y = tile.transpose %x [1, 0] : tensor<$Rx$Cxf32>
        tile.store %y, %b[%zero, %zero] : tensor<$Cx$Rxf32>, memref<$Cx$Rxf32>
        %n = arith.negf %x : tensor<$Rx$Cxf32>
        %t = tile.transpose %n [1, 0] : tensor<$Rx$Cxf32>
        %z = arith.mulf %t, %y : tensor<$Cx$Rxf32>
        tile.store %z, %c[%zero, %zero] : tensor<$Cx$Rxf32>, memref<$Cx$Rxf32>
        tile.return
      })",
             {{"R", std::to_string(rows)}, {"C", std::to_string(columns)}}));
    ASSERT_TRUE(k);
    auto a = random<float>(rows * columns);
    std::vector<float> b(rows * columns), c(rows * columns);
    k->run("turn", {a.data(), b.data(), c.data()});
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < columns; ++j) {
        float x = a[i * columns + j];
        EXPECT_EQ(b[j * rows + i], x);
        EXPECT_EQ(c[j * rows + i], -x * x);
      }
  }
}

/// Rows whose elements lie apart: a column that became a row, also as operand
/// of a product and as its accumulator, and every second element.
TEST(CpuMemory, ElementsThatLieApart) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @apart(%a: memref<?x32xf32>, %s: memref<?x8xf32>) {
      %zero = arith.constant 0 : index
      %one = arith.constant 1 : index
      %two = arith.constant 2 : index
      %three = arith.constant 3 : index
      %four = arith.constant 4 : index
      %five = arith.constant 5 : index
      %tall = tile.load %a[%zero, %five] : memref<?x32xf32> -> tensor<8x1xf32>
      %row = tile.reshape %tall : tensor<8x1xf32> -> tensor<8xf32>
      tile.store %row, %s[%zero, %zero] : tensor<8xf32>, memref<?x8xf32>
      %wide = tile.reshape %row : tensor<8xf32> -> tensor<1x8xf32>
      %sum = tile.reduce <add> %wide {dim = 1 : i64} : tensor<1x8xf32>
      %sums = tile.broadcast %sum dims [1] : tensor<1xf32> -> tensor<1x8xf32>
      tile.store %sums, %s[%one, %zero] : tensor<1x8xf32>, memref<?x8xf32>
      %e, %o = tile.deinterleave %row : tensor<8xf32>
      %turned = tile.interleave %o, %e : tensor<4xf32>
      tile.store %turned, %s[%two, %zero] : tensor<8xf32>, memref<?x8xf32>
      %tile = tile.load %a[%zero, %zero] : memref<?x32xf32> -> tensor<8x32xf32>
      %twice = arith.addf %tile, %tile : tensor<8x32xf32>
      %second = tensor.extract_slice %twice[1, 0] [1, 8] [1, 2] : tensor<8x32xf32> to tensor<8xf32>
      tile.store %second, %s[%three, %zero] : tensor<8xf32>, memref<?x8xf32>
      // A product of columns, onto a column.
      %left = tensor.extract_slice %twice[0, 3] [8, 1] [1, 1] : tensor<8x32xf32> to tensor<8xf32>
      %l = tile.reshape %left : tensor<8xf32> -> tensor<1x8xf32>
      %from = tensor.extract_slice %twice[0, 4] [8, 1] [1, 1] : tensor<8x32xf32> to tensor<8xf32>
      %acc = tile.reshape %from : tensor<8xf32> -> tensor<1x8xf32>
      %square = tensor.extract_slice %twice[0, 8] [8, 8] [1, 1] : tensor<8x32xf32> to tensor<8x8xf32>
      %dot = tile.dot <nt> %l, %square, %acc : tensor<1x8xf32>, tensor<8x8xf32>, tensor<1x8xf32>
      tile.store %dot, %s[%four, %zero] : tensor<1x8xf32>, memref<?x8xf32>
      tile.return
    })");
  ASSERT_TRUE(k);
  std::vector<float> a(8 * 32), s(5 * 8);
  for (size_t i = 0; i < a.size(); ++i)
    a[i] = float(i * 7 % 61) - 30;
  k->run("apart", {a.data(), s.data()});
  auto column = [&](int j, int i) { return a[i * 32 + j]; };
  float sum = 0;
  for (int i = 0; i < 8; ++i)
    sum += column(5, i);
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(s[i], column(5, i));
    EXPECT_EQ(s[8 + i], sum);
    EXPECT_EQ(s[16 + i], column(5, i ^ 1));
    EXPECT_EQ(s[24 + i], 2 * a[32 + 2 * i]);
    float product = 2 * column(4, i);
    for (int j = 0; j < 8; ++j)
      product += 4 * column(3, j) * a[i * 32 + 8 + j];
    EXPECT_EQ(s[32 + i], product);
  }
}

TEST(CpuMemory, GatherAndScatter) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @move(%a: memref<?x24xf32>, %n: memref<8xi32>, %b: memref<?x24xf32>, %m: memref<8xi32>,
                      %s: memref<?xi32>, %t: memref<8xi32>) {
      %zero = arith.constant 0 : index
      %eight = arith.constant 8 : index
      %from = tile.load %n[%zero] : memref<8xi32> -> tensor<8xi32>
      %to = tile.load %m[%zero] : memref<8xi32> -> tensor<8xi32>
      %x = tile.gather %a[%from] : memref<?x24xf32>, tensor<8xi32> -> tensor<8x32xf32>
      tile.scatter %x, %b[%to, %zero] : tensor<8x32xf32>, memref<?x24xf32>, tensor<8xi32>
      %y = tile.gather %s[%from] : memref<?xi32>, tensor<8xi32> -> tensor<8xi32>
      tile.store %y, %t[%zero] : tensor<8xi32>, memref<8xi32>
      tile.return
    }
    tile.kernel @columns(%a: memref<?x24xf32>, %n: memref<8xi32>, %b: memref<8x16xf32>) {
      %zero = arith.constant 0 : index
      %j = tile.program_id 0
      %from = tile.load %n[%zero] : memref<8xi32> -> tensor<8xi32>
      %x = tile.gather %a[%from, %j] : memref<?x24xf32>, tensor<8xi32> -> tensor<8x16xf32>
      tile.store %x, %b[%zero, %zero] : tensor<8x16xf32>, memref<8x16xf32>
      tile.return
    })");
  ASSERT_TRUE(k);
  auto a = random<float>(10 * 24);
  std::vector<int32_t> n = {3, -1, 0, 9, 9, -7, 5, 1},
                       m = {0, 1, 2, -1, 4, 5, 7, 6};
  std::vector<int32_t> s = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, t(8, -1);
  std::vector<float> b(8 * 24, -1), c(8 * 16, -1);
  k->run("move", {a.data(), n.data(), b.data(), m.data(), s.data(), t.data()});
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(t[i], n[i] < 0 ? 0 : s[n[i]]);
    for (int j = 0; m[i] >= 0 && j < 24; ++j)
      EXPECT_EQ(b[m[i] * 24 + j], n[i] < 0 ? 0 : a[n[i] * 24 + j]);
  }
  for (int j = 0; j < 24; ++j)
    EXPECT_EQ(b[3 * 24 + j], -1); // no row number 3
  for (int column : {0, 8, 9, 23}) {
    k->run("columns", {a.data(), n.data(), c.data()}, column);
    for (int i = 0; i < 8; ++i)
      for (int j = 0; j < 16; ++j)
        EXPECT_EQ(c[i * 16 + j],
                  n[i] < 0 || column + j >= 24 ? 0 : a[n[i] * 24 + column + j]);
  }
}

/// Every code with scales from the smallest to the largest, in f32 and bf16:
/// rows of any codes, and for e4m3 some that only have numbers with an exponent
/// (9), these at the scales where results become or cease to be normal numbers
/// (7), or but for one code in each block (8).
static void checkScaledRows(bool packed, int block, int width,
                            const char *isa) {
  int bytes = packed ? width / 2 : width;
  auto k = CompiledKernels::compile(fill(R"(
    tile.kernel @decode(%a: memref<?x$BYTESx$CODE>, %s: memref<?x16xf8E8M0FNU>, %n: memref<16xi32>,
                        %b: memref<16x$WIDTHxf32>, %c: memref<16x$HALFxbf16>) {
      %zero = arith.constant 0 : index
      %half = arith.constant $HALF : index
      %rows = tile.load %n[%zero] : memref<16xi32> -> tensor<16xi32>
      %x = tile.gather_scaled %a, %s[%rows] block $BLOCK : memref<?x$BYTESx$CODE>, memref<?x16xf8E8M0FNU>, tensor<16xi32> -> tensor<16x$WIDTHxf32>
      tile.store %x, %b[%zero, %zero] : tensor<16x$WIDTHxf32>, memref<16x$WIDTHxf32>
      %y = tile.gather_scaled %a, %s[%rows, %half] block $BLOCK : memref<?x$BYTESx$CODE>, memref<?x16xf8E8M0FNU>, tensor<16xi32> -> tensor<16x$HALFxbf16>
      tile.store %y, %c[%zero, %zero] : tensor<16x$HALFxbf16>, memref<16x$HALFxbf16>
      tile.return
    })",
                                         {{"BYTES", std::to_string(bytes)},
                                          {"CODE", packed ? "i8" : "f8E4M3FN"},
                                          {"WIDTH", std::to_string(width)},
                                          {"HALF", std::to_string(width / 2)},
                                          {"BLOCK", std::to_string(block)}}),
                                    isa);
  ASSERT_TRUE(k);
  auto codes = randomBytes(10 * bytes, 3), scales = randomBytes(10 * 16, 4);
  for (size_t i = 0; i < std::min<size_t>(codes.size(), 256); ++i)
    codes[i] = i;
  for (size_t i = 0; i < scales.size(); ++i)
    scales[i] = packed && i % 16 == 3 ? 0 : 10 + scales[i] % 245;
  if (!packed)
    for (int i = 7 * width; i < 10 * width; ++i) {
      int most = i / width == 8 ? 64 : 119; // in 8 none that is large, either
      codes[i] = uint8_t((codes[i] & 0x80) | (8 + (codes[i] & 0x7F) % most));
    }
  const uint8_t rare[] = {0, 0x87, 0x7F, 7, 0xFF, 0x80};
  for (int at = 8 * width; !packed && at < 9 * width; at += 64)
    codes[at + at / 64 * 13 % 64] = rare[at / 64 % 6];
  for (int i = 0; i < 16; ++i)
    scales[7 * 16 + i] = std::array<uint8_t, 4>{7, 246, 6, 247}[i % 4];
  std::vector<int32_t> rows = {3, -1, 0, 9, 1, -7, 2, 0,
                               8, 7,  4, 5, 6, -2, 8, 9};
  std::vector<float> whole(16 * width, -1);
  std::vector<uint16_t> right(16 * width / 2, 1);
  k->run("decode", {codes.data(), scales.data(), rows.data(), whole.data(),
                    right.data()});
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < width; ++j) {
      float expected = 0;
      if (rows[i] >= 0) {
        uint8_t code = codes[rows[i] * bytes + (packed ? j / 2 : j)];
        expected = packed ? ref::decodeE2M1(j % 2 ? code >> 4 : code & 15)
                          : ref::decodeE4M3(code);
        expected *= ref::decodeE8M0(scales[rows[i] * 16 + j / block]);
      }
      EXPECT_TRUE(same(whole[i * width + j], expected)) << i << "," << j;
      if (j >= width / 2)
        EXPECT_TRUE(same(ref::decodeBF16(right[i * width / 2 + j - width / 2]),
                         expected))
            << i << "," << j;
    }
}

TEST(CpuMemory, GatherScaled) {
  for (const char *isa : {"x86-64-v3", "x86-64-v4", "x86-64-v4-bf16"}) {
    checkScaledRows(false, 64, 256, isa);
    checkScaledRows(false, 64, 512, isa);
    checkScaledRows(false, 64, 64, isa); // half a block a row
    checkScaledRows(true, 32, 256, isa);
    checkScaledRows(true, 32, 32, isa);
  }
}

TEST(CpuMemory, TablesAndScalarLoads) {
  auto k = CompiledKernels::compile(R"(
    tile.kernel @pick(%t: !tile.table<3 of memref<4x16xf32>>, %ids: memref<?xi32>, %b: memref<?x16xf32>) {
      %p = tile.program_id 1
      %zero = arith.constant 0 : index
      %id = memref.load %ids[%p] : memref<?xi32>
      %e = arith.index_cast %id : i32 to index
      %w = tile.select_buffer %t[%e] : !tile.table<3 of memref<4x16xf32>> -> memref<4x16xf32>
      %x = tile.load %w[%p, %zero] : memref<4x16xf32> -> tensor<16xf32>
      tile.store %x, %b[%p, %zero] : tensor<16xf32>, memref<?x16xf32>
      tile.return
    })");
  ASSERT_TRUE(k);
  auto bytes = randomBytes(3 * 256 + 7); // aligned to nothing
  std::vector<const void *> table = {bytes.data() + 513, bytes.data() + 1,
                                     bytes.data() + 257};
  std::vector<int32_t> ids = {2, 0, 1, 2};
  std::vector<float> b(4 * 16);
  for (int i = 0; i < 4; ++i) {
    k->run("pick", {table.data(), ids.data(), b.data()}, 0, i);
    EXPECT_EQ(std::memcmp(&b[16 * i],
                          static_cast<const char *>(table[ids[i]]) + 64 * i,
                          64),
              0);
  }
}

TEST(CpuMemory, BytesAreReproducible) {
  std::string text;
  for (int i = 0; i < 9; ++i)
    text += fill(R"(
    tile.kernel @k$I(%a: memref<64xf32>, %b: memref<64xf32>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero] : memref<64xf32> -> tensor<64xf32>
      %y = math.exp %x : tensor<64xf32>
      tile.store %y, %b[%zero] : tensor<64xf32>, memref<64xf32>
      tile.return
    })",
                 {{"I", std::to_string(i)}});
  auto first = CompiledKernels::compile(text),
       second = CompiledKernels::compile(text);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->bytes, second->bytes);
}

TEST(CpuMemory, RefusesWhatItCannotDo) {
  EXPECT_NE(refusal(R"(
    tile.kernel @k(%a: memref<64xf32>, %b: memref<64xf32>) {
      %zero = arith.constant 0 : index
      %x = tile.load %a[%zero] : memref<64xf32> -> tensor<64xf32>
      %y = math.sin %x : tensor<64xf32>
      tile.store %y, %b[%zero] : tensor<64xf32>, memref<64xf32>
      tile.return
    })")
                .find("has no code on the CPU"),
            std::string::npos);
  EXPECT_NE(refusal("module {}").find("no kernel"), std::string::npos);
}
