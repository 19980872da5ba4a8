// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Byte-pair encoding of one piece of text: of all neighbours that a merge
// joins, those of the lowest rank are joined, from the left, until none is
// left.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace fathom::rt {

class Bpe {
public:
  /// The token of each single byte.
  int32_t byteTokens[256];

  void reserve(size_t merges);
  /// A pair given again gets the later rank.
  void addMerge(int32_t left, int32_t right, uint32_t rank, int32_t result);

  /// What is kept between pieces: short ones that were seen, in a table of
  /// fixed size, and working memory. Forgotten when another Bpe uses it.
  struct Scratch {
    const Bpe *owner = nullptr;
    struct alignas(64) Known {
      uint64_t hash = 0;
      uint8_t size = 0, count = 0;
      char text[22];
      int32_t ids[8];
    };
    std::vector<Known> known;
    std::vector<int32_t> ids, next, previous;
    std::vector<uint64_t> heap;
  };

  /// Appends the tokens of `piece`, which has at most kMaxPiece bytes.
  void encode(std::string_view piece, Scratch &scratch,
              std::vector<int32_t> &out) const;

  static constexpr size_t kMaxPiece = size_t(4) << 20;

private:
  struct Merge {
    uint64_t pair = kNone; // left << 32 | right
    uint32_t rank = 0;
    int32_t result = 0;
  };
  static constexpr uint64_t kNone = ~uint64_t(0);

  const Merge *find(int32_t left, int32_t right) const;
  void encodeShort(std::string_view piece, std::vector<int32_t> &out) const;
  void encodeLong(std::string_view piece, Scratch &scratch,
                  std::vector<int32_t> &out) const;

  std::vector<Merge> table = std::vector<Merge>(1); // open addressing
};

} // namespace fathom::rt
