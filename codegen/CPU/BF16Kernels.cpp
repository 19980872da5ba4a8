// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// dot nt of bf16 with vdpbf16ps, for AVX512-BF16 without AMX. The sums of an
// element, whatever the number of tokens: 16 lanes, each taking a pair of every
// 32 k; at the end the lanes by a halving tree, the total to acc.
#include "codegen/CPU/NarrowWeights.h"

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

static Value multiply(Emit &e, Value a, Value b, Value sum) {
  return e.intrinsic(sum.getType(), "llvm.x86.avx512bf16.dpbf16ps.512",
                     ValueRange{sum, a, b});
}

void fathom::cpu::emitDotBF16(Emit &e, const NarrowWeights &w, Value x,
                              Value acc) {
  int64_t count = cast<MemRefType>(x.getType()).getDimSize(0);
  // Up to eight tokens meet a weight while it is in a register.
  int64_t tokens = std::min<int64_t>(count, 8),
          rows = std::min<int64_t>(w.rows, count > 2 ? 16 / tokens : 4 / count);
  std::optional<Prefetch> prefetch;
  if (tokens == count)
    prefetch.emplace(e, w.codes);
  int64_t ahead = Prefetch::rowsAhead(w.codes, rows);
  e.loop(0, w.rows, rows, [&](Value m) {
    e.loop(0, count, tokens, [&](Value token) {
      Emit::Values init(rows * tokens, e.zero(e.vec(16, e.b.getF32Type())));
      auto step = [&](Value k, Emit::Range sums) {
        Emit::Values next(sums), right;
        for (int64_t j = 0; j < tokens; ++j)
          right.push_back(e.load(x, {e.add(token, j), k}, 32));
        for (int64_t i = 0; i < rows; ++i) {
          Value row = e.add(m, i);
          if (prefetch)
            prefetch->touchRows(row, k, ahead);
          Value left = e.load(w.codes, {row, k}, 32);
          for (int64_t j = 0; j < tokens; ++j) {
            Value &sum = next[i * tokens + j];
            sum = multiply(e, left, right[j], sum);
          }
        }
        return next;
      };
      Emit::Values sums = e.loop(0, w.k, 32, init, step);
      addTotals(e, sums, acc, m, token, rows, tokens);
    });
  });
}
