// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/PanelDot.h"
#include "codegen/CPU/NarrowWeights.h"

using namespace mlir;
using namespace fathom::cpu;

static constexpr int64_t kHalf = kLanes / 2;

static MemRefType typeOf(Value buffer) {
  return cast<MemRefType>(buffer.getType());
}

// ---- Panels -----------------------------------------------------------------

Panels::Panels(Emit &e, int64_t rows, int64_t k, int64_t height)
    : Panels(e,
             e.alloc({rows / height * 2 * (k / kLanes), height * kHalf},
                     e.b.getF32Type()),
             rows, k) {}

Panels::Panels(Emit &e, Value buffer, int64_t rows, int64_t k)
    : rows(rows), k(k), height(typeOf(buffer).getDimSize(1) / kHalf),
      buffer(buffer), e(e) {}

Value Panels::line(Value row, Value at, int64_t half) {
  Value panel = e.add(e.times(e.over(row, height), 2), half);
  return e.add(e.times(panel, k / kLanes), at);
}

void Panels::store(Value lanes, Value row, Value at) {
  at = e.over(at, kLanes);
  Value column = e.times(e.rest(row, height), kHalf);
  for (int64_t half : {0, 1}) {
    Value eight = e.part(lanes, half * kHalf, kHalf);
    e.store(eight, buffer, {line(row, at, half), column});
  }
}

Value Panels::load(Value row, int64_t next, Value at, int64_t half) {
  return e.load(buffer, {line(row, at, half), e.index(next * kHalf)}, kHalf);
}

// ---- Totals -----------------------------------------------------------------

static Value sumOfTwo(Emit &e, Value a, Value c, ArrayRef<int64_t> first,
                      ArrayRef<int64_t> second) {
  return arith::AddFOp::create(
      e.b, e.loc, vector::ShuffleOp::create(e.b, e.loc, a, c, first),
      vector::ShuffleOp::create(e.b, e.loc, a, c, second));
}

/// Lower and upper halves of 128 bits are added: of one register, or of two,
/// half as many apart as there are.
static Emit::Values addAcross(Emit &e, Emit::Range v) {
  if (v.size() == 1)
    return {sumOfTwo(e, v[0], v[0], {0, 1, 2, 3}, {4, 5, 6, 7})};
  Emit::Values sums;
  for (size_t i = 0; i < v.size() / 2; ++i)
    sums.push_back(sumOfTwo(e, v[i], v[i + v.size() / 2],
                            {0, 1, 2, 3, 8, 9, 10, 11},
                            {4, 5, 6, 7, 12, 13, 14, 15}));
  return sums;
}

/// Four lanes of four registers become one each, the first two added to the
/// last two, then the two.
static Emit::Values addFours(Emit &e, Emit::Range v) {
  Emit::Values sums;
  for (size_t i = 0; i < v.size(); i += 4) {
    Value pairs[2];
    for (size_t j : {0, 1})
      pairs[j] =
          sumOfTwo(e, v[i + 2 * j], v[i + 2 * j + 1],
                   {0, 1, 8, 9, 4, 5, 12, 13}, {2, 3, 10, 11, 6, 7, 14, 15});
    sums.push_back(sumOfTwo(e, pairs[0], pairs[1], {0, 2, 8, 10, 4, 6, 12, 14},
                            {1, 3, 9, 11, 5, 7, 13, 15}));
  }
  return sums;
}

static Emit::Values addEach(Emit &e, Emit::Range a, Emit::Range c) {
  Emit::Values sums;
  for (auto [x, y] : llvm::zip_equal(a, c))
    sums.push_back(arith::AddFOp::create(e.b, e.loc, x, y));
  return sums;
}

/// The tree adds lanes 8 apart first, then 4, 2 and 1: where each two lie is
/// what the order says.
Value fathom::cpu::laneTotals(Emit &e, Emit::Range lower, Emit::Range upper,
                              LaneOrder order) {
  if (lower.size() != 8 && (lower.size() != 4 || order != LaneOrder::Nibbles))
    return {};
  switch (order) {
  case LaneOrder::Natural:
    return addFours(e, addAcross(e, addEach(e, lower, upper)))[0];
  case LaneOrder::EvenOdd:
    return addEach(e, addFours(e, addAcross(e, lower)),
                   addFours(e, addAcross(e, upper)))[0];
  case LaneOrder::Nibbles:
    return addAcross(e, addEach(e, addFours(e, lower), addFours(e, upper)))[0];
  }
  llvm_unreachable("an order");
}

// ---- Products ---------------------------------------------------------------

/// 16 lanes in the order of k.
static Value inOrder(Emit &e, Value lower, Value upper, LaneOrder order) {
  SmallVector<int64_t> from(kLanes);
  for (int64_t i = 0; i < kLanes; ++i) {
    int64_t lane = order == LaneOrder::Natural ? i
                   : order == LaneOrder::EvenOdd
                       ? i % 8 * 2 + i / 8
                       : i % 4 * 4 + i / 8 * 2 + i / 4 % 2;
    from[lane] = i;
  }
  return vector::ShuffleOp::create(e.b, e.loc, lower, upper, from);
}

void fathom::cpu::multiplyPanels(
    Emit &e, int64_t rows,
    function_ref<Value(int64_t row, Value at, int64_t half)> weights,
    Panels tokens, Value acc, Value m, Value columns, LaneOrder order,
    function_ref<void(Value)> touch) {
  int64_t together = tokens.height, sixteens = tokens.k / kLanes;
  Type lanes = e.vec(kHalf, e.b.getF32Type());
  e.loop(tokens.rows, columns, together, [&](Value column) {
    Emit::Values halves[2];
    for (int64_t half : {0, 1}) {
      auto step = [&](Value at, Emit::Range sums) {
        Emit::Values next(sums), right;
        if (touch && half == 0)
          touch(e.add(e.times(e.over(column, together), sixteens), at));
        for (int64_t j = 0; j < together; ++j)
          right.push_back(tokens.load(column, j, at, half));
        for (int64_t i = 0; i < rows; ++i) {
          Value left = weights(i, at, half);
          for (int64_t j = 0; j < together; ++j) {
            Value &sum = next[i * together + j];
            sum = e.fma(left, right[j], sum);
          }
        }
        return next;
      };
      Emit::Values init(rows * together, e.zero(lanes));
      halves[half] = e.loop(0, sixteens, 1, init, step);
    }
    if (Value totals = laneTotals(e, halves[0], halves[1], order))
      return addBlock(e, totals, acc, m, column, rows, together);
    Emit::Values sums;
    for (auto [lower, upper] : llvm::zip_equal(halves[0], halves[1]))
      sums.push_back(inOrder(e, lower, upper, order));
    addTotals(e, sums, acc, m, column, rows, together);
  });
}

// ---- dot nt of bf16 ---------------------------------------------------------

/// How many rows and tokens a block of sums has: rows are extended anew for
/// each block, tokens once.
static constexpr int64_t kRows = 2, kTokens = 4;

/// The even or the odd ones of 16 floats: each is a half of 32 bits, so that a
/// shift or a mask extends it.
static Value everySecond(Emit &e, Value buffer, Value row, Value at,
                         int64_t half) {
  auto pairs = cast<VectorType>(e.vec(kHalf, e.b.getI32Type()));
  Value v = vector::BitCastOp::create(e.b, e.loc, pairs,
                                      e.load(buffer, {row, at}, kLanes));
  v = half ? arith::AndIOp::create(e.b, e.loc, v, e.constant(pairs, -0x10000))
                 .getResult()
           : arith::ShLIOp::create(e.b, e.loc, v, e.constant(pairs, 16));
  return vector::BitCastOp::create(e.b, e.loc, e.vec(kHalf, e.b.getF32Type()),
                                   v);
}

bool fathom::cpu::suitsPanels(Target target, Value lhs, Value rhs) {
  MemRefType left = typeOf(lhs), right = typeOf(rhs);
  return !target.wide() && left.getElementType().isBF16() &&
         right.getElementType().isBF16() && left.getDimSize(0) % kRows == 0 &&
         left.getDimSize(0) >= 8 && right.getDimSize(0) % kTokens == 0 &&
         right.getDimSize(1) % kLanes == 0;
}

void fathom::cpu::emitDotPanels(Emit &e, Value lhs, Value rhs, Value acc,
                                Value columns, Emit::Part some) {
  int64_t count = typeOf(rhs).getDimSize(0), k = typeOf(rhs).getDimSize(1);
  Block *here = e.b.getInsertionBlock();
  Value packed = e.beforeLoops(rhs, [&] {
    Panels tokens(e, count, k, kTokens);
    // Before a loop the number is not known, and each turn may have another.
    bool some = columns && e.b.getInsertionBlock() == here;
    Value taken = some ? e.roundUp(columns, kTokens) : Value();
    e.loop(count, taken, 1, [&](Value token) {
      e.loop(0, k, kLanes, [&](Value at) {
        Value even = everySecond(e, rhs, token, at, 0),
              odd = everySecond(e, rhs, token, at, 1);
        tokens.store(e.join(even, odd), token, at);
      });
    });
    return tokens.buffer;
  });
  // Weights from memory are met by the first block of tokens. Of many tokens
  // it is a small part, and touches would cost the others more.
  int64_t lines = kRows * k / 32, perLine = count / kTokens;
  std::optional<Strips> strips;
  if (count <= 8)
    strips.emplace(e, lhs, kRows, /*bytes=*/16384, /*streams=*/1, lines);
  auto touch = [&](Value number) { strips->touch(e.over(number, perLine)); };
  e.loop(typeOf(lhs).getDimSize(0), some, kRows, [&](Value m) {
    auto weights = [&](int64_t row, Value at, int64_t half) {
      return everySecond(e, lhs, e.add(m, row), e.times(at, kLanes), half);
    };
    function_ref<void(Value)> ahead = nullptr;
    if (strips) {
      strips->start(m);
      ahead = touch;
    }
    multiplyPanels(e, kRows, weights, Panels(e, packed, count, k), acc, m,
                   columns, LaneOrder::EvenOdd, ahead);
  });
}
