// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What operations cost: every operation of the dialect knows, sums over tokens
// are those of a plain loop, and single operations are as counted by hand.
#include "dialects/DSV4/Cost/Cost.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace fathom;

namespace {

class CostTest : public testing::Test {
protected:
  CostTest() {
    DialectRegistry registry;
    registry.insert<dsv4::DSV4Dialect, func::FuncDialect>();
    registerCostModels(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  /// The cost of the only costed operation in a function with this body.
  Cost costOf(const std::string &arguments, const std::string &body,
              const Workload &load) {
    std::string text =
        "func.func @f(" + arguments + ") {\n" + body + "\n return\n}";
    module = parseSourceString<ModuleOp>(text, &context);
    EXPECT_TRUE(module) << text;
    Cost total;
    if (!module)
      return total;
    auto function = module->lookupSymbol<func::FuncOp>("f");
    CostContext step(function, load);
    for (Operation &op : function.getBody().front())
      if (auto known = dyn_cast<CostOpInterface>(op))
        total += known.cost(step);
    return total;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

} // namespace

TEST_F(CostTest, EveryOperationKnows) {
  unsigned count = 0;
  for (RegisteredOperationName name : context.getRegisteredOperations()) {
    if (name.getDialectNamespace() != "dsv4")
      continue;
    ++count;
    EXPECT_TRUE(name.hasInterface<CostOpInterface>())
        << name.getStringRef().str();
  }
  EXPECT_GT(count, 30u);
}

TEST_F(CostTest, SumsAreThoseOfALoop) {
  for (Workload load : {Workload{1, 0, 1, 1}, Workload{1, 0, 1000, 4},
                        Workload{3, 517, 40, 2}, Workload{2, 130, 1, 1}}) {
    costOf("", "", load);
    CostContext step(module->lookupSymbol<func::FuncOp>("f"), load);
    for (int64_t window : {1, 128, 700}) {
      double sum = 0;
      for (int64_t p = load.first; p < load.first + load.count; ++p)
        sum += load.sequences * std::min(p + 1, window);
      EXPECT_EQ(step.windowKeys(window), sum) << window;
    }
    for (int64_t ratio : {4, 128})
      for (int64_t most : {1, 7, 1000000}) {
        double sum = 0;
        for (int64_t p = load.first; p < load.first + load.count; ++p)
          sum += load.sequences * std::min((p + 1) / ratio, most);
        EXPECT_EQ(step.blocks(ratio, most), sum) << ratio << " " << most;
      }
  }
}

TEST_F(CostTest, Linear) {
  Cost cost = costOf("%x: tensor<?x256xbf16>",
                     R"(%w = dsv4.parameter "w" : tensor<384x256xf8E4M3FN>
     %s = dsv4.parameter "s" : tensor<3x2xf8E8M0FNU>
     %y = dsv4.linear %x, %w, %s : (tensor<?x256xbf16>, tensor<384x256xf8E4M3FN>, tensor<3x2xf8E8M0FNU>) -> tensor<?x384xbf16>)",
                     {5, 10, 2, 1});
  EXPECT_EQ(cost.weightFlops, 2. * 10 * 384 * 256);
  EXPECT_EQ(cost.weightBytes, 384. * 256 + 3 * 2);
  EXPECT_EQ(cost.activationBytes, 10. * (256 + 384) * 2);
  EXPECT_EQ(cost.attentionFlops + cost.indexFlops + cost.otherFlops, 0);
  EXPECT_EQ(cost.cacheGrowthBytes, 0);
}

TEST_F(CostTest, RowsOfLogitsAreOneASequence) {
  Cost cost = costOf(
      "%x: tensor<?x256xbf16>, %r: tensor<?xi32>",
      R"(%w = dsv4.parameter "w" : tensor<512x256xbf16>
     %s = dsv4.select_rows %x, %r : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
     %y = dsv4.linear %s, %w : (tensor<?x256xbf16>, tensor<512x256xbf16>) -> tensor<?x512xf32>)",
      Workload::prefill(100, 3, 50));
  EXPECT_EQ(cost.weightFlops, 2. * 3 * 512 * 256);
  EXPECT_EQ(cost.weightBytes, 6. * 512 * 256 * 2); // in each of six steps
}

TEST_F(CostTest, BlocksGrowTheCacheAndTheWindowDoesNot) {
  Cost cost = costOf(
      "%c: !dsv4.cache<compressed, 64 rows of 512, rope = 64, fp8>, "
      "%w: !dsv4.cache<window, 128 rows of 512, rope = 64, fp8>, "
      "%x: tensor<?x512xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>",
      R"(dsv4.compressed_insert %c, %x, %p, %s {ratio = 4 : i64} : (!dsv4.cache<compressed, 64 rows of 512, rope = 64, fp8>, tensor<?x512xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
     dsv4.window_insert %w, %x, %p, %s : (!dsv4.cache<window, 128 rows of 512, rope = 64, fp8>, tensor<?x512xbf16>, tensor<?xi32>, tensor<?xi32>) -> ())",
      Workload::decode(1000, 2));
  // 448 codes, 8 bytes of scales, 64 bf16.
  EXPECT_EQ(cost.cacheGrowthBytes, 584. / 4);
  EXPECT_EQ(cost.cacheWrittenBytes, 2 * (584. / 4 + 584));
}

TEST_F(CostTest, Attention) {
  const std::string body =
      R"(%k = dsv4.parameter "sink" : tensor<8xf32>
     %o = "dsv4.attention"(%q, %w, %c, %k, %p, %s) <{operandSegmentSizes = array<i32: 1, 1, 1, 0, 1, 1, 1>, ratio = 128 : i64, scale = 1.0 : f64, window = 128 : i64}> : (tensor<?x8x512xbf16>, !dsv4.cache<window, 256 rows of 512, rope = 64, fp8>, !dsv4.cache<compressed, 64 rows of 512, rope = 64, fp8>, tensor<8xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x8x512xbf16>)";
  Cost cost = costOf(
      "%q: tensor<?x8x512xbf16>, "
      "%w: !dsv4.cache<window, 256 rows of 512, rope = 64, fp8>, "
      "%c: !dsv4.cache<compressed, 64 rows of 512, rope = 64, fp8>, "
      "%p: tensor<?xi32>, %s: tensor<?xi32>",
      body, Workload::decode(1280, 1));
  EXPECT_EQ(cost.attentionFlops, 4. * (128 + 10) * 8 * 512);
  EXPECT_EQ(cost.cacheReadBytes, (128. + 10) * 584);
}
