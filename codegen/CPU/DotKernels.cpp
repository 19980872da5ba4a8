// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// tile.dot. The sums of one element, whatever the block sizes:
//   nt      lane l of 16 takes k = l, l+16, ... by fused multiply-add from 0;
//           lanes are added by a halving tree, the total to acc.
//   nn, tn  fused multiply-adds onto acc, k ascending.
#include "codegen/CPU/MicroKernels.h"

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

static int64_t sizeOf(Value buffer, int64_t dim) {
  return cast<MemRefType>(buffer.getType()).getDimSize(dim);
}

/// Adds the lane totals of a block to acc.
static void addTotals(Emit &e, Emit::Range sums, Value acc, Value row,
                      Value column, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      Emit::Values at{e.add(row, i), e.add(column, j)};
      Value total = e.treeAdd(sums[i * columns + j]);
      Value old = e.load(acc, at, 1);
      e.store(arith::AddFOp::create(e.b, e.loc, old, total), acc, at);
    }
}

void fathom::cpu::emitDotNT(Emit &e, Target target, Value lhs, Value rhs,
                            Value acc, Value accRow, int64_t rows) {
  int64_t n = sizeOf(rhs, 0), k = sizeOf(rhs, 1);
  int64_t lanes = std::min(k, kLanes);
  // Accumulators of two (one) registers each, operands must fit beside them.
  int64_t blockN = std::min<int64_t>(n, target.wide ? 4 : 2);
  int64_t blockM = std::min<int64_t>(rows, target.wide || n == 1 ? 4 : 2);
  Type vector = e.vec(lanes, e.b.getF32Type());
  e.loop(0, rows, blockM, [&](Value m) {
    e.loop(0, n, blockN, [&](Value column) {
      Emit::Values init(blockM * blockN, e.zero(vector));
      auto step = [&](Value at, Emit::Range sums) {
        Emit::Values next(sums), right;
        for (int64_t j = 0; j < blockN; ++j)
          right.push_back(e.toF32(e.load(rhs, {e.add(column, j), at}, lanes)));
        for (int64_t i = 0; i < blockM; ++i) {
          Value left = e.toF32(e.load(lhs, {e.add(m, i), at}, lanes));
          for (int64_t j = 0; j < blockN; ++j)
            next[i * blockN + j] = e.fma(left, right[j], next[i * blockN + j]);
        }
        return next;
      };
      Emit::Values sums = e.loop(0, k, lanes, init, step);
      addTotals(e, sums, acc, e.add(m, accRow), column, blockM, blockN);
    });
  });
}

/// acc (MxN) += lhs' x rhs (KxN) with lanes along N; lhs is MxK, or KxM.
static void emitDotColumns(Emit &e, Target target, Value lhs, Value rhs,
                           Value acc, bool transposed) {
  int64_t m = sizeOf(acc, 0), n = sizeOf(acc, 1), k = sizeOf(rhs, 0);
  int64_t lanes = std::min(n, kLanes);
  int64_t blockM = std::min<int64_t>(m, target.wide ? 8 : lanes >= 16 ? 4 : 8);
  e.loop(0, m, blockM, [&](Value row) {
    e.loop(0, n, lanes, [&](Value column) {
      Emit::Values init;
      for (int64_t i = 0; i < blockM; ++i)
        init.push_back(e.load(acc, {e.add(row, i), column}, lanes));
      auto step = [&](Value at, Emit::Range sums) {
        Emit::Values next;
        Value right = e.toF32(e.load(rhs, {at, column}, lanes));
        for (int64_t i = 0; i < blockM; ++i) {
          Value r = e.add(row, i);
          Value left = e.load(
              lhs, transposed ? Emit::Values{at, r} : Emit::Values{r, at}, 1);
          next.push_back(e.fma(e.splat(e.toF32(left), lanes), right, sums[i]));
        }
        return next;
      };
      Emit::Values sums = e.loop(0, k, 1, init, step);
      for (int64_t i = 0; i < blockM; ++i)
        e.store(sums[i], acc, {e.add(row, i), column});
    });
  });
}

/// tn with few columns: lanes along M, the same chain for every element.
static void emitDotTall(Emit &e, Value lhs, Value rhs, Value acc) {
  int64_t m = sizeOf(acc, 0), n = sizeOf(acc, 1), k = sizeOf(rhs, 0);
  int64_t lanes = std::min(m, kLanes);
  Type vector = e.vec(lanes, e.b.getF32Type());
  e.loop(0, m, lanes, [&](Value row) {
    Emit::Values init(n, e.zero(vector));
    for (int64_t j = 0; j < n; ++j)
      for (int64_t i = 0; i < lanes; ++i) {
        Value old = e.load(acc, {e.add(row, i), e.index(j)}, 1);
        init[j] = vector::InsertOp::create(e.b, e.loc, old, init[j],
                                           ArrayRef<int64_t>{i});
      }
    auto step = [&](Value at, Emit::Range sums) {
      Emit::Values next;
      Value left = e.toF32(e.load(lhs, {at, row}, lanes));
      for (int64_t j = 0; j < n; ++j) {
        Value right = e.toF32(e.load(rhs, {at, e.index(j)}, 1));
        next.push_back(e.fma(left, e.splat(right, lanes), sums[j]));
      }
      return next;
    };
    Emit::Values sums = e.loop(0, k, 1, init, step);
    for (int64_t j = 0; j < n; ++j)
      for (int64_t i = 0; i < lanes; ++i) {
        Value value = vector::ExtractOp::create(e.b, e.loc, sums[j],
                                                ArrayRef<int64_t>{i});
        e.store(value, acc, {e.add(row, i), e.index(j)});
      }
  });
}

LogicalResult fathom::cpu::expandOp(Emit &e, tile::DotOp op, Target target,
                                    Buffers operands) {
  Value lhs = operands[0], rhs = operands[1], acc = operands[2];
  for (Value operand : {lhs, rhs}) {
    Type element = cast<MemRefType>(operand.getType()).getElementType();
    if (!element.isF32() && !element.isBF16())
      return op.emitError("dot is compiled for f32 and bf16 operands, not ")
             << element;
  }
  if (op.getForm() == tile::DotForm::NT) {
    emitDotNT(e, target, lhs, rhs, acc, e.index(0), sizeOf(lhs, 0));
    return success();
  }
  bool transposed = op.getForm() == tile::DotForm::TN;
  if (transposed && sizeOf(acc, 1) <= 4 && sizeOf(acc, 0) >= 8)
    emitDotTall(e, lhs, rhs, acc);
  else
    emitDotColumns(e, target, lhs, rhs, acc, transposed);
  return success();
}
