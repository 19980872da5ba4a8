// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Dots on AMX. 16 rows of bf16 weights are the left operand as they lie (or as
// they are decoded into scratch), tokens in pairs of k the right one; one token
// is a right operand of one column. The sums of an element, whatever the number
// of tokens: onto acc, 32 k after 32 k in the order of NarrowWeights, each as
// tdpbf16ps does it. It never meets vdpbf16ps, whose order is another.
#include "codegen/CPU/NarrowWeights.h"

#include "mlir/Dialect/AMX/AMXDialect.h"

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

namespace {
/// One dot: blocks of `height` rows by groups of `width` tokens.
struct AMXDot {
  Emit &e;
  const NarrowWeights &w;
  Value acc, tokens;                     // tokens: by packTokens
  int64_t width, groups, height, blocks; // blocks that are walked together
  Prefetch prefetch;
  std::optional<Prefetch> scales; // FP8 has few
  Value unread;                   // see stayAwake()
  Value asked; // groups with columns that are asked for; null: all

  AMXDot(Emit &e, const NarrowWeights &w, Value x, Value acc, Value columns)
      : e(e), w(w), acc(acc), height(std::min<int64_t>(w.rows, 16)),
        blocks(std::min<int64_t>(w.rows / height, 2)), prefetch(e, w.codes) {
    if (w.kind == NarrowWeights::Kind::FP4)
      scales.emplace(e, w.scales);
    width = tokensOfGroup(x);
    groups = cast<MemRefType>(x.getType()).getDimSize(0) / width;
    tokens = packForAMX(e, w, x);
    unread = e.alloc({16, 2 * width}, e.b.getBF16Type());
    if (columns)
      asked = arith::CeilDivUIOp::create(e.b, e.loc, columns, e.index(width));
  }

  Value load(Value buffer, Value row, Value column, int64_t rows,
             int64_t columns) {
    return loadTile(e, buffer, row, column, rows, columns);
  }
  Value loadSum(Value row, int64_t group) {
    return load(acc, row, e.index(group * width), height, width);
  }
  void storeSum(Value sum, Value row, Value column) {
    amx::TileStoreOp::create(e.b, e.loc, acc, ValueRange{row, column}, sum);
  }
  /// Tokens of `group` for the 32 k of vector number `vector`.
  Value loadTokens(Value group, Value vector) {
    Value first = e.times(group, w.k / 32);
    Value row =
        arith::MulIOp::create(e.b, e.loc, e.add(first, vector), e.index(16));
    return load(tokens, row, e.index(0), 16, 2 * width);
  }
  Value multiply(Value a, Value b, Value sum) {
    return amx::TileMulFOp::create(e.b, e.loc, sum.getType(), a, b, sum);
  }

  void startStrip(Value m) {
    prefetch.startStrip(m, height * blocks, height * blocks);
    // Those of this tile have been read already: scalesAreModerate.
    if (scales)
      scales->startStrip(m, height * blocks, w.rows);
  }
  /// At row `i` of part `part` of `parts` of the strip, `k` weights on, which
  /// lie at `column`. Each part of the next strip is a stream of its own for
  /// the hardware's prefetchers, which stay within a page: strips of FP4 are
  /// only a few, so that rows take turns to touch one page each.
  void touch(Value part, int64_t parts, Value i, Value k, Value column) {
    int64_t strip = height * blocks, rows = strip / parts;
    Value row = e.add(e.times(part, rows), i);
    Value unit = e.over(k, w.unit());
    prefetch.touchNear(row, column);
    if (w.kind != NarrowWeights::Kind::FP4) {
      prefetch.touchNext(e.add(e.times(unit, rows), i), rows * w.k / w.unit(),
                         part, parts);
      return;
    }
    int64_t streams = std::clamp<int64_t>(strip * w.k / 2 / 4096, 1, 4);
    Value turns = e.index(streams);
    Value step = arith::DivUIOp::create(
        e.b, e.loc, e.add(e.times(unit, strip), row), turns);
    prefetch.touchNext(step, strip * w.k / w.unit() / streams,
                       arith::RemUIOp::create(e.b, e.loc, row, turns), streams);
  }

  void touchScales(Value k) {
    if (scales)
      scales->touchNext(e.over(k, w.unit()), w.k / w.unit());
  }

  /// Stores a tile of tokens where nobody reads it. On Sapphire Rapids a tile
  /// store that comes more than some 600 ns after the last one waits 300 ns by
  /// itself, so every loop that is longer has one.
  void stayAwake(Value tile) {
    amx::TileStoreOp::create(e.b, e.loc, unread,
                             ValueRange{e.index(0), e.index(0)}, tile);
  }
  void stayAwake() { stayAwake(loadTokens(e.index(0), e.index(0))); }

  // ---- Weights that are bf16 as they lie ----

  void plain() {
    int64_t together = std::min<int64_t>(groups, 4 / blocks);
    e.loop(0, w.rows, height * blocks, [&](Value m) {
      startStrip(m);
      e.loop(groups, asked, together, [&](Value group) {
        inRegisters(m, group, together, [&](int64_t block, Value k) {
          Value row = e.add(m, height * block);
          Value a = load(w.codes, row, k, height, 32);
          e.loop(0, height, 1,
                 [&](Value i) { touch(e.index(block), blocks, i, k, k); });
          return a;
        });
      });
    });
  }

  /// blocks x together sums over all of k, the weights given by `left`.
  void inRegisters(Value m, Value group, int64_t together,
                   function_ref<Value(int64_t, Value)> left) {
    Emit::Values init;
    for (int64_t i = 0; i < blocks; ++i)
      for (int64_t j = 0; j < together; ++j)
        init.push_back(load(acc, e.add(m, height * i),
                            e.times(e.add(group, j), width), height, width));
    auto step = [&](Value k, Emit::Range sums) {
      Emit::Values next(sums), right;
      Value vector = e.over(k, 32);
      for (int64_t j = 0; j < together; ++j)
        right.push_back(loadTokens(e.add(group, j), vector));
      stayAwake(right.front());
      for (int64_t i = 0; i < blocks; ++i) {
        Value a = left(i, k);
        for (int64_t j = 0; j < together; ++j) {
          Value &sum = next[i * together + j];
          sum = multiply(a, right[j], sum);
        }
      }
      return next;
    };
    Emit::Values sums = e.loop(0, w.k, 32, init, step);
    for (int64_t i = 0; i < blocks; ++i)
      for (int64_t j = 0; j < together; ++j)
        storeSum(sums[i * together + j], e.add(m, height * i),
                 e.times(e.add(group, j), width));
  }

  // ---- Weights that are decoded ----

  /// Decodes part `part` of `parts` of the strip at `m` into rows of `stage`
  /// from `stageRow` on.
  void decodeRows(const Decoder &decoder, Value m, Value part, int64_t parts,
                  Value k, Value stage, Value stageRow, Value stageColumn) {
    int64_t rows = height * blocks / parts;
    Value first = e.times(part, rows);
    for (int64_t i = 0; i < rows; ++i) {
      Value column = w.kind == NarrowWeights::Kind::FP4 ? e.over(k, 2) : k;
      touch(part, parts, e.index(i), k, column);
      Value at = e.add(e.add(m, first), i);
      for (auto [n, v] : llvm::enumerate(decoder.decode(at, k)))
        e.store(v, stage,
                {e.add(e.add(stageRow, first), i), e.add(stageColumn, 32 * n)});
    }
  }

  /// Calls body for every unit of k, with the decoder set for it.
  Emit::Values forUnits(
      Emit::Range init,
      function_ref<Emit::Values(const Decoder &, Value, Emit::Range)> body) {
    Decoder decoder(e, w);
    return decoder.forUnits(init, [&](Value k, Emit::Range inner) {
      touchScales(k);
      return body(decoder, k, inner);
    });
  }

  /// Few tokens: while one unit of two blocks of rows is decoded, the one
  /// before is multiplied. A tile load right behind the stores that it reads
  /// would wait until they have left the pipeline, and all behind it.
  void decodedFew() {
    int64_t parts = w.vectors(), half = height * blocks;
    Value stage = e.alloc({2 * half, w.unit()}, e.b.getBF16Type());
    e.loop(0, w.rows, half, [&](Value m) {
      startStrip(m);
      Emit::Values init;
      for (int64_t i = 0; i < blocks; ++i)
        for (int64_t j = 0; j < groups; ++j)
          init.push_back(loadSum(e.add(m, height * i), j));
      /// Adds vector `part` of the unit that starts at vector `first` and lies
      /// at row `from` of the stage. Tile loads are what it costs: each once.
      auto product = [&](Value from, Value first, Value part,
                         MutableArrayRef<Value> sums) {
        Emit::Values right;
        for (int64_t j = 0; j < groups; ++j)
          right.push_back(loadTokens(e.index(j), e.add(first, part)));
        for (int64_t i = 0; i < blocks; ++i) {
          Value a = load(stage, e.add(from, height * i), e.times(part, 32),
                         height, 32);
          for (int64_t j = 0; j < groups; ++j) {
            Value &sum = sums[i * groups + j];
            sum = multiply(a, right[j], sum);
          }
        }
      };
      auto unit = [&](const Decoder &decoder, Value k, Emit::Range sums) {
        Value number = e.over(k, w.unit());
        Value odd = e.rest(number, 2);
        Value to = e.times(odd, half), from = e.sub(e.index(half), to);
        Value before = e.times(e.sub(number, e.index(1)), parts);
        Value notFirst = arith::CmpIOp::create(
            e.b, e.loc, arith::CmpIPredicate::ne, k, e.index(0));
        stayAwake();
        return e.loop(0, parts, 1, sums, [&](Value part, Emit::Range inner) {
          decodeRows(decoder, m, part, parts, k, stage, to, e.index(0));
          return ifThen(notFirst, inner, [&](MutableArrayRef<Value> then) {
            product(from, before, part, then);
          });
        });
      };
      Emit::Values sums = forUnits(init, unit);
      int64_t last = w.k / w.unit() - 1;
      for (int64_t part = 0; part < parts; ++part)
        product(e.index(last % 2 * half), e.index(last * parts), e.index(part),
                sums);
      for (int64_t i = 0; i < blocks; ++i)
        for (int64_t j = 0; j < groups; ++j)
          storeSum(sums[i * groups + j], e.add(m, height * i),
                   e.index(j * width));
    });
  }

  /// The sums after `change`, where the condition holds.
  Emit::Values ifThen(Value condition, Emit::Range sums,
                      function_ref<void(MutableArrayRef<Value>)> change) {
    auto op = scf::IfOp::create(e.b, e.loc, ValueRange(sums).getTypes(),
                                condition, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(e.b);
    e.b.setInsertionPointToStart(op.thenBlock());
    Emit::Values then(sums);
    change(then);
    scf::YieldOp::create(e.b, e.loc, then);
    e.b.setInsertionPointToStart(op.elseBlock());
    scf::YieldOp::create(e.b, e.loc, sums);
    return Emit::Values(op.getResults().begin(), op.getResults().end());
  }

  /// Many tokens: two blocks of rows are decoded for all of k, then multiplied
  /// two groups of tokens at a time.
  void decodedMany() {
    Value stage = e.alloc({height * blocks, w.k}, e.b.getBF16Type());
    e.loop(0, w.rows, height * blocks, [&](Value m) {
      startStrip(m);
      forUnits({}, [&](const Decoder &decoder, Value k, Emit::Range) {
        stayAwake();
        int64_t parts = height * blocks / 4;
        e.loop(0, parts, 1, [&](Value part) {
          decodeRows(decoder, m, part, parts, k, stage, e.index(0), k);
        });
        return Emit::Values();
      });
      e.loop(groups, asked, 2, [&](Value group) {
        inRegisters(m, group, 2, [&](int64_t block, Value k) {
          return load(stage, e.index(height * block), k, height, 32);
        });
      });
    });
  }
};
} // namespace

Value fathom::cpu::loadTile(Emit &e, Value buffer, Value row, Value column,
                            int64_t rows, int64_t columns) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  return amx::TileLoadOp::create(e.b, e.loc,
                                 amx::TileType::get({rows, columns}, element),
                                 buffer, ValueRange{row, column});
}

void fathom::cpu::emitDotAMX(Emit &e, const NarrowWeights &w, Value x,
                             Value acc, Value columns) {
  AMXDot dot(e, w, x, acc, columns);
  if (w.kind == NarrowWeights::Kind::BF16)
    dot.plain();
  else if (dot.groups * dot.blocks <= 4)
    dot.decodedFew();
  else
    dot.decodedMany();
}
