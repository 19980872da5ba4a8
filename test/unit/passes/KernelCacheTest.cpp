// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Launches of equal kernels share one; with the check on, a body that depends
// on more than its key says is found.
#include "passes/DSV4ToTile/WeightTile.h"

#include "gtest/gtest.h"

using namespace mlir;
using namespace fathom;

namespace {
struct KernelCacheTest : testing::Test {
  KernelCacheTest() {
    context.loadDialect<tile::TileDialect, arith::ArithDialect>();
    module = ModuleOp::create(UnknownLoc::get(&context));
    context.getDiagEngine().registerHandler([&](Diagnostic &diagnostic) {
      errors.push_back(diagnostic.str());
      return success();
    });
  }

  /// A kernel that stores a number, said in its name or not.
  tile::KernelOp store(KernelCache &kernels, double number, bool said) {
    Type buffer = MemRefType::get({16}, Float32Type::get(&context));
    return kernels.get("fill", said ? std::to_string(int(number)) : "", buffer,
                       [&](KernelBuilder &k) {
                         k.store(k.full(number, {16}), k.arg(0), k.ci(0));
                       });
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  std::vector<std::string> errors;
};
} // namespace

TEST_F(KernelCacheTest, EqualKernelsAreOne) {
  KernelCache kernels(*module, /*check=*/true);
  tile::KernelOp one = store(kernels, 1, true);
  EXPECT_EQ(one, store(kernels, 1, true));
  EXPECT_NE(one, store(kernels, 2, true));
  EXPECT_EQ(kernels.size(), 2u);
  EXPECT_TRUE(kernels.consistent());
  EXPECT_TRUE(errors.empty());
  // What was written for a comparison is not left behind.
  EXPECT_EQ(llvm::range_size(module->getOps<tile::KernelOp>()), 2u);
}

TEST_F(KernelCacheTest, TwoBodiesUnderOneNameAreFound) {
  KernelCache kernels(*module, /*check=*/true);
  tile::KernelOp one = store(kernels, 1, false);
  EXPECT_EQ(one, store(kernels, 2, false));
  EXPECT_FALSE(kernels.consistent());
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0], "kernel 'fill' has two bodies under one name");
}
