// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the tests of drivers have in common: a toy package, an engine and a
// session on a mock of the vendor's library, which has to be left without
// violations and with nothing alive.
#pragma once

#include "runtime/include/fathom.h"
#include "test/unit/runtime/FakePackage.h"
#include "test/unit/runtime/MockDevice.h"

#include <algorithm>
#include <functional>
#include <gtest/gtest.h>

namespace fathom::test {

/// `Base` is testing::Test or one with parameters.
template <typename Base> class DriverTest : public Base {
protected:
  explicit DriverTest(MockDevice &device) : device(device) {}

  void SetUp() override { device.reset(); }
  void TearDown() override {
    close();
    EXPECT_EQ(device.violations, std::vector<std::string>());
    EXPECT_EQ(device.alive(), "");
  }

  fathom_status open(const char *driver = nullptr) {
    fathom_engine_options options = {};
    options.threads = 1;
    options.driver = driver;
    options.device = ordinal;
    return fathom_engine_create(package.c_str(), &options, &engine);
  }
  void close() {
    fathom_session_destroy(session);
    session = nullptr;
    fathom_engine_destroy(engine);
    engine = nullptr;
  }

  void expectRefusal(int code, const std::string &text,
                     const char *driver = nullptr) {
    const fathom_status got = open(driver);
    EXPECT_EQ(got.code, code) << got.message;
    EXPECT_NE(std::string(got.message).find(text), std::string::npos)
        << got.message;
    EXPECT_EQ(engine, nullptr);
  }

  /// A kernel's file in which a bit is another one.
  void expectAlteredIsRefused(const std::string &file) {
    const std::string path = package + "/" + file;
    std::string bytes = readWhole(path);
    bytes[bytes.size() / 2] ^= 1;
    std::remove(path.c_str());
    writeFile(path, bytes);
    expectRefusal(FATHOM_BAD_FILE, "was altered");
  }

  void expectProgressOfTheUpload() {
    std::vector<std::pair<uint64_t, uint64_t>> told;
    fathom_engine_options options = {};
    options.progress = [](void *context, uint64_t done, uint64_t total) {
      static_cast<decltype(told) *>(context)->emplace_back(done, total);
    };
    options.progress_context = &told;
    ASSERT_EQ(fathom_engine_create(package.c_str(), &options, &engine).code,
              FATHOM_OK);
    ASSERT_EQ(told.size(), 5u); // tensors
    EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
    EXPECT_EQ(told.back(), std::make_pair(uint64_t(128), uint64_t(128)));
  }

  /// The plan would fit, but somebody else has taken the memory meanwhile.
  void expectOutOfMemoryIsResources(const std::string &text) {
    ASSERT_EQ(open().code, FATHOM_OK);
    device.memoryBytes = uint64_t(device.allocatedBytes);
    const fathom_status s = fathom_session_create(engine, nullptr, &session);
    EXPECT_EQ(s.code, FATHOM_RESOURCES) << s.message;
    EXPECT_NE(std::string(s.message).find(text), std::string::npos)
        << s.message;
  }

  /// Uses all of the interface again and again, in which one call after the
  /// other fails. `text` is what is said of a call, `launching` are the calls
  /// that are made for one kernel.
  void
  expectAnyCallMayFail(std::function<std::string(const std::string &)> text,
                       const std::vector<std::string> &launching) {
    int64_t failures = 0;
    for (int64_t n = 1;; ++n) {
      device.reset();
      device.memoryBytes = uint64_t(16) << 20;
      device.failAt = n;
      Results results;
      const fathom_status s = useAll(package, engine, session, results);
      results = Results(); // nothing is written to it from now on
      const bool reached = device.failAt == 0;
      const std::string call =
          device.calls.empty() || !reached ? "" : device.calls[size_t(n) - 1];
      device.failAt = 0;
      close();
      EXPECT_EQ(device.violations, std::vector<std::string>()) << call;
      EXPECT_EQ(results, Results()) << "written to after " << call << " failed";
      if (!reached)
        break;
      if (s.code == FATHOM_OK)
        continue; // a call that releases something: nobody can do better
      ++failures;
      EXPECT_EQ(s.code, FATHOM_FAILED) << call;
      const std::string message = s.message;
      EXPECT_NE(message.find(text(call)), std::string::npos)
          << call << ": " << message;
      if (std::count(launching.begin(), launching.end(), call))
        EXPECT_NE(message.find("kernel 'fake_"), std::string::npos) << message;
      EXPECT_EQ(device.alive(), "") << "after " << call << " failed";
    }
    EXPECT_GT(failures, 150);
  }

  MockDevice &device;
  TemporaryDirectory directory;
  std::string package;
  int ordinal = 0;
  fathom_engine *engine = nullptr;
  fathom_session *session = nullptr;
};

} // namespace fathom::test
