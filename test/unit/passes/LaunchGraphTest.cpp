// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Levels of random schedules: whatever order launches of a level run in, each
// finds the memory that it would have found before.
#include "passes/LaunchGraph.h"

#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

#include <random>

using namespace mlir;
using namespace fathom;

namespace {

constexpr int kBuffers = 6;

struct Schedule {
  std::string text;
  std::vector<std::pair<int, int>> launches; // reads, writes
};

/// Copies between buffers, some of them seen through views, and one cache that
/// every launch names anew.
Schedule randomSchedule(std::mt19937 &rng, int count) {
  Schedule s;
  s.text = "tile.kernel @copy(%x: memref<?x16xf32>, %y: memref<?x16xf32>) {\n"
           "  %t = tile.program_id 0\n"
           "  %c0 = arith.constant 0 : index\n"
           "  %v = tile.load %x[%t, %c0] : memref<?x16xf32> -> tensor<16xf32>\n"
           "  tile.store %v, %y[%t, %c0] : tensor<16xf32>, memref<?x16xf32>\n"
           "  tile.return\n}\n"
           "func.func @step(%t: index) {\n";
  for (int i = 1; i < kBuffers; ++i)
    s.text +=
        "  %b" + std::to_string(i) + " = memref.alloc() : memref<16x16xf32>\n";
  int next = 0;
  auto buffer = [&](int i) {
    std::string name = "%v" + std::to_string(next++);
    if (i == 0)
      s.text += "  " + name +
                " = tile.cache \"c\" \"rows\" : " + "memref<?x16xf32>\n";
    else
      s.text += "  " + name + " = memref.cast %b" + std::to_string(i) +
                " : memref<16x16xf32> to memref<?x16xf32>\n";
    return name;
  };
  for (int i = 0; i < count; ++i) {
    int from = int(rng() % kBuffers), to = int(rng() % (kBuffers - 1));
    to += to >= from;
    s.launches.push_back({from, to});
    std::string x = buffer(from), y = buffer(to);
    s.text += "  tile.launch @copy affine_map<(t, r) -> (t)> (" + x + ", " + y +
              ") {number = " + std::to_string(i) +
              " : i64} : memref<?x16xf32>, memref<?x16xf32>\n";
  }
  s.text += "  return\n}\n";
  return s;
}

TEST(LaunchGraph, LevelsKeepEveryDependence) {
  MLIRContext context;
  context.loadDialect<tile::TileDialect, func::FuncDialect, arith::ArithDialect,
                      memref::MemRefDialect>();
  std::mt19937 rng(7);
  for (int round = 0; round < 50; ++round) {
    Schedule s = randomSchedule(rng, 1 + int(rng() % 30));
    auto module = parseSourceString<ModuleOp>(s.text, &context);
    ASSERT_TRUE(module) << s.text;
    auto levels = launchLevels(*module->getOps<func::FuncOp>().begin());
    std::vector<int64_t> levelOf(s.launches.size(), -1);
    for (auto [level, launches] : llvm::enumerate(levels)) {
      EXPECT_FALSE(launches.empty());
      for (tile::LaunchOp launch : launches) {
        auto number = launch->getAttrOfType<IntegerAttr>("number").getInt();
        EXPECT_EQ(levelOf[number], -1);
        levelOf[number] = int64_t(level);
      }
    }
    for (size_t j = 0; j < s.launches.size(); ++j) {
      ASSERT_GE(levelOf[j], 0);
      auto [readJ, writtenJ] = s.launches[j];
      bool reason = levelOf[j] == 0;
      for (size_t i = 0; i < j; ++i) {
        auto [readI, writtenI] = s.launches[i];
        if (writtenI != readJ && writtenI != writtenJ && readI != writtenJ)
          continue;
        EXPECT_LT(levelOf[i], levelOf[j]) << i << " and " << j;
        reason |= levelOf[i] + 1 == levelOf[j];
      }
      EXPECT_TRUE(reason) << j << " could run earlier";
    }
  }
}

} // namespace
