// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// tile.dot. The sums of one element, whatever the block sizes:
//   nt      lane l of 16 takes k = l, l+16, ... by fused multiply-add from 0;
//           lanes are added by a halving tree, the total to acc.
//   nn, tn  fused multiply-adds onto acc, k ascending.
// Levels with bf16 instructions have other sums for nt of bf16, AMX for tn,
// too: see BF16Kernels.cpp, AMXKernels.cpp and AMXColumns.cpp.
#include "codegen/CPU/KeptSums.h"
#include "codegen/CPU/NarrowWeights.h"
#include "codegen/CPU/PanelDot.h"

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

static int64_t sizeOf(Value buffer, int64_t dim) {
  return cast<MemRefType>(buffer.getType()).getDimSize(dim);
}

void fathom::cpu::addBlock(Emit &e, Value totals, Value acc, Value row,
                           Value column, int64_t rows, int64_t columns) {
  auto type = cast<MemRefType>(acc.getType());
  if (type.getDimSize(1) == columns && type.getLayout().isIdentity() &&
      lanesOf(totals.getType()) == rows * columns) { // behind each other
    acc = memref::CollapseShapeOp::create(
        e.b, e.loc, acc, SmallVector<ReassociationIndices>{{0, 1}});
    Value at = e.times(row, columns), old = e.load(acc, {at}, rows * columns);
    e.store(arith::AddFOp::create(e.b, e.loc, old, totals), acc, {at});
    return;
  }
  for (int64_t i = 0; i < rows; ++i) {
    Emit::Values at{e.add(row, i), column};
    Value part = totals;
    if (columns == 1)
      part =
          vector::ExtractOp::create(e.b, e.loc, totals, ArrayRef<int64_t>{i});
    else if (lanesOf(totals.getType()) > columns)
      part = e.part(totals, i * columns, columns);
    Value old = e.load(acc, at, columns);
    e.store(arith::AddFOp::create(e.b, e.loc, old, part), acc, at);
  }
}

void fathom::cpu::addTotals(Emit &e, Emit::Range sums, Value acc, Value row,
                            Value column, int64_t rows, int64_t columns) {
  if (rows * columns > 1 && rows * columns <= lanesOf(sums[0].getType()))
    return addBlock(e, e.treeAddAll(sums), acc, row, column, rows, columns);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      Emit::Values at{e.add(row, i), e.add(column, j)};
      Value total = e.treeAdd(sums[i * columns + j]);
      Value old = e.load(acc, at, 1);
      e.store(arith::AddFOp::create(e.b, e.loc, old, total), acc, at);
    }
  }
}

void fathom::cpu::emitDotNT(Emit &e, Target target, Value lhs, Value rhs,
                            Value acc, Value accRow, int64_t rows,
                            Value columns, Emit::Part some) {
  int64_t n = sizeOf(rhs, 0), k = sizeOf(rhs, 1);
  int64_t lanes = std::min(k, kLanes);
  // Accumulators of two (one) registers each, operands must fit beside them.
  // Rows that must be extended are better few.
  bool narrow = !cast<MemRefType>(lhs.getType()).getElementType().isF32();
  int64_t wideN = narrow && n >= 8 ? 8 : 4;
  int64_t blockN = std::min<int64_t>(n, target.wide() ? wideN : 2);
  int64_t blockM = std::min<int64_t>(rows, target.wide() ? 16 / wideN
                                           : n == 1      ? 4
                                                         : 2);
  Type vector = e.vec(lanes, e.b.getF32Type());
  // Weights from memory are met once, by a single block of columns.
  bool once = n == blockN && lanes == kLanes;
  int64_t length =
      once && target.wide() ? KeptSums::columnsAtOnce(k, 4 * n) : k;
  std::optional<KeptSums> kept;
  if (length < k)
    kept.emplace(e, rows, blockN);
  for (int64_t first = 0; first < k; first += length) {
    std::optional<Strips> strips;
    if (once)
      strips.emplace(e, e.window(lhs, e.index(0), rows, e.index(first), length),
                     blockM,
                     /*bytes=*/16384, /*streams=*/1, length / lanes,
                     /*soon=*/target.wide() && n > 1);
    e.loop(rows, some, blockM, [&](Value m) {
      if (strips)
        strips->start(m);
      Value left = e.window(lhs, m, blockM, e.index(0), k);
      if (n > blockN) // several blocks meet them
        left = e.inF32(left);
      auto block = [&](Value column) {
        Emit::Values init(blockM * blockN, e.zero(vector));
        if (first > 0)
          init = kept->load(m, blockM);
        auto step = [&](Value at, Emit::Range sums) {
          Emit::Values next(sums), right;
          if (strips)
            strips->touch(e.over(at, lanes));
          Value place = e.add(at, first);
          for (int64_t j = 0; j < blockN; ++j)
            right.push_back(
                e.toF32(e.load(rhs, {e.add(column, j), place}, lanes)));
          for (int64_t i = 0; i < blockM; ++i) {
            Value row = e.toF32(e.load(left, {e.index(i), place}, lanes));
            for (int64_t j = 0; j < blockN; ++j)
              next[i * blockN + j] = e.fma(row, right[j], next[i * blockN + j]);
          }
          return next;
        };
        Emit::Values sums = e.loop(0, length, lanes, init, step);
        if (first + length < k)
          kept->store(sums, m);
        else
          addTotals(e, sums, acc, e.add(m, accRow), column, blockM, blockN);
      };
      e.loop(n, columns, blockN, block);
    });
  }
}

/// acc (MxN) += lhs' x rhs (KxN) with lanes along N; lhs is MxK, or KxM.
static void emitDotColumns(Emit &e, Target target, Value lhs, Value rhs,
                           Value acc, bool transposed, Emit::Part some) {
  int64_t m = sizeOf(acc, 0), n = sizeOf(acc, 1), k = sizeOf(rhs, 0);
  int64_t lanes = std::min(n, kLanes);
  int64_t parts = target.wide() && n >= 2 * lanes ? 2 : 1;
  int64_t blockM = std::min<int64_t>(m, target.wide() ? 8
                                        : lanes >= 16 ? 4
                                                      : 8);
  auto block = [&](Value row, Value column, Value right) {
    Emit::Values init;
    auto each = [&](function_ref<void(Value, Value)> body) {
      for (int64_t i = 0; i < blockM; ++i)
        for (int64_t j = 0; j < parts; ++j)
          body(e.add(row, i), e.add(column, j * lanes));
    };
    each([&](Value r, Value c) { init.push_back(e.load(acc, {r, c}, lanes)); });
    auto step = [&](Value at, Emit::Range sums) {
      Emit::Values next, values;
      for (int64_t j = 0; j < parts; ++j)
        values.push_back(
            e.toF32(e.load(right, {at, e.index(j * lanes)}, lanes)));
      for (int64_t i = 0; i < blockM; ++i) {
        Value r = e.add(row, i);
        Value left = e.load(
            lhs, transposed ? Emit::Values{at, r} : Emit::Values{r, at}, 1);
        left = e.splat(e.toF32(left), lanes);
        for (int64_t j = 0; j < parts; ++j)
          next.push_back(e.fma(left, values[j], sums[i * parts + j]));
      }
      return next;
    };
    Emit::Values sums = transposed && some
                            ? e.loop(some.from, some.to, 1, init, step)
                            : e.loop(0, k, 1, init, step);
    size_t i = 0;
    each([&](Value r, Value c) { e.store(sums[i++], acc, {r, c}); });
  };
  e.loop(0, n, parts * lanes, [&](Value column) {
    Value right = e.window(rhs, e.index(0), k, column, parts * lanes);
    if (m > blockM)
      right = e.inF32(right, transposed ? some : Emit::Part());
    e.loop(m, transposed ? Emit::Part() : some, blockM,
           [&](Value row) { block(row, column, right); });
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
                                    Buffers operands, Value columns,
                                    Emit::Part some) {
  Value lhs = operands[0], rhs = operands[1], acc = operands[2];
  for (Value operand : {lhs, rhs}) {
    Type element = cast<MemRefType>(operand.getType()).getElementType();
    if (!element.isF32() && !element.isBF16())
      return op.emitError("dot is compiled for f32 and bf16 operands, not ")
             << element;
  }
  if (op.getForm() == tile::DotForm::NT) {
    if (auto narrow = NarrowWeights::of(lhs, rhs)) {
      if (target.amx())
        return emitDotAMX(e, *narrow, rhs, acc, columns), success();
      if (target.dotBF16())
        return emitDotBF16(e, *narrow, rhs, acc, columns), success();
    }
    if (suitsPanels(target, lhs, rhs))
      return emitDotPanels(e, lhs, rhs, acc, columns, some), success();
    if (sizeOf(lhs, 0) >= 8)
      rhs = e.beforeLoops(rhs, [&] { return e.inF32(rhs); });
    emitDotNT(e, target, lhs, rhs, acc, e.index(0), sizeOf(lhs, 0), columns,
              some);
    return success();
  }
  bool transposed = op.getForm() == tile::DotForm::TN;
  if (transposed && target.amx() && suitsAMXColumns(lhs, rhs))
    return emitDotColumnsAMX(e, lhs, rhs, acc), success();
  if (sizeOf(acc, 1) > kLanes)
    lhs = e.beforeLoops(lhs, [&] { return e.inF32(lhs); });
  if (transposed && sizeOf(acc, 1) <= 4 && sizeOf(acc, 0) >= 8)
    emitDotTall(e, lhs, rhs, acc);
  else
    emitDotColumns(e, target, lhs, rhs, acc, transposed, some);
  return success();
}
