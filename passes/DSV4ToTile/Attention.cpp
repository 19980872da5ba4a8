// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Hybrid attention: one program per token and block of heads, in two passes
// over blocks of rows: the largest score, then the sums. The second pass rounds
// every probability relative to the largest score of all, as the published code
// does; relative to a running maximum the rounding errors would be others,
// which moves quantised logits by as much as all other differences together.
// Blocks of window rows are aligned to absolute positions and compressed rows
// come in ascending order, so that the order of sums depends on the position
// alone. Heads know nothing of each other: how many a program takes changes no
// bit, and a single token keeps several threads busy by taking few.
#include "passes/DSV4ToTile/SparseAttention.h"

using namespace mlir;

namespace fathom {

namespace {
/// A part of the channels that a tile can hold: nope 448 = 256 + 128 + 64,
/// rope.
struct Piece {
  int64_t column, width;
  bool ragged; // wider than what is left of the row
};

struct Attention {
  KernelBuilder &k;
  dsv4::AttentionOp op;
  CacheReader window, compressed;
  int64_t heads, width, block;
  SmallVector<Piece> pieces;
  int64_t step;      // rows of a cache that are taken at once
  int64_t tileWidth; // of a row in a tile: all pieces, and zeros
  Value t, h, position, slot, indices;
  Value q;      // [block, tileWidth], as it comes
  Type carrier; // of the result; probabilities are rounded to it

  /// A tile of query or result columns of a piece.
  SmallVector<Value> bounds(const Piece &p) {
    if (heads % block == 0 && !p.ragged)
      return {};
    return {k.ci(heads), k.ci(width)};
  }
  /// Rows of the cache, [step, tileWidth].
  Value keys(const CacheReader &cache, Value rows);
  /// Scores [step, block] of the keys that are valid, -1e30 elsewhere.
  Value scores(Value keys, Value mask);
  /// Calls take(state, cache, rows, valid) for every block of rows.
  using Step = function_ref<SmallVector<Value>(ValueRange, const CacheReader &,
                                               Value, Value)>;
  SmallVector<Value> overWindow(ValueRange state, Step take);
  SmallVector<Value> overCompressed(ValueRange state, Step take);
  SmallVector<Value> overAll(ValueRange state, Step take) {
    SmallVector<Value> next = overWindow(state, take);
    return compressed.type ? overCompressed(next, take) : next;
  }
  Value maskOf(Value valid) { return k.broadcast(valid, {1}, {step, block}); }
};
} // namespace

static SmallVector<Piece> piecesOf(int64_t width, int64_t rope) {
  SmallVector<Piece> pieces;
  int64_t at = 0;
  if (width > rope)
    for (int64_t w : pow2Pieces(width - rope)) {
      pieces.push_back({at, w, false});
      at += w;
    }
  pieces.push_back({at, pow2Ceil(rope), pow2Ceil(rope) != rope});
  return pieces;
}

/// Where columns lie in a tile: offsets, sizes and strides of a slice.
struct Columns {
  SmallVector<OpFoldResult> offsets, sizes, strides;
  Columns(KernelBuilder &k, int64_t rows, int64_t column, int64_t width) {
    auto index = [&](int64_t v) { return k.b.getIndexAttr(v); };
    offsets = {index(0), index(column)};
    sizes = {index(rows), index(width)};
    strides = {index(1), index(1)};
  }
};

Value Attention::keys(const CacheReader &cache, Value rows) {
  Value all;
  int64_t covered = 0;
  for (const Piece &p : pieces)
    covered += p.width;
  for (const Piece &p : pieces) {
    Value piece = cache.read(k, rows, p.column, p.width);
    Type element = k.type(piece).getElementType();
    SmallVector<int64_t> shape{step, tileWidth};
    if (!all && covered == tileWidth)
      all = tensor::EmptyOp::create(k.b, k.loc, shape, element);
    else if (!all)
      all = k.to(k.full(0, shape), element);
    Columns at(k, step, p.column, p.width);
    all = tensor::InsertSliceOp::create(k.b, k.loc, piece, all, at.offsets,
                                        at.sizes, at.strides);
  }
  return all;
}

Value Attention::scores(Value keys, Value mask) {
  SmallVector<int64_t> shape{step, block};
  Value s = k.dot(tile::DotForm::NT, keys, q, k.full(0, shape));
  return k.select(mask, k.mul(s, op.getScale().convertToDouble()),
                  k.full(-1e30, shape));
}

SmallVector<Value> Attention::overWindow(ValueRange state, Step take) {
  using P = arith::CmpIPredicate;
  SmallVector<int64_t> shape{step};
  int64_t ring = window.type.getRows();
  Value first =
      k.maxi(k.subi(k.addi(position, k.ci(1)), k.ci(op.getWindow())), k.ci(0));
  Value from = k.muli(k.divi(first, step), step);
  Value base = k.splat(k.toI32(k.muli(slot, ring)), shape);
  return k.loop(
      from, k.addi(position, k.ci(1)), k.ci(step), state,
      [&](Value at, ValueRange carried) {
        Value p = k.iadd(k.splat(k.toI32(at), shape), k.iota(step));
        Value valid =
            k.bitAnd(k.icmp(P::sge, p, k.splat(k.toI32(first), shape)),
                     k.icmp(P::sle, p, k.splat(k.toI32(position), shape)));
        Value row = k.iadd(base, arith::RemSIOp::create(
                                     k.b, k.loc, p, k.fullI32(ring, shape)));
        return take(carried, window, k.select(valid, row, k.fullI32(-1, shape)),
                    valid);
      });
}

SmallVector<Value> Attention::overCompressed(ValueRange state, Step take) {
  using P = arith::CmpIPredicate;
  SmallVector<int64_t> shape{step};
  Value count = k.divi(k.addi(position, k.ci(1)), op.getRatio());
  int64_t chosen = 0;
  if (indices) {
    chosen = cast<MemRefType>(indices.getType()).getDimSize(1);
    count = k.mini(count, k.ci(chosen));
  }
  Value base = k.splat(k.toI32(k.muli(slot, compressed.type.getRows())), shape);
  return k.loop(
      k.ci(0), count, k.ci(step), state, [&](Value at, ValueRange carried) {
        Value b = k.iadd(k.splat(k.toI32(at), shape), k.iota(step));
        Value valid = k.icmp(P::slt, b, k.splat(k.toI32(count), shape));
        if (indices) {
          SmallVector<Value> bound;
          if (chosen % step)
            bound.push_back(k.ci(chosen));
          b = k.load(indices, {t, at}, shape, bound);
        }
        Value row = k.select(valid, k.iadd(base, b), k.fullI32(-1, shape));
        return take(carried, compressed, row, valid);
      });
}

/// The sums over all rows: the denominator and [block, tileWidth].
static SmallVector<Value> sumRows(Attention &a, Value sink) {
  KernelBuilder &k = a.k;
  SmallVector<int64_t> shape{a.step, a.block};
  Value m = a.overAll(
      k.full(-1e30, {a.block}),
      [&](ValueRange state, const CacheReader &cache, Value rows, Value valid) {
        Value s = a.scores(a.keys(cache, rows), a.maskOf(valid));
        return SmallVector<Value>{
            k.max(state[0], k.reduce(tile::ReduceKind::Max, s, 0))};
      })[0];
  // The sink is one more logit: it has a weight but no value.
  SmallVector<Value> state{k.exp(k.sub(sink, m)),
                           k.full(0, {a.block, a.tileWidth})};
  return a.overAll(state, [&](ValueRange carried, const CacheReader &cache,
                              Value rows, Value valid) {
    Value keys = a.keys(cache, rows), mask = a.maskOf(valid);
    Value s = a.scores(keys, mask);
    Value p = k.exp(k.sub(s, k.broadcast(m, {0}, shape)));
    p = k.select(mask, p, k.full(0, shape));
    Value total = k.add(carried[0], k.reduce(tile::ReduceKind::Add, p, 0));
    return SmallVector<Value>{
        total, k.dot(tile::DotForm::TN, k.to(p, a.carrier), keys, carried[1])};
  });
}

namespace {
/// Kernel arguments by their number.
struct Arguments {
  unsigned sink, indices, cos, sin, out;
};
} // namespace

static void program(Attention &a, const Arguments &args, int64_t rotated) {
  KernelBuilder &k = a.k;
  a.q = k.load(k.arg(0), {a.t, a.h, k.ci(0)}, {a.block, a.tileWidth},
               a.bounds({0, a.tileWidth, a.tileWidth != a.width}));
  SmallVector<Value> bound;
  if (a.heads % a.block)
    bound.push_back(k.ci(a.heads));
  Value sink = k.f32(k.load(k.arg(args.sink), a.h, {a.block}, bound));
  SmallVector<Value> state = sumRows(a, sink);
  for (const Piece &p : a.pieces) {
    int64_t half = p.width / 2;
    SmallVector<Value> halfBound;
    if (p.ragged)
      halfBound.push_back(k.ci(rotated / 2));
    Columns at(k, a.block, p.column, p.width);
    Value y = tensor::ExtractSliceOp::create(
        k.b, k.loc, k.type(state[1]).clone({a.block, p.width}), state[1],
        at.offsets, at.sizes, at.strides);
    y = k.div(y, k.broadcast(state[0], {1}, {a.block, p.width}));
    y = k.to(y, a.carrier);
    if (rotated && p.column == a.width - rotated) {
      auto angle = [&](unsigned arg) {
        return k.load(k.arg(arg), {a.t, k.ci(0)}, {half}, halfBound);
      };
      y = k.to(rotatePairs(k, k.f32(y), angle(args.cos), angle(args.sin),
                           /*inverse=*/true),
               a.carrier);
    }
    k.store(y, k.arg(args.out), {a.t, a.h, k.ci(p.column)}, a.bounds(p));
  }
}

bool canRotateResult(dsv4::AttentionOp op, dsv4::RopeOp rope) {
  auto window = cast<dsv4::CacheType>(op.getWindowCache().getType());
  auto cos = cast<RankedTensorType>(rope.getCos().getType());
  return rope.getInverse() && rope.getX() == op.getResult() &&
         2 * cos.getDimSize(1) == window.getRope();
}

void emitAttention(Lowering &l, dsv4::AttentionOp op, Value indices,
                   dsv4::RopeOp rope) {
  SmallVector<Value> operands{l.buffer(op.getQ()), l.buffer(op.getPositions()),
                              l.buffer(op.getSlots()), l.buffer(op.getSink())};
  CacheReader window{cast<dsv4::CacheType>(op.getWindowCache().getType()), 4};
  operands.append(CacheReader::operands(l, op.getWindowCache()));
  CacheReader compressed{dsv4::CacheType(), unsigned(operands.size())};
  if (Value c = op.getCompressed()) {
    compressed.type = cast<dsv4::CacheType>(c.getType());
    operands.append(CacheReader::operands(l, c));
  }
  Arguments args{3, 0, 0, 0, 0};
  auto argument = [&](unsigned &number, Value buffer) {
    number = operands.size();
    operands.push_back(buffer);
  };
  if (indices)
    argument(args.indices, indices);
  if (rope) {
    argument(args.cos, l.buffer(rope.getCos()));
    argument(args.sin, l.buffer(rope.getSin()));
  }
  argument(args.out,
           l.result(rope ? rope.getResult() : op.getResult(), op.getQ()));

  auto q = cast<MemRefType>(operands[0].getType());
  int64_t heads = q.getDimSize(1), width = q.getDimSize(2);
  int64_t block = std::clamp(
      pow2Ceil(heads), l.shapes.leastHeads,
      l.maxTokens == 1 && heads <= 32 ? l.shapes.fewHeads : l.shapes.manyHeads);
  std::string params = std::to_string(block);
  for (int64_t n : {int64_t(op.getWindow()), int64_t(op.getRatio()),
                    window.type.getRows(), window.type.getRope()})
    params += "_" + std::to_string(n);
  if (compressed.type)
    params += "_" + std::to_string(compressed.type.getRows());
  params += "_" + number(op.getScale().convertToDouble());
  auto kernel = l.kernels.get(
      rope ? "attention_unrotated" : "attention", params,
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Attention a{
            k,     op,    window, compressed,
            heads, width, block,  piecesOf(width, window.type.getRope()),
            {},    {},    {},     {},
            {},    {},    {},     {},
            {}};
        a.step = l.shapes.cacheRows;
        const Piece &last = a.pieces.back();
        a.tileWidth = pow2Ceil(last.column + last.width);
        a.carrier = k.argType(args.out).getElementType();
        a.t = k.pid(0);
        a.h = k.muli(k.pid(1), block);
        a.position = k.loadIndex(k.arg(1), a.t);
        a.slot = k.loadIndex(k.arg(2), a.t);
        if (indices)
          a.indices = k.arg(args.indices);
        program(a, args, rope ? window.type.getRope() : 0);
      });
  Lowering::Grid grid;
  grid.like = op.getQ();
  grid.others[0] = llvm::divideCeil(heads, block);
  l.launch(kernel, grid, operands);
}

namespace {
/// Members of a group, one of each; attention is there, the others may be.
struct SparseGroup {
  dsv4::AttentionOp attention;
  dsv4::RopeOp rope;
  dsv4::SelectTopKOp select;
  dsv4::IndexScoresOp scores;
  dsv4::ScaleOp scale;

  template <typename Op> static bool take(Operation &member, Op &place) {
    auto op = dyn_cast<Op>(member);
    if (!op || place)
      return false;
    place = op;
    return true;
  }
  bool take(Operation &member) {
    return take(member, attention) || take(member, rope) ||
           take(member, select) || take(member, scores) || take(member, scale);
  }
  /// Each member's result goes where the kernels expect it, and nowhere else.
  bool matches(dsv4::FusedOp group) {
    if (!attention || !select != !scores || (scale && !scores) ||
        (rope && !canRotateResult(attention, rope)))
      return false;
    if (select && (attention.getIndices() != select.getIndices() ||
                   select.getScores() != scores.getScores() ||
                   select.getPositions() != scores.getPositions() ||
                   select.getRatio() != scores.getRatio()))
      return false;
    if (scale && scores.getW() != scale.getResult())
      return false;
    return llvm::all_of(group.yielded(), [&](Value v) {
      return v == (rope ? rope.getResult() : attention.getResult()) ||
             (select && v == select.getIndices());
    });
  }
};
} // namespace

bool lowerSparseAttention(Lowering &l, dsv4::FusedOp group) {
  SparseGroup g;
  for (Operation &member : group.members())
    if (!g.take(member))
      return false;
  if (!g.matches(group))
    return false;
  if (g.scores)
    emitIndexer(l, g.scores, g.select, g.scale);
  Value indices = g.attention.getIndices();
  emitAttention(l, g.attention, indices ? l.buffer(indices) : Value(), g.rope);
  return true;
}

void lowerAttention(Lowering &l, dsv4::AttentionOp op) {
  Value indices = op.getIndices();
  emitAttention(l, op, indices ? l.buffer(indices) : Value(), {});
}

} // namespace fathom
