// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The kernels of entry "greedy", compiled, against the choice that the tools
// make on the host: ties, numbers that are none, segments and their ends.
#include "passes/DSV4ToTile/Greedy.h"
#include "test/unit/codegen/CompiledKernels.h"

#include <limits>

using namespace fathom::test;
using namespace fathom;

static std::string kernelText(int64_t vocabulary) {
  mlir::DialectRegistry registry;
  registry.insert<tile::TileDialect, mlir::arith::ArithDialect,
                  mlir::func::FuncDialect, mlir::math::MathDialect,
                  mlir::memref::MemRefDialect, mlir::scf::SCFDialect,
                  mlir::tensor::TensorDialect>();
  mlir::MLIRContext context(registry);
  context.loadAllAvailableDialects();
  mlir::OpBuilder b(&context);
  mlir::OwningOpRef<mlir::ModuleOp> module =
      mlir::ModuleOp::create(b.getUnknownLoc());
  b.setInsertionPointToEnd(module->getBody());
  KernelCache kernels(*module);
  addGreedySchedule(b, b.getUnknownLoc(), kernels, *TileShapes::find("cpu"),
                    vocabulary, /*maxTokens=*/4);
  std::string text;
  llvm::raw_string_ostream os(text);
  for (auto kernel : module->getOps<tile::KernelOp>())
    os << kernel << "\n";
  return text;
}

/// The first of the largest; what is no number never; 0 if there is none.
static int32_t wanted(const float *row, int64_t count) {
  int64_t best = -1;
  for (int64_t i = 0; i < count; ++i)
    if (row[i] == row[i] && (best < 0 || row[i] > row[best]))
      best = i;
  return int32_t(best < 0 ? 0 : best);
}

namespace {

struct Greedy {
  int64_t vocabulary, segments;
  std::unique_ptr<CompiledKernels> kernels;

  explicit Greedy(int64_t vocabulary)
      : vocabulary(vocabulary), segments((vocabulary + 8191) / 8192),
        kernels(CompiledKernels::compile(kernelText(vocabulary))) {}

  /// Each row's choice.
  std::vector<int32_t> of(const std::vector<float> &logits) {
    const int64_t rows = int64_t(logits.size()) / vocabulary;
    std::vector<int32_t> orders(rows * segments, -7), ids(rows * segments, -7),
        chosen(rows, -7), positions(rows);
    for (int64_t r = 0; r < rows; ++r)
      positions[r] = int32_t(100 + r);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t s = 0; s < segments; ++s)
        kernels->run("greedy_scan", {logits.data(), orders.data(), ids.data()},
                     r, s);
    for (int64_t r = 0; r < rows; ++r)
      kernels->run("greedy_choice",
                   {orders.data(), ids.data(), positions.data(), chosen.data(),
                    positions.data()},
                   r);
    for (int64_t r = 0; r < rows; ++r)
      EXPECT_EQ(positions[r], 101 + r);
    return chosen;
  }

  void check(const std::vector<float> &logits) {
    std::vector<int32_t> expected;
    for (size_t at = 0; at < logits.size(); at += size_t(vocabulary))
      expected.push_back(wanted(&logits[at], vocabulary));
    EXPECT_EQ(of(logits), expected) << vocabulary;
  }
};

} // namespace

TEST(Greedy, RandomRows) {
  for (int64_t vocabulary : {1, 24, 1000, 8192, 8193, 20001}) {
    Greedy greedy(vocabulary);
    ASSERT_NE(greedy.kernels, nullptr);
    greedy.check(random<float>(size_t(3 * vocabulary), 5));
    // Few values: ties within tiles, between tiles, between segments.
    std::vector<float> ties = random<float>(size_t(3 * vocabulary), 6);
    for (float &value : ties)
      value = float(int(value));
    greedy.check(ties);
  }
}

TEST(Greedy, UnusualNumbers) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  for (int64_t vocabulary : {40, 9000}) {
    Greedy greedy(vocabulary);
    const size_t last = size_t(vocabulary) - 1;
    auto row = [&](float all, std::vector<std::pair<size_t, float>> others) {
      std::vector<float> logits(size_t(vocabulary), all);
      for (auto [at, value] : others)
        logits[at] = value;
      greedy.check(logits);
    };
    row(-5, {{last, -4}});
    row(-5, {});
    row(nan, {});
    row(nan, {{last, -infinity}});
    row(nan, {{7, -3e38f}, {last, -3e38f}});
    row(-infinity, {{3, nan}});
    row(0.0f, {{0, -0.0f}, {9, nan}});
    row(-0.0f, {{5, 0.0f}});
    row(1, {{2, infinity}, {last, infinity}});
    row(-1e-45f, {{last, -0.0f}});
    row(3, {{0, nan}, {1, nan}});
  }
}
