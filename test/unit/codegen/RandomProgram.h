// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random tile programs that are valid by construction, and what they must give:
// each operation is evaluated by plain loops as it is written down.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fathom::test {

/// One kernel, @random, of buffers with programs * rows rows: %in0 and %in1 f32
/// of `columns`, %in2 i8 and %codes f8E4M3FN of as many, %scales f8E8M0FNU, one
/// for 16 of them, %table of %in1 and %in0, %out f32, and %count. A program
/// works on the tile at row rows * program id, and writes its result where the
/// count lets it.
struct RandomProgram {
  /// What `expected` has where nothing is written.
  static constexpr float kUntouched = -12345.f;

  std::string text;
  int64_t rows = 0, columns = 0, programs = 2, count = 0;
  std::vector<float> in0, in1;
  std::vector<int8_t> in2;
  std::vector<uint8_t> codes, scales;
  std::vector<float> expected;
  /// How far results may be off, since the order of sums is the target's
  /// choice; 0: they are exact.
  double tolerance = 0;

  /// The same seed gives the same program.
  static RandomProgram make(unsigned seed);
};

} // namespace fathom::test
