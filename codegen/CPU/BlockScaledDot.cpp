// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// tile.dot_scaled in f32 with the sums of `dot nt`: lane l of 16 takes
// k = l, l+16, ...
#include "codegen/CPU/BlockScaledWeights.h"
#include "codegen/CPU/KeptSums.h"
#include "codegen/CPU/NarrowWeights.h"
#include "codegen/CPU/PanelDot.h"

#include <numeric>

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

static MemRefType typeOf(Value buffer) {
  return cast<MemRefType>(buffer.getType());
}

namespace {
struct BlockScaledDot : BlockScaledWeights {
  int64_t count; // of tokens
  bool few;      // each weight is decoded once, in registers
  Value columns; // of the result that are asked for; null: all
  Value taken;   // how many tokens are taken for them, at least all that are
                 // multiplied: what was in memory before could be subnormal,
                 // which is slow; null: all
  Value exact;   // i1 of FP8: see takeWithScales()
  Value x;       // tokens in f32: of few by lanes, of many as they come
  Value words;   // of a few rows of FP8: see stageWords()
  int64_t first = 0;            // column of the part that is walked
  std::optional<KeptSums> kept; // if rows are walked in parts
  std::optional<Panels> panels; // or here, with registers of 256 bits

  BlockScaledDot(Emit &e, Target target, Value codes, Value scales,
                 Value tokens, Value columns)
      : BlockScaledWeights(e, target, codes, scales) {
    count = typeOf(tokens).getDimSize(0);
    few = count <= (target.wide() ? 8 : 4);
    if (count > 1)
      this->columns = columns;
    if (columns && !few)
      taken = e.roundUp(columns, 4);
    else if (few && widths().size() > 1)
      taken = leastWidth();
    if (few)
      x = e.alloc({k / 16 * count, 16}, e.b.getF32Type());
    else if (target.wide())
      x = e.alloc({count, k}, e.b.getF32Type());
    else
      panels.emplace(e, count, k, /*height=*/2);
    if (packed)
      take(tokens);
    else
      takeWithScales(tokens);
  }

  /// Whether a row meets all tokens as it is decoded, before the next one: so
  /// few registers hold tokens and weights that there are sums of many rows,
  /// and what a strip takes besides its products is shared by them.
  bool rowByRow(int64_t width) const {
    return packed && target.wide() && width <= 2;
  }

  /// Of so many tokens that are multiplied together.
  int64_t rowsAtOnce(int64_t width) const {
    int64_t most = 4 / width;
    if (!few)
      most = 4;
    else if (target.wide())
      most = width > 4 ? 2 : rowByRow(width) ? 8 : 4;
    else if (packed && width < 3)
      most = 2;
    return std::min(rows, std::max<int64_t>(most, 1));
  }

  // ---- Tokens ----

  /// Where 16 of k of few tokens are, of `width`: by lanes, those of each token
  /// in the order of decode(), then the next 16. So they share no set of the
  /// first-level cache and leave none unused.
  Emit::Values place(Value token, Value at, Value width) {
    Value first = arith::MulIOp::create(e.b, e.loc, over(at, 16), width);
    return {e.add(first, token), e.index(0)};
  }

  void storeToken(Value v, Value token, Value at) {
    if (panels)
      panels->store(v, token, at);
    else
      e.store(v, x,
              few ? place(token, at, taken ? taken : e.index(count))
                  : Emit::Values{token, at});
  }

  void take(Value tokens) {
    e.loop(count, taken, 1, [&](Value token) {
      e.loop(0, k, 16, [&](Value at) {
        Value v = e.toF32(e.load(tokens, {token, at}, 16));
        storeToken(few || panels ? weave(v) : v, token, at);
      });
    });
  }

  /// Tokens times the scales of their columns and what decode() owes: w (s x)
  /// has the bits of (w s) x, since scales are powers of two, as long as s x is
  /// exact: if it gives x again, every bit.
  void takeWithScales(Value tokens) {
    Type words = e.vec(16, e.b.getI32Type());
    auto bits = [&](Value v) {
      return arith::BitcastOp::create(e.b, e.loc, words, v);
    };
    auto perBlock = [&](Value block, Emit::Range before) {
      Value factor = e.toF32(e.load(scales, {e.index(0), block}, 1));
      factor = arith::MulFOp::create(e.b, e.loc, factor,
                                     e.constant(e.b.getF32Type(), owed));
      Value inverse = arith::DivFOp::create(
          e.b, e.loc, e.constant(e.b.getF32Type(), 1), factor);
      factor = e.splat(factor, 16);
      inverse = e.splat(inverse, 16);
      auto perToken = [&](Value token, Emit::Range outer) {
        auto take = [&](Value at, Value before) {
          Value v = e.toF32(e.load(tokens, {token, at}, 16));
          Value scaled = arith::MulFOp::create(e.b, e.loc, v, factor);
          storeToken(scaled, token, at);
          Value again = arith::MulFOp::create(e.b, e.loc, scaled, inverse);
          Value lost = arith::XOrIOp::create(e.b, e.loc, bits(again), bits(v));
          return arith::OrIOp::create(e.b, e.loc, before, lost).getResult();
        };
        // A few at once, since finding places takes as long.
        const int64_t unit = std::gcd<int64_t>(columnBlock, 64);
        auto step = [&](Value offset, Emit::Range inner) -> Emit::Values {
          Value at = e.add(e.times(block, columnBlock), offset);
          Value lost = inner[0];
          for (int64_t i = 0; i < unit; i += 16)
            lost = take(e.add(at, i), lost);
          return {lost};
        };
        return e.loop(0, columnBlock, unit, outer, step);
      };
      if (taken)
        return e.loop(e.index(0), taken, 1, before, perToken);
      return e.loop(0, count, 1, before, perToken);
    };
    Value lost = e.loop(0, k / columnBlock, 1, e.zero(words), perBlock)[0];
    lost = vector::ReductionOp::create(e.b, e.loc, vector::CombiningKind::OR,
                                       lost);
    exact = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::eq, lost,
                                  e.zero(e.b.getI32Type()));
  }

  // ---- Walks along a row ----

  /// Columns of one turn of a loop: a line, since finding places and touching
  /// what lies ahead takes as long as decoding.
  int64_t unit() const { return std::gcd<int64_t>(k, packed ? 128 : 64); }

  /// Calls `body` for every `step` of `length` columns, and between them, so
  /// many times a turn, `touch` with 0, 1, ...
  Emit::Values
  alongRow(int64_t length, int64_t touches, Emit::Range init,
           function_ref<void(Value)> touch,
           function_ref<Emit::Values(Value at, Emit::Range)> body) {
    const int64_t columns = unit() / touches; // of a touch
    auto oneTurn = [&](Value turn, Emit::Range before) {
      Emit::Values next(before);
      for (int64_t at = 0; at < unit(); at += step) {
        if (at % columns == 0)
          touch(e.add(e.times(turn, touches), at / columns));
        next = body(e.add(e.times(turn, unit()), at), next);
      }
      return next;
    };
    return e.loop(0, length / unit(), 1, init, oneTurn);
  }

  // ---- Few tokens ----

  /// How often a turn with so many rows touches what lies ahead. With several
  /// tokens line by line, since weights that the second level has wait for the
  /// same line buffers; with one, memory is what all wait for.
  int64_t touchesATurn(int64_t blockM) const {
    return count == 1 ? 1 : std::gcd(blockM, unit() / step);
  }

  /// How many tokens are multiplied: the least of these that covers what is
  /// asked for. Tiles of FP4 are those of experts, where half as many tokens or
  /// fewer are in a smaller tile (TokenLoops.h).
  SmallVector<int64_t> widths() const {
    if (!columns || count < 4)
      return {count};
    if (count == 4)
      return {3, 4};
    return packed ? SmallVector<int64_t>{6, 8}
                  : SmallVector<int64_t>{2, 4, 6, 8};
  }

  /// The one that is taken.
  Value leastWidth() {
    SmallVector<int64_t> all = widths();
    Value least = e.index(all.pop_back_val());
    for (int64_t width : llvm::reverse(all))
      least = arith::SelectOp::create(e.b, e.loc, covers(width), e.index(width),
                                      least);
    return least;
  }

  Value covers(int64_t width) {
    return arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::ule, columns,
                                 e.index(width));
  }

  void multiplyFew(Value acc) { multiplyFew(acc, widths()); }

  void multiplyFew(Value acc, ArrayRef<int64_t> widths) {
    if (widths.size() == 1)
      return multiplyWidth(acc, widths[0]);
    e.ifElse(
        covers(widths[0]), [&] { multiplyWidth(acc, widths[0]); },
        [&] { multiplyFew(acc, widths.drop_front()); });
  }

  /// A power of two, as addTotals() wants; those that are too many stay zero.
  static int64_t sumsOfRow(int64_t width) {
    return int64_t(llvm::PowerOf2Ceil(uint64_t(width)));
  }

  void multiplyWidth(Value acc, int64_t width) {
    int64_t blockM = rowsAtOnce(width), length = k;
    bool staged = !packed && target.wide() && width > 1;
    if (target.wide()) // tokens and words
      length =
          KeptSums::columnsAtOnce(k, 4 * width + (staged ? 2 * blockM : 0));
    words = staged ? e.alloc({blockM, length}, e.b.getF16Type()) : Value();
    kept.reset();
    if (length < k)
      kept.emplace(e, rows, sumsOfRow(width));
    int64_t each = packed ? 2 : 1; // codes in a byte
    for (first = 0; first < k; first += length) {
      Value part = e.window(codes, e.index(0), rows, e.index(first / each),
                            length / each);
      Strips next = stripsOfScaled(e, part, blockM, count == 1,
                                   length / unit() * touchesATurn(blockM),
                                   /*soon=*/target.wide() && count > 1);
      Prefetch nextScales(e, scales);
      e.loop(0, rows, blockM, [&](Value m) {
        next.start(m);
        if (packed && first == 0) { // those of whole rows
          nextScales.startStrip(m, blockM, rows);
          nextScales.touchNext(e.index(0), 1);
        }
        multiplyStrip(acc, m, width, length, next);
      });
    }
  }

  /// A few rows by `length` columns from `first` on.
  void multiplyStrip(Value acc, Value m, int64_t width, int64_t length,
                     Strips &next) {
    int64_t blockM = rowsAtOnce(width);
    Value largest; // of codes, for the search for NaN
    if (words)
      largest = stageWords(m, blockM, length);
    Emit::Values init(blockM * sumsOfRow(width),
                      e.zero(e.vec(16, e.b.getF32Type())));
    if (first > 0)
      init = kept->load(m, blockM);
    if (searchesNaN() && !words)
      init.push_back(e.zero(codeBytes(step)));
    Emit::Values sums = alongRow(
        length, touchesATurn(blockM), init,
        [&](Value number) { next.touch(number); },
        [&](Value at, Emit::Range before) {
          return products(m, blockM, width, at, before);
        });
    if (searchesNaN() && !words)
      largest = sums.pop_back_val();
    bool last = first + length == k;
    if (!last)
      kept->store(sums, m);
    else
      addSums(sums, acc, m, blockM);
    if (!largest)
      return;
    e.ifThen(foundNaN(largest), [&] {
      e.loop(m, e.add(m, blockM), 1, [&](Value row) {
        ifRowHasNaN(row, [&] {
          e.loop(0, width, 1, [&](Value token) {
            if (!last)
              kept->fill(row, token, nan());
            else
              e.store(nan(), acc, {row, token});
          });
        });
      });
    });
  }

  /// Writes the words of a few rows for vcvtph2ps to take from memory: to get
  /// at the upper half of a register takes one operation more, on a port of
  /// multiply-adds. Returns what has been searched for NaN.
  Value stageWords(Value m, int64_t blockM, int64_t length) {
    const int64_t line = unit();
    return e.loop(0, length / line, 1, e.zero(codeBytes(line)),
                  [&](Value turn, Emit::Range before) -> Emit::Values {
                    Value at = e.times(turn, line), largest = before[0];
                    for (int64_t i = 0; i < blockM; ++i) {
                      Value row = e.add(m, i);
                      for (int64_t offset = 0; offset < line; offset += step) {
                        Value column = e.add(at, offset);
                        e.store(wordsE4M3(row, e.add(column, first)), words,
                                {e.index(i), column});
                      }
                      largest = searched(largest, row, e.add(at, first));
                    }
                    return {largest};
                  })[0];
  }

  Emit::Values stagedWeights(int64_t row, Value at) {
    Emit::Values weights;
    for (int64_t part = 0; part < step; part += 16)
      weights.push_back(
          e.toF32(e.load(words, {e.index(row), e.add(at, part)}, 16)));
    return weights;
  }

  void addSums(Emit::Range sums, Value acc, Value m, int64_t blockM) {
    int64_t columns = int64_t(sums.size()) / blockM;
    if (packed && !target.wide()) {
      Emit::Values halves[2];
      for (Value sum : sums)
        for (int64_t i : {0, 1})
          halves[i].push_back(e.part(sum, 8 * i, 8));
      if (Value totals =
              laneTotals(e, halves[0], halves[1], LaneOrder::Nibbles))
        return addBlock(e, totals, acc, m, e.index(0), blockM, columns);
    }
    Emit::Values woven(sums);
    if (packed)
      for (Value &sum : woven)
        sum = weave(sum, /*back=*/true);
    addTotals(e, woven, acc, m, e.index(0), blockM, columns);
  }

  /// The sums after the products of `step` columns, `at` behind the first of
  /// the part, with `width` tokens.
  Emit::Values products(Value m, int64_t blockM, int64_t width, Value at,
                        Emit::Range sums) {
    constexpr int64_t parts = step / 16;
    Emit::Values next(sums);
    int64_t stride = sumsOfRow(width);
    Value column = e.add(at, first);
    auto tokensOf = [&](int64_t part) {
      Emit::Values right;
      for (int64_t j = 0; j < width; ++j)
        right.push_back(e.load(
            x, place(e.index(j), e.add(column, part * 16), e.index(width)),
            16));
      return right;
    };
    auto multiply = [&](int64_t i, Value left, Emit::Range right) {
      for (int64_t j = 0; j < width; ++j) {
        Value &sum = next[i * stride + j];
        sum = e.fma(left, right[j], sum);
      }
    };
    if (rowByRow(width)) {
      SmallVector<Emit::Values> right;
      for (int64_t part = 0; part < parts; ++part)
        right.push_back(tokensOf(part));
      for (int64_t i = 0; i < blockM; ++i) {
        Emit::Values left = decode(e.add(m, i), column);
        for (int64_t part = 0; part < parts; ++part)
          multiply(i, left[part], right[part]);
      }
      return next;
    }
    SmallVector<Emit::Values> left;
    for (int64_t i = 0; i < blockM; ++i) {
      left.push_back(words ? stagedWeights(i, at)
                           : decode(e.add(m, i), column));
      if (searchesNaN() && !words)
        next.back() = searched(next.back(), e.add(m, i), column);
    }
    for (int64_t part = 0; part < parts; ++part) {
      Emit::Values right = tokensOf(part);
      for (int64_t i = 0; i < blockM; ++i)
        multiply(i, left[i][part], right);
    }
    return next;
  }

  // ---- More tokens: a few rows are decoded into scratch, then multiplied ----

  /// Decodes a row; `take` gets 16 lanes and their column.
  void decodeRow(Value row, function_ref<void(Value)> touch,
                 function_ref<void(Value, Value)> take) {
    alongRow(k, 1, {}, touch, [&](Value at, Emit::Range) -> Emit::Values {
      for (auto [part, v] : llvm::enumerate(decode(row, at)))
        take(v, e.add(at, part * 16));
      return {};
    });
    if (searchesNaN())
      ifRowHasNaN(row, [&] { take(e.splat(nan(), 16), e.index(0)); });
  }

  void multiplyMany(Value acc) {
    int64_t blockM = rowsAtOnce(count);
    Value stage = e.alloc({blockM, k}, e.b.getF32Type());
    e.loop(0, rows, blockM, [&](Value m) {
      e.loop(0, blockM, 1, [&](Value i) {
        decodeRow(
            e.add(m, i), [](Value) {},
            [&](Value v, Value at) {
              e.store(packed ? weave(v, /*back=*/true) : v, stage, {i, at});
            });
      });
      emitDotNT(e, target, stage, x, acc, m, blockM, columns);
    });
  }

  /// The same with registers of 256 bits.
  void multiplyManyInPanels(Value acc) {
    int64_t blockM = rowsAtOnce(count), turns = k / unit();
    Panels stage(e, blockM, k, blockM);
    Strips next =
        stripsOfScaled(e, codes, blockM, /*one=*/false, blockM * turns);
    e.loop(0, rows, blockM, [&](Value m) {
      next.start(m);
      e.loop(0, blockM, 1, [&](Value i) {
        decodeRow(
            e.add(m, i),
            [&](Value turn) { next.touch(e.add(e.times(i, turns), turn)); },
            [&](Value v, Value at) { stage.store(v, i, at); });
      });
      auto weights = [&](int64_t row, Value at, int64_t half) {
        return stage.load(e.index(0), row, at, half);
      };
      multiplyPanels(e, blockM, weights, *panels, acc, m, columns,
                     packed ? LaneOrder::Nibbles : LaneOrder::Natural);
    });
  }
};
} // namespace

bool fathom::cpu::suitsBlockScaled(Value codes, Value scales) {
  bool packed = typeOf(codes).getElementType().isInteger(8);
  int64_t rows = typeOf(codes).getDimSize(0),
          blocks = typeOf(scales).getDimSize(1),
          k = typeOf(codes).getDimSize(1) * (packed ? 2 : 1);
  return typeOf(scales).getDimSize(0) == (packed ? rows : 1) &&
         k % blocks == 0 && k / blocks % 32 == 0;
}

void fathom::cpu::emitDotBlockScaled(Emit &e, Target target, Value codes,
                                     Value scales, Value tokens, Value acc,
                                     Value columns,
                                     function_ref<void()> otherwise) {
  BlockScaledDot dot(e, target, codes, scales, tokens, columns);
  auto multiply = [&] {
    if (dot.few)
      dot.multiplyFew(acc);
    else if (dot.panels)
      dot.multiplyManyInPanels(acc);
    else
      dot.multiplyMany(acc);
  };
  if (dot.exact)
    e.ifElse(dot.exact, multiply, otherwise);
  else
    multiply();
}
