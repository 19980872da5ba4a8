// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Engine and session through the C ABI, on the toy model and on each driver.
#pragma once

#include "runtime/format/ManifestJson.h"
#include "runtime/include/fathom.h"
#include "test/unit/runtime/FakePackage.h"
#include "test/unit/runtime/MockAscend.h"
#include "test/unit/runtime/MockCuda.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

namespace fathom::test {

using namespace fathom::format;

template <typename Mock> Mock &mock(const char *file, const char *symbol) {
  static void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  static auto find = reinterpret_cast<Mock *(*)()>(dlsym(library, symbol));
  return *find();
}
inline MockCuda &mockOfCuda() {
  return mock<MockCuda>(FATHOM_MOCK_CUDA, "mockCuda");
}
inline MockAscend &mockOfAscend() {
  return mock<MockAscend>(FATHOM_MOCK_ASCEND, "mockAscend");
}

#define EXPECT_CODE(expected, call, text)                                      \
  do {                                                                         \
    const fathom_status got = (call);                                          \
    EXPECT_EQ(got.code, expected) << got.message;                              \
    EXPECT_NE(std::string(got.message).find(text), std::string::npos)          \
        << got.message;                                                        \
  } while (false)
#define EXPECT_OK(call) EXPECT_CODE(FATHOM_OK, call, "")

/// On each driver.
class EngineTest : public testing::TestWithParam<const char *> {
protected:
  bool isHost() const { return std::string(GetParam()) == "host"; }
  bool isCuda() const { return std::string(GetParam()) == "cuda"; }
  bool isAscend() const { return std::string(GetParam()) == "ascend"; }
  /// A vendor's, on a mock.
  bool isDevice() const { return isCuda() || isAscend(); }
  Manifest toy() const {
    return isCuda()     ? fakeCudaManifest()
           : isAscend() ? fakeAscendManifest()
                        : fakeManifest();
  }
  void SetUp() override {
    setenv("FATHOM_LIBCUDA", FATHOM_MOCK_CUDA, 1);
    setenv("FATHOM_LIBASCENDCL", FATHOM_MOCK_ASCEND, 1);
    setenv("FATHOM_LIBRUNTIME", FATHOM_MOCK_ASCEND, 1);
    if (isCuda())
      mockOfCuda().reset();
    if (isAscend())
      mockOfAscend().reset();
  }
  void open(int threads = 1) {
    package = writePackage(directory, toy());
    fathom_engine_options options = {};
    options.threads = threads;
    options.driver = GetParam();
    EXPECT_OK(fathom_engine_create(package.c_str(), &options, &engine));
  }
  void openSession(fathom_session_options options = {}) {
    EXPECT_OK(fathom_session_create(engine, &options, &session));
  }
  fathom_status tryOpen(const Manifest &manifest) {
    package = writePackage(directory, manifest);
    return create();
  }
  fathom_status create(const char *isa = nullptr) {
    fathom_engine_options options = {};
    options.threads = 1;
    options.isa = isa;
    options.driver = GetParam();
    fathom_status status =
        fathom_engine_create(package.c_str(), &options, &engine);
    EXPECT_EQ(status.code == FATHOM_OK, engine != nullptr);
    return status;
  }
  int32_t add() {
    int32_t slot = -1;
    EXPECT_OK(fathom_session_add(session, &slot));
    return slot;
  }
  /// Feeds ids and checks all their rows; `history` is what went before.
  void feedAndCheck(int32_t slot, std::vector<int32_t> &history,
                    const std::vector<int32_t> &ids) {
    const fathom_tokens tokens = {slot, ids.data(), int64_t(ids.size()),
                                  int64_t(ids.size())};
    const float *rows = nullptr;
    EXPECT_OK(fathom_step(session, &tokens, 1, nullptr, &rows));
    ASSERT_NE(rows, nullptr);
    for (size_t i = 0; i < ids.size(); ++i) {
      history.push_back(ids[i]);
      expectRow(rows + int64_t(i) * kVocabulary, expectedLogits(history));
    }
  }
  static void expectRow(const float *row, const std::vector<float> &expected) {
    EXPECT_EQ(std::vector<float>(row, row + kVocabulary), expected);
  }
  static std::vector<int32_t> someIds(int64_t count, int seed) {
    std::vector<int32_t> out;
    for (int64_t i = 0; i < count; ++i)
      out.push_back(int32_t((i * 5 + seed * 11 + i * i) % kVocabulary));
    return out;
  }
  void TearDown() override {
    fathom_session_destroy(session);
    fathom_engine_destroy(engine);
    if (isCuda()) {
      EXPECT_EQ(mockOfCuda().violations, std::vector<std::string>());
      EXPECT_EQ(mockOfCuda().alive(), "");
    }
    if (isAscend()) {
      EXPECT_EQ(mockOfAscend().violations, std::vector<std::string>());
      EXPECT_EQ(mockOfAscend().alive(), "");
    }
  }

  TemporaryDirectory directory;
  std::string package;
  fathom_engine *engine = nullptr;
  fathom_session *session = nullptr;
};

} // namespace fathom::test
