// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The C ABI where a caller hands over what makes no sense.
#include "test/unit/runtime/EngineTest.h"

#include <cstring>

using namespace fathom::test;

namespace {

/// Every function that takes a handle, or a place for what it gives.
TEST_P(EngineTest, NullIsRefused) {
  const int32_t id = 1;
  int32_t slot = 0, chosen = 0, isF32 = 0;
  const fathom_tokens one = {0, &id, 1, 1};
  fathom_model_info info;
  std::memset(static_cast<void *>(&info), 0xff, sizeof(info));
  double number = 0;
  uint64_t bytes = 0;
  fathom_session_memory memory;
  fathom_kernel_time time;
  fathom_detokenizer *detokenizer = nullptr;
  fathom_tokenizer *tokenizer = nullptr;
  const char *text = nullptr;
  const int32_t *ids = nullptr;
  size_t size = 0;

  // Without a handle.
  fathom_engine_destroy(nullptr);
  fathom_session_destroy(nullptr);
  fathom_detokenizer_destroy(nullptr);
  fathom_tokenizer_destroy(nullptr);
  fathom_engine_info(nullptr, &info);
  EXPECT_EQ(info.vocabulary_size, 0);
  EXPECT_EQ(info.driver, nullptr);
  EXPECT_EQ(fathom_engine_step_weight_bytes(nullptr, 1), 0u);
  EXPECT_EQ(fathom_session_allocated_bytes(nullptr), 0u);
  EXPECT_EQ(fathom_session_length(nullptr, 0), -1);
  EXPECT_EQ(fathom_session_mtp_length(nullptr, 0, 0), -1);
  EXPECT_EQ(fathom_session_layer_streams(nullptr, 0, &bytes, &isF32), nullptr);
  fathom_session_profile(nullptr, 1);
  EXPECT_EQ(fathom_session_kernel_times(nullptr, &time, 1), 0u);
  const auto refused = [](const fathom_status &status) {
    EXPECT_EQ(status.code, FATHOM_USAGE) << status.message;
    EXPECT_NE(std::strstr(status.message, "NULL"), nullptr) << status.message;
  };
  refused(fathom_engine_create(nullptr, nullptr, &engine));
  refused(fathom_engine_read_bandwidth(nullptr, 0, &number));
  refused(fathom_session_memory_for(nullptr, nullptr, &memory));
  refused(fathom_session_create(nullptr, nullptr, &session));
  refused(fathom_session_add(nullptr, &slot));
  refused(fathom_session_remove(nullptr, 0));
  refused(fathom_session_fill_synthetic(nullptr, 0, 1));
  refused(fathom_session_read_cache(nullptr, "", "", 0, 0, 1, &slot));
  refused(fathom_step(nullptr, &one, 1, nullptr, nullptr));
  refused(fathom_mtp(nullptr, 0, &one, 1, nullptr, nullptr));
  refused(fathom_generate(nullptr, &slot, &id, 1, 1, &chosen));
  refused(fathom_detokenizer_create(nullptr, &detokenizer));
  refused(fathom_detokenizer_add(nullptr, 1, &text, &size));
  refused(fathom_detokenizer_flush(nullptr, &text, &size));
  refused(fathom_tokenizer_create(nullptr, &tokenizer));
  refused(fathom_tokenizer_open(nullptr, &tokenizer));
  refused(fathom_tokenizer_encode(nullptr, "", 0, 0, &ids, &size));

  // Without a place.
  open();
  openSession();
  fathom_engine_info(engine, nullptr);
  EXPECT_EQ(fathom_session_kernel_times(session, nullptr, 1),
            fathom_session_kernel_times(session, nullptr, 0));
  refused(fathom_engine_create(package.c_str(), nullptr, nullptr));
  refused(fathom_engine_read_bandwidth(engine, 0, nullptr));
  refused(fathom_session_memory_for(engine, nullptr, nullptr));
  refused(fathom_session_create(engine, nullptr, nullptr));
  refused(fathom_session_add(session, nullptr));
  refused(fathom_session_read_cache(session, "", "", 0, 0, 1, nullptr));
  refused(fathom_detokenizer_create(engine, nullptr));
  refused(fathom_tokenizer_create(engine, nullptr));
  refused(fathom_tokenizer_open("", nullptr));
  slot = add();
  EXPECT_CODE(FATHOM_USAGE, fathom_step(session, nullptr, 1, nullptr, nullptr),
              "no sequences");
  EXPECT_CODE(FATHOM_USAGE,
              fathom_mtp(session, 0, nullptr, 1, nullptr, nullptr),
              "no sequences");
  EXPECT_CODE(FATHOM_USAGE, fathom_generate(session, &slot, &id, 1, 1, nullptr),
              "no place");
  EXPECT_CODE(FATHOM_USAGE,
              fathom_generate(session, &slot, &id, 1, -1, &chosen), "-1 steps");
}

TEST_P(EngineTest, DetokenizerRefusesWhatIsNoId) {
  Manifest m = toy();
  m.extraFiles = {"tokenizer.json"};
  EXPECT_OK(tryOpen(m));
  writeFile(package + "/tokenizer.json",
            R"({"decoder":{"type":"ByteLevel"},"model":{"type":"BPE",)"
            R"("vocab":{"Hi":1}}})");
  fathom_detokenizer *detokenizer = nullptr;
  ASSERT_EQ(fathom_detokenizer_create(engine, &detokenizer).code, FATHOM_OK);
  const char *text = nullptr;
  size_t size = 0;
  auto add = [&](int32_t id) {
    return fathom_detokenizer_add(detokenizer, id, &text, &size);
  };
  EXPECT_OK(add(1));
  EXPECT_EQ(std::string(text, size), "Hi");
  EXPECT_OK(add(int32_t(kVocabulary) - 1)); // of the model, without text
  EXPECT_EQ(size, 0u);
  EXPECT_CODE(FATHOM_USAGE, add(-1), "-1 is out of range");
  EXPECT_CODE(FATHOM_USAGE, add(int32_t(kVocabulary)), "ids 0 to 23");
  fathom_detokenizer_destroy(detokenizer);
}

} // namespace
