// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Numbers as the bytecode has them.
#pragma once

#include <cstdint>
#include <string>

namespace fathom::cudatile {

inline std::string varint(uint64_t n) {
  std::string out;
  for (; n > 127; n >>= 7)
    out += static_cast<char>((n & 127) | 128);
  return out += static_cast<char>(n);
}
inline std::string zigzag(int64_t n) {
  return varint((static_cast<uint64_t>(n) << 1) ^
                static_cast<uint64_t>(n >> 63));
}
inline std::string fixed(uint64_t n, unsigned bytes) {
  std::string out;
  for (unsigned i = 0; i < bytes; ++i, n >>= 8)
    out += static_cast<char>(n & 255);
  return out;
}
inline void padTo(std::string &out, size_t alignment) {
  out.append((alignment - out.size() % alignment) % alignment, '\xCB');
}
/// A count, then that many numbers of a fixed width.
template <typename Range> std::string list(const Range &xs, unsigned bytes) {
  std::string out = varint(xs.size());
  for (auto x : xs)
    out += fixed(static_cast<uint64_t>(x), bytes);
  return out;
}

} // namespace fathom::cudatile
