// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the bytecode writer refuses; what it writes is read by tileirdisasm in
// test/codegen/NVIDIA/bytecode.test.
#include "codegen/NVIDIA/Bytecode/Encoding.h"
#include "codegen/NVIDIA/Bytecode/Writer.h"

#include "gtest/gtest.h"

#include <functional>

using namespace fathom::cudatile;

namespace {
using S = Scalar;

std::string problemOf(std::vector<Type> arguments,
                      const std::function<void(Function &)> &body,
                      Hints hints = {}) {
  Module module("test");
  Function &f = module.entry("k", std::move(arguments), std::move(hints));
  body(f);
  f.ret();
  llvm::Expected<std::string> file = module.finish();
  return file ? "" : llvm::toString(file.takeError());
}
std::string problemOf(const std::function<void(Function &)> &body) {
  return problemOf({Type::tile(pointerTo(S::F32))}, body);
}
} // namespace

TEST(Encoding, Numbers) {
  EXPECT_EQ(varint(0), std::string(1, '\0'));
  EXPECT_EQ(varint(127), "\x7F");
  EXPECT_EQ(varint(300), "\xAC\x02");
  EXPECT_EQ(zigzag(-1), "\x01");
  EXPECT_EQ(zigzag(1), "\x02");
  EXPECT_EQ(zigzag(std::numeric_limits<int64_t>::min()).size(), 10u);
  EXPECT_EQ(fixed(0x0102, 4), std::string("\x02\x01\0\0", 4));
}

TEST(Bytecode, HeaderAndDeterminism) {
  std::string files[2];
  for (std::string &file : files) {
    Module module("test");
    Function &f = module.entry("k", {});
    f.splatFloat(S::F32, 1, {64});
    f.ret();
    file = llvm::cantFail(module.finish());
  }
  EXPECT_EQ(files[0], files[1]);
  EXPECT_EQ(files[0].substr(0, 10), std::string("\x7FTileIR\0\x0D\x03", 10));
}

TEST(Bytecode, TilesThatItCannotHold) {
  auto tile = [](std::vector<int64_t> shape, Scalar scalar = S::F32) {
    return problemOf([=](Function &f) { f.splatBits(scalar, 0, shape); });
  };
  EXPECT_EQ(tile({64, 64}), "");
  EXPECT_EQ(tile({1 << 12, 1 << 12}), "");
  EXPECT_EQ(tile({48}),
            "entry 'k': constant: a tile dimension of 48 is no power of two");
  EXPECT_EQ(tile({1 << 12, 1 << 13}),
            "entry 'k': constant: a tile has more than 2^24 elements");
  EXPECT_EQ(tile({1}, S::I4), "entry 'k': constant: a tile of 4-bit elements "
                              "has an odd number of them");
}

TEST(Bytecode, ViewsThatItCannotHold) {
  auto view = [](std::vector<Size> shape, std::vector<Size> strides,
                 std::vector<int64_t> tile, std::vector<int32_t> dims) {
    return problemOf([=](Function &f) {
      f.partitionView(f.tensorView(f.argument(0), shape, strides), tile, {},
                      dims);
    });
  };
  EXPECT_EQ(view({8, 8}, {8, 1}, {4, 4}, {1, 0}), "");
  EXPECT_NE(view({8, 8}, {8}, {4, 4}, {}).find("as many strides"),
            std::string::npos);
  EXPECT_NE(view({0, 8}, {8, 1}, {4, 4}, {}).find("is not positive"),
            std::string::npos);
  EXPECT_NE(view({8, 8}, {8, 1}, {4}, {}).find("a tile of rank 1"),
            std::string::npos);
  EXPECT_NE(view({8, 8}, {8, 1}, {4, 4}, {1, 1}).find("no permutation"),
            std::string::npos);
}

TEST(Bytecode, Structure) {
  EXPECT_NE(problemOf({Type::tile(S::F32, 8)}, [](Function &) {})
                .find("tiles of rank 0"),
            std::string::npos);
  EXPECT_NE(problemOf([](Function &f) {
              f.emit(Op::AddF, {}, {});
            }).find("wrong number of operand lists"),
            std::string::npos);
  EXPECT_NE(problemOf([](Function &f) { f.ret(); }).find("after the end"),
            std::string::npos);
  EXPECT_NE(problemOf([](Function &f) {
              f.emit(Op::Loop, {}, ValueList(), {},
                     Function::Region{{}, [](ValueRef) {}});
            }).find("without a terminator"),
            std::string::npos);
  EXPECT_NE(problemOf([](Function &f) {
              Value inner;
              Value one = f.splatInt(S::I32, 1);
              f.forLoop(one, one, one, {}, [&](const Value &iv, ValueRef) {
                inner = f.binary(Op::AddI, iv, iv);
                return ValueList{};
              });
              f.unary(Op::NegI, inner);
            }).find("from a region that has ended"),
            std::string::npos);
  Module module("test");
  module.entry("k", {}).ret();
  module.entry("k", {}).ret();
  EXPECT_NE(llvm::toString(module.finish().takeError()).find("of this name"),
            std::string::npos);
  Module open("test");
  open.entry("k", {});
  EXPECT_NE(llvm::toString(open.finish().takeError()).find("with a return"),
            std::string::npos);
}

TEST(Bytecode, AttributesThatItCannotHold) {
  auto hints = [](const char *name, int64_t value) {
    return problemOf({}, [](Function &) {},
                     {{"default", {{name, {value, false}}}}});
  };
  EXPECT_EQ(hints("num_worker_warps_per_cta", 8), "");
  EXPECT_NE(hints("num_worker_warps_per_cta", 6), "");
  EXPECT_NE(hints("num_cta_in_cga", 32), "");
  EXPECT_NE(hints("speed", 1), "");
  EXPECT_NE(problemOf([](Function &f) {
              f.assumeDivBy(f.argument(0), 12);
            }).find("no power of two"),
            std::string::npos);
  EXPECT_NE(problemOf([](Function &f) {
              Attributes a;
              a.scope = Scope::Device;
              f.loadPtr(f.argument(0), a);
            }).find("a weak access has no scope"),
            std::string::npos);
  EXPECT_NE(problemOf([](Function &f) {
              Attributes a;
              a.constant = "abc";
              f.one(Op::Constant, Type::tile(S::F32, 8), {}, a);
            }).find("3 bytes for a constant of 32"),
            std::string::npos);
  EXPECT_NE(problemOf([](Function &f) {
              f.one(Op::JoinTokens, Type::token(), f.makeToken());
            }).find("fewer than two tokens"),
            std::string::npos);
}
