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
/// Bytes that are read ahead of use: what is in flight from memory at a time.
constexpr int64_t kAheadBytes = 8192;

/// One dot: blocks of 16 rows by groups of `width` tokens.
struct AMXDot {
  Emit &e;
  const NarrowWeights &w;
  Value acc, tokens; // tokens: by packTokens
  int64_t width, groups;
  Prefetch prefetch;

  AMXDot(Emit &e, const NarrowWeights &w, Value x, Value acc)
      : e(e), w(w), acc(acc), prefetch(e, w.codes) {
    int64_t count = cast<MemRefType>(x.getType()).getDimSize(0);
    width = count % 4 ? 1 : std::min<int64_t>(count, 16);
    groups = count / width;
    tokens = packTokens(e, w, x, width);
  }

  Value load(Value buffer, Value row, Value column, int64_t columns) {
    Type element = cast<MemRefType>(buffer.getType()).getElementType();
    return amx::TileLoadOp::create(e.b, e.loc,
                                   amx::TileType::get({16, columns}, element),
                                   buffer, ValueRange{row, column});
  }
  Value loadSum(Value row, int64_t group) {
    return load(acc, row, e.index(group * width), width);
  }
  void storeSum(Value sum, Value row, Value column) {
    amx::TileStoreOp::create(e.b, e.loc, acc, ValueRange{row, column}, sum);
  }
  /// Tokens of `group` for the 32 k of vector number `vector`.
  Value loadTokens(Value group, Value vector) {
    Value first = arith::MulIOp::create(e.b, e.loc, group, e.index(w.k / 32));
    Value row = arith::MulIOp::create(e.b, e.loc, e.add(first, vector),
                                      e.index(16));
    return load(tokens, row, e.index(0), 2 * width);
  }
  Value multiply(Value a, Value b, Value sum) {
    return amx::TileMulFOp::create(e.b, e.loc, sum.getType(), a, b, sum);
  }
  Value times(Value v, int64_t factor) {
    return arith::MulIOp::create(e.b, e.loc, v, e.index(factor));
  }

  /// Columns of the stored tile that kAheadBytes ahead are.
  int64_t aheadColumns() {
    auto type = cast<MemRefType>(w.codes.getType());
    int64_t bytes = type.getElementTypeBitWidth() / 8;
    int64_t line = 64 / bytes;
    int64_t columns = kAheadBytes / bytes / w.rows / line * line;
    // At least the next line, at most the same place of the next row.
    return std::clamp(columns, line, type.getDimSize(1));
  }

  // ---- Weights that are bf16 as they lie ----

  void plain() {
    int64_t blocks = std::min<int64_t>(w.rows / 16, 2);
    int64_t together = std::min<int64_t>(groups, 4 / blocks);
    int64_t ahead = aheadColumns();
    e.loop(0, w.rows, 16 * blocks, [&](Value m) {
      e.loop(0, groups, together, [&](Value group) {
        inRegisters(m, group, blocks, together, [&](int64_t block, Value k) {
          Value row = e.add(m, 16 * block);
          Value a = load(w.codes, row, k, 32);
          e.loop(0, 16, 1, [&](Value i) {
            prefetch.touch(e.add(row, i), k, 0, ahead);
          });
          return a;
        });
      });
    });
  }

  /// blocks x together sums over all of k, the weights given by `left`.
  void inRegisters(Value m, Value group, int64_t blocks, int64_t together,
                   function_ref<Value(int64_t, Value)> left) {
    Emit::Values init;
    for (int64_t i = 0; i < blocks; ++i)
      for (int64_t j = 0; j < together; ++j)
        init.push_back(load(acc, e.add(m, 16 * i),
                            times(e.add(group, j), width), width));
    auto step = [&](Value k, Emit::Range sums) {
      Emit::Values next(sums), right;
      Value vector = arith::DivUIOp::create(e.b, e.loc, k, e.index(32));
      for (int64_t j = 0; j < together; ++j)
        right.push_back(loadTokens(e.add(group, j), vector));
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
        storeSum(sums[i * together + j], e.add(m, 16 * i),
                 times(e.add(group, j), width));
  }

  // ---- Weights that are decoded ----

  /// Decodes `count` rows of a block from `row` on into rows of `stage`.
  void decodeRows(const Decoder &decoder, Value row, Value k, int64_t count,
                  Value stage, Value stageRow, Value stageColumn) {
    for (int64_t i = 0; i < count; ++i) {
      Value at = e.add(row, i);
      Value column = w.kind == NarrowWeights::Kind::FP4
                         ? arith::DivUIOp::create(e.b, e.loc, k, e.index(2))
                         : k;
      prefetch.touch(at, column, 0, aheadColumns());
      for (auto [n, v] : llvm::enumerate(decoder.decode(at, k)))
        e.store(v, stage,
                {e.add(stageRow, i), e.add(stageColumn, 32 * n)});
    }
  }

  /// Calls body for every unit of k, with the decoder set for it.
  Emit::Values forUnits(Emit::Range init,
                        function_ref<Emit::Values(const Decoder &, Value,
                                                  Emit::Range)>
                            body) {
    Decoder decoder(e, w, /*scaled=*/true);
    return e.loop(0, w.k, w.group(), init, [&](Value first, Emit::Range outer) {
      decoder.startGroup(first);
      return e.loop(0, w.group(), w.unit(), outer,
                    [&](Value k, Emit::Range inner) {
                      return body(decoder, e.add(first, k), inner);
                    });
    });
  }

  /// Few tokens: one unit of two blocks of rows at a time, the products of the
  /// first block between the decoding of the second.
  void decodedFew() {
    int64_t blocks = std::min<int64_t>(w.rows / 16, 2), parts = w.vectors();
    Value stage = e.alloc({16 * blocks, w.unit()}, e.b.getBF16Type());
    e.loop(0, w.rows, 16 * blocks, [&](Value m) {
      Emit::Values init;
      for (int64_t i = 0; i < blocks; ++i)
        for (int64_t j = 0; j < groups; ++j)
          init.push_back(loadSum(e.add(m, 16 * i), j));
      auto unit = [&](const Decoder &decoder, Value k, Emit::Range sums) {
        Emit::Values next(sums);
        Value first = arith::DivUIOp::create(e.b, e.loc, k, e.index(32));
        auto product = [&](int64_t block, Value part, Emit::Range from) {
          Emit::Values to(from);
          Value a = load(stage, e.index(16 * block), times(part, 32), 32);
          for (int64_t j = 0; j < groups; ++j) {
            Value &sum = to[block * groups + j];
            sum = multiply(a, loadTokens(e.index(j), e.add(first, part)), sum);
          }
          return to;
        };
        for (int64_t block = 0; block < blocks; ++block)
          next = e.loop(0, parts, 1, next, [&](Value part, Emit::Range inner) {
            Value i = e.add(times(part, 16 / parts), 16 * block);
            decodeRows(decoder, e.add(m, i), k, 16 / parts, stage, i,
                       e.index(0));
            return block ? product(block - 1, part, inner)
                         : Emit::Values(inner);
          });
        for (int64_t part = 0; part < parts; ++part)
          next = product(blocks - 1, e.index(part), next);
        return next;
      };
      Emit::Values sums = forUnits(init, unit);
      for (int64_t i = 0; i < blocks; ++i)
        for (int64_t j = 0; j < groups; ++j)
          storeSum(sums[i * groups + j], e.add(m, 16 * i),
                   e.index(j * width));
    });
  }

  /// Many tokens: two blocks of rows are decoded for all of k, then multiplied
  /// two groups of tokens at a time.
  void decodedMany() {
    int64_t blocks = std::min<int64_t>(w.rows / 16, 2);
    Value stage = e.alloc({16 * blocks, w.k}, e.b.getBF16Type());
    e.loop(0, w.rows, 16 * blocks, [&](Value m) {
      forUnits({}, [&](const Decoder &decoder, Value k, Emit::Range) {
        e.loop(0, 16 * blocks, 4, [&](Value i) {
          decodeRows(decoder, e.add(m, i), k, 4, stage, i, k);
        });
        return Emit::Values();
      });
      e.loop(0, groups, 2, [&](Value group) {
        inRegisters(m, group, blocks, 2, [&](int64_t block, Value k) {
          return load(stage, e.index(16 * block), k, 32);
        });
      });
    });
  }
};
} // namespace

void fathom::cpu::emitDotAMX(Emit &e, const NarrowWeights &w, Value x,
                             Value acc) {
  AMXDot dot(e, w, x, acc);
  if (w.kind == NarrowWeights::Kind::BF16)
    dot.plain();
  else if (dot.groups * std::min<int64_t>(w.rows / 16, 2) <= 4)
    dot.decodedFew();
  else
    dot.decodedMany();
}
