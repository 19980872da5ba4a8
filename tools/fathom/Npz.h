// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reads what numpy.savez and savez_compressed write. Files are hostile until
// checked: every size is held against the file and a limit.
#pragma once

#include "tools/fathom/Tool.h"

#include <map>

namespace fathom::tool {

/// An array of numbers, whatever they are stored as (f2, f4, f8, i4, i8, u1),
/// in C order.
struct NpzArray {
  std::vector<int64_t> shape;
  std::vector<double> values;
  int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
  int64_t columns() const {
    return rows() ? int64_t(values.size()) / rows() : 0;
  }
};

/// All arrays by name. At most 1 GB of numbers.
Failure readNpz(const std::string &path,
                std::map<std::string, NpzArray> &arrays);

/// An archive in memory, and one .npy file: for readNpz, tests and the fuzzer.
/// Empty, or what is wrong.
std::string parseNpz(std::string bytes,
                     std::map<std::string, NpzArray> &arrays);
std::string parseNpy(const std::string &bytes, NpzArray &out);

} // namespace fathom::tool
