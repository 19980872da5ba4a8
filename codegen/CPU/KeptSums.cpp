// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/KeptSums.h"

using namespace mlir;
using namespace fathom::cpu;

KeptSums::KeptSums(Emit &e, int64_t rows, int64_t columns)
    : e(e), columns(columns),
      buffer(e.alloc({rows, columns * kLanes}, e.b.getF32Type())) {}

Emit::Values KeptSums::load(Value row, int64_t rows) const {
  Emit::Values sums;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      sums.push_back(
          e.load(buffer, {e.add(row, i), e.index(j * kLanes)}, kLanes));
  return sums;
}

void KeptSums::store(Emit::Range sums, Value row) const {
  for (auto [i, sum] : llvm::enumerate(sums))
    e.store(sum, buffer,
            {e.add(row, int64_t(i) / columns),
             e.index(int64_t(i) % columns * kLanes)});
}

void KeptSums::fill(Value row, Value column, Value value) const {
  e.store(e.splat(value, kLanes), buffer, {row, e.times(column, kLanes)});
}
