// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/PanelDot.h"

using namespace mlir;
using namespace fathom::cpu;

static constexpr int64_t kHalf = kLanes / 2;

static MemRefType typeOf(Value buffer) {
  return cast<MemRefType>(buffer.getType());
}

static Value times(Emit &e, Value v, int64_t factor) {
  return arith::MulIOp::create(e.b, e.loc, v, e.index(factor));
}

static Value over(Emit &e, Value v, int64_t divisor) {
  return arith::DivUIOp::create(e.b, e.loc, v, e.index(divisor));
}

static Value rest(Emit &e, Value v, int64_t divisor) {
  return arith::RemUIOp::create(e.b, e.loc, v, e.index(divisor));
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
  Value panel = e.add(times(e, over(e, row, height), 2), half);
  return e.add(times(e, panel, k / kLanes), at);
}

void Panels::store(Value lanes, Value row, Value at) {
  at = over(e, at, kLanes);
  Value column = times(e, rest(e, row, height), kHalf);
  for (int64_t half : {0, 1}) {
    Value eight = vector::ExtractStridedSliceOp::create(
        e.b, e.loc, lanes, ArrayRef<int64_t>{half * kHalf},
        ArrayRef<int64_t>{kHalf}, ArrayRef<int64_t>{1});
    e.store(eight, buffer, {line(row, at, half), column});
  }
}

Value Panels::load(Value row, int64_t next, Value at, int64_t half) {
  return e.load(buffer, {line(row, at, half), e.index(next * kHalf)}, kHalf);
}

// ---- Products ---------------------------------------------------------------

void fathom::cpu::multiplyPanels(
    Emit &e, int64_t rows,
    function_ref<Value(int64_t row, Value at, int64_t half)> weights,
    Panels tokens, Value acc, Value m, function_ref<Value(Value)> inOrder) {
  int64_t columns = tokens.height;
  Type lanes = e.vec(kHalf, e.b.getF32Type());
  e.loop(0, tokens.rows, columns, [&](Value column) {
    Emit::Values halves[2];
    for (int64_t half : {0, 1}) {
      auto step = [&](Value at, Emit::Range sums) {
        Emit::Values next(sums), right;
        for (int64_t j = 0; j < columns; ++j)
          right.push_back(tokens.load(column, j, at, half));
        for (int64_t i = 0; i < rows; ++i) {
          Value left = weights(i, at, half);
          for (int64_t j = 0; j < columns; ++j) {
            Value &sum = next[i * columns + j];
            sum = e.fma(left, right[j], sum);
          }
        }
        return next;
      };
      Emit::Values init(rows * columns, e.zero(lanes));
      halves[half] = e.loop(0, tokens.k / kLanes, 1, init, step);
    }
    auto all = llvm::to_vector(llvm::seq<int64_t>(0, kLanes));
    Emit::Values sums;
    for (auto [lower, upper] : llvm::zip_equal(halves[0], halves[1]))
      sums.push_back(inOrder(
          vector::ShuffleOp::create(e.b, e.loc, lower, upper, all)));
    addTotals(e, sums, acc, m, column, rows, columns);
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
  return vector::BitCastOp::create(e.b, e.loc,
                                   e.vec(kHalf, e.b.getF32Type()), v);
}

bool fathom::cpu::suitsPanels(Target target, Value lhs, Value rhs) {
  MemRefType left = typeOf(lhs), right = typeOf(rhs);
  return !target.wide() && left.getElementType().isBF16() &&
         right.getElementType().isBF16() && left.getDimSize(0) % kRows == 0 &&
         left.getDimSize(0) >= 8 && right.getDimSize(0) % kTokens == 0 &&
         right.getDimSize(1) % kLanes == 0;
}

void fathom::cpu::emitDotPanels(Emit &e, Value lhs, Value rhs, Value acc) {
  int64_t count = typeOf(rhs).getDimSize(0), k = typeOf(rhs).getDimSize(1);
  Value packed = e.beforeLoops(rhs, [&] {
    Panels tokens(e, count, k, kTokens);
    e.loop(0, count, 1, [&](Value token) {
      e.loop(0, k, kLanes, [&](Value at) {
        Value even = everySecond(e, rhs, token, at, 0),
              odd = everySecond(e, rhs, token, at, 1);
        auto all = llvm::to_vector(llvm::seq<int64_t>(0, kLanes));
        tokens.store(vector::ShuffleOp::create(e.b, e.loc, even, odd, all),
                     token, at);
      });
    });
    return tokens.buffer;
  });
  SmallVector<int64_t> order;
  for (int64_t lane = 0; lane < kLanes; ++lane)
    order.push_back(lane % 2 * kHalf + lane / 2);
  auto inOrder = [&](Value sums) -> Value {
    return vector::ShuffleOp::create(e.b, e.loc, sums, sums, order);
  };
  e.loop(0, typeOf(lhs).getDimSize(0), kRows, [&](Value m) {
    auto weights = [&](int64_t row, Value at, int64_t half) {
      return everySecond(e, lhs, e.add(m, row), times(e, at, kLanes), half);
    };
    multiplyPanels(e, kRows, weights, Panels(e, packed, count, k), acc, m,
                   inOrder);
  });
}
