// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// tile.dot_scaled in f32 with the sums of `dot nt`: lane l of 16 takes
// k = l, l+16, ...
#include "codegen/CPU/BlockScaledWeights.h"
#include "codegen/CPU/NarrowWeights.h"

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

static MemRefType typeOf(Value buffer) {
  return cast<MemRefType>(buffer.getType());
}

namespace {
struct BlockScaledDot : BlockScaledWeights {
  using BlockScaledWeights::BlockScaledWeights;

  // ---- Few tokens: each weight is decoded once ----

  /// Up to how many there are few, and rows whose sums are in registers then.
  int64_t mostTokens() const { return target.wide() ? 8 : 4; }
  int64_t rowsAtOnce(int64_t tokens) const {
    int64_t most =
        target.wide() ? (tokens > 4 ? 2 : 4) : (packed ? 2 : 4) / tokens;
    return std::min(rows, std::max<int64_t>(most, 1));
  }

  /// Tokens by lanes: 16 of k of each, in the order of decode(), then the next
  /// 16. So they share no set of the first-level cache.
  struct Tokens {
    Value buffer;
    int64_t count;
  };
  Emit::Values place(const Tokens &x, Value k, Value token) {
    return {e.add(times(over(k, 16), x.count), token), e.index(0)};
  }
  Tokens byLanes(Value tokens) {
    int64_t count = typeOf(tokens).getDimSize(0);
    Tokens x{e.alloc({k / 16 * count, 16}, e.b.getF32Type()), count};
    e.loop(0, count, 1, [&](Value token) {
      e.loop(0, k, 16, [&](Value at) {
        Value v = e.toF32(e.load(tokens, {token, at}, 16));
        e.store(packed ? weave(v) : v, x.buffer, place(x, at, token));
      });
    });
    return x;
  }

  /// How far ahead and from how many places, as measured: PERFORMANCE.md.
  Strips strips(int64_t height, int64_t tokens) {
    const bool one = tokens == 1;
    int64_t bytes = packed ? one ? 4096 : 8192 : 16384;
    int64_t streams = packed ? one ? 1 : 2 : one ? 4 : 1;
    return {e, codes, height, bytes, streams, k / step};
  }

  void few(Value tokens, Value acc) {
    Tokens x = byLanes(tokens);
    int64_t blockM = rowsAtOnce(x.count);
    Strips next = strips(blockM, x.count);
    Prefetch nextScales(e, scales);
    allocFactors(packed ? blockM : rows / rowBlock);
    if (!packed)
      stageScales(e.index(0), rows / rowBlock);
    e.loop(0, rows, blockM, [&](Value m) {
      next.start(m);
      if (packed) {
        nextScales.startStrip(m, blockM, rows);
        nextScales.touchNext(e.index(0), 1);
        stageScales(m, blockM);
      }
      Emit::Values init(blockM * x.count, e.zero(e.vec(16, e.b.getF32Type())));
      if (searchesNaN())
        init.push_back(e.zero(codeBytes()));
      Emit::Values sums = e.loop(
          0, k / columnBlock, 1, init, [&](Value index, Emit::Range outer) {
            return block(x, next, m, blockM, index, outer);
          });
      Value largest = searchesNaN() ? sums.pop_back_val() : Value();
      addSums(sums, acc, m, blockM, x.count);
      if (!largest)
        return;
      e.ifThen(foundNaN(largest), [&] {
        e.loop(m, e.add(m, blockM), 1, [&](Value row) {
          ifRowHasNaN(row, [&] {
            e.loop(0, x.count, 1, [&](Value token) {
              e.store(nan(), acc, {row, token});
            });
          });
        });
      });
    });
  }

  /// The sums after the products of a block of columns that share their scales.
  Emit::Values block(const Tokens &x, Strips &strips, Value m, int64_t blockM,
                     Value index, Emit::Range sums) {
    SmallVector<Emit::Values> scales;
    for (int64_t i = 0; i < blockM; ++i) {
      Value row = e.add(m, i);
      if (i > 0 && rowBlock % blockM == 0)
        scales.push_back(scales[0]);
      else
        scales.push_back(
            scaleOf(row, packed ? e.index(i) : over(row, rowBlock), index));
    }
    Value start = times(index, columnBlock);
    return e.loop(
        0, columnBlock, step, sums, [&](Value offset, Emit::Range inner) {
          Emit::Values next(inner);
          Value at = e.add(start, offset);
          strips.touch(over(at, step));
          SmallVector<Emit::Values> left;
          for (int64_t i = 0; i < blockM; ++i) {
            left.push_back(decode(e.add(m, i), at, scales[i]));
            if (searchesNaN())
              next.back() = searched(next.back(), e.add(m, i), at);
          }
          for (int64_t part = 0; part < step / 16; ++part) {
            Emit::Values right;
            for (int64_t j = 0; j < x.count; ++j)
              right.push_back(e.load(
                  x.buffer, place(x, e.add(at, part * 16), e.index(j)), 16));
            for (int64_t i = 0; i < blockM; ++i)
              for (int64_t j = 0; j < x.count; ++j) {
                Value &sum = next[i * x.count + j];
                sum = e.fma(left[i][part], right[j], sum);
              }
          }
          return next;
        });
  }

  void addSums(Emit::Values sums, Value acc, Value m, int64_t blockM,
               int64_t count) {
    if (packed)
      for (Value &sum : sums)
        sum = weave(sum, /*back=*/true);
    addTotals(e, sums, acc, m, e.index(0), blockM, count);
  }

  // ---- More tokens: a few rows are decoded into scratch, then multiplied ----

  void many(Value tokens, Value acc) {
    Value x = e.alloc(typeOf(tokens).getShape(), e.b.getF32Type());
    e.loop(0, typeOf(tokens).getDimSize(0), 1, [&](Value token) {
      e.loop(0, k, 16, [&](Value at) {
        e.store(e.toF32(e.load(tokens, {token, at}, 16)), x, {token, at});
      });
    });
    int64_t blockM = std::min<int64_t>(rows, 4);
    Value stage = e.alloc({blockM, k}, e.b.getF32Type());
    allocFactors(packed ? blockM : rows / rowBlock);
    if (!packed)
      stageScales(e.index(0), rows / rowBlock);
    e.loop(0, rows, blockM, [&](Value m) {
      if (packed)
        stageScales(m, blockM);
      e.loop(0, blockM, 1, [&](Value i) {
        Value row = e.add(m, i), scaleRow = packed ? i : over(row, rowBlock);
        e.loop(0, k, step, [&](Value at) {
          Emit::Values weights =
              decode(row, at, scaleOf(row, scaleRow, over(at, columnBlock)));
          for (auto [part, v] : llvm::enumerate(weights))
            e.store(packed ? weave(v, /*back=*/true) : v, stage,
                    {i, e.add(at, part * 16)});
        });
        if (searchesNaN())
          ifRowHasNaN(row, [&] { e.store(nan(), stage, {i, e.index(0)}); });
      });
      emitDotNT(e, target, stage, x, acc, m, blockM);
    });
  }
};
} // namespace

bool fathom::cpu::suitsBlockScaled(Value codes, Value scales) {
  int64_t blocks = typeOf(scales).getDimSize(1),
          k = typeOf(codes).getDimSize(1) *
              (typeOf(codes).getElementType().isInteger(8) ? 2 : 1);
  return k % blocks == 0 && k / blocks % 32 == 0;
}

void fathom::cpu::emitDotBlockScaled(Emit &e, Target target, Value codes,
                                     Value scales, Value x, Value acc,
                                     function_ref<void()> otherwise) {
  BlockScaledDot dot(e, target, codes, scales);
  auto write = [&] {
    if (typeOf(x).getDimSize(0) <= dot.mostTokens())
      dot.few(x, acc);
    else
      dot.many(x, acc);
  };
  if (dot.packed || target.wide())
    return write();
  e.ifElse(scalesAreWithin(e, scales, 0, dot.largestScale), write, otherwise);
}
