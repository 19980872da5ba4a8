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

static constexpr int64_t kRows = 32;

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
  Value t, h, position, slot, indices;
  SmallVector<Value> q; // [block, piece], as it comes
  Type carrier;         // of the result; probabilities are rounded to it

  /// A tile of query or result columns of a piece.
  SmallVector<Value> bounds(const Piece &p) {
    if (heads % block == 0 && !p.ragged)
      return {};
    return {k.ci(heads), k.ci(width)};
  }
  /// Scores [rows, block] of the rows that are valid, -1e30 elsewhere; the keys
  /// of each piece on request.
  Value scores(const CacheReader &cache, Value rows, Value mask,
               SmallVectorImpl<Value> *keys = nullptr);
  /// Calls step(state, cache, rows, valid) for every block of rows.
  using Step = function_ref<SmallVector<Value>(ValueRange, const CacheReader &,
                                               Value, Value)>;
  SmallVector<Value> overWindow(ValueRange state, Step step);
  SmallVector<Value> overCompressed(ValueRange state, Step step);
  SmallVector<Value> overAll(ValueRange state, Step step) {
    SmallVector<Value> next = overWindow(state, step);
    return compressed.type ? overCompressed(next, step) : next;
  }
  Value maskOf(Value valid) { return k.broadcast(valid, {1}, {kRows, block}); }
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

Value Attention::scores(const CacheReader &cache, Value rows, Value mask,
                        SmallVectorImpl<Value> *keys) {
  SmallVector<int64_t> shape{kRows, block};
  Value s = k.full(0, shape);
  for (auto [p, query] : llvm::zip(pieces, q)) {
    Value key = cache.read(k, rows, p.column, p.width);
    s = k.dot(tile::DotForm::NT, key, query, s);
    if (keys)
      keys->push_back(key);
  }
  return k.select(mask, k.mul(s, op.getScale().convertToDouble()),
                  k.full(-1e30, shape));
}

SmallVector<Value> Attention::overWindow(ValueRange state, Step step) {
  using P = arith::CmpIPredicate;
  SmallVector<int64_t> shape{kRows};
  int64_t ring = window.type.getRows();
  Value first =
      k.maxi(k.subi(k.addi(position, k.ci(1)), k.ci(op.getWindow())), k.ci(0));
  Value from = k.muli(k.divi(first, kRows), kRows);
  Value base = k.splat(k.toI32(k.muli(slot, ring)), shape);
  return k.loop(
      from, k.addi(position, k.ci(1)), k.ci(kRows), state,
      [&](Value at, ValueRange carried) {
        Value p = k.iadd(k.splat(k.toI32(at), shape), k.iota(kRows));
        Value valid =
            k.bitAnd(k.icmp(P::sge, p, k.splat(k.toI32(first), shape)),
                     k.icmp(P::sle, p, k.splat(k.toI32(position), shape)));
        Value row = k.iadd(base, arith::RemSIOp::create(
                                     k.b, k.loc, p, k.fullI32(ring, shape)));
        return step(carried, window, k.select(valid, row, k.fullI32(-1, shape)),
                    valid);
      });
}

SmallVector<Value> Attention::overCompressed(ValueRange state, Step step) {
  using P = arith::CmpIPredicate;
  SmallVector<int64_t> shape{kRows};
  Value count = k.divi(k.addi(position, k.ci(1)), op.getRatio());
  int64_t chosen = 0;
  if (indices) {
    chosen = cast<MemRefType>(indices.getType()).getDimSize(1);
    count = k.mini(count, k.ci(chosen));
  }
  Value base = k.splat(k.toI32(k.muli(slot, compressed.type.getRows())), shape);
  return k.loop(
      k.ci(0), count, k.ci(kRows), state, [&](Value at, ValueRange carried) {
        Value b = k.iadd(k.splat(k.toI32(at), shape), k.iota(kRows));
        Value valid = k.icmp(P::slt, b, k.splat(k.toI32(count), shape));
        if (indices) {
          SmallVector<Value> bound;
          if (chosen % kRows)
            bound.push_back(k.ci(chosen));
          b = k.load(indices, {t, at}, shape, bound);
        }
        Value row = k.select(valid, k.iadd(base, b), k.fullI32(-1, shape));
        return step(carried, compressed, row, valid);
      });
}

/// The sums over all rows: the denominator, then [block, piece] of each piece.
static SmallVector<Value> sumRows(Attention &a, Value sink) {
  KernelBuilder &k = a.k;
  SmallVector<int64_t> shape{kRows, a.block};
  Value m = a.overAll(
      k.full(-1e30, {a.block}),
      [&](ValueRange state, const CacheReader &cache, Value rows, Value valid) {
        Value s = a.scores(cache, rows, a.maskOf(valid));
        return SmallVector<Value>{
            k.max(state[0], k.reduce(tile::ReduceKind::Max, s, 0))};
      })[0];
  // The sink is one more logit: it has a weight but no value.
  SmallVector<Value> state{k.exp(k.sub(sink, m))};
  for (const Piece &p : a.pieces)
    state.push_back(k.full(0, {a.block, p.width}));
  return a.overAll(state, [&](ValueRange carried, const CacheReader &cache,
                              Value rows, Value valid) {
    SmallVector<Value> keys;
    Value mask = a.maskOf(valid), s = a.scores(cache, rows, mask, &keys);
    Value p = k.exp(k.sub(s, k.broadcast(m, {0}, shape)));
    p = k.select(mask, p, k.full(0, shape));
    SmallVector<Value> next{
        k.add(carried[0], k.reduce(tile::ReduceKind::Add, p, 0))};
    p = k.to(p, a.carrier);
    for (auto [key, acc] : llvm::zip(keys, carried.drop_front()))
      next.push_back(k.dot(tile::DotForm::TN, p, key, acc));
    return next;
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
  for (const Piece &p : a.pieces)
    a.q.push_back(k.load(k.arg(0), {a.t, a.h, k.ci(p.column)},
                         {a.block, p.width}, a.bounds(p)));
  SmallVector<Value> bound;
  if (a.heads % a.block)
    bound.push_back(k.ci(a.heads));
  Value sink = k.f32(k.load(k.arg(args.sink), a.h, {a.block}, bound));
  SmallVector<Value> state = sumRows(a, sink);
  for (auto [i, p] : llvm::enumerate(a.pieces)) {
    int64_t half = p.width / 2;
    SmallVector<Value> halfBound;
    if (p.ragged)
      halfBound.push_back(k.ci(rotated / 2));
    Value y =
        k.div(state[1 + i], k.broadcast(state[0], {1}, {a.block, p.width}));
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
  int64_t block =
      std::clamp<int64_t>(pow2Ceil(heads), 4, // less fills no vector
                          l.maxTokens == 1 && heads <= 32 ? 8 : 16);
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
            {},    {},    {}};
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
