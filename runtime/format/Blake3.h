// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// BLAKE3 (unkeyed, 32-byte output), portable, incremental. The compiler could
// take LLVM's, but the runtime links no LLVM and both must agree, so there is
// one here. Nothing allocates except the returned hex string.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace fathom::format {

/// Feed bytes with update() in any split, then take hex(). hex() does not end
/// the stream: more bytes may follow. Not thread-safe.
class Blake3 {
public:
  Blake3() { startChunk(0); }

  void update(const void *data, size_t size) {
    const uint8_t *bytes = static_cast<const uint8_t *>(data);
    while (size) {
      // A full chunk is only closed when more input follows: the last chunk
      // of the input is finished differently (it may be the root).
      if (chunkBytes() == kChunk) {
        uint32_t value[8];
        compressBlock(value, 0 | kChunkEnd);
        uint64_t total = counter + 1;
        pushChunk(value, total);
        startChunk(total);
      }
      if (blockLength == kBlock) {
        uint32_t value[8];
        compressBlock(value, 0);
        std::memcpy(chain, value, sizeof(chain));
        ++blocksDone;
        blockLength = 0;
        std::memset(block, 0, sizeof(block));
      }
      size_t take = kBlock - blockLength < size ? kBlock - blockLength : size;
      std::memcpy(block + blockLength, bytes, take);
      blockLength += take;
      bytes += take;
      size -= take;
    }
  }

  /// 64 lower-case hex digits.
  std::string hex() const {
    uint32_t in[8], words[16];
    std::memcpy(in, chain, sizeof(in));
    load(words, block);
    uint32_t length = static_cast<uint32_t>(blockLength);
    uint32_t flags = (blocksDone == 0 ? kChunkStart : 0u) | kChunkEnd;
    uint64_t count = counter;
    uint32_t full[16];
    for (size_t i = depth; i > 0; --i) {
      compress(full, in, words, count, length, flags);
      std::memcpy(words, stack[i - 1], 32);
      std::memcpy(words + 8, full, 32);
      std::memcpy(in, iv(), sizeof(in));
      count = 0;
      length = kBlock;
      flags = kParent;
    }
    // The root is always compressed with counter 0 (first output block).
    compress(full, in, words, 0, length, flags | kRoot);
    static const char digits[] = "0123456789abcdef";
    std::string text(64, '0');
    for (size_t i = 0; i < 32; ++i) {
      uint8_t byte = static_cast<uint8_t>(full[i / 4] >> (8 * (i % 4)));
      text[2 * i] = digits[byte >> 4];
      text[2 * i + 1] = digits[byte & 15];
    }
    return text;
  }

private:
  static constexpr size_t kBlock = 64, kChunk = 1024, kMaxDepth = 54;
  static constexpr uint32_t kChunkStart = 1, kChunkEnd = 2, kParent = 4,
                            kRoot = 8;

  static const uint32_t *iv() {
    static const uint32_t words[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372,
                                      0xA54FF53A, 0x510E527F, 0x9B05688C,
                                      0x1F83D9AB, 0x5BE0CD19};
    return words;
  }

  static uint32_t rotate(uint32_t x, int by) {
    return (x >> by) | (x << (32 - by));
  }

  static void mix(uint32_t *v, int a, int b, int c, int d, uint32_t x,
                  uint32_t y) {
    v[a] = v[a] + v[b] + x;
    v[d] = rotate(v[d] ^ v[a], 16);
    v[c] = v[c] + v[d];
    v[b] = rotate(v[b] ^ v[c], 12);
    v[a] = v[a] + v[b] + y;
    v[d] = rotate(v[d] ^ v[a], 8);
    v[c] = v[c] + v[d];
    v[b] = rotate(v[b] ^ v[c], 7);
  }

  static void load(uint32_t words[16], const uint8_t bytes[kBlock]) {
    for (size_t i = 0; i < 16; ++i)
      words[i] = static_cast<uint32_t>(bytes[4 * i]) |
                 static_cast<uint32_t>(bytes[4 * i + 1]) << 8 |
                 static_cast<uint32_t>(bytes[4 * i + 2]) << 16 |
                 static_cast<uint32_t>(bytes[4 * i + 3]) << 24;
  }

  static void compress(uint32_t out[16], const uint32_t chain[8],
                       const uint32_t words[16], uint64_t counter,
                       uint32_t length, uint32_t flags) {
    static const uint8_t permutation[16] = {2, 6,  3,  10, 7, 0,  4,  13,
                                            1, 11, 12, 5,  9, 14, 15, 8};
    uint32_t m[16], next[16];
    std::memcpy(m, words, sizeof(m));
    uint32_t v[16];
    std::memcpy(v, chain, 32);
    std::memcpy(v + 8, iv(), 16);
    v[12] = static_cast<uint32_t>(counter);
    v[13] = static_cast<uint32_t>(counter >> 32);
    v[14] = length;
    v[15] = flags;
    for (int round = 0; round < 7; ++round) {
      mix(v, 0, 4, 8, 12, m[0], m[1]);
      mix(v, 1, 5, 9, 13, m[2], m[3]);
      mix(v, 2, 6, 10, 14, m[4], m[5]);
      mix(v, 3, 7, 11, 15, m[6], m[7]);
      mix(v, 0, 5, 10, 15, m[8], m[9]);
      mix(v, 1, 6, 11, 12, m[10], m[11]);
      mix(v, 2, 7, 8, 13, m[12], m[13]);
      mix(v, 3, 4, 9, 14, m[14], m[15]);
      for (int i = 0; i < 16; ++i)
        next[i] = m[permutation[i]];
      std::memcpy(m, next, sizeof(m));
    }
    for (int i = 0; i < 8; ++i) {
      out[i] = v[i] ^ v[i + 8];
      out[i + 8] = v[i + 8] ^ chain[i];
    }
  }

  size_t chunkBytes() const { return blocksDone * kBlock + blockLength; }

  void startChunk(uint64_t number) {
    std::memcpy(chain, iv(), sizeof(chain));
    std::memset(block, 0, sizeof(block));
    blockLength = 0;
    blocksDone = 0;
    counter = number;
  }

  void compressBlock(uint32_t value[8], uint32_t flags) const {
    uint32_t words[16], full[16];
    load(words, block);
    compress(full, chain, words, counter, static_cast<uint32_t>(blockLength),
             flags | (blocksDone == 0 ? kChunkStart : 0u));
    std::memcpy(value, full, 32);
  }

  /// Adds the value of chunk number `total - 1` to the tree: as many complete
  /// subtrees end here as `total` has trailing zero bits.
  void pushChunk(uint32_t value[8], uint64_t total) {
    while ((total & 1) == 0 && depth > 0) {
      uint32_t words[16], full[16];
      std::memcpy(words, stack[--depth], 32);
      std::memcpy(words + 8, value, 32);
      compress(full, iv(), words, 0, kBlock, kParent);
      std::memcpy(value, full, 32);
      total >>= 1;
    }
    std::memcpy(stack[depth++], value, 32);
  }

  uint32_t chain[8];
  uint8_t block[kBlock];
  size_t blockLength = 0, blocksDone = 0, depth = 0;
  uint64_t counter = 0;
  uint32_t stack[kMaxDepth][8];
};

/// The hash of one span of bytes, 64 hex digits.
inline std::string blake3Hex(const void *data, size_t size) {
  Blake3 hash;
  hash.update(data, size);
  return hash.hex();
}

} // namespace fathom::format
