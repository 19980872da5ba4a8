// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The emulated device by its table: what it must find (accesses beyond a
// buffer, after its release, without order, of the host) and what it must not
// do before it is asked.
#include "runtime/drivers/Drivers.h"
#include "runtime/include/fathom.h"
#include "test/unit/runtime/FakePackage.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace fathom::test;
using namespace fathom::rt;

namespace {

class Emulated : public testing::Test {
protected:
  void SetUp() override {
    DriverOptions options;
    options.threads = 2;
    ASSERT_FALSE(findDriver("emulated")->open(options, device).failed());
    stream = newStream();
    ok(device.table->loadImage(device.self, FATHOM_FAKE_KERNELS,
                               readWhole(FATHOM_FAKE_KERNELS), &image));
    EXPECT_EQ(device.table->scratchBytes(device.self, 1024), 0u);
    ok(device.table->reserveScratch(device.self, 1024));
  }
  void TearDown() override { device.table->destroy(device.self); }

  void *newStream() {
    void *made = nullptr;
    ok(device.table->createStream(device.self, &made));
    return made;
  }
  void *newEvent() {
    void *made = nullptr;
    ok(device.table->createEvent(device.self, &made));
    return made;
  }
  uint8_t *buffer(const std::string &name, uint64_t bytes) {
    const BufferRequest request{name, bytes};
    void *made = nullptr;
    ok(device.table->allocate(device.self, &request, 1, &made));
    return static_cast<uint8_t *>(made);
  }
  static void ok(const Status &s) { EXPECT_FALSE(s.failed()) << s.message(); }
  static void bad(const Status &s, const std::string &text) {
    EXPECT_TRUE(s.failed());
    EXPECT_NE(s.message().find(text), std::string::npos) << s.message();
  }
  Status toDevice(void *to, const void *from, uint64_t bytes, void *where) {
    return device.table->copy(device.self, CopyKind::ToDevice, to, from, bytes,
                              where);
  }
  Status toHost(void *to, const void *from, uint64_t bytes, void *where) {
    return device.table->copy(device.self, CopyKind::ToHost, to, from, bytes,
                              where);
  }
  Status synchronise(void *where) {
    return device.table->synchronise(device.self, where);
  }
  /// fake_streams: state [n], streams [n, 2], n.
  Status launchStreams(void *state, void *streams, void *count,
                       void *where = nullptr) {
    void *kernel = nullptr;
    ok(device.table->findKernel(device.self, image, {"fake_streams", {}, 1},
                                &kernel));
    const uint64_t args[3] = {uint64_t(uintptr_t(state)),
                              uint64_t(uintptr_t(streams)),
                              uint64_t(uintptr_t(count))};
    const ArgKind kinds[3] = {ArgKind::Buffer, ArgKind::Buffer, ArgKind::Count};
    const uint64_t firsts[3] = {};
    return device.table->launch(
        device.self,
        {kernel, "fake_streams", args, kinds, firsts, 3, {1, 1, 1}},
        where ? where : stream);
  }
  void set(void *count, int32_t value) {
    ok(toDevice(count, &value, 4, stream));
    ok(synchronise(stream));
  }

  Driver device;
  void *stream = nullptr, *image = nullptr;
};

TEST_F(Emulated, WorkRunsWhenItIsWaitedFor) {
  uint8_t *memory = buffer("b", 8);
  int32_t value = 1, read = 0;
  ok(toDevice(memory, &value, 4, stream));
  value = 2; // too early: the copy has not taken it yet
  ok(toHost(&read, memory, 4, stream));
  EXPECT_EQ(read, 0);
  ok(synchronise(stream));
  EXPECT_EQ(read, 2);
}

TEST_F(Emulated, FreshMemoryIsZeroAndAligned) {
  for (uint64_t bytes : {1, 64, 255, 4096, 100001}) {
    uint8_t *memory = buffer("b", bytes);
    EXPECT_EQ(uintptr_t(memory) % 256, 0u);
    std::vector<uint8_t> read(bytes, 7);
    ok(toHost(read.data(), memory, bytes, stream));
    ok(synchronise(stream));
    EXPECT_EQ(read, std::vector<uint8_t>(bytes, 0));
  }
}

TEST_F(Emulated, KernelsWithinTheirBuffers) {
  uint8_t *state = buffer("state", 16), *streams = buffer("streams", 32),
          *count = buffer("count", 4);
  const float values[4] = {1, 2, 3, 4};
  ok(toDevice(state, values, 16, stream));
  set(count, 4);
  ok(launchStreams(state, streams, count));
  float read[8];
  ok(toHost(read, streams, 32, stream));
  ok(synchronise(stream));
  EXPECT_EQ(read[6], 4);
  EXPECT_EQ(read[7], 1);
}

TEST_F(Emulated, WritesJustBeyondABuffer) {
  uint8_t *state = buffer("state", 64), *streams = buffer("streams", 32),
          *count = buffer("count", 4);
  set(count, 5);
  ok(launchStreams(state, streams, count));
  bad(synchronise(stream),
      "kernel 'fake_streams' wrote after the buffer 'streams' (32 bytes)");
}

TEST_F(Emulated, ReadsOfWhatLiesBetweenBuffersAreNoNumbers) {
  uint8_t *state = buffer("state", 16), *streams = buffer("streams", 64),
          *count = buffer("count", 4);
  set(count, 5);
  ok(launchStreams(state, streams, count));
  float read[10];
  ok(toHost(read, streams, 40, stream));
  ok(synchronise(stream));
  EXPECT_NE(read[8], read[8]);
}

TEST_F(Emulated, AccessesFarBeyondABuffer) {
  uint8_t *state = buffer("state", 1 << 20), *streams = buffer("streams", 32),
          *count = buffer("count", 4);
  set(count, 5000);
  ok(launchStreams(state, streams, count));
  bad(synchronise(stream), "kernel 'fake_streams' touched ");
  bad(synchronise(stream), "bytes after the end of 'streams' (32 bytes)");
  // As on a device, nothing works after that.
  int32_t read = 0;
  bad(toHost(&read, state, 4, stream), "touched");
}

TEST_F(Emulated, UseAfterRelease) {
  uint8_t *state = buffer("state", 64), *streams = buffer("streams", 64),
          *count = buffer("count", 4);
  set(count, 2);
  const BufferRequest request{"state", 64};
  void *released = state;
  device.table->release(device.self, &request, 1, &released);
  bad(launchStreams(state, streams, count), "'state' (64 bytes, released)");
}

TEST_F(Emulated, CopiesBeyondABuffer) {
  uint8_t *memory = buffer("b", 100);
  std::vector<uint8_t> host(200);
  ok(toDevice(memory, host.data(), 101, stream));
  bad(synchronise(stream), "a copy of 101 bytes is given byte 0 of 'b'");
}

TEST_F(Emulated, AddressesOfTheHost) {
  int32_t here = 0;
  bad(launchStreams(&here - uintptr_t(&here) % 16 / 4, buffer("s", 64),
                    buffer("c", 4)),
      "none of the device's");
}

TEST_F(Emulated, MisalignedArguments) {
  bad(launchStreams(buffer("state", 64) + 4, buffer("s", 64), buffer("c", 4)),
      "argument 0 is not a multiple of 16");
}

TEST_F(Emulated, NegativeCounts) {
  uint8_t *count = buffer("count", 4);
  set(count, -3);
  ok(launchStreams(buffer("state", 64), buffer("s", 64), count));
  bad(synchronise(stream), "is a count of -3");
}

TEST_F(Emulated, StreamsWithoutOrder) {
  uint8_t *memory = buffer("shared", 64);
  const int32_t value = 1;
  void *other = newStream();
  ok(toDevice(memory, &value, 4, stream));
  int32_t read = 0;
  bad(toHost(&read, memory, 4, other),
      "reads 'shared', which stream 1 may still be writing");
}

TEST_F(Emulated, WritesWhileAnotherStreamReads) {
  uint8_t *memory = buffer("shared", 64);
  void *other = newStream();
  int32_t read = 0;
  const int32_t value = 1;
  ok(toHost(&read, memory, 4, other));
  bad(toDevice(memory, &value, 4, stream),
      "writes 'shared', which stream 2 may still be reading");
}

/// As large weights are uploaded: in pieces, two at a time.
TEST_F(Emulated, PartsOfABufferNeedNoOrder) {
  uint8_t *memory = buffer("shared", 64);
  const std::vector<uint8_t> value(64, 1);
  void *other = newStream(), *third = newStream(), *event = newEvent();
  std::vector<uint8_t> read(64);
  ok(toDevice(memory, value.data(), 32, stream));
  ok(toDevice(memory + 32, value.data(), 32, other));
  ok(toDevice(memory, value.data(), 32, stream));
  // Half of what is read is ordered.
  ok(device.table->recordEvent(device.self, event, stream));
  ok(device.table->waitEvent(device.self, third, event));
  ok(toHost(read.data(), memory, 32, third));
  bad(toHost(read.data(), memory, 33, third),
      "reads 'shared', which stream 2 may still be writing");
  device.table->destroyEvent(device.self, event);
}

TEST_F(Emulated, WritesOfAPartThatIsRead) {
  uint8_t *memory = buffer("shared", 64);
  const uint8_t value = 1;
  uint8_t read[32];
  void *other = newStream();
  ok(toHost(read, memory + 16, 32, other));
  ok(toDevice(memory + 15, &value, 1, stream));
  ok(toDevice(memory + 48, &value, 1, stream));
  bad(toDevice(memory + 47, &value, 1, stream),
      "writes 'shared', which stream 2 may still be reading");
}

/// A kernel may use all of what it is given an address of.
TEST_F(Emulated, KernelsUseWholeBuffers) {
  uint8_t *state = buffer("state", 64), *streams = buffer("streams", 64),
          *count = buffer("count", 4);
  const uint8_t value = 1;
  set(count, 1);
  ok(toDevice(state + 60, &value, 1, stream));
  bad(launchStreams(state, streams, count, newStream()),
      "writes 'state', which stream 1 may still be writing");
}

TEST_F(Emulated, EventsOrderStreams) {
  uint8_t *memory = buffer("shared", 64);
  void *other = newStream(), *third = newStream(), *event = newEvent(),
       *later = newEvent();
  const int32_t value = 41;
  int32_t read = 0, again = 0;
  ok(toDevice(memory, &value, 4, stream));
  ok(device.table->recordEvent(device.self, event, stream));
  ok(device.table->waitEvent(device.self, other, event));
  ok(toHost(&read, memory, 4, other));
  ok(device.table->recordEvent(device.self, later, other));
  ok(device.table->waitEvent(device.self, third,
                             later)); // by way of the second
  ok(toHost(&again, memory, 4, third));
  EXPECT_EQ(read, 0);
  uint64_t nanoseconds = 0;
  bad(device.table->elapsed(device.self, event, later, &nanoseconds),
      "has not happened");
  ok(synchronise(third)); // which needs the other two
  EXPECT_EQ(read, 41);
  EXPECT_EQ(again, 41);
  ok(device.table->elapsed(device.self, event, later, &nanoseconds));
  device.table->destroyEvent(device.self, event);
  device.table->destroyEvent(device.self, later);
}

TEST_F(Emulated, TheHostOrdersWhatItWaitedFor) {
  uint8_t *memory = buffer("shared", 64);
  void *other = newStream();
  const int32_t value = 3;
  int32_t read = 0;
  ok(toDevice(memory, &value, 4, stream));
  ok(synchronise(stream));
  ok(toHost(&read, memory, 4, other));
  ok(synchronise(other));
  EXPECT_EQ(read, 3);
}

TEST_F(Emulated, GraphsReadTheirCountsWhenTheyRun) {
  uint8_t *state = buffer("state", 64), *streams = buffer("streams", 128),
          *count = buffer("count", 4);
  const float values[4] = {1, 2, 3, 4};
  ok(toDevice(state, values, 16, stream));
  ok(synchronise(stream));
  ok(device.table->beginRecording(device.self, stream));
  ok(launchStreams(state, streams, count));
  void *graph = nullptr;
  ok(device.table->endRecording(device.self, stream, &graph));
  float read[8] = {};
  for (int32_t n : {1, 3}) {
    set(count, n);
    ok(device.table->replay(device.self, graph, stream));
    ok(toHost(read, streams, 32, stream));
    ok(synchronise(stream));
    for (int32_t i = 0; i < 4; ++i)
      EXPECT_EQ(read[2 * i], i < n ? values[i] : 0) << n;
  }
  device.table->destroyGraph(device.self, graph);
}

TEST_F(Emulated, NothingElseWhileAGraphIsRecorded) {
  ok(device.table->beginRecording(device.self, stream));
  bad(synchronise(stream), "while a graph is recorded");
  const BufferRequest request{"b", 8};
  void *made = nullptr;
  bad(device.table->allocate(device.self, &request, 1, &made),
      "while a graph is recorded");
  bad(device.table->beginRecording(device.self, stream),
      "while a graph is recorded");
  void *graph = nullptr;
  ok(device.table->endRecording(device.self, stream, &graph));
  device.table->destroyGraph(device.self, graph);
}

TEST_F(Emulated, TooLarge) {
  const BufferRequest requests[2] = {{"small", 8},
                                     {"large", uint64_t(1) << 41}};
  void *made[2] = {};
  bad(device.table->allocate(device.self, requests, 2, made), "'large'");
}

/// Records of a package that are wrong are told with kernel and buffer.
struct WrongRecord {
  void (*spoil)(fathom::format::Manifest &);
  const char *told;
};
class EmulatedPackage : public testing::TestWithParam<WrongRecord> {};

TEST_P(EmulatedPackage, IsStopped) {
  TemporaryDirectory directory;
  fathom::format::Manifest m = fakeCudaManifest();
  GetParam().spoil(m);
  const std::string package = writePackage(directory, m);
  fathom_engine_options options = {};
  options.threads = 1;
  options.driver = "emulated";
  fathom_engine *engine = nullptr;
  fathom_session *session = nullptr;
  fathom_status s = fathom_engine_create(package.c_str(), &options, &engine);
  EXPECT_EQ(s.code, FATHOM_OK) << s.message;
  s = fathom_session_create(engine, nullptr, &session);
  EXPECT_EQ(s.code, FATHOM_OK) << s.message;
  int32_t slot = 0;
  s = fathom_session_add(session, &slot);
  EXPECT_EQ(s.code, FATHOM_OK) << s.message;
  // A step that is a graph, then one that is launched.
  const int32_t ids[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (int64_t count : {1, 8}) {
    const fathom_tokens tokens = {slot, ids, count, 1};
    s = fathom_step(session, &tokens, 1, nullptr, nullptr);
    if (s.code != FATHOM_OK)
      break;
  }
  EXPECT_EQ(s.code, FATHOM_FAILED);
  EXPECT_NE(std::string(s.message).find(GetParam().told), std::string::npos)
      << s.message;
  fathom_session_destroy(session);
  fathom_engine_destroy(engine);
}

INSTANTIATE_TEST_SUITE_P(
    Records, EmulatedPackage,
    testing::Values(
        // A workspace that is too small, by one token's sum.
        WrongRecord{[](fathom::format::Manifest &m) {
                      for (auto &s : m.entries[0].specialisations)
                        s.workspaceBytes -= 4;
                    },
                    "kernel 'fake_sum' wrote after the buffer 'workspace'"},
        // A cache of fewer rows than positions reach.
        WrongRecord{[](fathom::format::Manifest &m) {
                      m.caches[0].components[0].rowBytes = 1;
                      m.limits.maxSequences = 1;
                      m.caches[0].rows = 4;
                    },
                    "kernel 'fake_store' wrote after the buffer "
                    "'layers.0.window.rows' (4 bytes)"},
        // The grid of one kernel counts something else.
        WrongRecord{[](fathom::format::Manifest &m) {
                      for (auto &s : m.entries[0].specialisations)
                        s.launches[1].grid[0] = {
                            {fathom::format::Count::One, 1, 4000}};
                    },
                    "kernel 'fake_sum'"},
        // The record of one kernel lacks its last argument.
        WrongRecord{[](fathom::format::Manifest &m) {
                      for (auto &s : m.entries[0].specialisations)
                        s.launches[0].args.pop_back();
                    },
                    "kernel 'fake_store' touched an address that is none of "
                    "the device's"},
        // It has none at all.
        WrongRecord{[](fathom::format::Manifest &m) {
                      for (auto &s : m.entries[0].specialisations)
                        s.launches[0].args.clear();
                    },
                    "kernel 'fake_store' touched an address that is none of "
                    "the device's"},
        // A count where the kernel takes a buffer.
        WrongRecord{[](fathom::format::Manifest &m) {
                      for (auto &s : m.entries[0].specialisations)
                        s.launches[0].args[0].kind =
                            fathom::format::Arg::Kind::Count;
                    },
                    "kernel 'fake_store'"}));

using EmulatedDeathTest = Emulated;
TEST_F(EmulatedDeathTest, TheHostTouchesTheDevice) {
  volatile uint8_t *memory = buffer("b", 8);
  EXPECT_DEATH((void)memory[0], "the host touched an address");
}

} // namespace
