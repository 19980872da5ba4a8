// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Operations built without result types get the ones that follow; operands
// that no type follows from are refused with a message, not a crash.
#include "dialects/DSV4/IR/DSV4.h"
#include "dialects/Tile/IR/Tile.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/Verifier.h"

#include "gtest/gtest.h"

using namespace mlir;
using namespace fathom;

namespace {

constexpr int64_t kT = ShapedType::kDynamic;

class InferTypes : public ::testing::Test {
protected:
  InferTypes() : builder(&context) {
    context.loadDialect<dsv4::DSV4Dialect, tile::TileDialect>();
    module = ModuleOp::create(builder.getUnknownLoc());
    builder.setInsertionPointToEnd(module->getBody());
    bf16 = builder.getBF16Type();
    f32 = builder.getF32Type();
    i32 = builder.getI32Type();
  }

  RankedTensorType tensor(ArrayRef<int64_t> shape, Type element) {
    return RankedTensorType::get(shape, element);
  }
  /// A value of any type.
  Value value(Type type) {
    return UnrealizedConversionCastOp::create(builder, loc(), type,
                                              ValueRange())
        .getResult(0);
  }
  Value value(ArrayRef<int64_t> shape, Type element) {
    return value(tensor(shape, element));
  }
  Location loc() { return builder.getUnknownLoc(); }

  MLIRContext context;
  OpBuilder builder;
  OwningOpRef<ModuleOp> module;
  Type bf16, f32, i32;
};

TEST_F(InferTypes, CarriersPass) {
  auto scaled = dsv4::ScaleOp::create(builder, loc(), value({kT, 8}, bf16),
                                      APFloat(2.0));
  EXPECT_EQ(scaled.getType(), tensor({kT, 8}, bf16));
  auto rows = dsv4::SelectRowsOp::create(
      builder, loc(), value({kT, 4, 8}, bf16), value({kT}, i32));
  EXPECT_EQ(rows.getType(), tensor({kT, 4, 8}, bf16));
  EXPECT_TRUE(succeeded(verify(*module)));
}

TEST_F(InferTypes, RopeTableHasHalfTheWidth) {
  auto rope = dsv4::RopeAttr::get(&context, 64, 10000.0);
  auto table = dsv4::RopeTableOp::create(builder, loc(), value({kT}, i32), rope,
                                         /*block=*/1);
  EXPECT_EQ(table.getCos().getType(), tensor({kT, 32}, f32));
  EXPECT_EQ(table.getSin().getType(), tensor({kT, 32}, f32));
}

TEST_F(InferTypes, ScoresHaveTheRowsOfTheCache) {
  auto cache =
      value(dsv4::CacheType::get(&context, dsv4::CacheKind::Index, 7, 64, 0,
                                 dsv4::CacheFormat::FP4));
  Value positions = value({kT}, i32);
  auto scores = dsv4::IndexScoresOp::create(
      builder, loc(), value({kT, 2, 64}, bf16), value({kT, 2}, bf16), cache,
      positions, positions, /*ratio=*/4);
  EXPECT_EQ(scores.getType(), tensor({kT, 7}, f32));
  auto chosen = dsv4::SelectTopKOp::create(builder, loc(), scores, positions,
                                           /*k=*/3, /*ratio=*/4);
  EXPECT_EQ(chosen.getType(), tensor({kT, 3}, i32));
  EXPECT_TRUE(succeeded(verify(*module)));
}

TEST_F(InferTypes, RoutesHaveTheColumnsOfTheTable) {
  auto scores = dsv4::GateOp::create(builder, loc(), value({kT, 8}, bf16),
                                     value({16, 8}, bf16));
  EXPECT_EQ(scores.getType(), tensor({kT, 16}, f32));
  auto route = dsv4::RouteHashOp::create(
      builder, loc(), scores, value({kT}, i32),
      value({97, 6}, builder.getI64Type()), APFloat(1.5));
  EXPECT_EQ(route.getExpertIds().getType(), tensor({kT, 6}, i32));
  EXPECT_EQ(route.getWeights().getType(), tensor({kT, 6}, f32));
}

TEST_F(InferTypes, StreamsMixAndMixBack) {
  Value h = value({kT, 2, 8}, bf16);
  auto pre = dsv4::HCPreOp::create(builder, loc(), h, value({8, 16}, f32),
                                   value({8}, f32), value({3}, f32),
                                   APFloat(1e-6), APFloat(1e-6),
                                   /*iterations=*/3);
  EXPECT_EQ(pre.getX().getType(), tensor({kT, 8}, bf16));
  EXPECT_EQ(pre.getComb().getType(), tensor({kT, 2, 2}, f32));
  auto post = dsv4::HCPostOp::create(builder, loc(), pre.getX(), h,
                                     pre.getPost(), pre.getComb());
  EXPECT_EQ(post.getType(), h.getType());
  EXPECT_TRUE(succeeded(verify(*module)));
}

TEST_F(InferTypes, TilesLoseAndPermuteDimensions) {
  Value x = value({4, 16, 8}, f32);
  auto sum = tile::ReduceOp::create(builder, loc(), x, tile::ReduceKind::Add,
                                    /*dim=*/1);
  EXPECT_EQ(sum.getType(), tensor({4, 8}, f32));
  auto turned = tile::TransposeOp::create(builder, loc(), x,
                                          ArrayRef<int64_t>{2, 0, 1});
  EXPECT_EQ(turned.getType(), tensor({8, 4, 16}, f32));
  auto halves = tile::DeinterleaveOp::create(builder, loc(), x);
  EXPECT_EQ(halves.getEven().getType(), tensor({4, 16, 4}, f32));
  auto whole = tile::InterleaveOp::create(builder, loc(), halves.getEven(),
                                          halves.getOdd());
  EXPECT_EQ(whole.getType(), x.getType());
}

TEST_F(InferTypes, BadOperandsAreRefused) {
  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    message = diagnostic.str();
    return success();
  });
  SmallVector<Type> types;
  Value flat = value({8}, f32);
  OperationState state(loc(), dsv4::HeadNormOp::getOperationName());
  EXPECT_TRUE(failed(dsv4::HeadNormOp::inferReturnTypes(
      &context, loc(), ValueRange(flat), builder.getDictionaryAttr({}),
      OpaqueProperties(nullptr), {}, types)));
  EXPECT_NE(message.find("operand 'x' must have rank 3"), std::string::npos)
      << message;
}

} // namespace
