// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// dot tn of bf16 on AMX: probabilities by values. Rows of the right operand
// meet in pairs, columns of the left one become rows of pairs. The sums of an
// element, whatever M and N: onto acc, 32 k after 32 k, each as tdpbf16ps does
// it.
#include "codegen/CPU/MicroKernels.h"

#include "mlir/Dialect/AMX/AMXDialect.h"

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

/// Elements 0, n, 1, n+1, ... of two vectors of n: a pair a lane.
static Value pairs(Emit &e, Value a, Value b, int64_t from, int64_t count) {
  int64_t n = lanesOf(a.getType());
  SmallVector<int64_t> mask;
  for (int64_t i = from; i < from + count; ++i)
    mask.append({i, n + i});
  return vector::ShuffleOp::create(e.b, e.loc, a, b, mask);
}

namespace {
struct ColumnsDot {
  Emit &e;
  Value lhs, rhs, acc;
  int64_t m, n, k, block; // block: rows of acc that a tile takes

  ColumnsDot(Emit &e, Value lhs, Value rhs, Value acc)
      : e(e), lhs(lhs), rhs(rhs), acc(acc) {
    auto type = cast<MemRefType>(acc.getType());
    m = type.getDimSize(0);
    n = type.getDimSize(1);
    k = cast<MemRefType>(rhs.getType()).getDimSize(0);
    block = std::min<int64_t>(m, 16);
  }

  /// [k/32 * m, 32]: row c*m + i holds k = 32c .. of column i of lhs.
  Value packLeft() {
    Value packed = e.alloc({k / 32 * m, 32}, e.b.getBF16Type());
    Type words = e.vec(16, e.b.getI32Type());
    e.loop(0, k / 32, 1, [&](Value chunk) {
      e.loop(0, m, block, [&](Value column) {
        Emit::Values rows;
        for (int64_t p = 0; p < 16; ++p) {
          Value row = e.add(e.times(chunk, 32), 2 * p);
          int64_t lanes = std::max<int64_t>(block, 2);
          auto load = [&](Value at) {
            Value v = e.load(lhs, {at, column}, block);
            return block == 1 ? e.splat(v, lanes) : v;
          };
          Value both = pairs(e, load(row), load(e.add(row, 1)), 0, lanes);
          if (lanes < 16) { // what fills the lanes goes nowhere
            SmallVector<int64_t> repeat;
            for (int64_t i = 0; i < 32; ++i)
              repeat.push_back(i % (2 * lanes));
            both = vector::ShuffleOp::create(e.b, e.loc, both, both, repeat);
          }
          rows.push_back(vector::BitCastOp::create(
              e.b, e.loc, cast<VectorType>(words), both));
        }
        e.columnsFirst(rows);
        Type half = e.vec(32, e.b.getBF16Type());
        for (int64_t i = 0; i < block; ++i)
          e.store(vector::BitCastOp::create(e.b, e.loc, cast<VectorType>(half),
                                            rows[i]),
                  packed,
                  {e.add(e.add(e.times(chunk, m), column), i), e.index(0)});
      });
    });
    return packed;
  }

  /// [k/2, 2n]: row p holds pairs of rows 2p and 2p+1 of rhs.
  Value packRight() {
    Value packed = e.alloc({k / 2, 2 * n}, e.b.getBF16Type());
    int64_t lanes = std::min<int64_t>(n, 32);
    e.loop(0, k / 2, 1, [&](Value p) {
      Value row = e.times(p, 2);
      e.loop(0, n, lanes, [&](Value column) {
        Value a = e.load(rhs, {row, column}, lanes),
              b = e.load(rhs, {e.add(row, 1), column}, lanes);
        Value at = e.times(column, 2);
        for (int64_t part = 0; part < lanes; part += 16)
          e.store(pairs(e, a, b, part, 16), packed, {p, e.add(at, 2 * part)});
      });
    });
    return packed;
  }

  Value load(Value buffer, Value row, Value column, int64_t rows,
             int64_t columns) {
    return loadTile(e, buffer, row, column, rows, columns);
  }

  void emit() {
    Value left = packLeft(), right = packRight();
    // A tile register keeps its shape for a whole function; where sums are not
    // the shape of everything else, they get one register.
    int64_t together = block < 16 ? 1 : std::min<int64_t>(n / 16, 4);
    e.loop(0, m, block, [&](Value row) {
      e.loop(0, n, 16 * together, [&](Value column) {
        Emit::Values init;
        for (int64_t j = 0; j < together; ++j)
          init.push_back(load(acc, row, e.add(column, 16 * j), block, 16));
        auto step = [&](Value chunk, Emit::Range sums) {
          Emit::Values next;
          Value a =
              load(left, e.add(e.times(chunk, m), row), e.index(0), block, 32);
          for (int64_t j = 0; j < together; ++j) {
            Value b = load(right, e.times(chunk, 16),
                           e.times(e.add(column, 16 * j), 2), 16, 32);
            next.push_back(amx::TileMulFOp::create(
                e.b, e.loc, sums[j].getType(), a, b, sums[j]));
          }
          return next;
        };
        Emit::Values sums = e.loop(0, k / 32, 1, init, step);
        for (int64_t j = 0; j < together; ++j)
          amx::TileStoreOp::create(
              e.b, e.loc, acc, ValueRange{row, e.add(column, 16 * j)}, sums[j]);
      });
    });
  }
};
} // namespace

bool fathom::cpu::suitsAMXColumns(Value lhs, Value rhs) {
  auto left = cast<MemRefType>(lhs.getType()),
       right = cast<MemRefType>(rhs.getType());
  return left.getElementType().isBF16() && right.getElementType().isBF16() &&
         right.getDimSize(0) % 32 == 0 && right.getDimSize(1) % 16 == 0;
}

void fathom::cpu::emitDotColumnsAMX(Emit &e, Value lhs, Value rhs, Value acc) {
  ColumnsDot(e, lhs, rhs, acc).emit();
}
