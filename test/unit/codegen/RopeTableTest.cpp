// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Cosines and sines of positions, compiled, against the C library's in double:
// equal f32, but where that lies on the edge of two.
#include "dialects/DSV4/Reference/Kernels/Rope.h"
#include "test/unit/codegen/CompiledKernels.h"
#include "test/unit/codegen/LoweredKernels.h"

#include <algorithm>
#include <cmath>

using namespace fathom::test;
using namespace fathom;

static const char *function = R"(
  func.func @f(%p: tensor<?xi32>) {
    %cos, %sin = dsv4.rope_table %p {block = 1, rope = #dsv4.rope<width = 8, theta = 1.000000e+02 : f64, factor = 0.000000e+00 : f64, original = 0, beta_fast = 0.000000e+00 : f64, beta_slow = 0.000000e+00 : f64>} : (tensor<?xi32>) -> (tensor<?x4xf32>, tensor<?x4xf32>)
    return
  })";

/// How far a rounded number is from x, in halves of its last place.
static double halves(float rounded, double x) {
  double place = std::abs(double(std::nextafter(rounded, 2.f)) - rounded);
  return std::abs(rounded - x) / place * 2;
}

TEST(CpuRopeTable, AnglesUpToTheLargestPositionAreRoundedOnce) {
  std::string text = kernelsOf(
      function, /*maxTokens=*/1,
      [](Lowering &lowering, mlir::func::FuncOp source) {
        lowerRopeTable(lowering, *source.getOps<dsv4::RopeTableOp>().begin());
      });
  std::string name = nameIn(text, "rope_table");
  auto kernels = CompiledKernels::compile(text);
  ASSERT_TRUE(kernels);
  const std::vector<float> frequencies = ref::ropeFrequencies(8, 100, {});
  std::mt19937 generator(7);
  double worst = 0;
  for (int bits = 1; bits <= 24; ++bits)
    for (int i = 0; i < 500; ++i) {
      int32_t position = int32_t(generator() >> 1) % (1 << bits);
      float cosine[4], sine[4];
      kernels->run(name.c_str(), {&position, cosine, sine});
      for (int j = 0; j < 4; ++j) {
        float angle = float(position) * frequencies[j];
        worst = std::max({worst, halves(cosine[j], std::cos(double(angle))),
                          halves(sine[j], std::sin(double(angle)))});
      }
    }
  EXPECT_LT(worst, 1 + 1e-6);
}
