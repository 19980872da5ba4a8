// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The compressor from its projections to the stored block, one program per
// token, of which only a block's last one has something to do.
#include "passes/DSV4ToTile/RowChain.h"

#include <limits>

using namespace mlir;

namespace fathom {

namespace {
/// A token of a block, as seen from the last one at t: a row of the step or of
/// the state, -1 where it is not there; neither where it is before position 0.
struct Slot {
  Value step, state, exists;
};

struct Pool {
  KernelBuilder &k;
  int64_t ratio, stateRows, width;
  Value t, position, slot;
  // Kernel arguments.
  Value kv, gate, ape, slots, stateKv, stateGate;

  /// Token `i` of the block that ends `back` tokens before t.
  Slot find(Value i, int64_t back) const;
  Value row(const Slot &s, Value now, Value kept, int64_t column) const;
  Value gateOf(Value i, int64_t back, int64_t column) const;
  /// Over the tokens of one block in ascending order.
  Value over(Value first, function_ref<Value(Value i, Value sum)> step) const;
  Value pooled(bool overlap) const;
};
} // namespace

Slot Pool::find(Value i, int64_t back) const {
  using P = arith::CmpIPredicate;
  Value zero = k.ci(0), none = k.ci(-1);
  Value offset = k.subi(k.ci(ratio - 1 + back), i);
  Value token = k.subi(t, offset), at = k.subi(position, offset);
  Value exists = k.cmpi(P::sge, at, zero);
  Value theirs = k.loadIndex(slots, k.maxi(token, zero));
  Value here = k.andi(k.andi(k.cmpi(P::sge, token, zero), exists),
                      k.cmpi(P::eq, theirs, slot));
  Value ring =
      k.addi(k.muli(slot, stateRows), k.remi(k.maxi(at, zero), stateRows));
  auto asRow = [&](Value index) { return k.splat(k.toI32(index), {1}); };
  return {asRow(k.select(here, token, none)),
          asRow(k.select(here, none, k.select(exists, ring, none))), exists};
}

/// Rows that are nowhere are zero in both gathers.
Value Pool::row(const Slot &s, Value now, Value kept, int64_t column) const {
  Value c = k.ci(column);
  return k.add(k.gather(now, s.step, c, {1, width}),
               k.gather(kept, s.state, c, {1, width}));
}

/// The score of a token; that of an absent one is -1e30.
Value Pool::gateOf(Value i, int64_t back, int64_t column) const {
  Slot s = find(i, back);
  Value score = k.add(row(s, gate, stateGate, column),
                      k.f32(k.load(ape, {i, k.ci(column)}, {1, width})));
  return k.select(k.splat(s.exists, {1, width}), score,
                  k.full(-1e30, {1, width}));
}

Value Pool::over(Value first,
                 function_ref<Value(Value i, Value sum)> step) const {
  return k.loop(k.ci(0), k.ci(ratio), k.ci(1), first,
                [&](Value i, ValueRange sum) -> SmallVector<Value> {
                  return {step(i, sum[0])};
                })[0];
}

/// [1, width]. With `overlap` the previous block's tokens have the first half
/// of the channels, and come first.
Value Pool::pooled(bool overlap) const {
  struct Block {
    int64_t back, column;
  };
  SmallVector<Block> blocks;
  if (overlap)
    blocks.push_back({ratio, 0});
  blocks.push_back({0, overlap ? width : 0});
  SmallVector<int64_t> shape{1, width};
  auto overBlocks = [&](double start,
                        function_ref<Value(const Block &, Value, Value)> step,
                        function_ref<Value(Value, Value)> combine) {
    Value all;
    for (const Block &block : blocks) {
      Value own = over(k.full(start, shape),
                       [&](Value i, Value sum) { return step(block, i, sum); });
      all = all ? combine(all, own) : own;
    }
    return all;
  };
  auto add = [&](Value x, Value y) { return k.add(x, y); };
  Value m = overBlocks(
      -std::numeric_limits<double>::infinity(),
      [&](const Block &b, Value i, Value sum) {
        return k.max(sum, gateOf(i, b.back, b.column));
      },
      [&](Value x, Value y) { return k.max(x, y); });
  auto weight = [&](const Block &b, Value i) {
    return k.exp(k.sub(gateOf(i, b.back, b.column), m));
  };
  // Sums begin with -0, which changes no first term.
  Value sum = overBlocks(
      -0.0,
      [&](const Block &b, Value i, Value sum) {
        return k.add(sum, weight(b, i));
      },
      add);
  return overBlocks(
      -0.0,
      [&](const Block &b, Value i, Value total) {
        Value value = row(find(i, b.back), kv, stateKv, b.column);
        return k.add(total, k.mul(value, k.div(weight(b, i), sum)));
      },
      add);
}

/// Members: compress_pool, steps on rows, compressed_insert.
bool lowerCompressor(Lowering &l, dsv4::FusedOp group) {
  SmallVector<Operation *> members;
  for (Operation &op : group.members())
    members.push_back(&op);
  auto pool = dyn_cast<dsv4::CompressPoolOp>(members.front());
  auto insert = dyn_cast<dsv4::CompressedInsertOp>(members.back());
  if (!pool || !insert || pool.getRatio() != insert.getRatio() ||
      pool.getPositions() != insert.getPositions() ||
      pool.getSlots() != insert.getSlots())
    return false;
  ArrayRef<Operation *> steps = ArrayRef(members).drop_front().drop_back();
  auto type = cast<dsv4::CacheType>(insert.getCache().getType());
  auto state = cast<dsv4::CacheType>(pool.getState().getType());
  auto rows = cast<RankedTensorType>(pool.getResult().getType());
  int64_t width = rows.getDimSize(1), ratio = pool.getRatio();
  if (!canInsertRow(l.shapes, type) ||
      !RowChain::accepts(l.shapes, steps, width))
    return false;
  RowChain chain(l, steps);
  SmallVector<Value> operands{
      l.buffer(pool.getKv()), l.buffer(pool.getGate()), l.buffer(pool.getApe()),
      l.buffer(pool.getPositions()), l.buffer(pool.getSlots())};
  llvm::append_range(operands, stateOperands(l, pool.getState()));
  unsigned first = operands.size();
  llvm::append_range(operands, chain.operands);
  unsigned cache = operands.size();
  llvm::append_range(operands, CacheReader::operands(l, insert.getCache()));
  std::string params = std::to_string(ratio) + "_" +
                       std::to_string(state.getRows()) + "_" + cacheName(type) +
                       chain.params;
  bool overlap = pool.getOverlap();
  auto kernel = l.kernels.get(
      overlap ? "compressor_overlap" : "compressor", params,
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value t = k.pid(0), position = k.loadIndex(k.arg(3), t);
        Value last = k.cmpi(arith::CmpIPredicate::eq,
                            k.remi(k.addi(position, k.ci(1)), ratio), k.ci(0));
        k.when(last, [&] {
          Value slot = k.loadIndex(k.arg(4), t);
          Pool p{k,        ratio,    state.getRows(), width,    t,
                 position, slot,     k.arg(0),        k.arg(1), k.arg(2),
                 k.arg(4), k.arg(5), k.arg(6)};
          Value row = k.f32(k.to(p.pooled(overlap), rows.getElementType()));
          row = chain.apply(k, row, t, {}, first);
          insertRow(
              k, type, cache, row,
              k.addi(k.muli(slot, type.getRows()), k.divi(position, ratio)));
        });
      });
  Lowering::Grid grid;
  grid.like = pool.getKv();
  l.launch(kernel, grid, operands);
  return true;
}

} // namespace fathom
