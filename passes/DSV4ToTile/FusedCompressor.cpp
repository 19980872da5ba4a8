// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The compressor from its projections to the stored block, one program per
// token, of which only a block's last one has something to do.
#include "passes/DSV4ToTile/BlockRows.h"
#include "passes/DSV4ToTile/RowChain.h"

#include <limits>

using namespace mlir;

namespace fathom {

/// Most tokens of a block whose tokens are read together. Those of a longer one
/// are read one by one: in a loop, several together took NVIDIA's assembler
/// minutes.
static constexpr int64_t kTogether = 4;

namespace {
struct Pool {
  KernelBuilder &k;
  BlockEnd end;
  int64_t width;
  // Kernel arguments.
  Value kv, gate, ape, stateKv, stateGate;

  /// A block: how far it ends before the last token, and its first channel.
  struct Block {
    int64_t back, column;
  };
  int64_t together() const {
    return end.ratio <= kTogether ? pow2Divisor(end.ratio, kTogether) : 1;
  }
  Value scores(const Block &block, Value first) const;
  Value values(const Block &block, Value first) const;
  /// Combines the rows that `rows` gives, of tokens in ascending order.
  Value over(const Block &block, double start,
             function_ref<Value(Value first)> rows,
             function_ref<Value(Value, Value)> combine) const;
  Value pooled(bool overlap) const;
};
} // namespace

/// [together, width]; those of absent tokens are -1e30.
Value Pool::scores(const Block &block, Value first) const {
  int64_t n = together();
  BlockRows rows(k, end, block.back, first, n);
  Value column = k.ci(block.column);
  Value score = k.add(rows.read(gate, stateGate, column, width),
                      k.f32(k.load(ape, {first, column}, {n, width})));
  return k.select(k.broadcast(rows.exists, {1}, {n, width}), score,
                  k.full(-1e30, {n, width}));
}

Value Pool::values(const Block &block, Value first) const {
  return BlockRows(k, end, block.back, first, together())
      .read(kv, stateKv, k.ci(block.column), width);
}

Value Pool::over(const Block &block, double start,
                 function_ref<Value(Value first)> rows,
                 function_ref<Value(Value, Value)> combine) const {
  int64_t n = together();
  SmallVector<OpFoldResult> offsets(2, k.b.getIndexAttr(0)),
      sizes{k.b.getIndexAttr(1), k.b.getIndexAttr(width)},
      strides(2, k.b.getIndexAttr(1));
  auto group = [&](Value first, Value sum) {
    Value all = rows(first);
    for (int64_t i = 0; i < n; ++i) {
      offsets[0] = k.b.getIndexAttr(i);
      Value row = all;
      if (n > 1)
        row = tensor::ExtractSliceOp::create(k.b, k.loc, k.type(sum), all,
                                             offsets, sizes, strides);
      sum = combine(sum, row);
    }
    return sum;
  };
  Value sum = k.full(start, {1, width});
  if (n == end.ratio)
    return group(k.ci(0), sum);
  return k.loop(k.ci(0), k.ci(end.ratio), k.ci(n), sum,
                [&](Value first, ValueRange carried) -> SmallVector<Value> {
                  return {group(first, carried[0])};
                })[0];
}

/// [1, width]. With `overlap` the previous block's tokens have the first half
/// of the channels, and come first.
Value Pool::pooled(bool overlap) const {
  SmallVector<Block> blocks;
  if (overlap)
    blocks.push_back({end.ratio, 0});
  blocks.push_back({0, overlap ? width : 0});
  int64_t n = together();
  // Scores of a block that is one group are made once.
  SmallVector<Value> kept(blocks.size());
  auto scoresOf = [&](unsigned i, Value first) {
    if (n != end.ratio)
      return scores(blocks[i], first);
    if (!kept[i])
      kept[i] = scores(blocks[i], first);
    return kept[i];
  };
  auto overBlocks = [&](double start, function_ref<Value(unsigned, Value)> rows,
                        function_ref<Value(Value, Value)> combine) {
    Value all;
    for (unsigned i = 0; i < blocks.size(); ++i) {
      Value own = over(
          blocks[i], start, [&](Value first) { return rows(i, first); },
          combine);
      all = all ? combine(all, own) : own;
    }
    return all;
  };
  auto add = [&](Value x, Value y) { return k.add(x, y); };
  auto toAll = [&](Value row) {
    return k.broadcast(k.reshape(row, {width}), {0}, {n, width});
  };
  Value m = overBlocks(-std::numeric_limits<double>::infinity(), scoresOf,
                       [&](Value x, Value y) { return k.max(x, y); });
  auto weights = [&](unsigned i, Value first) {
    return k.exp(k.sub(scoresOf(i, first), toAll(m)));
  };
  // Sums begin with -0, which changes no first term.
  Value sum = overBlocks(-0.0, weights, add);
  return overBlocks(
      -0.0,
      [&](unsigned i, Value first) {
        return k.mul(values(blocks[i], first),
                     k.div(weights(i, first), toAll(sum)));
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
      pool.getSlots() != insert.getSlots() || !yieldsOnly(group, {}))
    return false;
  ArrayRef<Operation *> steps = ArrayRef(members).drop_front().drop_back();
  auto type = cast<dsv4::CacheType>(insert.getCache().getType());
  auto state = cast<dsv4::CacheType>(pool.getState().getType());
  auto rows = cast<RankedTensorType>(pool.getResult().getType());
  int64_t width = rows.getDimSize(1), ratio = pool.getRatio();
  if (!canInsertRow(l.shapes, type) ||
      !RowChain::accepts(l.shapes, steps, width) ||
      !RowChain::leads(pool.getResult(), steps, insert.getX()))
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
          Pool p{
              k,        {t, position, slot, k.arg(4), ratio, state.getRows()},
              width,    k.arg(0),
              k.arg(1), k.arg(2),
              k.arg(5), k.arg(6)};
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
