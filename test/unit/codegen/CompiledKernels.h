// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Compiles tile kernels from text and calls them in this process.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace fathom::test {

class CompiledKernels {
public:
  /// Null, with a failed expectation, if the text does not compile.
  static std::unique_ptr<CompiledKernels>
  compile(const std::string &text, const std::string &isa = "x86-64-v3",
          bool fewPasses = false);
  ~CompiledKernels();

  /// Runs one program of a kernel; arguments are pointers or counts.
  void run(const char *kernel, const std::vector<const void *> &pointers,
           int64_t x = 0, int64_t y = 0, int64_t z = 0);
  void runWords(const char *kernel, const std::vector<uint64_t> &words,
                int64_t x = 0, int64_t y = 0, int64_t z = 0);

  std::string bytes;
  uint64_t scratchBytes = 0;
  double seconds = 0;

private:
  void *handle = nullptr;
  std::vector<char> scratch;
};

/// Whether this CPU has the level. Where it has not, CompiledKernels has plain
/// arithmetic stand in for the instructions that it lacks.
bool hasLevel(const std::string &isa);

/// Why the text does not compile; empty if it does.
std::string refusal(const std::string &text,
                    const std::string &isa = "x86-64-v3");

template <typename T> std::vector<T> random(size_t count, unsigned seed = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<T> values(count);
  for (T &value : values)
    value = static_cast<T>(normal(generator));
  return values;
}

inline std::vector<uint8_t> randomBytes(size_t count, unsigned seed = 1) {
  std::mt19937 generator(seed);
  std::vector<uint8_t> values(count);
  for (uint8_t &value : values)
    value = generator();
  return values;
}

inline uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
inline float floatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
/// Equal bits, or both NaN.
inline bool same(float a, float b) {
  return bitsOf(a) == bitsOf(b) || (a != a && b != b);
}

/// Replaces each `$KEY` of `text` by its value.
std::string fill(std::string text,
                 std::vector<std::pair<std::string, std::string>> values);

} // namespace fathom::test
