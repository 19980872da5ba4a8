// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// .npy files and the two ways of running a module on files.
#include "dialects/DSV4/Reference/Driver.h"
#include "dialects/DSV4/IR/DSV4.h"
#include "dialects/DSV4/Reference/NpyIO.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"

using namespace fathom;
using fathom::ref::DType;
using fathom::ref::HostTensor;

namespace {
class DriverTest : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(
        llvm::sys::fs::createUniqueDirectory("fathom-driver", directory));
    context.loadDialect<dsv4::DSV4Dialect, mlir::func::FuncDialect>();
  }
  void TearDown() override { llvm::sys::fs::remove_directories(directory); }
  std::string path(const char *name) {
    llvm::SmallString<128> result = directory;
    llvm::sys::path::append(result, name);
    return result.str().str();
  }
  void write(const char *name, llvm::StringRef text) {
    std::error_code error;
    llvm::raw_fd_ostream(path(name), error) << text;
    ASSERT_FALSE(error);
  }

  llvm::SmallString<128> directory;
  mlir::MLIRContext context;
};
} // namespace

static std::string message(llvm::Error error) {
  return llvm::toString(std::move(error));
}

TEST_F(DriverTest, NpyRoundTrips) {
  HostTensor values =
      HostTensor::fromFloats(DType::F32, {2, 3}, {1, -2, 3.5f, 0, 1e-30f, 7});
  HostTensor integers = HostTensor::fromInts({4}, {1, -2, 3, 4});
  HostTensor empty(DType::F32, {0, 5}), scalar(DType::I64, {});
  for (const HostTensor &tensor : {values, integers, empty, scalar}) {
    ASSERT_EQ(message(writeNpy(path("x.npy"), tensor)), "");
    auto read = readNpy(path("x.npy"));
    ASSERT_TRUE(bool(read)) << llvm::toString(read.takeError());
    EXPECT_TRUE(*read == tensor);
  }
  HostTensor narrow = HostTensor::fromFloats(DType::BF16, {2}, {1.5f, -3});
  ASSERT_EQ(message(writeNpy(path("x.npy"), narrow)), "");
  auto read = readNpy(path("x.npy"));
  ASSERT_TRUE(bool(read)) << llvm::toString(read.takeError());
  EXPECT_EQ(read->dtype, DType::F32);
  EXPECT_EQ(read->floats(), narrow.floats());
}

TEST_F(DriverTest, NpyRefusesDamage) {
  ASSERT_EQ(message(writeNpy(path("x.npy"), HostTensor(DType::F32, {2, 2}))),
            "");
  auto file = llvm::MemoryBuffer::getFile(path("x.npy"));
  ASSERT_TRUE(bool(file));
  std::string good = (*file)->getBuffer().str();
  auto refused = [&](std::string text) {
    auto tensor = parseNpy(text, "x.npy");
    if (tensor)
      return std::string("accepted");
    return llvm::toString(tensor.takeError());
  };
  EXPECT_EQ(refused(good), "accepted");
  // No prefix is taken for a file.
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_NE(refused(good.substr(0, length)), "accepted") << length;
  auto replaced = [&](const std::string &from, const std::string &to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return refused(text);
  };
  EXPECT_NE(replaced("<f4", "<f2").find("'<f2'"), std::string::npos);
  EXPECT_NE(replaced("False", "True ").find("C order"), std::string::npos);
  EXPECT_NE(replaced("2,2,", "2,3,").find("needs 24 bytes"), std::string::npos);
  EXPECT_NE(replaced("2,2,", "2,-2").find("no legal shape"), std::string::npos);
  EXPECT_NE(
      replaced("(2,2,), }      ", "(4294967296,4294967296,4)}").find("shape"),
      std::string::npos);
  EXPECT_NE(message(readNpy(path("absent.npy")).takeError()).find("absent"),
            std::string::npos);
}

/// A "model" whose logits are the embedding of the id and whose MTP logits are
/// the embedding of the next id: enough to see which row goes where.
static const char *Model = R"mlir(
module attributes {dsv4.model = #dsv4.model<numerics = <f32>, hidden = 4, layers = 1, vocabulary = 4,
    streams = 1, heads = 1, head_dim = 1, experts = 1, experts_per_token = 1, mtp_layers = 1, bos = 0,
    eos = [1], ratios = [0, 0], max_context = 8, max_sequences = 2, max_step_tokens = 3>} {
func.func @step(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %slots: tensor<?xi32>, %rows: tensor<?xi32>,
                %window: !dsv4.cache<window, 16 rows of 4, rope = 0, f32> {dsv4.cache_name = "w"})
    -> (tensor<?x4xf32>, tensor<?x1x4xf32>) {
  %w = dsv4.parameter "w" : tensor<4x4xf32>
  %x = dsv4.embed %ids, %w : (tensor<?xi32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  dsv4.window_insert %window, %x, %positions, %slots
    : (!dsv4.cache<window, 16 rows of 4, rope = 0, f32>, tensor<?x4xf32>, tensor<?xi32>, tensor<?xi32>) -> ()
  %h = dsv4.hc_expand %x : (tensor<?x4xf32>) -> tensor<?x1x4xf32>
  %y = dsv4.select_rows %x, %rows : (tensor<?x4xf32>, tensor<?xi32>) -> tensor<?x4xf32>
  return %y, %h : tensor<?x4xf32>, tensor<?x1x4xf32>
}
func.func @mtp_0(%streams: tensor<?x1x4xf32>, %ids: tensor<?xi32>, %positions: tensor<?xi32>,
                 %slots: tensor<?xi32>, %rows: tensor<?xi32>) -> (tensor<?x4xf32>, tensor<?x1x4xf32>) {
  %w = dsv4.parameter "w" : tensor<4x4xf32>
  %x = dsv4.embed %ids, %w : (tensor<?xi32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %h = dsv4.add_streams %x, %streams : (tensor<?x4xf32>, tensor<?x1x4xf32>) -> tensor<?x1x4xf32>
  return %x, %h : tensor<?x4xf32>, tensor<?x1x4xf32>
}
})mlir";

namespace {
class IdentitySource : public ParameterSource {
public:
  llvm::Expected<HostTensor> load(llvm::StringRef) override {
    HostTensor w(DType::F32, {4, 4});
    for (int i = 0; i < 4; ++i)
      w.store(i * 5, 1);
    return w;
  }
};
} // namespace

static std::vector<int> argmax(const HostTensor &rows) {
  std::vector<int> result;
  for (int64_t r = 0; r < rows.dim(0); ++r)
    for (int c = 0; c < 4; ++c)
      if (rows.load(r * 4 + c) == 1)
        result.push_back(c);
  return result;
}

TEST_F(DriverTest, TokensComeBackInOrderWhateverTheChunk) {
  auto module = mlir::parseSourceString<mlir::ModuleOp>(Model, &context);
  ASSERT_TRUE(module);
  IdentitySource source;
  // Three lines for two slots, one of a single token, longer than a step.
  write("tokens.txt", "1,2,3,0,1\n3\n2,2,0\n");
  for (int64_t chunk : {0, 1, 2, 7}) {
    InterpretTokensOptions options{path("tokens.txt"), path("out.npy"), chunk,
                                   false};
    ASSERT_EQ(message(interpretTokens(*module, source, options)), "");
    auto out = readNpy(path("out.npy"));
    ASSERT_TRUE(bool(out)) << llvm::toString(out.takeError());
    EXPECT_EQ(argmax(*out), (std::vector<int>{1, 2, 3, 0, 1, 3, 2, 2, 0}));
    options.mtp = true;
    ASSERT_EQ(message(interpretTokens(*module, source, options)), "");
    out = readNpy(path("out.npy"));
    ASSERT_TRUE(bool(out)) << llvm::toString(out.takeError());
    EXPECT_EQ(argmax(*out), (std::vector<int>{2, 3, 0, 1, 2, 0}));
  }
}

TEST_F(DriverTest, TokensAreChecked) {
  auto module = mlir::parseSourceString<mlir::ModuleOp>(Model, &context);
  ASSERT_TRUE(module);
  IdentitySource source;
  auto refused = [&](llvm::StringRef text) {
    write("tokens.txt", text);
    return message(interpretTokens(
        *module, source, {path("tokens.txt"), path("out.npy"), 0, false}));
  };
  EXPECT_NE(refused("1,4").find("line 1: '4' is not a token id"),
            std::string::npos);
  EXPECT_NE(refused("1\n-1").find("line 2"), std::string::npos);
  EXPECT_NE(refused("1,x").find("'x'"), std::string::npos);
  EXPECT_NE(refused("1,,2").find("line 1"), std::string::npos);
  EXPECT_NE(refused("").find("line 1"), std::string::npos);
  EXPECT_NE(refused("0,0,0,0,0,0,0,0,0").find("max_context of 8"),
            std::string::npos);
  EXPECT_FALSE(llvm::sys::fs::exists(path("out.npy")));
}

TEST_F(DriverTest, FunctionsRunOnFiles) {
  auto module = mlir::parseSourceString<mlir::ModuleOp>(Model, &context);
  ASSERT_TRUE(module);
  IdentitySource source;
  HostTensor wide(DType::I64, {2});
  wide.bytes[0] = 3;
  ASSERT_EQ(message(writeNpy(path("ids.npy"), wide)), "");
  ASSERT_EQ(message(writeNpy(path("p.npy"), HostTensor::fromInts({2}, {0, 1}))),
            "");
  ASSERT_EQ(message(writeNpy(path("s.npy"), HostTensor::fromInts({2}, {1, 1}))),
            "");
  ASSERT_EQ(message(writeNpy(path("r.npy"), HostTensor::fromInts({1}, {0}))),
            "");
  InterpretFunctionOptions options;
  options.inputs = {path("ids.npy"), path("p.npy"), path("s.npy"),
                    path("r.npy")};
  options.outputDir = path("out");
  options.probeDir = path("probes");
  ASSERT_EQ(message(interpretFunction(*module, source, options)), "");
  auto logits = readNpy(path("out/result0.npy"));
  ASSERT_TRUE(bool(logits)) << llvm::toString(logits.takeError());
  EXPECT_EQ(argmax(*logits), (std::vector<int>{3}));
  auto streams = readNpy(path("out/result1.npy"));
  ASSERT_TRUE(bool(streams)) << llvm::toString(streams.takeError());
  EXPECT_EQ(streams->shape, (std::vector<int64_t>{2, 1, 4}));
  EXPECT_TRUE(llvm::sys::fs::exists(path("probes/00000-embed.npy")));

  options.inputs.pop_back();
  EXPECT_NE(
      message(interpretFunction(*module, source, options)).find("is not bound"),
      std::string::npos);
  options.function = "nothing";
  EXPECT_NE(message(interpretFunction(*module, source, options))
                .find("no function @nothing"),
            std::string::npos);
}
