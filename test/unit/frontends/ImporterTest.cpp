// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Modules from headers: shapes and types of what is built, where quantisation
// stands in each numerics, and checkpoints that do not fit.
#include "frontends/Checkpoint/Importer.h"
#include "test/unit/frontends/TestFiles.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"

#include <algorithm>

using namespace llvm;
using namespace fathom;
using namespace fathom::test;
using dsv4::Numerics;
using mlir::ModuleOp;
using mlir::Operation;
using Module = mlir::OwningOpRef<ModuleOp>;

namespace {

class Import : public ::testing::Test {
protected:
  ModelConfig config(const std::map<std::string, std::string> &fields = {},
                     const std::string &base = "nano/config.json") {
    return expectValue(parseModelConfig(configWith(fields, base), base));
  }
  /// Imports a checkpoint with these tensors.
  Expected<Module> import(const ModelConfig &config, const FakeTensors &tensors,
                          Numerics numerics = Numerics::BF16) {
    TempDir dir;
    writeCheckpoint(dir, tensors);
    Expected<Checkpoint> checkpoint = Checkpoint::open(dir.path());
    if (!checkpoint)
      return checkpoint.takeError();
    Expected<CompileLimits> limits =
        resolveLimits(config, std::nullopt, std::nullopt, std::nullopt);
    if (!limits)
      return limits.takeError();
    notices.clear();
    return importModel(context, config, *checkpoint, {numerics, *limits},
                       &notices);
  }
  Expected<Module> import(const ModelConfig &config,
                          Numerics numerics = Numerics::BF16) {
    return import(config, tensorsOf(config), numerics);
  }

  template <typename Op> int count(ModuleOp module, StringRef function = "") {
    int number = 0;
    module.walk([&](Op op) {
      auto parent = op->template getParentOfType<mlir::func::FuncOp>();
      number += function.empty() || parent.getName() == function;
    });
    return number;
  }

  mlir::MLIRContext context;
  std::vector<std::string> notices;
};

std::string print(mlir::Type type) {
  std::string text;
  raw_string_ostream os(text);
  type.print(os);
  return text;
}

TEST_F(Import, Signature) {
  Module module = expectValue(import(config()));
  ASSERT_TRUE(module);
  auto step = module->lookupSymbol<mlir::func::FuncOp>("step");
  ASSERT_TRUE(step);
  // Layers 0, 4, 128, 4: 1 + 5 + 3 + 5 caches.
  ASSERT_EQ(step.getNumArguments(), 4u + 14u);
  EXPECT_EQ(print(step.getArgument(0).getType()), "tensor<?xi32>");
  EXPECT_EQ(print(step.getResultTypes()[0]), "tensor<?x4096xf32>");
  EXPECT_EQ(print(step.getResultTypes()[1]), "tensor<?x4x256xbf16>");
  auto name = step.getArgAttrOfType<mlir::StringAttr>(4, "dsv4.cache_name");
  ASSERT_TRUE(name);
  EXPECT_EQ(name.getValue(), "layers.0.window");
  auto window = mlir::cast<dsv4::CacheType>(step.getArgument(4).getType());
  EXPECT_EQ(window.getRows(), 64 + 512);
  EXPECT_EQ(window.getFormat(), dsv4::CacheFormat::FP8);
  auto state = mlir::cast<dsv4::CacheType>(step.getArgument(6).getType());
  EXPECT_EQ(state.getKind(), dsv4::CacheKind::State);
  EXPECT_EQ(state.getRows(), 8);
  EXPECT_EQ(state.getWidth(), 256);
  auto compressed = mlir::cast<dsv4::CacheType>(step.getArgument(7).getType());
  EXPECT_EQ(compressed.getRows(), 32768 / 4);
  auto mtp = module->lookupSymbol<mlir::func::FuncOp>("mtp_0");
  ASSERT_TRUE(mtp);
  ASSERT_EQ(mtp.getNumArguments(), 5u + 1u);
  EXPECT_EQ(print(mtp.getArgument(0).getType()), "tensor<?x4x256xbf16>");
  auto model = (*module)->getAttrOfType<dsv4::ModelAttr>(dsv4::kModelAttrName);
  ASSERT_TRUE(model);
  EXPECT_EQ(model.getMaxContext(), 32768);
  EXPECT_EQ(model.getNumerics().getValue(), Numerics::BF16);
}

TEST_F(Import, F32HasNoRoundingAndNoQuantisation) {
  Module module = expectValue(import(config(), Numerics::F32));
  ASSERT_TRUE(module);
  EXPECT_EQ(count<dsv4::FakeQuantizeOp>(*module), 0);
  module->walk([&](Operation *op) {
    if (mlir::isa<dsv4::ParameterOp, dsv4::StackedParameterOp>(op))
      return;
    for (mlir::Type type : op->getResultTypes())
      EXPECT_FALSE(mlir::getElementTypeOrSelf(type).isBF16()) << print(type);
  });
  for (mlir::Type type :
       module->lookupSymbol<mlir::func::FuncOp>("step").getArgumentTypes())
    if (auto cache = mlir::dyn_cast<dsv4::CacheType>(type))
      EXPECT_EQ(cache.getFormat(), dsv4::CacheFormat::F32);
}

TEST_F(Import, QuantisationPoints) {
  // Per layer without compression: the window row. With ratio 128 also the
  // compressed row; with ratio 4 also indexer query and key.
  Module bf16 = expectValue(import(config(), Numerics::BF16));
  ASSERT_TRUE(bf16);
  EXPECT_EQ(count<dsv4::FakeQuantizeOp>(*bf16, "step"), 1 + 4 + 2 + 4);
  bf16->walk([&](dsv4::ExpertsOp op) { EXPECT_FALSE(op.getHiddenBlock()); });
  // Published also quantises the inputs of linears: x of attention (wq_a and
  // wkv share), qr (both wq_b share), u; x of the experts (routed and shared
  // share), a of the shared expert.
  Module published = expectValue(import(config(), Numerics::Published));
  ASSERT_TRUE(published);
  EXPECT_EQ(count<dsv4::FakeQuantizeOp>(*published, "step"), 11 + 4 * 5);
  EXPECT_EQ(count<dsv4::FakeQuantizeOp>(*published, "mtp_0"), 1 + 5 + 2);
  auto isQuantised = [](mlir::Value value) {
    return value.getDefiningOp<dsv4::FakeQuantizeOp>() != nullptr;
  };
  published->walk([&](dsv4::LinearOp op) {
    EXPECT_EQ(isQuantised(op.getX()), op.getScale() != nullptr);
  });
  published->walk([&](dsv4::GroupedLinearOp op) {
    EXPECT_FALSE(isQuantised(op.getX()));
    EXPECT_TRUE(op.getScale());
  });
  published->walk(
      [&](dsv4::GateOp op) { EXPECT_FALSE(isQuantised(op.getX())); });
  published->walk([&](dsv4::ExpertsOp op) {
    EXPECT_TRUE(isQuantised(op.getX()));
    EXPECT_EQ(op.getHiddenBlock(), 128);
  });
}

TEST_F(Import, RopeTablesAreShared) {
  Module module = expectValue(import(config()));
  ASSERT_TRUE(module);
  // Plain at every token; YaRN at every token and per block of 4 and 128.
  EXPECT_EQ(count<dsv4::RopeTableOp>(*module, "step"), 4);
  EXPECT_EQ(count<dsv4::RopeTableOp>(*module, "mtp_0"), 1);
}

TEST_F(Import, HashLayersReadTheTable) {
  Module module = expectValue(import(config()));
  ASSERT_TRUE(module);
  EXPECT_EQ(count<dsv4::RouteHashOp>(*module), 1);
  EXPECT_EQ(count<dsv4::RouteTopKOp>(*module), 4);
  // As I32 too; and hash routing reaches an MTP layer by its number.
  ModelConfig all = config({{"num_hash_layers", "5"}});
  FakeTensors tensors = tensorsOf(all);
  for (auto &[name, tensor] : tensors)
    if (tensor.dtype == "I64")
      tensor.dtype = "I32";
  module = expectValue(import(all, tensors));
  ASSERT_TRUE(module);
  EXPECT_EQ(count<dsv4::RouteHashOp>(*module, "mtp_0"), 1);
}

TEST_F(Import, SmallModels) {
  for (const char *name :
       {"window", "csa", "csa-topk", "hca", "mixed", "mixed-fp8", "mid"})
    for (Numerics numerics :
         {Numerics::Published, Numerics::BF16, Numerics::F32})
      EXPECT_TRUE(expectValue(import(
          config({}, std::string("configs/") + name + ".json"), numerics)))
          << name;
}

TEST_F(Import, Published) {
  for (const char *name : {"pro", "flash", "flash-0731"}) {
    std::string path =
        std::string("published/deepseek-v4-") + name + "/config.json";
    Module module = expectValue(import(config({}, path), Numerics::Published));
    ASSERT_TRUE(module) << name;
    EXPECT_TRUE(notices.empty());
  }
}

TEST_F(Import, OddShapes) {
  for (const std::map<std::string, std::string> &fields :
       std::vector<std::map<std::string, std::string>>{
           {{"num_attention_heads", "9"}, {"o_groups", "3"}},
           {{"n_routed_experts", "7"}, {"num_experts_per_tok", "7"}},
           {{"head_dim", "64"}},
           {{"head_dim", "192"}, {"hc_mult", "3"}},
           {{"n_shared_experts", "3"}, {"vocab_size", "4099"}},
           {{"num_nextn_predict_layers", "0"}, {"rope_scaling", "null"}}})
    for (Numerics numerics :
         {Numerics::Published, Numerics::BF16, Numerics::F32})
      EXPECT_TRUE(expectValue(import(config(fields), numerics)));
}

TEST_F(Import, BlockRuleOfPublished) {
  // K = 160 is no multiple of 128: fine unless inputs are quantised.
  ModelConfig odd = config({{"hidden_size", "160"}});
  EXPECT_TRUE(expectValue(import(odd, Numerics::BF16)));
  EXPECT_TRUE(expectValue(import(odd, Numerics::F32)));
  expectError(import(odd, Numerics::Published), FailureKind::Unsupported,
              {"160 elements", "blocks of 128", "--numerics bf16"});
}

TEST_F(Import, UnquantisedTensors) {
  ModelConfig nano = config({{"expert_dtype", "\"bf16\""}});
  FakeTensors tensors = tensorsOf(nano), plain;
  for (auto &[name, tensor] : tensors) {
    if (StringRef(name).ends_with(".scale"))
      continue;
    bool f32 = name == "embed.weight" || StringRef(name).contains("wq_a") ||
               StringRef(name).contains(".w1.");
    if (tensor.dtype == "F8_E4M3" || f32)
      tensor.dtype = f32 ? "F32" : "BF16";
    plain[name] = tensor;
  }
  for (Numerics numerics : {Numerics::Published, Numerics::BF16, Numerics::F32})
    EXPECT_TRUE(expectValue(import(nano, plain, numerics)));
  Module module = expectValue(import(nano, plain, Numerics::Published));
  ASSERT_TRUE(module);
  // Nothing is quantised but cache rows and the indexer.
  EXPECT_EQ(count<dsv4::FakeQuantizeOp>(*module, "step"), 11);
}

TEST_F(Import, ExpertsByData) {
  // The configuration says FP4, the tensors are FP8: the tensors decide.
  ModelConfig fp8 = config({{"expert_dtype", "\"fp8\""}});
  EXPECT_TRUE(expectValue(import(config(), tensorsOf(fp8))));
  FakeTensors mixed = tensorsOf(config());
  FakeTensors other = tensorsOf(fp8);
  for (const char *suffix : {".weight", ".scale"}) {
    std::string name = std::string("layers.2.ffn.experts.5.w2") + suffix;
    mixed[name] = other[name];
  }
  expectError(import(config(), mixed), FailureKind::Unsupported,
              {"stored differently", "experts.5.w2"});
}

TEST_F(Import, ExpertsWithW1AndW3OfTwoFormats) {
  ModelConfig fp4 = config();
  FakeTensors other = tensorsOf(config({{"expert_dtype", "\"fp8\""}}));
  FakeTensors twoScaled = tensorsOf(fp4), onePlain = tensorsOf(fp4);
  for (int64_t e = 0; e < fp4.experts; ++e) {
    std::string p = "layers.2.ffn.experts." + std::to_string(e) + ".w3";
    for (const char *suffix : {".weight", ".scale"})
      twoScaled[p + suffix] = other[p + suffix];
    onePlain[p + ".weight"] = {"BF16", {fp4.moeWidth, fp4.hiddenSize}};
    onePlain.erase(p + ".scale");
  }
  for (Numerics numerics :
       {Numerics::Published, Numerics::BF16, Numerics::F32}) {
    expectError(import(fp4, twoScaled, numerics), FailureKind::Unsupported,
                {"in layers.2.ffn.experts w1 is I8 and w3 is F8_E4M3",
                 "help: use a checkpoint that stores both in one format"});
    expectError(import(fp4, onePlain, numerics), FailureKind::Unsupported,
                {"w1 is I8 and w3 is BF16"});
  }
  // What is not there is not stored differently.
  FakeTensors lacking = tensorsOf(fp4);
  lacking.erase("layers.2.ffn.experts.5.w3.weight");
  expectError(import(fp4, lacking, Numerics::Published), FailureKind::BadFile,
              {"missing: 1 tensor: 'layers.2.ffn.experts.5.w3.weight'"});
}

TEST_F(Import, Missing) {
  FakeTensors tensors = tensorsOf(config());
  tensors.erase("layers.3.attn.wkv.weight");
  tensors.erase("layers.3.attn.wq_b.scale");
  tensors.erase("norm.weight");
  expectError(import(config(), tensors), FailureKind::BadFile,
              {"missing: 3 tensors", "'layers.3.attn.wq_b.scale'",
               "'norm.weight'",
               "surplus: 1 tensor: 'layers.3.attn.wkv.scale'"});
  // Counted, ten named.
  ModelConfig more = config({{"n_routed_experts", "10"}});
  expectError(import(more, tensorsOf(config())), FailureKind::BadFile,
              {"missing: 30 tensors: ", "and 20 more", "wrong type or shape"});
  // A configuration far larger than the checkpoint ends soon.
  ModelConfig huge = config({{"n_routed_experts", "60000"}});
  expectError(import(huge, tensorsOf(config())), FailureKind::BadFile,
              {"missing: at least"});
}

TEST_F(Import, WrongTypeOrShape) {
  FakeTensors tensors = tensorsOf(config());
  tensors["layers.0.attn.attn_sink"] = {"F32", {5}};
  tensors["layers.0.attn.wq_a.weight"].dtype = "F8_E5M2";
  tensors["layers.1.ffn.gate.bias"].dtype = "F16";
  tensors["layers.1.attn.wq_a.scale"].shape = {2, 1};
  expectError(import(config(), tensors), FailureKind::BadFile,
              {"wrong type or shape: 4 tensors",
               "'layers.0.attn.attn_sink' is F32 [5], not F32 or BF16 [4]",
               "'layers.0.attn.wq_a.weight' is F8_E5M2 [128, 256]",
               "'layers.1.attn.wq_a.scale' is F8_E8M0 [2, 1], not F8_E8M0 "
               "[1, 2]"});
}

TEST_F(Import, Surplus) {
  FakeTensors tensors = tensorsOf(config());
  tensors["mtp.0.emb.tok_emb.weight"] = {"BF16", {4096, 256}};
  tensors["mtp.0.head.weight"] = {"BF16", {4096, 256}};
  EXPECT_TRUE(expectValue(import(config(), tensors)));
  EXPECT_TRUE(notices.empty());
  tensors["mtp.1.norm.weight"] = {"BF16", {256}};
  tensors["vision.patch.weight"] = {"BF16", {256}};
  EXPECT_TRUE(expectValue(import(config(), tensors)));
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_NE(notices[0].find("2 tensors: 'mtp.1.norm.weight'"),
            std::string::npos);
  tensors["layers.4.attn_norm.weight"] = {"BF16", {256}};
  expectError(import(config(), tensors), FailureKind::BadFile,
              {"surplus: 1 tensor: 'layers.4.attn_norm.weight'"});
}

TEST_F(Import, Nano) {
  std::string directory = std::string(FATHOM_TEST_MODELS_DIR) + "/nano";
  ModelConfig nano = expectValue(loadModelConfig(directory));
  Checkpoint checkpoint = expectValue(Checkpoint::open(directory));
  CompileLimits limits = expectValue(
      resolveLimits(nano, std::nullopt, std::nullopt, std::nullopt));
  Module module = expectValue(
      importModel(context, nano, checkpoint, {Numerics::BF16, limits}));
  ASSERT_TRUE(module);
  // Equal inputs give equal text.
  auto text = [](ModuleOp op) {
    std::string out;
    raw_string_ostream os(out);
    op.print(os);
    return out;
  };
  Module again = expectValue(
      importModel(context, nano, checkpoint, {Numerics::BF16, limits}));
  EXPECT_EQ(text(*module), text(*again));
}

TEST(Numerics, Names) {
  EXPECT_EQ(parseNumerics("published"), Numerics::Published);
  EXPECT_EQ(parseNumerics("bf16"), Numerics::BF16);
  EXPECT_EQ(parseNumerics("f32"), Numerics::F32);
  EXPECT_EQ(parseNumerics("F32"), std::nullopt);
}

} // namespace
