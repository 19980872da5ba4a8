// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is kept of compiled kernels: found again for the same kernel, options
// and compiler, and for nothing else.
#include "codegen/CPU/ObjectCache.h"

#include "codegen/CPU/Passes.h"
#include "codegen/Common/Cache.h"

#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <sys/stat.h>

using namespace fathom;
using namespace fathom::cpu;

namespace {

std::string fill(const char *name, const char *value) {
  return std::string("tile.kernel @") + name +
         "(%o: memref<4x8xf32>) {\n"
         "  %zero = arith.constant 0 : index\n"
         "  %v = arith.constant dense<" +
         value +
         "> : tensor<4x8xf32>\n"
         "  tile.store %v, %o[%zero, %zero] : tensor<4x8xf32>, "
         "memref<4x8xf32>\n"
         "  tile.return\n}\n";
}

class CpuObjectCache : public testing::Test {
protected:
  void SetUp() override {
    char path[] = "/tmp/fathom-cache-XXXXXX";
    ASSERT_TRUE(mkdtemp(path));
    folder = path;
    registerCPUDialects(registry);
    context.appendDialectRegistry(registry);
    options.cache = folder;
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  mlir::OwningOpRef<mlir::ModuleOp> parse(const std::string &text) {
    return mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  }
  fathom::cpu::CompiledLibrary compile(const std::string &text) {
    auto module = parse(text);
    auto library = compileKernels(*module, options);
    if (library)
      return std::move(*library);
    ADD_FAILURE() << llvm::toString(library.takeError());
    return {};
  }
  size_t entries() {
    size_t count = 0;
    if (std::filesystem::exists(folder + "/cpu"))
      for (auto &entry : std::filesystem::directory_iterator(folder + "/cpu"))
        count += entry.path().extension() == ".o";
    return count;
  }

  std::string folder;
  mlir::DialectRegistry registry;
  mlir::MLIRContext context;
  CPUOptions options;
};

TEST_F(CpuObjectCache, EveryOptionAndKernelHasItsEntry) {
  EXPECT_FALSE(programIdentity().empty());
  const std::string one = fill("one", "1.0");
  std::string bytes = compile(one).bytes;
  EXPECT_EQ(entries(), 1u);
  EXPECT_EQ(compile(one).bytes, bytes);
  EXPECT_EQ(entries(), 1u);
  compile(fill("one", "2.0")); // the same name
  EXPECT_EQ(entries(), 2u);
  compile(one + fill("two", "1.0"));
  EXPECT_EQ(entries(), 3u);
  options.isa = "x86-64-v4";
  compile(one);
  EXPECT_EQ(entries(), 4u);
  options.fewPasses = true;
  compile(one);
  EXPECT_EQ(entries(), 5u);
  options.plainInstructions = true;
  compile(one);
  EXPECT_EQ(entries(), 6u);
}

TEST_F(CpuObjectCache, WhatWasLongNotUsedGoes) {
  const std::string one = fill("one", "1.0"), two = fill("two", "1.0");
  const std::string old = ObjectCache(options).entryOf(*parse(one));
  compile(one); // and prunes for the first time
  const timespec longAgo[] = {{1, 0}, {1, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, old.c_str(), longAgo, 0), 0);
  compile(two);
  EXPECT_EQ(entries(), 2u) << "looked again within the hour";
  ASSERT_EQ(utimensat(AT_FDCWD, (folder + "/cpu/llvmcache.timestamp").c_str(),
                      longAgo, 0),
            0);
  compile(two);
  EXPECT_EQ(entries(), 1u);
  EXPECT_FALSE(std::filesystem::exists(old));
}

/// Whatever the mount does at a read.
TEST_F(CpuObjectCache, WhatIsTakenCountsAsUsed) {
  const std::string one = fill("one", "1.0"),
                    kept = ObjectCache(options).entryOf(*parse(one));
  compile(one);
  // A time that the file system itself would never set.
  const timespec ahead[] = {{4000000000, 0}, {0, UTIME_OMIT}};
  ASSERT_EQ(utimensat(AT_FDCWD, kept.c_str(), ahead, 0), 0);
  struct stat before, after;
  ASSERT_EQ(stat(kept.c_str(), &before), 0);
  ASSERT_EQ(before.st_atim.tv_sec, 4000000000);
  compile(one);
  ASSERT_EQ(stat(kept.c_str(), &after), 0);
  EXPECT_LT(after.st_atim.tv_sec, before.st_atim.tv_sec);
  EXPECT_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
  EXPECT_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
}

TEST_F(CpuObjectCache, WhatIsKeptIsTaken) {
  const std::string text = fill("one", "1.0");
  auto module = parse(text);
  std::string entry = ObjectCache(options).entryOf(*module);
  std::string bytes = compile(text).bytes;
  std::optional<CompiledObject> kept = ObjectCache::find(entry);
  ASSERT_TRUE(kept);
  kept->scratchBytes = 4711;
  ObjectCache::keep(entry, *kept);
  EXPECT_EQ(compile(text).scratchBytes, 4711u);
  auto scratch = scratchBytes(*module, options);
  ASSERT_TRUE(bool(scratch));
  EXPECT_EQ(*scratch, 4711u);

  std::fstream(entry, std::ios::in | std::ios::out | std::ios::binary)
      << "damage";
  EXPECT_FALSE(ObjectCache::find(entry));
  auto anew = compile(text);
  EXPECT_EQ(anew.bytes, bytes);
  EXPECT_NE(anew.scratchBytes, 4711u);
}

TEST_F(CpuObjectCache, ScratchIsKeptWithoutCode) {
  const std::string text = fill("one", "1.0");
  auto module = parse(text);
  const std::string entry = ObjectCache(options).entryOf(*module);
  auto measured = scratchBytes(*module, options);
  ASSERT_TRUE(bool(measured));
  EXPECT_FALSE(ObjectCache::find(entry));
  EXPECT_EQ(ObjectCache::findScratch(entry), *measured);
  ObjectCache::keepScratch(entry, 4711);
  auto again = scratchBytes(*module, options);
  ASSERT_TRUE(bool(again));
  EXPECT_EQ(*again, 4711u);
  EXPECT_EQ(compile(text).scratchBytes, *measured) << "there is no code";
}

TEST_F(CpuObjectCache, NoneWhereThereIsNoFolderOrStagesAreWanted) {
  auto module = parse(fill("one", "1.0"));
  options.dumpDir = folder;
  EXPECT_EQ(ObjectCache(options).entryOf(*module), "");
  options.dumpDir = options.cache = "";
  EXPECT_EQ(ObjectCache(options).entryOf(*module), "");
  EXPECT_FALSE(ObjectCache::find(""));
}

TEST_F(CpuObjectCache, ACacheThatCannotBeWrittenIsNone) {
  std::ofstream(folder + "/cpu") << "a file, not a folder";
  EXPECT_FALSE(compile(fill("one", "1.0")).bytes.empty());
}

} // namespace
