// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Input: the bytes of a .npz, what `fathom verify` compares with. Arrays that
// are accepted have as many numbers as their shape says.
#include "test/fuzz/Accepted.h"
#include "tools/fathom/Npz.h"

#include <cstdlib>

using namespace fathom::tool;

static void require(bool condition) {
  if (!condition)
    std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::string bytes(reinterpret_cast<const char *>(data), size);
  std::map<std::string, NpzArray> arrays;
  if (NpzArray alone; parseNpy(bytes, alone).empty())
    arrays["alone"] = alone;
  else if (!parseNpz(bytes, arrays).empty())
    return 0;
  for (const auto &[name, array] : arrays) {
    int64_t count = 1;
    for (const int64_t length : array.shape) {
      require(length >= 0);
      count *= length;
    }
    require(uint64_t(count) == array.values.size());
    require(array.rows() * array.columns() == count);
  }
  fathom::fuzz::accepted = !arrays.empty();
  return 0;
}
