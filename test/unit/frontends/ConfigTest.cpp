// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Configurations: the published ones, every legality rule, every kind of
// malformed file.
#include "test/unit/frontends/TestFiles.h"

using namespace llvm;
using namespace fathom;
using namespace fathom::test;

namespace {

using Fields = std::map<std::string, std::string>;

Expected<ModelConfig> parse(const Fields &fields,
                            const std::string &base = "nano/config.json") {
  return parseModelConfig(configWith(fields, base), "config.json");
}

void expectUnsupported(const Fields &fields,
                       const std::vector<std::string> &texts,
                       const std::string &base = "nano/config.json") {
  expectError(parse(fields, base), FailureKind::Unsupported, texts);
}

void expectBad(const Fields &fields, const std::vector<std::string> &texts) {
  expectError(parse(fields), FailureKind::BadFile, texts);
}

TEST(Config, Published) {
  ModelConfig pro =
      expectValue(parse({}, "published/deepseek-v4-pro/config.json"));
  EXPECT_EQ(pro.layers, 61);
  EXPECT_EQ(pro.mtpLayers, 1);
  EXPECT_EQ(pro.experts, 384);
  EXPECT_EQ(pro.compressRatios.size(), 62u);
  ASSERT_TRUE(pro.yarn.has_value());
  EXPECT_EQ(pro.yarn->factor, 16);
  EXPECT_EQ(pro.yarn->originalLength, 65536);
  EXPECT_EQ(pro.routedScale, 2.5);
  // Every field of the published files is known.
  EXPECT_TRUE(pro.notices.empty()) << pro.notices.front();
  ModelConfig flash =
      expectValue(parse({}, "published/deepseek-v4-flash/config.json"));
  EXPECT_TRUE(flash.notices.empty()) << flash.notices.front();
  EXPECT_EQ(flash.eosTokens, std::vector<int64_t>{1});
}

TEST(Config, DraftLayersAreIgnoredKnowingly) {
  ModelConfig config =
      expectValue(parse({}, "published/deepseek-v4-flash-0731/config.json"));
  // 46 ratios: 43 layers and a draft stack of three; no MTP block.
  EXPECT_EQ(config.compressRatios.size(), 43u);
  EXPECT_EQ(config.mtpLayers, 0);
  ASSERT_TRUE(config.draft.has_value());
  EXPECT_EQ(config.draft->layers, 3);
  EXPECT_EQ(config.draft->targetLayers, 3);
  ASSERT_EQ(config.notices.size(), 1u);
  EXPECT_NE(config.notices[0].find("draft stack of 3 layers"),
            std::string::npos);
  // Ratios beyond the layers alone are no draft stack.
  ModelConfig more = expectValue(
      parse({{"dspark_block_size", ""},
             {"dspark_noise_token_id", ""},
             {"dspark_target_layer_ids", ""},
             {"dspark_markov_rank", ""}},
            "published/deepseek-v4-flash-0731/config.json"));
  EXPECT_FALSE(more.draft.has_value());
  ASSERT_EQ(more.notices.size(), 1u);
  EXPECT_NE(more.notices[0].find("2 more than there are layers"),
            std::string::npos);
}

TEST(Config, SmallModels) {
  for (const char *name :
       {"window", "csa", "csa-topk", "hca", "mixed", "mixed-fp8", "mid"})
    expectValue(parse({}, std::string("configs/") + name + ".json"));
  EXPECT_EQ(expectValue(parse({})).window, 64);
}

TEST(Config, Variants) {
  expectValue(parse({{"num_attention_heads", "6"}, {"o_groups", "3"}}));
  expectValue(parse({{"n_routed_experts", "7"}, {"vocab_size", "4099"}}));
  expectValue(parse({{"n_shared_experts", "3"}, {"hc_mult", "1"}}));
  expectValue(parse({{"head_dim", "64"}}));
  expectValue(parse({{"head_dim", "192"}, {"hc_sinkhorn_iters", "1"}}));
  expectValue(parse({{"index_head_dim", "64"}, {"index_topk", "1"}}));
  expectValue(parse({{"num_nextn_predict_layers", "0"}}));
  // What another exporter may leave out.
  ModelConfig lean = expectValue(parse({{"n_shared_experts", ""},
                                        {"eos_token_id", "[1, 2]"},
                                        {"bos_token_id", "null"},
                                        {"quantization_config", ""},
                                        {"hidden_act", ""}}));
  EXPECT_EQ(lean.sharedExperts, 1);
  EXPECT_EQ(lean.bosToken, -1);
  EXPECT_EQ(lean.eosTokens.size(), 2u);
}

TEST(Config, WithoutYarn) {
  for (const char *text : {"", "null"}) {
    ModelConfig config = expectValue(parse({{"rope_scaling", text}}));
    EXPECT_FALSE(config.yarn.has_value());
    ASSERT_EQ(config.notices.size(), 1u);
  }
}

TEST(Config, NullIsAbsent) {
  // No notice either: the fields are known.
  for (const char *field :
       {"rope_parameters", "dspark_block_size", "vision_n_layers"}) {
    SCOPED_TRACE(field);
    ModelConfig config = expectValue(parse({{field, "null"}}));
    EXPECT_FALSE(config.draft || config.vision);
    EXPECT_TRUE(config.notices.empty());
  }
  expectValue(parse({{"quantization_config", "{\"weight_block_size\":null}"}}));
}

TEST(Config, UnknownFieldsAreNoted) {
  ModelConfig config = expectValue(parse({{"zebra", "1"}, {"apple", "{}"}}));
  ASSERT_EQ(config.notices.size(), 2u);
  EXPECT_EQ(config.notices[0], "unknown field 'apple' ignored");
  EXPECT_EQ(config.notices[1], "unknown field 'zebra' ignored");
}

TEST(Config, NoticesAreHarmless) {
  // It is printed on a terminal.
  ModelConfig config =
      expectValue(parse({{"fathom_notice", "\"\\u001b[31mred\\n\""}}));
  EXPECT_EQ(config.notices, std::vector<std::string>{"\\1B[31mred\\0A"});
}

TEST(Config, Architecture) {
  expectUnsupported({{"architectures", "[\"LlamaForCausalLM\"]"}},
                    {"'LlamaForCausalLM'", "DeepseekV4ForCausalLM"});
  expectUnsupported({{"architectures", "[]"}}, {"architectures = []"});
  expectUnsupported({{"model_type", "\"deepseek_v3\""}}, {"model_type"});
  expectBad({{"architectures", ""}}, {"architectures"});
  expectBad({{"architectures", "[3]"}}, {"must be strings"});
}

TEST(Config, OnlyKnownValues) {
  expectUnsupported({{"hidden_act", "\"gelu\""}}, {"hidden_act", "'silu'"});
  expectUnsupported({{"scoring_func", "\"softmax\""}}, {"scoring_func"});
  expectUnsupported({{"topk_method", "\"greedy\""}}, {"topk_method"});
  expectUnsupported({{"norm_topk_prob", "false"}}, {"norm_topk_prob = false"});
  expectUnsupported({{"attention_bias", "true"}}, {"attention_bias = true"});
  expectUnsupported({{"tie_word_embeddings", "true"}}, {"tie_word_embeddings"});
  expectUnsupported({{"num_key_value_heads", "2"}}, {"num_key_value_heads"});
  expectUnsupported({{"expert_dtype", "\"int4\""}}, {"expert_dtype"});
  expectUnsupported({{"rope_parameters", "{}"}}, {"rope_parameters"});
  expectUnsupported({{"quantization_config", "{\"quant_method\":\"awq\"}"}},
                    {"quantization_config.quant_method", "'awq'"});
  expectUnsupported(
      {{"quantization_config", "{\"weight_block_size\":[64,64]}"}},
      {"weight_block_size", "128x128"});
}

TEST(Config, Legality) {
  expectUnsupported({{"head_dim", "96"}}, {"head_dim = 96", "multiple of 64"});
  expectUnsupported({{"head_dim", "32"}}, {"head_dim = 32"});
  expectUnsupported({{"qk_rope_head_dim", "63"}, {"head_dim", "127"}},
                    {"qk_rope_head_dim = 63", "even"});
  expectUnsupported({{"num_attention_heads", "5"}},
                    {"num_attention_heads = 5", "o_groups (2)"});
  expectUnsupported({{"index_head_dim", "96"}}, {"power of two"});
  expectUnsupported({{"index_head_dim", "16"}}, {"at least 32"});
  expectUnsupported({{"index_head_dim", "32"}}, {"qk_rope_head_dim (64)"});
  expectUnsupported({{"num_experts_per_tok", "9"}}, {"n_routed_experts (8)"});
  expectUnsupported({{"hidden_size", "200"}},
                    {"hidden_size = 200", "multiple of 32"});
  expectUnsupported({{"moe_intermediate_size", "48"}},
                    {"moe_intermediate_size = 48"});
  expectUnsupported({{"hc_mult", "0"}}, {"hc_mult = 0"});
  expectUnsupported({{"hc_mult", "257"}}, {"hc_mult = 257", "256"});
  expectUnsupported({{"n_shared_experts", "0"}}, {"n_shared_experts = 0"});
  expectUnsupported({{"hc_sinkhorn_iters", "0"}}, {"hc_sinkhorn_iters"});
  expectUnsupported({{"sliding_window", "0"}}, {"sliding_window"});
  expectUnsupported({{"compress_ratios", "[0,4,128,4]"}},
                    {"compress_ratios = 4 entries", "= 5"});
  expectUnsupported({{"compress_ratios", "[0,4,2,4,0]"}},
                    {"compress_ratios[2] = 2", "0, 4 or 128"});
  expectUnsupported({{"num_hidden_layers", "0"}}, {"num_hidden_layers = 0"});
  expectUnsupported({{"num_hidden_layers", "1000000000000"}},
                    {"num_hidden_layers"});
  expectUnsupported({{"vocab_size", "-1"}}, {"vocab_size = -1"});
  expectUnsupported({{"eos_token_id", "4096"}}, {"eos_token_id", "vocab_size"});
  expectUnsupported({{"eos_token_id", "[1, -1]"}}, {"eos_token_id = -1"});
  expectUnsupported({{"bos_token_id", "-1"}}, {"bos_token_id = -1"});
  expectUnsupported({{"bos_token_id", "4096"}}, {"bos_token_id = 4096"});
  expectUnsupported({{"rms_norm_eps", "0"}}, {"rms_norm_eps"});
  expectUnsupported({{"swiglu_limit", "0.0"}}, {"swiglu_limit"});
  expectUnsupported({{"rope_theta", "1"}}, {"rope_theta", "more than"});
}

TEST(Config, NumberOfTensors) {
  // Each alone is within its bounds.
  std::string ratios = "[0";
  for (int layer = 1; layer < 4097; ++layer)
    ratios += ",0";
  ratios += "]";
  expectUnsupported({{"num_hidden_layers", "4096"},
                     {"compress_ratios", ratios},
                     {"n_routed_experts", "65536"}},
                    {"n_routed_experts = 65536", "4097 layers", "2097152"});
  // Draft layers are as many as there are further ratios.
  expectUnsupported({{"compress_ratios", ratios},
                     {"n_routed_experts", "100"},
                     {"dspark_block_size", "1"},
                     {"dspark_markov_rank", "4"},
                     {"dspark_target_layer_ids", "[1]"}},
                    {"4097 layers"});
}

TEST(Config, RopeScaling) {
  auto with = [](const std::string &text) {
    return Fields{{"rope_scaling", text}};
  };
  const std::string rest =
      R"("factor":4,"original_max_position_embeddings":512,"beta_slow":1)";
  expectValue(
      parse(with("{\"rope_type\":\"yarn\",\"beta_fast\":32," + rest + "}")));
  expectUnsupported(with("{\"type\":\"linear\",\"beta_fast\":32," + rest + "}"),
                    {"rope_scaling.type", "'yarn'"});
  expectUnsupported(
      with("{\"type\":\"yarn\",\"beta_fast\":32,\"mscale\":1," + rest + "}"),
      {"rope_scaling.mscale"});
  expectUnsupported(with("{\"type\":\"yarn\",\"beta_fast\":0.5," + rest + "}"),
                    {"beta_fast", "beta_slow"});
  expectBad(with("{\"beta_fast\":32," + rest + "}"), {"rope_scaling.type"});
  expectBad(with("{\"type\":\"yarn\"," + rest + "}"),
            {"rope_scaling.beta_fast", "missing"});
  expectBad(with("[]"), {"rope_scaling", "must be an object"});
}

TEST(Config, Malformed) {
  auto text = [](const std::string &json) {
    return parseModelConfig(json, "dir/config.json");
  };
  expectError(text(""), FailureKind::BadFile, {"JSON", "dir/config.json"});
  expectError(text("[]"), FailureKind::BadFile, {"must be an object"});
  expectError(text("{\"a\":1,\"a\":2}"), FailureKind::BadFile,
              {"'a' occurs twice"});
  expectError(text(std::string(1000, '[')), FailureKind::BadFile, {"nested"});
  expectBad({{"hidden_size", ""}}, {"'hidden_size'", "it is missing"});
  expectBad({{"hidden_size", "null"}}, {"'hidden_size'", "it is null"});
  expectBad({{"hidden_size", "\"256\""}}, {"must be an integer", "a string"});
  expectBad({{"hidden_size", "256.5"}}, {"must be an integer"});
  expectBad({{"hidden_size", "1e300"}}, {"must be an integer"});
  expectBad({{"hc_eps", "\"small\""}}, {"must be a number"});
  expectUnsupported({{"hc_eps", "1e-46"}}, {"more than, in f32, 0"});
  expectBad({{"compress_ratios", "4"}}, {"must be an array"});
  expectBad({{"compress_ratios", "[\"4\"]"}}, {"must be an integer"});
  expectBad({{"norm_topk_prob", "1"}}, {"must be true or false"});
  expectBad({{"hidden_act", "1"}}, {"must be a string"});
  expectBad({{"bos_token_id", "[0, 1]"}},
            {"'bos_token_id'", "must be one integer"});
  std::string many = "{\"a\":[0";
  for (int value = 0; value < 10'000'000; ++value)
    many += ",0";
  expectError(text(many + "]}"), FailureKind::BadFile,
              {"more than 10000000 values"});
}

TEST(Config, Files) {
  TempDir dir;
  expectError(loadModelConfig(dir.path()), FailureKind::BadFile,
              {"config.json", "No such file"});
  dir.write("config.json", "{}", 20 << 20);
  expectError(loadModelConfig(dir.path()), FailureKind::BadFile, {"too large"});
  dir.write("config.json", configWith({}));
  EXPECT_EQ(expectValue(loadModelConfig(dir.path())).layers, 4);
}

TEST(Config, Limits) {
  ModelConfig config = expectValue(parse({}));
  CompileLimits limits = expectValue(
      resolveLimits(config, std::nullopt, std::nullopt, std::nullopt));
  EXPECT_EQ(limits.maxContext, 32768);
  EXPECT_EQ(limits.maxSequences, 16);
  EXPECT_EQ(limits.maxStepTokens, 512);
  config.maxPositions = 4096;
  EXPECT_EQ(expectValue(resolveLimits(config, std::nullopt, 1, 7)).maxContext,
            4096);
  expectError(resolveLimits(config, 4097, std::nullopt, std::nullopt),
              FailureKind::Unsupported, {"--max-context 4097", "4096"});
  expectError(resolveLimits(config, 0, std::nullopt, std::nullopt),
              FailureKind::Unsupported, {"--max-context"});
  expectError(resolveLimits(config, 1, 0, std::nullopt),
              FailureKind::Unsupported, {"--max-sequences"});
  // The largest of each, and one more.
  config.maxPositions = 1 << 30;
  limits = expectValue(resolveLimits(config, 1 << 24, 1, 1 << 20));
  EXPECT_EQ(limits.maxContext, 1 << 24);
  EXPECT_EQ(limits.maxStepTokens, 1 << 20);
  EXPECT_EQ(expectValue(resolveLimits(config, 1, 1 << 16, 1)).maxSequences,
            1 << 16);
  expectError(resolveLimits(config, (1 << 24) + 1, 1, 1),
              FailureKind::Unsupported, {"--max-context 16777217", "16777216"});
  expectError(resolveLimits(config, 1, (1 << 16) + 1, 1),
              FailureKind::Unsupported, {"--max-sequences 65537", "65536"});
  expectError(resolveLimits(config, 1, 1, (1 << 20) + 1),
              FailureKind::Unsupported,
              {"--max-step-tokens 1048577", "1048576"});
  expectError(resolveLimits(config, 1, 1, -3), FailureKind::Unsupported,
              {"--max-step-tokens"});
  // All rows of a cache together are numbered in 32 bits: 4,194,304 of blocks
  // of four for each sequence, or as many of a step and the window.
  config.maxPositions = int64_t(1) << 24;
  expectValue(resolveLimits(config, config.maxPositions, 511, 1));
  expectError(resolveLimits(config, config.maxPositions, 512, 1),
              FailureKind::Unsupported, {"--max-sequences 512", "4194304 rows"});
  expectError(resolveLimits(config, 1, 4096, 1 << 20),
              FailureKind::Unsupported, {"--max-sequences 4096"});
}

} // namespace
