// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Directories that are written as a whole: what is replaced, what is left, and
// who may read them.
#include "frontends/Support/OutputDirectory.h"
#include "test/unit/frontends/TestFiles.h"

#include "llvm/Support/FileSystem.h"

#include <fstream>
#include <sys/stat.h>

using namespace llvm;
using namespace fathom;
using namespace fathom::test;

static std::string nothingForeign(StringRef) { return ""; }
static std::string allForeign(StringRef) { return "a letter is in it"; }

static unsigned modeOf(const std::string &path) {
  struct stat status;
  EXPECT_EQ(lstat(path.c_str(), &status), 0) << path;
  return status.st_mode & 0777;
}

static std::string textOf(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

static size_t entriesIn(const std::string &path) {
  std::error_code error;
  size_t count = 0;
  for (sys::fs::directory_iterator at(path, error), end; at != end;
       at.increment(error))
    ++count;
  return count;
}

static void writeLetter(const std::string &path, StringRef text) {
  Expected<OutputDirectory> made =
      OutputDirectory::create(path, "letter", nothingForeign);
  ASSERT_TRUE(bool(made));
  EXPECT_FALSE(bool(made->write("letter.txt", text)));
  EXPECT_FALSE(bool(made->finish()));
}

TEST(OutputDirectory, OthersMayReadIt) {
  TempDir dir;
  mode_t before = umask(022);
  {
    Expected<OutputDirectory> made =
        OutputDirectory::create(dir.path("new"), "letter", nothingForeign);
    ASSERT_TRUE(bool(made));
    EXPECT_FALSE(bool(made->write("a/b/text", "text")));
    EXPECT_FALSE(bool(made->finish()));
  }
  umask(before);
  for (const char *folder : {"new", "new/a", "new/a/b"})
    EXPECT_EQ(modeOf(dir.path(folder)), 0755u) << folder;
  EXPECT_EQ(modeOf(dir.path("new/a/b/text")), 0644u);
}

TEST(OutputDirectory, HolesFollowTheText) {
  TempDir dir;
  Expected<OutputDirectory> made =
      OutputDirectory::create(dir.path("new"), "letter", nothingForeign);
  ASSERT_TRUE(bool(made));
  EXPECT_FALSE(bool(made->write("long", "text", 10)));
  EXPECT_FALSE(bool(made->finish()));
  EXPECT_EQ(textOf(dir.path("new/long")), std::string("text\0\0\0\0\0\0", 10));
}

TEST(OutputDirectory, NothingIsThereBeforeItIsWhole) {
  TempDir dir;
  writeLetter(dir.path("new"), "old");
  {
    Expected<OutputDirectory> made =
        OutputDirectory::create(dir.path("new"), "letter", nothingForeign);
    ASSERT_TRUE(bool(made));
    EXPECT_FALSE(bool(made->write("letter.txt", "new")));
    EXPECT_EQ(textOf(dir.path("new/letter.txt")), "old");
  }
  EXPECT_EQ(textOf(dir.path("new/letter.txt")), "old");
  EXPECT_EQ(entriesIn(dir.path()), 1u);
  writeLetter(dir.path("new"), "new");
  EXPECT_EQ(textOf(dir.path("new/letter.txt")), "new");
  EXPECT_EQ(entriesIn(dir.path()), 1u);
}

TEST(OutputDirectory, WhatStays) {
  TempDir dir;
  auto check = [&](const char *name) {
    return checkDestination(dir.path(name), "letter", allForeign);
  };
  EXPECT_FALSE(bool(check("absent")));
  EXPECT_FALSE(bool(sys::fs::create_directory(dir.path("full"))));
  EXPECT_FALSE(bool(check("full"))) << "an empty one";
  dir.write("full/letter.txt", "dear reader");
  expectError(
      check("full"), FailureKind::Failed,
      {"will not replace", "neither a letter of Fathom", "a letter is in it"});
  EXPECT_FALSE(bool(sys::fs::create_link("full", dir.path("link"))));
  expectError(check("link"), FailureKind::Failed, {"it is no directory"});
  expectError(check("none/such"), FailureKind::Resources,
              {"create the directory first"});
}
