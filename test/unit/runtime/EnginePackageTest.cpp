// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What an engine is made of: packages that are refused, and say why; code that
// is the very code of the package.
#include "test/unit/runtime/EngineTest.h"

#include <fcntl.h>
#include <filesystem>
#include <unistd.h>
#include <utility>

using namespace fathom::test;
using namespace fathom::format;

namespace {

TEST_P(EngineTest, CodeThatChangesInPlace) {
  if (isDevice())
    GTEST_SKIP() << "its code is handed over as bytes";
  // Another library, of which only a number of a descriptor is left.
  const int closed = ::open(FATHOM_FAKE_CUBIN, O_RDONLY | O_CLOEXEC);
  void *foreign = dlopen(("/proc/self/fd/" + std::to_string(closed)).c_str(),
                         RTLD_NOW | RTLD_LOCAL);
  EXPECT_NE(foreign, nullptr);
  ::close(closed);
  struct Life {
    fathom_engine *engine = nullptr;
    float more = 0; // in all of its logits
  };
  std::vector<Life> lives;
  auto begin = [&](const char *code, float more) {
    Manifest m = toy();
    const std::string bytes = readWhole(code);
    m.libraries[0].blake3 = blake3Hex(bytes.data(), bytes.size());
    m.libraries[0].bytes = bytes.size();
    const std::string file = directory.path("toy.fathom/host-x86-64-v3.so");
    package = writePackage(directory, m);
    // The very file, as a compiler that overwrites it leaves it.
    writeFile(file, bytes);
    EXPECT_OK(create());
    lives.push_back({std::exchange(engine, nullptr), more});
  };
  auto end = [&](size_t which) {
    fathom_engine_destroy(lives[which].engine);
    lives.erase(lives.begin() + int64_t(which));
  };
  auto checkAll = [&] {
    for (const Life &life : lives) {
      EXPECT_OK(fathom_session_create(life.engine, nullptr, &session));
      const std::vector<int32_t> ids = someIds(5, 1);
      const fathom_tokens tokens = {add(), ids.data(), 5, 1};
      const float *row = nullptr;
      EXPECT_OK(fathom_step(session, &tokens, 1, nullptr, &row));
      std::vector<float> expected = expectedLogits(ids);
      for (float &logit : expected)
        logit += life.more;
      expectRow(row, expected);
      fathom_session_destroy(session);
      session = nullptr;
    }
  };
  begin(FATHOM_FAKE_KERNELS, 0);
  begin(FATHOM_OTHER_KERNELS, 1000);
  begin(FATHOM_OTHER_KERNELS, 1000);
  checkAll();
  end(1);
  begin(FATHOM_FAKE_KERNELS, 0);
  checkAll();
  end(0);
  begin(FATHOM_OTHER_KERNELS, 1000);
  checkAll();
  while (!lives.empty())
    end(0);
  dlclose(foreign);
}

/// dlopen would put another word there.
TEST_P(EngineTest, PathsAreTakenAsTheyAre) {
  const std::string written = writePackage(directory, toy());
  package = directory.path("x$LIB.fathom");
  std::filesystem::rename(written, package);
  EXPECT_OK(create());
}

TEST_P(EngineTest, MissingPackage) {
  package = directory.path("nothing.fathom");
  EXPECT_CODE(FATHOM_BAD_FILE, create(), "no package");
  writeFile(directory.path("file.fathom"), "x");
  package = directory.path("file.fathom");
  EXPECT_CODE(FATHOM_BAD_FILE, create(), "not a directory");
  package = directory.path();
  EXPECT_CODE(FATHOM_BAD_FILE, create(), "manifest.json");
}

TEST_P(EngineTest, AlteredBytes) {
  if (isDevice())
    GTEST_SKIP() << "its own test: Cuda.AlteredCubin, Ascend.AlteredObject";
  package = writePackage(directory, toy());
  const std::string manifest = readWhole(package + "/manifest.json");
  std::string altered = manifest;
  altered.replace(altered.find("fake_sum"), 8, "fake_mtp");
  writeFile(package + "/manifest.json", altered);
  EXPECT_CODE(FATHOM_BAD_FILE, create(), "altered");
  writeFile(package + "/manifest.json", manifest.substr(0, 700));
  EXPECT_CODE(FATHOM_BAD_FILE, create(), "not valid JSON");
  writeFile(package + "/manifest.json", manifest);
  std::string library = readWhole(package + "/host-x86-64-v3.so");
  library[library.size() / 2] ^= 1;
  writeFile(package + "/host-x86-64-v3.so", library);
  EXPECT_CODE(FATHOM_BAD_FILE, create(), "was altered");
  writeFile(package + "/host-x86-64-v3.so", library.substr(1));
  EXPECT_CODE(FATHOM_BAD_FILE, create(), "was altered");
  std::filesystem::remove(package + "/host-x86-64-v3.so");
  EXPECT_CODE(FATHOM_BAD_FILE, create(), "cannot open");
}

TEST_P(EngineTest, OtherVersions) {
  Manifest m = toy();
  m.major = 7;
  EXPECT_CODE(FATHOM_BAD_FILE, tryOpen(m), "version 7.1");
  EXPECT_CODE(FATHOM_BAD_FILE, tryOpen(m), "reads version 3.1");
  m.major = kMajor;
  m.minor = 12;
  EXPECT_OK(tryOpen(m));
}

TEST_P(EngineTest, MovedWeights) {
  namespace fs = std::filesystem;
  package = writePackage(directory, toy());
  fs::rename(directory.path("weights"), directory.path("elsewhere"));
  EXPECT_CODE(FATHOM_BAD_FILE, create(), "--checkpoint");
  const std::string where = directory.path("elsewhere");
  fathom_engine_options options = {};
  options.driver = GetParam();
  options.checkpoint = where.c_str();
  options.prefault = 1;
  EXPECT_OK(fathom_engine_create(package.c_str(), &options, &engine));
  // The pair moves together, and symbolic links are followed.
  fs::create_directories(directory.path("weights"));
  fs::create_symlink(where + "/w.safetensors",
                     directory.path("weights/w.safetensors"));
  fathom_engine_destroy(engine);
  EXPECT_OK(create());
}

TEST_P(EngineTest, OtherCheckpoint) {
  package = writePackage(directory, toy());
  const std::string path = directory.path("weights/w.safetensors");
  std::string bytes = fakeCheckpoint();
  writeFile(path, bytes + "x");
  EXPECT_CODE(FATHOM_BAD_FILE, create(), "was compiled for a file of");
  bytes[9] = '\n';
  writeFile(path, bytes);
  EXPECT_CODE(FATHOM_BAD_FILE, create(), "header differs");
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_CODE(FATHOM_BAD_FILE, create(), "not a regular file");
}

TEST_P(EngineTest, CodeForOtherMachines) {
  if (isDevice())
    GTEST_SKIP() << "its own test: Cuda.Refusals, Ascend.Refusals";
  Manifest m = toy();
  m.libraries[0].isa = "riscv";
  EXPECT_CODE(FATHOM_UNSUPPORTED, tryOpen(m), "riscv");
  m.libraries[0].target = "cuda";
  EXPECT_CODE(FATHOM_UNSUPPORTED, tryOpen(m), "no code for 'cpu'");
  package = writePackage(directory, toy());
  EXPECT_CODE(FATHOM_UNSUPPORTED, create("x86-64-v9"), "x86-64-v9 was asked");
  EXPECT_OK(create("x86-64-v3"));
}

TEST_P(EngineTest, OptionsThatMakeNoSense) {
  package = writePackage(directory, toy());
  auto openWith = [&](auto change) {
    fathom_engine_options options = {};
    options.driver = GetParam();
    change(options);
    return fathom_engine_create(package.c_str(), &options, &engine);
  };
  EXPECT_CODE(FATHOM_USAGE, openWith([](auto &o) { o.threads = -1; }),
              "-1 threads");
  EXPECT_CODE(FATHOM_USAGE, openWith([](auto &o) { o.threads = 1025; }),
              "1025 threads");
  EXPECT_CODE(FATHOM_UNSUPPORTED, openWith([](auto &o) { o.rank = 1; }),
              "rank 1 of 0");
  EXPECT_CODE(FATHOM_UNSUPPORTED, openWith([](auto &o) { o.ranks = 2; }),
              "rank 0 of 2");
}

TEST_P(EngineTest, ManifestThatDoesNotFit) {
  Manifest m = toy();
  m.entries[0].specialisations[0].launches[0].kernel = "absent";
  EXPECT_CODE(FATHOM_BAD_FILE, tryOpen(m), "kernel 'absent'");
  m = toy();
  m.entries[0].inputs[0].name = "colours";
  EXPECT_CODE(FATHOM_BAD_FILE, tryOpen(m), "input 'colours'");
  m = toy();
  m.entries[0].outputs[0].rowBytes = 4;
  EXPECT_CODE(FATHOM_BAD_FILE, tryOpen(m), "output 'logits'");
  m = toy();
  m.entries[1].inputs[0].rowBytes = 16;
  EXPECT_CODE(FATHOM_BAD_FILE, tryOpen(m), "streams");
  // Each layer fits the one before it, but not the buffer for the step's.
  m = toy();
  m.model.mtpLayers = 2;
  m.entries.push_back(m.entries[1]);
  m.entries.back().name = "mtp.1";
  EXPECT_OK(tryOpen(m));
  fathom_engine_destroy(std::exchange(engine, nullptr));
  m.entries[1].outputs[1].rowBytes = m.entries.back().inputs[0].rowBytes = 8192;
  EXPECT_CODE(FATHOM_BAD_FILE, tryOpen(m), "streams of 8192 bytes");
  m = toy();
  m.entries.erase(m.entries.begin());
  EXPECT_CODE(FATHOM_BAD_FILE, tryOpen(m), "no entry 'step'");
  m = toy();
  for (auto &axis : m.entries[0].specialisations[1].launches[0].grid)
    axis[0].multiply = uint64_t(1) << 30;
  EXPECT_CODE(FATHOM_BAD_FILE, tryOpen(m), "impossible grid");
}

/// Entries whose ports are not those that the runtime has.
TEST_P(EngineTest, PortsThatDoNotFit) {
  if (!isHost())
    GTEST_SKIP() << "as on the host";
  enum { Step, Mtp, Greedy };
  auto expect = [&](const char *text, int which, auto change) {
    Manifest m = toy();
    Entry &entry = m.entries[which];
    change(entry);
    for (Specialisation &s : entry.specialisations)
      s.launches.clear(); // they name ports by number
    EXPECT_CODE(FATHOM_BAD_FILE, tryOpen(m), text);
  };
  auto dropInput = [](Entry &e) { e.inputs.erase(e.inputs.begin()); };
  auto dropOutput = [](Entry &e) { e.outputs.erase(e.outputs.begin()); };
  expect("has no output 'logits'", Step, dropOutput);
  expect("has no output 'logits'", Mtp, dropOutput);
  expect("has no input 'streams'", Mtp, dropInput);
  const char *lacks = "lacks one of logits, ids and positions";
  expect(lacks, Greedy, dropInput);
  expect(lacks, Greedy, dropOutput);
  expect(lacks, Greedy, [](Entry &e) { e.outputs.pop_back(); });
  for (int which : {Step, Mtp, Greedy}) {
    const Entry good = toy().entries[which];
    // Each twice, each of another kind.
    for (size_t i = 0; i < good.inputs.size(); ++i) {
      const std::string text = "input '" + good.inputs[i].name + "'";
      expect(text.c_str(), which,
             [&](Entry &e) { e.inputs.push_back(e.inputs[i]); });
      expect(text.c_str(), which,
             [&](Entry &e) { e.inputs[i].count = Count::One; });
      if (good.inputs[i].name == "streams")
        continue; // of any type
      expect(text.c_str(), which,
             [&](Entry &e) { e.inputs[i].dtype = "BF16"; });
      expect(text.c_str(), which, [&](Entry &e) { ++e.inputs[i].rowBytes; });
    }
    for (size_t i = 0; i < good.outputs.size(); ++i) {
      const std::string text = "output '" + good.outputs[i].name + "'";
      expect(text.c_str(), which,
             [&](Entry &e) { e.outputs.push_back(e.outputs[i]); });
      expect(text.c_str(), which,
             [&](Entry &e) { e.outputs[i].count = Count::One; });
      if (good.outputs[i].name == "streams")
        continue;
      expect(text.c_str(), which,
             [&](Entry &e) { e.outputs[i].dtype = "BF16"; });
      expect(text.c_str(), which, [&](Entry &e) { ++e.outputs[i].rowBytes; });
    }
  }
}

TEST_P(EngineTest, GridsThatOverflow) {
  const GridTerm most{Count::Tokens, 1, uint64_t(1) << 31};
  Manifest m = toy();
  // Terms of which each could be, but not their sum.
  m.entries[0].specialisations[1].launches[0].grid[0].assign(4000, most);
  EXPECT_CODE(FATHOM_BAD_FILE, tryOpen(m), "impossible grid");
  // An empty axis excuses none of the others.
  m = toy();
  GridAxis *grid = m.entries[0].specialisations[1].launches[0].grid;
  grid[0][0].multiply = 0;
  grid[1] = grid[2] = {most};
  EXPECT_CODE(FATHOM_BAD_FILE, tryOpen(m), "impossible grid");
}

} // namespace
