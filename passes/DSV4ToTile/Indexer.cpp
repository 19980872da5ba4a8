// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lightning indexer: scores of the visible blocks, and the k best of them.
#include "passes/DSV4ToTile/Lowering.h"

using namespace mlir;

namespace fathom {

static constexpr int64_t kKeys = 32, kStrip = 1024;

void lowerIndexScores(Lowering &l, dsv4::IndexScoresOp op) {
  auto type = cast<dsv4::CacheType>(op.getCache().getType());
  SmallVector<Value> operands{l.buffer(op.getQ()), l.buffer(op.getW()),
                              l.buffer(op.getPositions()),
                              l.buffer(op.getSlots())};
  operands.append(CacheReader::operands(l, op.getCache()));
  unsigned out = operands.size();
  operands.push_back(l.result(op.getScores(), op.getQ()));
  auto q = cast<MemRefType>(operands[0].getType());
  int64_t heads = q.getDimSize(1), width = q.getDimSize(2),
          padded = pow2Ceil(heads);
  int64_t ratio = op.getRatio(), rows = type.getRows();
  Type carrier = q.getElementType();
  auto kernel = l.kernels.get(
      "index_scores", std::to_string(ratio) + "_" + std::to_string(rows),
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        using P = arith::CmpIPredicate;
        Value t = k.pid(0), from = k.muli(k.pid(1), kStrip);
        Value position = k.loadIndex(k.arg(2), t),
              slot = k.loadIndex(k.arg(3), t);
        Value visible = k.divi(k.addi(position, k.ci(1)), ratio);
        Value to = k.mini(visible, k.addi(from, k.ci(kStrip)));
        auto round = [&](Value x) { return k.f32(k.to(x, carrier)); };
        k.when(k.cmpi(P::slt, from, to), [&] {
          SmallVector<Value> bounds, bound;
          if (padded != heads) {
            bounds = {k.ci(heads), k.ci(width)};
            bound = {k.ci(heads)};
          }
          Value query = k.f32(
              k.load(k.arg(0), {t, k.ci(0), k.ci(0)}, {padded, width}, bounds));
          Value w = k.f32(k.load(k.arg(1), {t, k.ci(0)}, {padded}, bound));
          SmallVector<int64_t> shape{kKeys, padded};
          w = k.broadcast(w, {0}, shape);
          CacheReader keys{type, 4};
          k.loop(from, to, k.ci(kKeys), [&](Value at) {
            Value b = k.iadd(k.splat(k.toI32(at), {kKeys}), k.iota(kKeys));
            Value valid = k.icmp(P::slt, b, k.splat(k.toI32(to), {kKeys}));
            Value row =
                k.iadd(b, k.splat(k.toI32(k.muli(slot, rows)), {kKeys}));
            row = k.select(valid, row, k.fullI32(-1, {kKeys}));
            Value s = k.dot(tile::DotForm::NT, keys.read(k, row, 0, width),
                            query, k.full(0, shape));
            s = round(k.mul(k.max(round(s), k.full(0, shape)), w));
            s = round(k.reduce(tile::ReduceKind::Add, s, 1));
            k.store(s, k.arg(out), {t, at}, {k.ci(rows)});
          });
        });
      });
  Lowering::Grid grid;
  grid.like = op.getQ();
  grid.others[0] = llvm::divideCeil(rows, kStrip);
  l.launch(kernel, grid, operands);
}

namespace {
/// The scores of one token, seen as integers in their order, tile by tile.
struct Selection {
  KernelBuilder &k;
  Value t, visible;
  int64_t width; // of a tile
  int64_t rows;  // of the score buffer

  struct Keys {
    Value key, valid;
  };
  Keys at(Value c) {
    using P = arith::CmpIPredicate;
    SmallVector<int64_t> shape{width};
    Value x = k.load(k.arg(0), {t, c}, shape, {k.ci(rows)});
    // Not-a-number comes after every number.
    x = k.select(k.cmp(arith::CmpFPredicate::UNO, x, x), k.full(-3.0e38, shape),
                 x);
    // Minus zero equals zero.
    x = k.add(x, k.full(0, shape));
    Value bits = k.bitcast(x, k.b.getI32Type());
    Value negative = k.icmp(P::slt, bits, k.fullI32(0, shape));
    Value flipped =
        arith::XOrIOp::create(k.b, k.loc, bits, k.fullI32(0x7FFFFFFF, shape));
    Value b = k.iadd(k.splat(k.toI32(c), shape), k.iota(width));
    return {k.select(negative, flipped, bits),
            k.icmp(P::slt, b, k.splat(k.toI32(visible), shape))};
  }
  Value sum(Value mask) {
    return k.total(tile::ReduceKind::Add, k.toInt(mask)); // [1]
  }
  /// How many keys stand in `predicate` to `threshold` ([1] i32), as [1] i32.
  Value count(arith::CmpIPredicate predicate, Value threshold) {
    return k.loop(k.ci(0), visible, k.ci(width), k.fullI32(0, {1}),
                  [&](Value c, ValueRange n) -> SmallVector<Value> {
                    Keys keys = at(c);
                    Value hit = k.icmp(predicate, keys.key, spread(threshold));
                    return {k.iadd(n[0], sum(k.bitAnd(hit, keys.valid)))};
                  })[0];
  }
  Value spread(Value one) { return k.spread(one, width); }
};
} // namespace

/// The k-th largest key, bit by bit from the top: [1] i32.
static Value kthLargest(Selection &s, int64_t n) {
  KernelBuilder &k = s.k;
  using P = arith::CmpIPredicate;
  Value enough = k.fullI32(n, {1});
  // First the sign: is the k-th key non-negative?
  Value positive = k.icmp(P::sge, s.count(P::sge, k.fullI32(0, {1})), enough);
  Value start =
      k.select(positive, k.fullI32(0, {1}), k.fullI32(INT32_MIN, {1}));
  return k.loop(k.ci(0), k.ci(31), k.ci(1), start,
                [&](Value i, ValueRange carried) -> SmallVector<Value> {
                  Value shift = k.toI32(k.subi(k.ci(30), i));
                  Value one = arith::ConstantIntOp::create(k.b, k.loc, 1, 32);
                  Value bit = arith::ShLIOp::create(k.b, k.loc, one, shift);
                  Value candidate = k.bitOr(carried[0], k.splat(bit, {1}));
                  Value ok = k.icmp(P::sge, s.count(P::sge, candidate), enough);
                  return {k.select(ok, candidate, carried[0])};
                })[0];
}

/// Writes the blocks above the threshold and the first of those that equal it.
static void emitSelected(Selection &s, Value threshold, int64_t n, Value out) {
  KernelBuilder &k = s.k;
  using P = arith::CmpIPredicate;
  SmallVector<int64_t> shape{s.width};
  Value ties = k.isub(k.fullI32(n, {1}), s.count(P::sgt, threshold));
  Value base = k.splat(k.toI32(k.muli(s.t, n)), shape);
  k.loop(
      k.ci(0), s.visible, k.ci(s.width), {k.fullI32(0, {1}), k.fullI32(0, {1})},
      [&](Value c, ValueRange seen) -> SmallVector<Value> {
        Selection::Keys keys = s.at(c);
        Value above =
            k.bitAnd(keys.valid, k.icmp(P::sgt, keys.key, s.spread(threshold)));
        Value equal =
            k.bitAnd(keys.valid, k.icmp(P::eq, keys.key, s.spread(threshold)));
        Value rank = k.iadd(k.scan(k.toInt(equal)), s.spread(seen[0]));
        Value take = k.bitOr(
            above, k.bitAnd(equal, k.icmp(P::sle, rank, s.spread(ties))));
        Value place = k.iadd(k.scan(k.toInt(take)), s.spread(seen[1]));
        Value row = k.iadd(base, k.isub(place, k.fullI32(1, shape)));
        Value b = k.iadd(k.splat(k.toI32(c), shape), k.iota(s.width));
        k.scatter(b, out, k.select(take, row, k.fullI32(-1, shape)));
        return {k.iadd(seen[0], s.sum(equal)), k.iadd(seen[1], s.sum(take))};
      });
}

void lowerSelectTopK(Lowering &l, dsv4::SelectTopKOp op) {
  Value result = l.result(op.getIndices(), op.getScores());
  SmallVector<Value> operands{l.buffer(op.getScores()),
                              l.buffer(op.getPositions()), l.flat(result)};
  int64_t rows = cast<MemRefType>(operands[0].getType()).getDimSize(1);
  int64_t n = op.getK(), ratio = op.getRatio();
  auto kernel = l.kernels.get(
      "select_topk", std::to_string(n) + "_" + std::to_string(ratio),
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        using P = arith::CmpIPredicate;
        Value t = k.pid(0), out = k.arg(2);
        Value visible =
            k.divi(k.addi(k.loadIndex(k.arg(1), t), k.ci(1)), ratio);
        auto all = [&] {
          int64_t w = std::min<int64_t>(256, pow2Ceil(n));
          SmallVector<int64_t> shape{w};
          Value first = k.muli(t, n);
          k.loop(k.ci(0), k.ci(n), k.ci(w), [&](Value c) {
            Value b = k.iadd(k.splat(k.toI32(c), shape), k.iota(w));
            Value there = k.icmp(P::slt, b, k.splat(k.toI32(visible), shape));
            k.store(k.select(there, b, k.fullI32(-1, shape)), out,
                    k.addi(first, c), k.addi(first, k.ci(n)));
          });
        };
        auto some = [&] {
          Selection s{k, t, visible, std::min<int64_t>(256, pow2Ceil(rows)),
                      rows};
          emitSelected(s, kthLargest(s, n), n, out);
        };
        if (n >= rows)
          return all();
        k.when(k.cmpi(P::sle, visible, k.ci(n)), all, some);
      });
  Lowering::Grid grid;
  grid.like = op.getScores();
  l.launch(kernel, grid, operands);
}

} // namespace fathom
