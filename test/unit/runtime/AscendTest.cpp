// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The driver for Ascend processors on a mock of CANN: both ways to launch, what
// it refuses, that any call may fail, what a step asks of the device, and how
// arguments are packed. No Ascend processor takes part.
#include "runtime/drivers/Drivers.h"
#include "runtime/drivers/ascend/Arguments.h"
#include "runtime/format/ManifestJson.h"
#include "test/unit/runtime/DriverTest.h"
#include "test/unit/runtime/MockAscend.h"

#include <cstdlib>
#include <dlfcn.h>

using namespace fathom::test;
using namespace fathom::format;
namespace rt = fathom::rt;

namespace {

MockAscend &mock() {
  static void *library = dlopen(FATHOM_MOCK_ASCEND, RTLD_NOW | RTLD_LOCAL);
  static auto find =
      reinterpret_cast<MockAscend *(*)()>(dlsym(library, "mockAscend"));
  return *find();
}

class Ascend : public DriverTest<testing::TestWithParam<const char *>> {
protected:
  Ascend() : DriverTest(mock()) {}
  void SetUp() override {
    setenv("FATHOM_LIBASCENDCL", FATHOM_MOCK_ASCEND, 1);
    setenv("FATHOM_LIBRUNTIME", FATHOM_MOCK_ASCEND, 1);
    setenv("FATHOM_ASCEND_LAUNCH", way(), 1);
    DriverTest::SetUp();
    package = writePackage(directory, fakeAscendManifest());
  }
  void TearDown() override {
    DriverTest::TearDown();
    unsetenv("FATHOM_ASCEND_LAUNCH");
  }
  virtual const char *way() const { return GetParam(); }
  bool isRt() const { return std::string(way()) == "rt"; }
  const char *launchCall() const {
    return isRt() ? "rtKernelLaunch" : "aclrtLaunchKernelWithHostArgs";
  }
  /// The toy's answer to nine tokens, whatever the processor.
  void expectLogits() {
    ASSERT_EQ(fathom_session_create(engine, nullptr, &session).code, FATHOM_OK);
    int32_t slot = 0;
    ASSERT_EQ(fathom_session_add(session, &slot).code, FATHOM_OK);
    const std::vector<int32_t> ids = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const fathom_tokens tokens = {slot, ids.data(), 9, 1};
    const float *row = nullptr;
    const fathom_status s = fathom_step(session, &tokens, 1, nullptr, &row);
    ASSERT_EQ(s.code, FATHOM_OK) << s.message;
    EXPECT_EQ(std::vector<float>(row, row + kVocabulary), expectedLogits(ids));
  }
};

/// Where it makes no difference how kernels are launched.
class AscendAnyWay : public Ascend {
  const char *way() const override { return "rt"; }
};
TEST_P(AscendAnyWay, Refusals) {
  setenv("FATHOM_LIBASCENDCL", "/nowhere/libascendcl.so", 1);
  expectRefusal(FATHOM_UNSUPPORTED, "there is no CANN here");
  expectRefusal(FATHOM_UNSUPPORTED, "--driver emulated");
  // A library that is something else, and one without the newer calls.
  setenv("FATHOM_LIBASCENDCL", FATHOM_FAKE_KERNELS, 1);
  expectRefusal(FATHOM_UNSUPPORTED, "too old: it has no aclInit");
  setenv("FATHOM_LIBASCENDCL", FATHOM_MOCK_ASCEND, 1);
  setenv("FATHOM_ASCEND_LAUNCH", "both", 1);
  expectRefusal(FATHOM_USAGE, "it is rt or acl");
  setenv("FATHOM_ASCEND_LAUNCH", "rt", 1);
  mock().devices = 0;
  expectRefusal(FATHOM_UNSUPPORTED, "no Ascend processor");
  mock().devices = 2;
  ordinal = 2;
  expectRefusal(FATHOM_USAGE, "there are 0 to 1");
  ordinal = -1;
  expectRefusal(FATHOM_USAGE, "there are 0 to 1");
  ordinal = 1;
  EXPECT_EQ(open().code, FATHOM_OK);
  close();
  mock().processor = "Ascend310P3";
  expectRefusal(FATHOM_UNSUPPORTED, "910B, A3 and 950 are supported");
  mock().processor = "Ascend910_9392";
  expectRefusal(FATHOM_UNSUPPORTED, "has code for 910b, this processor is an "
                                    "Ascend910_9392 (device 1");
  mock().processor = "Ascend910B3";
  package = writePackage(directory, fakeManifest());
  expectRefusal(FATHOM_UNSUPPORTED, "no code for 'ascend'", "ascend");
}

/// Nothing to launch kernels with, in one library and in the other.
TEST_P(AscendAnyWay, LibrariesWithoutLaunches) {
  unsetenv("FATHOM_ASCEND_LAUNCH");
  setenv("FATHOM_LIBASCENDCL", FATHOM_MOCK_ASCEND_OLD, 1);
  setenv("FATHOM_LIBRUNTIME", FATHOM_MOCK_ASCEND_OLD, 1);
  expectRefusal(FATHOM_UNSUPPORTED, "rt: it has no rtDevBinaryRegister");
  expectRefusal(FATHOM_UNSUPPORTED, "acl: it has no aclrtBinaryLoadFromData");
  setenv("FATHOM_LIBRUNTIME", "/nowhere/libruntime.so", 1);
  expectRefusal(FATHOM_UNSUPPORTED, "rt: /nowhere/libruntime.so");
}

TEST_P(AscendAnyWay, WaysToLaunch) {
  auto wayOf = [&] {
    fathom_model_info info;
    fathom_engine_info(engine, &info);
    return std::string(info.device);
  };
  unsetenv("FATHOM_ASCEND_LAUNCH");
  ASSERT_EQ(open().code, FATHOM_OK);
  EXPECT_EQ(wayOf(), "Ascend910B3 (device 0, kernels are launched by rt)");
  EXPECT_EQ(mock().count["aclrtBinaryLoadFromData"], 0);
  close();
  setenv("FATHOM_LIBRUNTIME", "/nowhere/libruntime.so", 1);
  ASSERT_EQ(open().code, FATHOM_OK);
  EXPECT_NE(wayOf().find("by acl"), std::string::npos);
  close();
  // The first way does not take the objects: the other one is tried.
  setenv("FATHOM_LIBRUNTIME", FATHOM_MOCK_ASCEND, 1);
  for (const char *call : {"rtDevBinaryRegister", "rtFunctionRegister"}) {
    mock().reset();
    ASSERT_EQ(open().code, FATHOM_OK);
    const auto &calls = mock().calls;
    const int64_t at =
        std::find(calls.begin(), calls.end(), call) - calls.begin() + 1;
    close();
    mock().reset();
    mock().failAt = at;
    ASSERT_EQ(open().code, FATHOM_OK);
    EXPECT_EQ(mock().failAt, 0);
    EXPECT_EQ(mock().count["aclrtBinaryLoadFromData"], 6);
    expectLogits();
    close();
  }
  // Where one way alone is wanted, its words are those of the error.
  setenv("FATHOM_ASCEND_LAUNCH", "rt", 1);
  Manifest m = fakeAscendManifest();
  m.entries[0].specialisations[1].launches[0].kernel = "fake_nothing";
  for (Library &library : m.libraries)
    if (library.kernel == "fake_mtp") {
      Library other = library;
      other.kernel = "fake_nothing";
      other.file = "device/910b/fake_nothing.o";
      m.libraries.push_back(other);
      break;
    }
  package = writePackage(directory, m);
  expectRefusal(FATHOM_FAILED, "kernel 'fake_nothing': rtFunctionRegister "
                               "failed: error 107000 (the mock says so)");
}

/// A package that was compiled without CANN: told before any driver is sought.
TEST_P(AscendAnyWay, UnfinishedPackages) {
  Manifest m = fakeAscendManifest();
  for (Library &library : m.libraries)
    if (library.target == "ascend")
      library.form = "adapter";
  package = writePackage(directory, m);
  setenv("FATHOM_LIBASCENDCL", "/nowhere/libascendcl.so", 1);
  expectRefusal(FATHOM_UNSUPPORTED, "fathomc finish " + package);
  expectRefusal(FATHOM_UNSUPPORTED, "--driver emulated", "ascend");
  EXPECT_EQ(open("emulated").code, FATHOM_OK);
  close();
  setenv("FATHOM_LIBASCENDCL", FATHOM_MOCK_ASCEND, 1);
  // Some of its kernels.
  m = fakeAscendManifest();
  for (Library &library : m.libraries)
    if (library.kernel == "fake_logits")
      library.form = "adapter";
  package = writePackage(directory, m);
  expectRefusal(FATHOM_UNSUPPORTED,
                "kernel 'fake_logits' has no device code for 910b yet: run "
                "fathomc finish");
  for (Library &library : m.libraries)
    if (library.kernel == "fake_logits")
      library.refusal = "tile too large";
  package = writePackage(directory, m);
  expectRefusal(FATHOM_UNSUPPORTED, "compiler refused it: tile too large");
  m.libraries.erase(std::remove_if(m.libraries.begin(), m.libraries.end(),
                                   [](const Library &l) {
                                     return l.kernel == "fake_logits";
                                   }),
                    m.libraries.end());
  package = writePackage(directory, m);
  expectRefusal(FATHOM_BAD_FILE, "no kernel 'fake_logits' for 910b");
}

TEST_P(AscendAnyWay, PackagesThatDoNotSayHowToLaunch) {
  for (const char *name : {"mix", "flags", "blocks", "workspaceBytes"}) {
    Manifest m = fakeAscendManifest();
    for (Library &library : m.libraries)
      library.configuration.erase(name);
    package = writePackage(directory, m);
    expectRefusal(FATHOM_BAD_FILE,
                  std::string("does not say '") + name + "' of kernel");
  }
}

/// A place is kept for a model on several devices.
TEST_P(AscendAnyWay, RanksAreReserved) {
  fathom_engine_options options = {};
  options.ranks = 2;
  options.rank = 1;
  const fathom_status got =
      fathom_engine_create(package.c_str(), &options, &engine);
  EXPECT_EQ(got.code, FATHOM_UNSUPPORTED);
  EXPECT_NE(std::string(got.message).find("rank 1 of 2"), std::string::npos)
      << got.message;
  EXPECT_NE(std::string(got.message).find("HCCL"), std::string::npos);
  EXPECT_EQ(engine, nullptr);
  EXPECT_EQ(mock().calls, std::vector<std::string>());
  options.ranks = 1;
  options.rank = 0;
  EXPECT_EQ(fathom_engine_create(package.c_str(), &options, &engine).code,
            FATHOM_OK);
}

TEST_P(AscendAnyWay, AlteredObject) {
  expectAlteredIsRefused("device/910b/fake_sum.o");
}

/// Somebody else, such as PyTorch, uses the processor too.
TEST_P(AscendAnyWay, OthersInTheProcess) {
  mock().initialisedBefore = true;
  ASSERT_EQ(open().code, FATHOM_OK);
  fathom_engine *first = engine;
  ASSERT_EQ(open().code, FATHOM_OK);
  expectLogits();
  fathom_engine_destroy(first);
  close();
  EXPECT_EQ(mock().count["aclrtResetDevice"], 2);
}

/// Planned before anything is taken, told with what would fit. The workspace is
/// part of it: that of each block that the most programs of the kernel take.
TEST_P(AscendAnyWay, Memory) {
  mock().memoryBytes = 1000;
  expectRefusal(FATHOM_RESOURCES,
                "does not fit into the memory of Ascend910B3");
  EXPECT_EQ(mock().count["aclrtMalloc"], 0);
  mock().memoryBytes = uint64_t(64) << 20;
  ASSERT_EQ(open().code, FATHOM_OK);
  fathom_session_memory memory;
  ASSERT_EQ(fathom_session_memory_for(engine, nullptr, &memory).code,
            FATHOM_OK);
  EXPECT_EQ(memory.scratch_bytes, kMockWorkspace * kMockMixBlocks);
  close();
  // With exactly what is planned there is enough, and all of it is taken.
  mock().mostAllocatedBytes = 0;
  mock().memoryBytes = memory.peak_bytes;
  ASSERT_EQ(open().code, FATHOM_OK);
  ASSERT_EQ(fathom_session_create(engine, nullptr, &session).code, FATHOM_OK);
  EXPECT_EQ(uint64_t(mock().allocatedBytes), memory.peak_bytes);
  EXPECT_EQ(uint64_t(mock().mostAllocatedBytes), memory.peak_bytes);
  EXPECT_EQ(fathom_session_allocated_bytes(session), memory.total_bytes);
  close();
  mock().memoryBytes = memory.peak_bytes - 1; // three sequences, not four
  ASSERT_EQ(open().code, FATHOM_OK);
  const int64_t before = mock().count["aclrtMalloc"];
  const fathom_status got = fathom_session_create(engine, nullptr, &session);
  EXPECT_EQ(got.code, FATHOM_RESOURCES);
  EXPECT_NE(std::string(got.message).find("what fits: 3"), std::string::npos)
      << got.message;
  EXPECT_EQ(mock().count["aclrtMalloc"], before);
}

TEST_P(AscendAnyWay, OutOfMemoryIsResources) {
  expectOutOfMemoryIsResources("aclrtMalloc failed: error 207001");
}

TEST_P(AscendAnyWay, ProgressOfTheUpload) { expectProgressOfTheUpload(); }

INSTANTIATE_TEST_SUITE_P(On, AscendAnyWay, testing::Values("mock"));

//===-- In both ways ------------------------------------------------------===//

/// Each processor with code of its family, other members of it included.
TEST_P(Ascend, Processors) {
  const std::pair<const char *, const char *> all[] = {
      {"910b", "Ascend910B3"},     {"910b", "Ascend910B2C"},
      {"a3", "Ascend910_9392"},    {"a3", "Ascend910_9362"},
      {"950", "Ascend950PR_9599"}, {"950", "Ascend950DT_9581"}};
  for (auto [level, processor] : all) {
    mock().reset();
    mock().processor = processor;
    package = writePackage(directory, fakeAscendManifest(level));
    ASSERT_EQ(open().code, FATHOM_OK) << processor;
    fathom_model_info info;
    fathom_engine_info(engine, &info);
    EXPECT_STREQ(info.isa, level);
    expectLogits();
    close();
    EXPECT_EQ(mock().violations, std::vector<std::string>()) << processor;
  }
}

/// What is launched of the toy, word by word.
TEST_P(Ascend, Launches) {
  ASSERT_EQ(open().code, FATHOM_OK);
  expectLogits(); // a step of eight tokens, and one of one
  const MockAscend::Launch &sum = mock().launches["fake_sum"];
  EXPECT_EQ(sum.blocks, 1u);
  ASSERT_EQ(sum.words.size(), 3u + 5u + 2u);
  EXPECT_EQ(sum.words[0], kMockFlags);
  EXPECT_EQ(sum.words[1], 0u); // lock
  EXPECT_NE(sum.words[2], 0u); // workspace
  for (int i = 3; i < 8; ++i)
    EXPECT_NE(sum.words[i], 0u);
  EXPECT_EQ(sum.words[8], 1u | uint64_t(1) << 32); // x and y
  EXPECT_EQ(sum.words[9], 1u);                     // z, then nothing
  // A table is its first buffer and its addresses.
  const MockAscend::Launch &logits = mock().launches["fake_logits"];
  ASSERT_EQ(logits.words.size(), 3u + 6u + 2u);
  EXPECT_EQ(logits.words[2], 0u); // no workspace
  EXPECT_NE(logits.words[4], logits.words[5]);
  // One row of logits and one token: two along x; three of 8 ids along y. The
  // blocks that there are go through these six.
  EXPECT_EQ(logits.blocks, uint32_t(kMockVectorBlocks));
  EXPECT_EQ(logits.words[9], 2u | uint64_t(3) << 32);
}

/// Once it has been recorded, a step's launches are queued again as they were;
/// nothing is allocated and nobody is waited for in between.
TEST_P(Ascend, DecodeIsQueuedAgain) {
  ASSERT_EQ(open().code, FATHOM_OK);
  ASSERT_EQ(fathom_session_create(engine, nullptr, &session).code, FATHOM_OK);
  int32_t slots[2], ids[2] = {3, 5}, chosen[2 * 6];
  for (int32_t &slot : slots)
    ASSERT_EQ(fathom_session_add(session, &slot).code, FATHOM_OK);
  auto generate = [&](size_t count, int64_t steps) {
    mock().calls.clear();
    EXPECT_EQ(fathom_generate(session, slots, ids, count, steps, chosen).code,
              FATHOM_OK);
  };
  for (int64_t steps : {1, 6}) {
    generate(2, steps);
    std::vector<std::string> calls, expected = {"aclrtMemcpyAsync"};
    for (const std::string &call : mock().calls)
      if (call != "aclrtSetCurrentContext")
        calls.push_back(call);
    for (int64_t step = 0; step < steps; ++step) {
      expected.insert(expected.end(), 5, launchCall()); // four and the choice
      expected.push_back("aclrtMemcpyAsync");
    }
    expected.push_back("aclrtSynchronizeStream");
    EXPECT_EQ(calls, expected);
  }
}

/// Blocks are counted in 16 bits, and programs in 32 where blocks go through
/// them themselves.
TEST_P(Ascend, ManyPrograms) {
  for (int64_t loop : {0, 72}) {
    rt::Driver driver;
    ASSERT_FALSE(rt::findDriver("ascend")->open({}, driver).failed());
    const rt::DriverTable &table = *driver.table;
    void *image = nullptr, *kernel = nullptr, *stream = nullptr;
    ASSERT_FALSE(
        table
            .loadImage(driver.self, "x.o", readWhole(FATHOM_FAKE_CUBIN), &image)
            .failed());
    const std::map<std::string, int64_t> configuration = {
        {"mix", 0}, {"flags", 1}, {"blocks", loop}, {"workspaceBytes", 16}};
    ASSERT_FALSE(table
                     .findKernel(driver.self, image,
                                 {"fake_greedy", configuration, 1 << 20},
                                 &kernel)
                     .failed());
    EXPECT_EQ(table.scratchBytes(driver.self, 0),
              16u * uint64_t(loop ? loop : 65535));
    ASSERT_FALSE(table.createStream(driver.self, &stream).failed());
    const uint64_t args[5] = {}, firsts[5] = {};
    const rt::ArgKind kinds[5] = {};
    const rt::Status s = table.launch(
        driver.self,
        {kernel, "fake_greedy", args, kinds, firsts, 5, {65536, 1, 1}}, stream);
    EXPECT_TRUE(s.failed()); // with a loop: the mock has no such addresses
    EXPECT_EQ(s.code() == FATHOM_UNSUPPORTED, loop == 0) << s.message();
    if (!loop)
      EXPECT_NE(s.message().find("'fake_greedy' wants 65536 blocks"),
                std::string::npos);
    else
      EXPECT_EQ(mock().launches["fake_greedy"].blocks, 72u);
    for (int64_t programs : {rt::kMostAscendPrograms,
                             rt::kMostAscendPrograms + 1, int64_t(1) << 33}) {
      const rt::Status admitted = table.admit(
          driver.self,
          {kernel, "fake_greedy", args, kinds, firsts, 5, {1, programs, 1}});
      EXPECT_EQ(admitted.failed(), !loop || programs > rt::kMostAscendPrograms)
          << programs;
      if (loop && admitted.failed()) {
        EXPECT_EQ(admitted.code(), FATHOM_UNSUPPORTED);
        EXPECT_NE(admitted.message().find("wants " + std::to_string(programs) +
                                          " programs"),
                  std::string::npos)
            << admitted.message();
      }
    }
    mock().violations.clear();
    table.destroyStream(driver.self, stream);
    table.destroy(driver.self);
  }
}

TEST_P(Ascend, AnyCallMayFail) {
  expectAnyCallMayFail(
      [](const std::string &call) {
        return call + " failed: error 507015 (the mock says so)";
      },
      {"rtDevBinaryRegister", "rtFunctionRegister", "rtKernelLaunch",
       "aclrtBinaryLoadFromData", "aclrtBinaryGetFunction",
       "aclrtLaunchKernelWithHostArgs"});
}

INSTANTIATE_TEST_SUITE_P(Ways, Ascend, testing::Values("rt", "acl"),
                         [](const auto &info) {
                           return std::string(info.param);
                         });

//===-- Arguments ---------------------------------------------------------===//

TEST(AscendArguments, Packing) {
  const uint64_t args[4] = {0x1000, 0x2000, 0x3000, 0x4000};
  const uint64_t firsts[4] = {0, 0x2100, 0, 0};
  const rt::ArgKind kinds[4] = {rt::ArgKind::Buffer, rt::ArgKind::Table,
                                rt::ArgKind::Constant, rt::ArgKind::Count};
  const rt::LaunchRecord record = {nullptr, "k", args,     kinds,
                                   firsts,  4,   {5, 6, 7}};
  const rt::AscendAddresses addresses = {0xf000, 0xe000};
  rt::AscendKernelFacts facts;
  const std::vector<uint64_t> own = {
      0x1000, 0x2100, 0x2000, 0x3000, 0x4000, 5 | uint64_t(6) << 32, 7};
  auto expected = [&](std::vector<uint64_t> before) {
    before.insert(before.end(), own.begin(), own.end());
    return before;
  };
  auto pack = [&] {
    uint64_t words[rt::kMostAscendWords];
    const size_t count = rt::packArguments(facts, record, addresses, words);
    return std::vector<uint64_t>(words, words + count);
  };
  EXPECT_EQ(pack(), expected({0, 0}));
  facts.workspaceBytes = 8;
  EXPECT_EQ(pack(), expected({0, 0xe000}));
  facts.flags = true;
  EXPECT_EQ(pack(), expected({0xf000, 0, 0xe000}));
}

TEST(AscendArguments, Blocks) {
  rt::AscendKernelFacts facts;
  EXPECT_EQ(facts.blocksFor(1), 1);
  EXPECT_EQ(facts.blocksFor(1000), 1000);
  facts.blocks = 36;
  EXPECT_EQ(facts.blocksFor(1), 1);
  EXPECT_EQ(facts.blocksFor(36), 36);
  EXPECT_EQ(facts.blocksFor(1000), 36);
}

} // namespace
