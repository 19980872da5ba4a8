// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The walk over SSA: binding, dispatch, caches that live between calls, and
// what is refused.
#include "dialects/DSV4/Reference/Interpreter.h"
#include "dialects/DSV4/Reference/Evaluation.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

#include <map>

using namespace fathom;
using fathom::ref::DType;
using fathom::ref::HostTensor;

namespace {
/// Parameters from a map.
class MapSource : public ParameterSource {
public:
  llvm::Expected<HostTensor> load(llvm::StringRef name) override {
    ++loads;
    auto it = tensors.find(name.str());
    if (it == tensors.end())
      return llvm::createStringError("no tensor '" + name.str() + "'");
    return it->second;
  }
  std::map<std::string, HostTensor> tensors;
  int loads = 0;
};

class InterpreterTest : public testing::Test {
protected:
  InterpreterTest() {
    context.loadDialect<dsv4::DSV4Dialect, mlir::func::FuncDialect>();
    context.allowUnregisteredDialects();
  }

  void parse(const std::string &text) {
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    ASSERT_TRUE(module);
  }
  /// The message of a call that must fail.
  std::string failure(llvm::StringRef function,
                      llvm::ArrayRef<HostTensor> inputs) {
    Interpreter interpreter(*module, source, 2);
    auto results = interpreter.call(function, inputs);
    if (results)
      return "succeeded";
    return llvm::toString(results.takeError());
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  MapSource source;
};
} // namespace

static HostTensor ints(std::vector<int32_t> values) {
  int64_t count = static_cast<int64_t>(values.size());
  return HostTensor::fromInts({count}, values);
}

static const char *Embedding = R"mlir(
func.func @f(%ids: tensor<?xi32>) -> tensor<?x2xbf16> {
  %table = dsv4.parameter "embed.weight" : tensor<3x2xbf16>
  %x = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<3x2xbf16>) -> tensor<?x2xbf16>
  return %x : tensor<?x2xbf16>
})mlir";

TEST_F(InterpreterTest, EmbedsAndReadsAParameterOnce) {
  parse(Embedding);
  source.tensors["embed.weight"] =
      HostTensor::fromFloats(DType::BF16, {3, 2}, {1, 2, 3, 4, 5, 6});
  Interpreter interpreter(*module, source);
  EXPECT_EQ(interpreter.slots(), 1);
  for (int repeat = 0; repeat < 2; ++repeat) {
    auto results = interpreter.call("f", {ints({2, 0})});
    ASSERT_TRUE(bool(results)) << llvm::toString(results.takeError());
    ASSERT_EQ(results->size(), 1u);
    EXPECT_EQ((*results)[0].floats(), (std::vector<float>{5, 6, 1, 2}));
  }
  EXPECT_EQ(source.loads, 1);
  auto empty = interpreter.call("f", {HostTensor(DType::I32, {0})});
  ASSERT_TRUE(bool(empty)) << llvm::toString(empty.takeError());
  EXPECT_EQ((*empty)[0].shape, (std::vector<int64_t>{0, 2}));
}

TEST_F(InterpreterTest, RefusesWhatTheContractExcludes) {
  parse(Embedding);
  EXPECT_NE(failure("f", {ints({0})}).find("no tensor 'embed.weight'"),
            std::string::npos);
  source.tensors["embed.weight"] = HostTensor(DType::F32, {3, 2});
  EXPECT_NE(failure("f", {ints({0})})
                .find("expected tensor<3x2xbf16>, found "
                      "f32[3x2]"),
            std::string::npos);
  source.tensors["embed.weight"] = HostTensor(DType::BF16, {3, 2});
  EXPECT_NE(failure("f", {ints({0, 3})}).find("token id 3 at index 1"),
            std::string::npos);
  EXPECT_NE(failure("f", {ints({-1})}).find("token id -1"), std::string::npos);
  EXPECT_NE(failure("g", {}).find("no function @g"), std::string::npos);
  EXPECT_NE(failure("f", {}).find("argument 0 of @f"), std::string::npos);
  EXPECT_NE(failure("f", {}).find("is not bound"), std::string::npos);
  EXPECT_NE(failure("f", {ints({0}), ints({0})}).find("takes 1 inputs"),
            std::string::npos);
  EXPECT_NE(failure("f", {HostTensor(DType::F32, {1})}).find("input 0 of @f"),
            std::string::npos);
}

TEST_F(InterpreterTest, NamesAnUnknownOperation) {
  parse(R"mlir(
func.func @f(%x: tensor<?xi32>) -> tensor<?xi32> {
  %y = "other.op"(%x) : (tensor<?xi32>) -> tensor<?xi32>
  return %y : tensor<?xi32>
})mlir");
  std::string message = failure("f", {ints({1})});
  EXPECT_NE(message.find("other.op"), std::string::npos) << message;
  EXPECT_NE(message.find("no reference meaning"), std::string::npos) << message;
}

static const char *Attend = R"mlir(
func.func @f(%q: tensor<?x1x2xf32>, %kv: tensor<?x2xf32>, %sink: tensor<1xf32>,
             %positions: tensor<?xi32>, %slots: tensor<?xi32>,
             %window: !dsv4.cache<window, 8 rows of 2, rope = 0, f32> {dsv4.cache_name = "w"})
    -> tensor<?x1x2xf32> {
  dsv4.window_insert %window, %kv, %positions, %slots
    : (!dsv4.cache<window, 8 rows of 2, rope = 0, f32>, tensor<?x2xf32>, tensor<?xi32>, tensor<?xi32>) -> ()
  %o = "dsv4.attention"(%q, %window, %sink, %positions, %slots)
    <{operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>, window = 4 : i64, ratio = 0 : i64, scale = 1.0 : f64}>
    : (tensor<?x1x2xf32>, !dsv4.cache<window, 8 rows of 2, rope = 0, f32>, tensor<1xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x1x2xf32>
  return %o : tensor<?x1x2xf32>
})mlir";

TEST_F(InterpreterTest, CachesLiveBetweenCallsAndSlotsAreApart) {
  parse(Attend);
  const int64_t length = 6;
  std::vector<float> values;
  for (int64_t i = 0; i < 2 * length; ++i)
    values.push_back(float(i % 5) - 2);
  HostTensor kv = HostTensor::fromFloats(DType::F32, {length, 2}, values);
  HostTensor q = HostTensor::fromFloats(DType::F32, {length, 1, 2}, values);
  HostTensor sink(DType::F32, {1});
  Interpreter whole(*module, source, 2), steps(*module, source, 2);
  auto once = whole.call(
      "f", {q, kv, sink, ints({0, 1, 2, 3, 4, 5}), ints({1, 1, 1, 1, 1, 1})});
  ASSERT_TRUE(bool(once)) << llvm::toString(once.takeError());
  for (int32_t t = 0; t < length; ++t) {
    // Token t of the sequence, in a batch with another sequence.
    std::vector<float> row{values[2 * t], values[2 * t + 1], 7, -7};
    auto y =
        steps.call("f", {HostTensor::fromFloats(DType::F32, {2, 1, 2}, row),
                         HostTensor::fromFloats(DType::F32, {2, 2}, row), sink,
                         ints({t, t}), ints({1, 0})});
    ASSERT_TRUE(bool(y)) << llvm::toString(y.takeError());
    EXPECT_EQ((*y)[0].load(0), (*once)[0].load(2 * t));
    EXPECT_EQ((*y)[0].load(1), (*once)[0].load(2 * t + 1));
  }
}

TEST_F(InterpreterTest, RefusesStepsThatAreNoSequences) {
  parse(Attend);
  HostTensor q(DType::F32, {2, 1, 2}), kv(DType::F32, {2, 2}),
      sink(DType::F32, {1});
  auto run = [&](std::vector<int32_t> positions, std::vector<int32_t> slots) {
    return failure("f", {q, kv, sink, ints(positions), ints(slots)});
  };
  EXPECT_EQ(run({3, 4}, {1, 1}), "succeeded");
  EXPECT_NE(run({0, 2}, {0, 0}).find("without gaps"), std::string::npos);
  EXPECT_NE(run({0, -1}, {0, 1}).find("negative position"), std::string::npos);
  EXPECT_NE(run({0, 1}, {2, 2}).find("sequence slot 2"), std::string::npos);
  EXPECT_NE(run({0}, {0}).find("one row for each token"), std::string::npos);
  HostTensor three(DType::F32, {3, 1, 2});
  std::string message = failure("f", {three, HostTensor(DType::F32, {3, 2}),
                                      sink, ints({0, 0, 1}), ints({0, 1, 0})});
  EXPECT_NE(message.find("not contiguous"), std::string::npos) << message;
}

TEST_F(InterpreterTest, CachesNeedNamesAndOneType) {
  parse(R"mlir(
func.func @f(%w: !dsv4.cache<window, 8 rows of 2, rope = 0, f32>) {
  return
}
func.func @g(%w: !dsv4.cache<window, 8 rows of 2, rope = 0, f32> {dsv4.cache_name = "w"},
             %v: !dsv4.cache<window, 9 rows of 2, rope = 0, f32> {dsv4.cache_name = "w"}) {
  return
})mlir");
  EXPECT_NE(failure("f", {}).find("without dsv4.cache_name"),
            std::string::npos);
  EXPECT_NE(failure("g", {}).find("the cache 'w' is"), std::string::npos);
}

TEST_F(InterpreterTest, StacksExpertsAndSplitsHeads) {
  parse(R"mlir(
func.func @f(%x: tensor<?x2xf32>) -> (tensor<?x2x1xf32>, tensor<2x1x2xf32>) {
  %w = dsv4.parameter "w" : tensor<2x2xf32>
  %y = dsv4.linear %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2x1xf32>
  %e = dsv4.stacked_parameter "experts.{}.w1" : tensor<2x1x2xf32>
  return %y, %e : tensor<?x2x1xf32>, tensor<2x1x2xf32>
})mlir");
  source.tensors["w"] =
      HostTensor::fromFloats(DType::F32, {2, 2}, {1, 1, 1, -1});
  source.tensors["experts.0.w1"] =
      HostTensor::fromFloats(DType::F32, {1, 2}, {1, 2});
  source.tensors["experts.1.w1"] =
      HostTensor::fromFloats(DType::F32, {1, 2}, {3, 4});
  Interpreter interpreter(*module, source);
  int probed = 0;
  interpreter.setProbe([&](mlir::OpResult, const HostTensor &) { ++probed; });
  auto results = interpreter.call(
      "f", {HostTensor::fromFloats(DType::F32, {1, 2}, {5, 3})});
  ASSERT_TRUE(bool(results)) << llvm::toString(results.takeError());
  EXPECT_EQ((*results)[0].shape, (std::vector<int64_t>{1, 2, 1}));
  EXPECT_EQ((*results)[0].floats(), (std::vector<float>{8, 2}));
  EXPECT_EQ((*results)[1].floats(), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(probed, 3);
}

TEST_F(InterpreterTest, EveryOperationHasAReferenceMeaning) {
  attachReferenceModels(context);
  auto *dialect = context.getLoadedDialect<dsv4::DSV4Dialect>();
  ASSERT_TRUE(dialect);
  int count = 0;
  for (mlir::RegisteredOperationName name : context.getRegisteredOperations()) {
    // A group is its members; yield only names them.
    if (&name.getDialect() != dialect ||
        name.getStringRef() == dsv4::FusedOp::getOperationName() ||
        name.getStringRef() == dsv4::YieldOp::getOperationName())
      continue;
    ++count;
    EXPECT_TRUE(name.hasInterface(mlir::TypeID::get<ReferenceOpInterface>()))
        << name.getStringRef().str();
  }
  EXPECT_GE(count, 30);
}
