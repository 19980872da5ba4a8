// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs a fuzz target over files and folders given on the command line, and over
// simple mutations of each (truncated, one byte changed), so that the corpus is
// an ordinary test where libFuzzer is not built in. Seeds named good-* must be
// accepted, or a target that refuses everything would pass.
#include "test/fuzz/Accepted.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

namespace fs = std::filesystem;

static size_t runs = 0;

static void runOne(const std::vector<uint8_t> &bytes) {
  // A copy of exactly this size lets a sanitizer see reads past the end.
  std::vector<uint8_t> exact(bytes);
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  ++runs;
}

static void runMutations(const std::vector<uint8_t> &bytes) {
  // At most about 200 places of each kind: seeds are small, some are not.
  size_t stride = std::max<size_t>(1, bytes.size() / 200);
  for (size_t at = 0; at < bytes.size(); at += stride) {
    runOne(std::vector<uint8_t>(bytes.begin(), bytes.begin() + at));
    std::vector<uint8_t> changed(bytes);
    for (uint8_t value : {0x00, 0xff, 0x5b, 0x7b, 0x22, 0x39}) {
      changed[at] = value;
      runOne(changed);
    }
  }
}

static bool isGood(const fs::path &path) {
  return path.filename().string().rfind("good-", 0) == 0;
}

static bool runFile(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    return false;
  }
  std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(file)),
                             std::istreambuf_iterator<char>());
  fathom::fuzz::accepted = false;
  runOne(bytes);
  if (isGood(path) && !fathom::fuzz::accepted) {
    std::fprintf(stderr, "refused: %s\n", path.c_str());
    return false;
  }
  runMutations(bytes);
  return true;
}

int main(int count, char **arguments) {
  size_t files = 0;
  for (int i = 1; i < count; ++i) {
    fs::path path(arguments[i]);
    std::vector<fs::path> list;
    if (fs::is_directory(path)) {
      for (const fs::directory_entry &entry : fs::directory_iterator(path))
        if (entry.is_regular_file())
          list.push_back(entry.path());
      std::sort(list.begin(), list.end());
    } else {
      list.push_back(path);
    }
    for (const fs::path &file : list) {
      if (!runFile(file))
        return 1;
      ++files;
    }
  }
  std::printf("%zu files, %zu runs\n", files, runs);
  return files == 0 ? 1 : 0; // an empty corpus tests nothing
}
