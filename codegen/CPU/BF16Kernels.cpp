// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// dot nt of bf16, and of FP4 and FP8 by bf16, with vdpbf16ps, for AVX512-BF16
// without AMX. The sums of an element, whatever the number of tokens: 16 lanes,
// each taking the pair that NarrowWeights puts there of every 32 k; at the end
// the lanes by a halving tree, the total to acc.
#include "codegen/CPU/NarrowWeights.h"

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

namespace {
/// One dot: blocks of a few rows by up to eight tokens.
struct BF16Dot {
  Emit &e;
  const NarrowWeights &w;
  Value acc, columns;
  Value x; // tokens as they come, or by packTokens in one row
  int64_t count, tokens, rows;

  BF16Dot(Emit &e, const NarrowWeights &w, Value tokens, Value acc,
          Value columns)
      : e(e), w(w), acc(acc), columns(columns), x(tokens) {
    count = cast<MemRefType>(x.getType()).getDimSize(0);
    this->tokens = std::min<int64_t>(count, 8);
    bool plain = w.kind == NarrowWeights::Kind::BF16;
    int64_t most = count > 2 ? 16 / this->tokens : plain ? 4 / count : 4;
    rows = std::min(w.rows, most);
    if (plain)
      return;
    SmallVector<ReassociationIndices> whole{{0, 1}};
    x = memref::CollapseShapeOp::create(e.b, e.loc, packInRows(e, w, x), whole);
  }

  Value multiply(Value a, Value b, Value sum) {
    return e.intrinsic(sum.getType(), "llvm.x86.avx512bf16.dpbf16ps.512",
                       ValueRange{sum, a, b});
  }
  Value loadToken(Value token, Value k) {
    if (w.kind == NarrowWeights::Kind::BF16)
      return e.load(x, {token, k}, 32);
    return e.load(x, e.add(e.times(token, w.k), k), 32);
  }

  /// Sums so far with the products of `unit` weights of every row from column k
  /// on, which `left` gives by vectors, row by row. Two rows share the loads of
  /// tokens, as many as fit into registers.
  Emit::Values products(Emit::Range sums, Value token, Value k, int64_t unit,
                        function_ref<Emit::Values(int64_t)> left) {
    Emit::Values next(sums);
    const int64_t together = std::min<int64_t>(rows, unit > 32 ? 2 : rows);
    for (int64_t first = 0; first < rows; first += together) {
      SmallVector<Emit::Values> weights;
      for (int64_t i = 0; i < together; ++i)
        weights.push_back(left(first + i));
      for (int64_t n = 0; n < unit / 32; ++n) {
        Emit::Values right;
        for (int64_t j = 0; j < tokens; ++j)
          right.push_back(loadToken(e.add(token, j), e.add(k, 32 * n)));
        for (int64_t i = 0; i < together; ++i)
          for (int64_t j = 0; j < tokens; ++j) {
            Value &sum = next[(first + i) * tokens + j];
            sum = multiply(weights[i][n], right[j], sum);
          }
      }
    }
    return next;
  }

  Emit::Values noSums() {
    return Emit::Values(rows * tokens, e.zero(e.vec(16, e.b.getF32Type())));
  }

  /// Rows of bf16 from row `from` of `weights` on, sums to rows of acc.
  void blockOf(Value weights, Value from, Value accRow,
               std::optional<Prefetch> prefetch) {
    const int64_t ahead = Prefetch::rowsAhead(weights, rows);
    e.loop(count, columns, tokens, [&](Value token) {
      auto step = [&](Value k, Emit::Range sums) {
        return products(sums, token, k, 32, [&](int64_t i) -> Emit::Values {
          Value row = e.add(from, i);
          if (prefetch)
            prefetch->touchRows(row, k, ahead);
          return {e.load(weights, {row, k}, 32)};
        });
      };
      Emit::Values sums = e.loop(0, w.k, 32, noSums(), step);
      addTotals(e, sums, acc, accRow, token, rows, tokens);
    });
  }

  void plain() {
    std::optional<Prefetch> prefetch;
    if (tokens == count)
      prefetch.emplace(e, w.codes);
    e.loop(0, w.rows, rows, [&](Value m) { blockOf(w.codes, m, m, prefetch); });
  }

  /// Few tokens meet each weight while it is in a register.
  void decodedFew() {
    Decoder decoder(e, w);
    decoder.stageGroups();
    // A row of a unit is a line.
    Strips next =
        stripsOfScaled(e, w.codes, rows, count == 1, rows * w.k / w.unit());
    Prefetch nextScales(e, w.scales);
    e.loop(0, w.rows, rows, [&](Value m) {
      next.start(m);
      if (w.kind == NarrowWeights::Kind::FP4) {
        nextScales.startStrip(m, rows, w.rows);
        nextScales.touchNext(e.index(0), 1);
      }
      auto unit = [&](Value k, Emit::Range sums) {
        Value line = e.times(e.over(k, w.unit()), rows);
        return products(sums, e.index(0), k, w.unit(), [&](int64_t i) {
          next.touch(e.add(line, i));
          return decoder.decode(e.add(m, i), k);
        });
      };
      Emit::Values sums = decoder.forUnits(noSums(), unit);
      addTotals(e, sums, acc, m, e.index(0), rows, tokens);
    });
  }

  /// More tokens: a few rows are decoded into scratch, then multiplied.
  void decodedMany() {
    Value stage = e.alloc({rows, w.k}, e.b.getBF16Type());
    Decoder decoder(e, w);
    decoder.stageGroups();
    e.loop(0, w.rows, rows, [&](Value m) {
      decoder.forUnits({}, [&](Value k, Emit::Range) {
        for (int64_t i = 0; i < rows; ++i)
          for (auto [n, v] : llvm::enumerate(decoder.decode(e.add(m, i), k)))
            e.store(v, stage, {e.index(i), e.add(k, 32 * n)});
        return Emit::Values();
      });
      blockOf(stage, e.index(0), m, std::nullopt);
    });
  }
};
} // namespace

void fathom::cpu::emitDotBF16(Emit &e, const NarrowWeights &w, Value x,
                              Value acc, Value columns) {
  BF16Dot dot(e, w, x, acc, columns);
  if (w.kind == NarrowWeights::Kind::BF16)
    dot.plain();
  else if (dot.tokens == dot.count)
    dot.decodedFew();
  else
    dot.decodedMany();
}
