// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The indexer's kernels, compiled, against a plain sort: ties, numbers that are
// none, equal scores, and candidates on both sides of a part's edge.
#include "passes/DSV4ToTile/SparseAttention.h"
#include "test/unit/codegen/CompiledKernels.h"
#include "test/unit/codegen/LoweredKernels.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

using namespace fathom::test;
using namespace fathom;

constexpr int kWidth = 16, kRatio = 4;

static const char *function = R"(
  func.func @f(%q: tensor<?x2x16xf32>, %w: tensor<?x2xf32>, %p: tensor<?xi32>, %s: tensor<?xi32>,
               %x: !dsv4.cache<index, $ROWS rows of 16, rope = 0, f32> {dsv4.cache_name = "x"}) {
    %scores = dsv4.index_scores %q, %w, %x, %p, %s {ratio = 4} : (tensor<?x2x16xf32>, tensor<?x2xf32>, !dsv4.cache<index, $ROWS rows of 16, rope = 0, f32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x$ROWSxf32>
    %i = dsv4.select_topk %scores, %p {k = $K, ratio = 4} : (tensor<?x$ROWSxf32>, tensor<?xi32>) -> tensor<?x$Kxi32>
    return
  })";

/// The kernels of a group of both operations, as text.
static std::string kernelText(int rows, int k, int64_t maxTokens) {
  return kernelsOf(
      fill(function,
           {{"ROWS", std::to_string(rows)}, {"K", std::to_string(k)}}),
      maxTokens, [](Lowering &lowering, mlir::func::FuncOp source) {
        emitIndexer(lowering, *source.getOps<dsv4::IndexScoresOp>().begin(),
                    *source.getOps<dsv4::SelectTopKOp>().begin(), {});
      });
}

static std::vector<int32_t> sorted(const std::vector<float> &scores,
                                   int visible, int k) {
  std::vector<int32_t> order(visible);
  std::iota(order.begin(), order.end(), 0);
  auto key = [&](int32_t b) {
    return std::isnan(scores[b]) ? -std::numeric_limits<float>::infinity()
                                 : scores[b];
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return key(a) > key(b); });
  order.resize(std::min(visible, k));
  std::sort(order.begin(), order.end());
  order.resize(k, -1);
  return order;
}

namespace {
struct Choice {
  int rows, k, part;
  std::string text, select, merge;
  std::unique_ptr<CompiledKernels> kernels;

  Choice(int rows, int k, int64_t maxTokens) : rows(rows), k(k) {
    text = kernelText(rows, k, maxTokens);
    select = nameIn(text, "index_select");
    merge = nameIn(text, "index_merge");
    part = std::atoi(select.substr(select.rfind('_') + 1).c_str());
    kernels = CompiledKernels::compile(text);
  }

  /// Scores of blocks as differences of two heads' products.
  std::vector<int32_t> of(const std::vector<float> &scores, int visible) {
    std::vector<float> keys(rows * kWidth), q(2 * kWidth), w = {1, -1};
    q[0] = q[kWidth + 1] = 1;
    for (int b = 0; b < rows; ++b) {
      bool below = scores[b] < 0;
      keys[b * kWidth + below] = std::fabs(scores[b]);
    }
    int32_t position = visible * kRatio - 1, slot = 0;
    int parts = (rows + part - 1) / part;
    std::vector<int32_t> result(k, -7), blocks(parts * k, -7),
        order(parts * k, -7);
    for (int p = 0; p < parts; ++p) {
      std::vector<const void *> args = {q.data(), w.data(),    &position,
                                        &slot,    keys.data(), blocks.data()};
      if (parts > 1)
        args.push_back(order.data());
      kernels->run(select.c_str(), args, 0, p);
    }
    if (parts == 1)
      return blocks;
    kernels->run(merge.c_str(),
                 {&position, blocks.data(), order.data(), result.data()});
    return result;
  }
};
} // namespace

static void check(int rows, int k, int64_t maxTokens, bool divided) {
  Choice choice(rows, k, maxTokens);
  ASSERT_TRUE(choice.kernels);
  EXPECT_EQ(choice.merge.empty(), !divided) << choice.text;
  std::mt19937 generator(rows + k);
  float nan = std::nanf("");
  for (int kind = 0; kind < 6; ++kind) {
    std::vector<float> scores(rows);
    for (int b = 0; b < rows; ++b) {
      int n = generator() % 1000;
      switch (kind) {
      case 0:
        scores[b] = float(n) / 7 - 60;
        break; // both signs
      case 1:
        scores[b] = float(n % 3);
        break; // many ties
      case 2:
        scores[b] = 2.5f;
        break; // all equal
      case 3:
        scores[b] = n % 4 ? nan : float(n);
        break;
      case 4:
        scores[b] = n % 5 ? -float(n) : -0.f;
        break;
      default:
        scores[b] = n % 50 ? float(b % 17) : 1e30f;
      }
    }
    if (kind == 1 && rows > choice.part) // the best around the edge of a part
      for (int b = choice.part - 3; b < choice.part + 3; ++b)
        scores[b] = 9;
    for (int visible : {0, 1, k - 1, k, k + 1, choice.part - 1, choice.part,
                        choice.part + 1, choice.part + k, rows - 1, rows})
      if (visible >= 0 && visible <= rows)
        EXPECT_EQ(choice.of(scores, visible), sorted(scores, visible, k))
            << "kind " << kind << ", " << visible << " of " << rows;
  }
}

TEST(CpuSelection, OnePartIsASort) {
  check(48, 5, 1, false);
  check(700, 64, 16, false);
}

TEST(CpuSelection, PartsAreASort) {
  check(2500, 5, 1, true);
  check(2500, 300, 1, true);
  check(3000, 700, 1, true); // parts larger than the least
  check(17000, 100, 512, true);
}
