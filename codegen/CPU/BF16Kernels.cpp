// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Dots with vdpbf16ps, for AVX512-BF16 without AMX. The sums of an element,
// whatever the number of tokens: 16 lanes, each taking the pairs that
// NarrowWeights puts in it; over a unit of scaled weights from 0, added to the
// lane by a fused multiply-add with the scale; at the end the lanes by a
// halving tree, the total to acc.
#include "codegen/CPU/NarrowWeights.h"

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

namespace {
struct BF16Dot {
  Emit &e;
  const NarrowWeights &w;
  Value acc, tokens; // tokens: by packTokens, one after another
  int64_t count;
  Prefetch prefetch;

  BF16Dot(Emit &e, const NarrowWeights &w, Value x, Value acc)
      : e(e), w(w), acc(acc), prefetch(e, w.codes) {
    count = cast<MemRefType>(x.getType()).getDimSize(0);
    tokens = e.beforeLoops(x, [&] {
      Value rows = packTokens(e, w, x, 1);
      SmallVector<ReassociationIndices> whole{{0, 1}};
      return memref::CollapseShapeOp::create(e.b, e.loc, rows, whole)
          .getResult();
    });
  }

  Value multiply(Value a, Value b, Value sum) {
    return LLVM::CallIntrinsicOp::create(
               e.b, e.loc, sum.getType(),
               e.b.getStringAttr("llvm.x86.avx512bf16.dpbf16ps.512"),
               ValueRange{sum, a, b})
        .getResult(0);
  }

  /// rows x columns sums over all of k; `left(i, k)` gives the vectors of row
  /// i's unit, `scale(i, k)` its scales.
  void block(Value m, int64_t rows, Value token, int64_t columns,
             function_ref<Emit::Values(int64_t, Value)> left,
             function_ref<Value(int64_t, Value)> scale) {
    Type sum = e.vec(16, e.b.getF32Type());
    Emit::Values init(rows * columns, e.zero(sum));
    auto unit = [&](Value k, Emit::Range sums) {
      Emit::Values next(sums);
      SmallVector<Emit::Values> right(columns);
      for (int64_t j = 0; j < columns; ++j) {
        Value at =
            arith::MulIOp::create(e.b, e.loc, e.add(token, j), e.index(w.k));
        for (int64_t n = 0; n < w.vectors(); ++n)
          right[j].push_back(e.load(tokens, e.add(e.add(at, k), 32 * n), 32));
      }
      for (int64_t i = 0; i < rows; ++i) {
        Emit::Values weights = left(i, k);
        Value factor = scale ? scale(i, k) : Value();
        for (int64_t j = 0; j < columns; ++j) {
          Value &total = next[i * columns + j];
          Value part = factor ? e.zero(sum) : total;
          for (auto [a, b] : llvm::zip(weights, right[j]))
            part = multiply(a, b, part);
          total = factor ? e.fma(part, factor, total) : part;
        }
      }
      return next;
    };
    Emit::Values sums = e.loop(0, w.k, w.unit(), init, unit);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) {
        Emit::Values at{e.add(m, i), e.add(token, j)};
        Value total = e.treeAdd(sums[i * columns + j]);
        Value old = e.load(acc, at, 1);
        e.store(arith::AddFOp::create(e.b, e.loc, old, total), acc, at);
      }
  }

  /// At most four tokens: every weight is read, and decoded, once.
  void few() {
    bool plain = w.kind == NarrowWeights::Kind::BF16;
    Decoder decoder(e, w, /*scaled=*/false);
    decoder.startGroup(e.index(0));
    int64_t rows = std::min(w.rows, std::max<int64_t>(1, 4 / count));
    int64_t ahead = Prefetch::rowsAhead(w.codes, rows);
    e.loop(0, w.rows, rows, [&](Value m) {
      auto left = [&](int64_t i, Value k) {
        Value row = e.add(m, i), column = k;
        if (w.kind == NarrowWeights::Kind::FP4)
          column = arith::DivUIOp::create(e.b, e.loc, k, e.index(2));
        prefetch.touchRows(row, column, ahead);
        return decoder.decode(row, k);
      };
      auto scale = [&](int64_t i, Value k) {
        return decoder.laneScales(e.add(m, i), k);
      };
      if (plain)
        block(m, rows, e.index(0), count, left, nullptr);
      else
        block(m, rows, e.index(0), count, left, scale);
    });
  }

  /// Many tokens: four rows at a time, decoded into scratch.
  void many() {
    Value stage, factors, from = w.codes;
    int64_t rows = std::min<int64_t>(w.rows, 4);
    bool plain = w.kind == NarrowWeights::Kind::BF16;
    if (!plain) {
      from = stage = e.alloc({rows, w.k}, e.b.getBF16Type());
      factors = e.alloc({rows, w.k / w.unit() * 16}, e.b.getF32Type());
    }
    auto factorAt = [&](Value k) {
      return arith::DivUIOp::create(e.b, e.loc, k, e.index(w.unit() / 16))
          .getResult();
    };
    Decoder decoder(e, w, /*scaled=*/false);
    decoder.startGroup(e.index(0));
    e.loop(0, w.rows, rows, [&](Value m) {
      if (!plain)
        e.loop(0, w.k, w.unit(), [&](Value k) {
          e.loop(0, rows, 1, [&](Value i) {
            Value row = e.add(m, i);
            for (auto [n, v] : llvm::enumerate(decoder.decode(row, k)))
              e.store(v, stage, {i, e.add(k, 32 * n)});
            e.store(decoder.laneScales(row, k), factors, {i, factorAt(k)});
          });
        });
      auto left = [&](int64_t i, Value k) {
        Value row = plain ? e.add(m, i) : e.index(i);
        Emit::Values weights;
        for (int64_t n = 0; n < w.vectors(); ++n)
          weights.push_back(e.load(from, {row, e.add(k, 32 * n)}, 32));
        return weights;
      };
      auto scale = [&](int64_t i, Value k) {
        return e.load(factors, {e.index(i), factorAt(k)}, 16);
      };
      e.loop(0, count, 4, [&](Value token) {
        if (plain)
          block(m, rows, token, 4, left, nullptr);
        else
          block(m, rows, token, 4, left, scale);
      });
    });
  }
};
} // namespace

void fathom::cpu::emitDotBF16(Emit &e, const NarrowWeights &w, Value x,
                              Value acc) {
  BF16Dot dot(e, w, x, acc);
  if (dot.count <= 4)
    dot.few();
  else
    dot.many();
}
