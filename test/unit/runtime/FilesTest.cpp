// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files as the runtime maps them: where the mapping begins, what is in it and
// behind it.
#include "runtime/src/Files.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <gtest/gtest.h>
#include <string>
#include <unistd.h>
#include <utility>

using namespace fathom::rt;

namespace {

/// A file of the tests' own, removed at the end.
class Scratch {
public:
  explicit Scratch(const std::string &content) {
    path = testing::TempDir() + "fathom-files-" + std::to_string(getpid());
    FILE *file = std::fopen(path.c_str(), "wb");
    EXPECT_NE(file, nullptr);
    if (!file)
      return;
    EXPECT_EQ(std::fwrite(content.data(), 1, content.size(), file),
              content.size());
    std::fclose(file);
  }
  ~Scratch() { std::remove(path.c_str()); }
  std::string path;
};

/// Bytes that differ from page to page.
std::string pattern(size_t bytes) {
  std::string content(bytes, 0);
  for (size_t i = 0; i < bytes; ++i)
    content[i] = char(i * 7 + (i >> 12) * 31);
  return content;
}

TEST(Files, MappedWhereAHugePageMayBegin) {
  for (size_t bytes :
       {size_t(1), size_t(4095), size_t(4096), (size_t(2) << 20) - 4096,
        size_t(2) << 20, (size_t(4) << 20) + 4097}) {
    const std::string content = pattern(bytes);
    Scratch file(content);
    MappedFile mapped;
    ASSERT_FALSE(mapped.map(file.path, bytes).failed()) << bytes;
    EXPECT_EQ(mapped.size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(mapped.data()) % (2 << 20), 0u);
    EXPECT_TRUE(std::equal(content.begin(), content.end(),
                           reinterpret_cast<const char *>(mapped.data())))
        << bytes;
    // Kernels may read a page past the end.
    const volatile uint8_t *behind = mapped.data() + bytes;
    for (int i = 0; i < 4096; ++i)
      ASSERT_EQ(behind[i], 0) << bytes;
  }
}

TEST(Files, MovesWithItsMapping) {
  const std::string content = pattern(10000);
  Scratch file(content);
  MappedFile first;
  ASSERT_FALSE(first.map(file.path, content.size()).failed());
  const uint8_t *data = first.data();
  MappedFile second(std::move(first));
  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(second.data()[9999], uint8_t(content[9999]));
}

TEST(Files, RefusesAnotherSize) {
  Scratch file(pattern(100));
  MappedFile mapped;
  const Status s = mapped.map(file.path, 101);
  ASSERT_TRUE(s.failed());
  EXPECT_EQ(s.code(), FATHOM_BAD_FILE);
  EXPECT_NE(s.message().find("has 100 bytes"), std::string::npos)
      << s.message();
}

TEST(Files, AnEmptyFileHasNothing) {
  Scratch file("");
  MappedFile mapped;
  ASSERT_FALSE(mapped.map(file.path, 0).failed());
  EXPECT_EQ(mapped.size(), 0u);
}

} // namespace
