// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The driver for NVIDIA GPUs on a mock of libcuda: what it refuses, that any
// call may fail, and what a step asks of the device. No GPU takes part.
#include "runtime/format/ManifestJson.h"
#include "test/unit/runtime/DriverTest.h"
#include "test/unit/runtime/MockCuda.h"

#include <cstdlib>
#include <dlfcn.h>

using namespace fathom::test;
using namespace fathom::format;

namespace {

MockCuda &mock() {
  static void *library = dlopen(FATHOM_MOCK_CUDA, RTLD_NOW | RTLD_LOCAL);
  static auto find =
      reinterpret_cast<MockCuda *(*)()>(dlsym(library, "mockCuda"));
  return *find();
}

class Cuda : public DriverTest<testing::Test> {
protected:
  Cuda() : DriverTest(mock()) {}
  void SetUp() override {
    setenv("FATHOM_LIBCUDA", FATHOM_MOCK_CUDA, 1);
    DriverTest::SetUp();
    package = writePackage(directory, fakeCudaManifest());
  }
};

TEST_F(Cuda, Refusals) {
  setenv("FATHOM_LIBCUDA", "/nowhere/libcuda.so", 1);
  expectRefusal(FATHOM_UNSUPPORTED, "there is no NVIDIA driver here");
  expectRefusal(FATHOM_UNSUPPORTED, "--driver emulated");
  // A library that is something else.
  setenv("FATHOM_LIBCUDA", FATHOM_FAKE_KERNELS, 1);
  expectRefusal(FATHOM_UNSUPPORTED, "it has no cuInit");
  setenv("FATHOM_LIBCUDA", FATHOM_MOCK_CUDA, 1);
  mock().devices = 0;
  expectRefusal(FATHOM_UNSUPPORTED, "no NVIDIA GPU");
  mock().devices = 2;
  ordinal = 2;
  expectRefusal(FATHOM_USAGE, "there are 0 to 1");
  ordinal = 1;
  EXPECT_EQ(open().code, FATHOM_OK);
  close();
  mock().version = 12040;
  expectRefusal(FATHOM_UNSUPPORTED, "CUDA 12.4");
  mock().version = 13000;
  mock().major = 10;
  expectRefusal(FATHOM_UNSUPPORTED, "has code for sm_90");
  expectRefusal(FATHOM_UNSUPPORTED, "Mock GPU (sm_100");
  mock().major = 9;
  package = writePackage(directory, fakeManifest());
  expectRefusal(FATHOM_UNSUPPORTED, "no code for 'cuda'", "cuda");
}

/// Before sm_90, code runs on later members of its generation.
TEST_F(Cuda, OlderCodeOfTheSameGeneration) {
  Manifest m = fakeCudaManifest();
  for (Library &library : m.libraries)
    if (library.isa == "sm_90")
      library.isa = "sm_80";
  package = writePackage(directory, m);
  mock().major = 8;
  mock().minor = 6;
  EXPECT_EQ(open().code, FATHOM_OK);
  close();
  mock().major = 9;
  expectRefusal(FATHOM_UNSUPPORTED, "has code for sm_80");
}

TEST_F(Cuda, OtherHosts) {
  Manifest m = fakeCudaManifest();
  m.target.hostArchitecture = "aarch64";
  package = writePackage(directory, m);
  expectRefusal(FATHOM_UNSUPPORTED, "hosts of aarch64");
  // The code for the CPU is none of that.
  EXPECT_EQ(open("emulated").code, FATHOM_OK);
}

TEST_F(Cuda, AlteredCubin) {
  expectAlteredIsRefused("device/sm_90/fake_sum.cubin");
}

TEST_F(Cuda, MissingCubin) {
  Manifest m = fakeCudaManifest();
  m.libraries.pop_back();
  package = writePackage(directory, m);
  expectRefusal(FATHOM_BAD_FILE, "no kernel 'fake_greedy' for sm_90");
}

/// Planned before anything is taken, told with what would fit.
TEST_F(Cuda, TooLittleMemory) {
  mock().memoryBytes = 1000;
  expectRefusal(FATHOM_RESOURCES, "does not fit into the memory of Mock GPU");
  EXPECT_EQ(mock().count["cuMemAlloc_v2"], 0);
  mock().memoryBytes = uint64_t(64) << 20;
  ASSERT_EQ(open().code, FATHOM_OK);
  fathom_session_memory memory;
  ASSERT_EQ(fathom_session_memory_for(engine, nullptr, &memory).code,
            FATHOM_OK);
  close();
  // What does not fit by one byte is refused, with what would; what fits to the
  // byte takes all of it.
  for (int64_t sequences = kSequences; sequences >= 0; --sequences) {
    mock().memoryBytes = memory.peak_bytes - 1;
    if (sequences == 0) {
      expectRefusal(FATHOM_RESOURCES, "no context fits beside the weights");
      break;
    }
    ASSERT_EQ(open().code, sequences > 1 ? FATHOM_OK : FATHOM_RESOURCES);
    fathom_session_options options = {};
    options.max_sequences = sequences;
    options.max_logit_rows = kStepTokens; // as many for every number of them
    if (sequences > 1) {
      const int64_t before = mock().count["cuMemAlloc_v2"];
      const fathom_status got =
          fathom_session_create(engine, &options, &session);
      EXPECT_EQ(got.code, FATHOM_RESOURCES);
      EXPECT_NE(std::string(got.message)
                    .find("what fits: " + std::to_string(sequences - 1) +
                          " sequences of 64 tokens"),
                std::string::npos)
          << got.message;
      EXPECT_EQ(mock().count["cuMemAlloc_v2"], before);
      close();
    }
    mock().memoryBytes = memory.peak_bytes;
    ASSERT_EQ(open().code, FATHOM_OK);
    ASSERT_EQ(fathom_session_create(engine, &options, &session).code,
              FATHOM_OK);
    EXPECT_EQ(uint64_t(mock().allocatedBytes), memory.peak_bytes);
    EXPECT_EQ(uint64_t(mock().mostAllocatedBytes), memory.peak_bytes);
    EXPECT_EQ(fathom_session_allocated_bytes(session), memory.total_bytes);
    options.max_sequences = sequences - 1;
    if (sequences > 1) {
      ASSERT_EQ(fathom_session_memory_for(engine, &options, &memory).code,
                FATHOM_OK);
    }
    close();
    mock().mostAllocatedBytes = 0;
  }
}

TEST_F(Cuda, ProgressOfTheUpload) { expectProgressOfTheUpload(); }

/// Whole steps, call by call. What decodes was recorded when the session was
/// made, once for each number of sequences; a step only queues and waits for
/// its end, the first one like all others.
TEST_F(Cuda, StepsOnlyQueue) {
  using Calls = std::vector<std::string>;
  auto callsOf = [&](auto what) {
    mock().calls.clear();
    const fathom_status s = what();
    EXPECT_EQ(s.code, FATHOM_OK) << s.message;
    Calls calls;
    for (const std::string &call : mock().calls)
      if (call != "cuCtxSetCurrent")
        calls.push_back(call);
    return calls;
  };
  ASSERT_EQ(open().code, FATHOM_OK);
  mock().count.clear();
  ASSERT_EQ(fathom_session_create(engine, nullptr, &session).code, FATHOM_OK);
  // Steps, steps that choose, and those of the MTP layer.
  EXPECT_EQ(mock().count["cuStreamBeginCapture_v2"], 3 * kSequences);
  EXPECT_EQ(mock().count["cuGraphInstantiateWithFlags"], 3 * kSequences);
  EXPECT_EQ(mock().count["cuLaunchKernelEx"], (4 + 5 + 2) * kSequences);
  EXPECT_EQ(mock().count["cuGraphLaunch"], 0);
  int32_t slots[3], ids[10] = {3, 5, 7, 1, 2, 4, 6, 8, 9, 3}, chosen[3 * 6];
  for (int32_t &slot : slots)
    EXPECT_EQ(callsOf([&] { return fathom_session_add(session, &slot); }),
              Calls());

  // The MTP layer takes the streams of the step before.
  const fathom_tokens first[2] = {{slots[1], ids, 1, 1}, {slots[2], ids, 1, 1}};
  const Calls replayed = {"cuGraphLaunch", "cuMemcpyDtoHAsync_v2",
                          "cuStreamSynchronize"};
  EXPECT_EQ(
      callsOf([&] { return fathom_step(session, first, 2, nullptr, nullptr); }),
      replayed);
  Calls expected(2, "cuMemcpyDtoDAsync_v2");
  expected.insert(expected.end(), replayed.begin(), replayed.end());
  EXPECT_EQ(callsOf([&] {
              return fathom_mtp(session, 0, first, 2, nullptr, nullptr);
            }),
            expected);

  // Prompts are launched as they come: two steps here.
  const fathom_tokens prompt = {slots[0], ids, 10, 1};
  expected = {"cuMemcpyHtoDAsync_v2"};
  for (int64_t pieces = 0; pieces < 2; ++pieces) {
    if (pieces)
      expected.push_back("cuMemcpyHtoDAsync_v2");
    // The first piece wants no logits, whose kernel is launched all the same:
    // its grid is a sum over rows and tokens.
    expected.insert(expected.end(), 4, "cuLaunchKernelEx");
    if (pieces)
      expected.push_back("cuMemcpyDtoHAsync_v2");
    expected.push_back("cuStreamSynchronize");
  }
  EXPECT_EQ(callsOf([&] {
              return fathom_step(session, &prompt, 1, nullptr, nullptr);
            }),
            expected);

  for (size_t count : {size_t(2), size_t(1), size_t(3), size_t(2)}) {
    expected = {"cuMemcpyHtoDAsync_v2"};
    for (int step = 0; step < 6; ++step) {
      expected.push_back("cuGraphLaunch");
      expected.push_back("cuMemcpyDtoHAsync_v2");
    }
    expected.push_back("cuStreamSynchronize");
    EXPECT_EQ(callsOf([&] {
                return fathom_generate(session, slots, ids, count, 6, chosen);
              }),
              expected);
    // A plain step of one token each: its inputs are within the graph.
    const fathom_tokens tokens[3] = {
        {slots[0], ids, 1, 1}, {slots[1], ids, 1, 1}, {slots[2], ids, 1, 1}};
    EXPECT_EQ(callsOf([&] {
                return fathom_step(session, tokens, count, nullptr, nullptr);
              }),
              replayed);
  }
}

/// A fault of a kernel shows when somebody waits; asked to, the driver waits
/// for each of them, so that its name can be told.
TEST_F(Cuda, WaitsForEachKernelWhenAsked) {
  auto stepThatFails = [&](const char *call) {
    mock().reset();
    EXPECT_EQ(open().code, FATHOM_OK);
    EXPECT_EQ(fathom_session_create(engine, nullptr, &session).code, FATHOM_OK);
    int32_t slot = 0;
    EXPECT_EQ(fathom_session_add(session, &slot).code, FATHOM_OK);
    const int32_t id = 3;
    const fathom_tokens tokens = {slot, &id, 1, 1};
    auto step = [&] {
      mock().calls.clear();
      return fathom_step(session, &tokens, 1, nullptr, nullptr);
    };
    EXPECT_EQ(step().code, FATHOM_OK);
    const std::vector<std::string> calls = mock().calls;
    mock().failAt = std::find(calls.begin(), calls.end(), call) - calls.begin();
    ++mock().failAt;
    const fathom_status failed = step();
    EXPECT_EQ(failed.code, FATHOM_FAILED);
    close();
    return std::make_pair(calls, std::string(failed.message));
  };
  auto [calls, message] = stepThatFails("cuStreamSynchronize");
  EXPECT_NE(message.find("FATHOM_CUDA_WAIT=1"), std::string::npos) << message;
  EXPECT_EQ(message.find("kernel 'fake_"), std::string::npos) << message;
  setenv("FATHOM_CUDA_WAIT", "1", 1);
  std::tie(calls, message) = stepThatFails("cuStreamSynchronize");
  unsetenv("FATHOM_CUDA_WAIT");
  EXPECT_NE(message.find("kernel 'fake_store': cuStreamSynchronize failed"),
            std::string::npos)
      << message;
  EXPECT_EQ(mock().count["cuGraphLaunch"], 0);
  EXPECT_EQ(mock().count["cuStreamBeginCapture_v2"], 0);
  int64_t launches = 0;
  for (size_t i = 0; i + 1 < calls.size(); ++i)
    if (calls[i] == "cuLaunchKernelEx") {
      ++launches;
      EXPECT_EQ(calls[i + 1], "cuStreamSynchronize");
    }
  EXPECT_EQ(launches, 4);
}

/// A slot whose states could not be cleared is still free.
TEST_F(Cuda, SlotsAreNotLost) {
  Manifest m = fakeCudaManifest();
  m.caches.push_back({"layers.0.state", "state", "f32", 1, {{"kv", 4}}});
  package = writePackage(directory, m);
  ASSERT_EQ(open().code, FATHOM_OK);
  fathom_session_options options = {};
  options.max_sequences = 1;
  ASSERT_EQ(fathom_session_create(engine, &options, &session).code, FATHOM_OK);
  int32_t slot = -1;
  ASSERT_EQ(fathom_session_add(session, &slot).code, FATHOM_OK);
  ASSERT_EQ(fathom_session_remove(session, slot).code, FATHOM_OK);
  mock().failAt = 1;
  EXPECT_EQ(fathom_session_add(session, &slot).code, FATHOM_FAILED);
  EXPECT_EQ(fathom_session_length(session, slot), -1);
  const fathom_status again = fathom_session_add(session, &slot);
  EXPECT_EQ(again.code, FATHOM_OK) << again.message;
}

TEST_F(Cuda, AnyCallMayFail) {
  expectAnyCallMayFail(
      [](const std::string &call) {
        return call + " failed: CUDA_ERROR_LAUNCH_FAILED";
      },
      {"cuLaunchKernelEx", "cuLibraryGetKernel"});
}

TEST_F(Cuda, OutOfMemoryIsResources) {
  expectOutOfMemoryIsResources("CUDA_ERROR_OUT_OF_MEMORY");
}

} // namespace
