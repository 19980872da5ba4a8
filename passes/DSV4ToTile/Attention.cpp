// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Hybrid attention: one program per token and block of heads, in two passes
// over blocks of rows: the scores and the largest of them, then the sums. What
// finds the largest in a launch of its own computes the scores anew, others
// keep them: 4 bytes a row and head, where a row has over 300. The second pass
// rounds every probability relative to the largest score of all, as the
// published code does; relative to a running maximum the rounding errors would
// be others, which moves quantised logits by as much as all other differences
// together. Blocks of window rows are aligned to absolute positions and
// compressed rows come in ascending order, so that the order of sums depends on
// the position alone. Heads know nothing of each other: how many a program
// takes changes no bit, and a single token keeps several threads busy by taking
// few.
//
// Where the target says so, the sums of every block of rows begin at zero and
// are added to those before: then blocks can be shared out to programs
// (SplitAttention.cpp) without changing a bit.
#include "passes/DSV4ToTile/Attention.h"
#include "passes/DSV4ToTile/SparseAttention.h"

#include "dialects/Tile/IR/Hints.h"

using namespace mlir;

namespace fathom {

//===-- What is known when compiling -------------------------------------===//

static SmallVector<AttentionPlan::Piece> piecesOf(int64_t width, int64_t rope) {
  SmallVector<AttentionPlan::Piece> pieces;
  int64_t at = 0;
  if (width > rope)
    for (int64_t w : pow2Pieces(width - rope)) {
      pieces.push_back({at, w, false});
      at += w;
    }
  pieces.push_back({at, pow2Ceil(rope), pow2Ceil(rope) != rope});
  return pieces;
}

AttentionPlan::AttentionPlan(Lowering &l, dsv4::AttentionOp op, Value indices,
                             dsv4::RopeOp rope)
    : op(op) {
  operands = {l.buffer(op.getQ()), l.buffer(op.getPositions()),
              l.buffer(op.getSlots()), l.buffer(op.getSink())};
  auto reader = [&](Value cache) {
    CacheReader made{cast<dsv4::CacheType>(cache.getType()),
                     unsigned(operands.size())};
    operands.append(CacheReader::operands(l, cache));
    return made;
  };
  window = reader(op.getWindowCache());
  compressed = {dsv4::CacheType(), 0};
  if (Value c = op.getCompressed())
    compressed = reader(c);
  if (indices) {
    this->indices = add(indices);
    chosen = cast<MemRefType>(indices.getType()).getDimSize(1);
    auto select = op.getIndices().getDefiningOp<dsv4::SelectTopKOp>();
    anyOrder = !select || !choosesFor(select, op);
  }
  int64_t ropeWidth = window.type.getRope();
  if (rope) {
    cos = add(l.buffer(rope.getCos()));
    sin = add(l.buffer(rope.getSin()));
    rotated = ropeWidth;
  }
  auto q = cast<MemRefType>(operands[0].getType());
  heads = q.getDimSize(1);
  width = q.getDimSize(2);
  const TileShapes &shapes = l.shapes;
  step = shapes.cacheRows;
  headsLast = shapes.headsLast;
  sumsBySteps = shapes.sumsBySteps;
  rectangles = shapes.rectangles;
  countsRows = shapes.countsRows;
  block = std::clamp(pow2Ceil(heads), shapes.leastHeads,
                     l.maxTokens == 1 && heads <= shapes.severalHeads
                         ? shapes.fewHeads
                     : chosen ? shapes.partHeads
                              : shapes.manyHeads);
  pieces = piecesOf(width, ropeWidth);
  tileWidth = pow2Ceil(pieces.back().column + pieces.back().width);
  carrier = getElementTypeOrSelf(op.getResult());

  params = std::to_string(block);
  for (int64_t n : {int64_t(op.getWindow()), int64_t(op.getRatio()),
                    window.type.getRows(), ropeWidth})
    params += "_" + std::to_string(n);
  if (compressed.type)
    params += "_" + std::to_string(compressed.type.getRows());
  params += "_" + number(op.getScale().convertToDouble());
  if (anyOrder)
    params += "_any";
}

int64_t AttentionPlan::windowSteps() const {
  int64_t window = dsv4::AttentionOp(op).getWindow();
  return llvm::divideCeil(window - 1, step) + 1;
}

int64_t AttentionPlan::compressedSteps() const {
  int64_t rows = compressed.type.getRows();
  if (chosen)
    rows = anyOrder ? chosen : std::min(rows, chosen);
  return llvm::divideCeil(rows, step);
}

//===-- Rows -------------------------------------------------------------===//

AttentionProgram::AttentionProgram(KernelBuilder &k, const AttentionPlan &plan)
    : k(k), plan(plan) {
  t = k.pid(0);
  h = k.muli(k.pid(1), plan.block);
  position = k.loadIndex(k.arg(1), t);
  slot = k.loadIndex(k.arg(2), t);
}

SmallVector<Value> AttentionProgram::bounds(const AttentionPlan::Piece &p) {
  if (plan.heads % plan.block == 0 && !p.ragged)
    return {};
  return {k.ci(plan.heads), k.ci(plan.width)};
}

void AttentionProgram::loadQuery() {
  int64_t width = plan.tileWidth;
  q = k.load(k.arg(0), {t, h, k.ci(0)}, {plan.block, width},
             bounds({0, width, width != plan.width}));
}

namespace {
/// Where channels lie in a tile: offsets, sizes and strides of a slice.
struct Slice {
  SmallVector<OpFoldResult> offsets, sizes, strides;
  Slice(KernelBuilder &k, Shape whole, int64_t dim, int64_t from, int64_t n) {
    auto index = [&](int64_t v) { return k.b.getIndexAttr(v); };
    for (int64_t d : whole) {
      offsets.push_back(index(0));
      sizes.push_back(index(d));
      strides.push_back(index(1));
    }
    offsets[dim] = index(from);
    sizes[dim] = index(n);
  }
};
} // namespace

Value AttentionProgram::marked(Value gathered, const Rows &rows) {
  if (rows.together)
    gathered.getDefiningOp()->setAttr(tile::kConsecutiveAttr,
                                      k.b.getUnitAttr());
  return gathered;
}

Value AttentionProgram::keys(const CacheReader &cache, const Rows &rows) {
  Value all;
  int64_t covered = 0;
  for (const AttentionPlan::Piece &p : plan.pieces)
    covered += p.width;
  for (const AttentionPlan::Piece &p : plan.pieces) {
    Value piece = marked(cache.read(k, rows.rows, p.column, p.width), rows);
    Type element = k.type(piece).getElementType();
    SmallVector<int64_t> shape{plan.step, plan.tileWidth};
    if (!all && covered == plan.tileWidth)
      all = tensor::EmptyOp::create(k.b, k.loc, shape, element);
    else if (!all)
      all = k.to(k.full(0, shape), element);
    Slice at(k, shape, 1, p.column, p.width);
    all = tensor::InsertSliceOp::create(k.b, k.loc, piece, all, at.offsets,
                                        at.sizes, at.strides);
  }
  return all;
}

KernelBuilder::Range AttentionProgram::among(Value at, Value first, Value end) {
  Value from = first ? k.maxi(k.subi(first, at), k.ci(0)) : k.ci(0);
  return {from, k.mini(k.subi(end, at), k.ci(plan.step))};
}

Value AttentionProgram::scores(Value keys, Value mask, const Rows &rows) {
  SmallVector<int64_t> shape{plan.step, plan.block};
  dsv4::AttentionOp op = plan.op;
  Value s = k.dot(tile::DotForm::NT, keys, q, k.full(0, shape), {}, rows.some);
  return k.select(mask, k.mul(s, op.getScale().convertToDouble()),
                  k.full(-1e30, shape));
}

/// first, first + 1, ...
Value AttentionProgram::consecutive(Value first) {
  return k.iadd(k.splat(k.toI32(first), {plan.step}), k.iota(plan.step));
}

AttentionProgram::Window AttentionProgram::windowRange() {
  dsv4::AttentionOp op = plan.op;
  Window w;
  int64_t ring = plan.window.type.getRows();
  w.first =
      k.maxi(k.subi(k.addi(position, k.ci(1)), k.ci(op.getWindow())), k.ci(0));
  w.from = k.muli(k.divi(w.first, plan.step), plan.step);
  w.base = k.splat(k.toI32(k.muli(slot, ring)), {plan.step});
  return w;
}

AttentionProgram::Rows AttentionProgram::windowRows(const Window &w, Value at) {
  using P = arith::CmpIPredicate;
  SmallVector<int64_t> shape{plan.step};
  int64_t ring = plan.window.type.getRows();
  Value p = k.iadd(k.splat(k.toI32(at), shape), k.iota(plan.step));
  Value valid = k.bitAnd(k.icmp(P::sge, p, k.splat(k.toI32(w.first), shape)),
                         k.icmp(P::sle, p, k.splat(k.toI32(position), shape)));
  bool together = plan.consecutive(plan.window); // blocks divide the ring
  Value row =
      together ? consecutive(k.addi(k.muli(slot, ring), k.remi(at, ring)))
               : k.iadd(w.base, arith::RemSIOp::create(k.b, k.loc, p,
                                                       k.fullI32(ring, shape)));
  KernelBuilder::Range some;
  if (plan.countsRows)
    some = among(at, w.first, k.addi(position, k.ci(1)));
  return {k.select(valid, row, k.fullI32(-1, shape)),
          valid,
          together,
          at,
          w.from,
          some};
}

AttentionProgram::Compressed AttentionProgram::compressedRange() {
  dsv4::AttentionOp op = plan.op;
  Compressed c;
  if (plan.anyOrder) {
    c.count = k.ci(plan.chosen);
  } else {
    c.count = k.divi(k.addi(position, k.ci(1)), op.getRatio());
    if (plan.chosen)
      c.count = k.mini(c.count, k.ci(plan.chosen));
  }
  c.base = k.splat(k.toI32(k.muli(slot, plan.compressed.type.getRows())),
                   {plan.step});
  return c;
}

AttentionProgram::Rows AttentionProgram::compressedRows(const Compressed &c,
                                                        Value at) {
  SmallVector<int64_t> shape{plan.step};
  Value b = k.iadd(k.splat(k.toI32(at), shape), k.iota(plan.step));
  Value valid =
      k.icmp(arith::CmpIPredicate::slt, b, k.splat(k.toI32(c.count), shape));
  if (plan.chosen) {
    SmallVector<Value> bound;
    if (plan.chosen % plan.step)
      bound.push_back(k.ci(plan.chosen));
    b = k.load(k.arg(plan.indices), {t, at}, shape, bound);
    if (plan.anyOrder)
      valid = k.bitAnd(
          valid, k.icmp(arith::CmpIPredicate::sge, b, k.fullI32(0, shape)));
  }
  bool together = !plan.chosen && plan.consecutive(plan.compressed);
  Value row = together ? consecutive(k.addi(
                             k.muli(slot, plan.compressed.type.getRows()), at))
                       : k.iadd(c.base, b);
  KernelBuilder::Range some;
  if (plan.countsRows)
    some = among(at, {}, c.count);
  return {k.select(valid, row, k.fullI32(-1, shape)),
          valid,
          together,
          at,
          Value(),
          some};
}

SmallVector<Value> AttentionProgram::overAll(ValueRange state, Step take) {
  Window w = windowRange();
  SmallVector<Value> next =
      k.loop(w.from, k.addi(position, k.ci(1)), k.ci(plan.step), state,
             [&](Value at, ValueRange carried) {
               return take(carried, plan.window, windowRows(w, at));
             });
  if (!plan.compressed.type)
    return next;
  Compressed c = compressedRange();
  return k.loop(k.ci(0), c.count, k.ci(plan.step), next,
                [&](Value at, ValueRange carried) {
                  return take(carried, plan.compressed, compressedRows(c, at));
                });
}

//===-- Sums -------------------------------------------------------------===//

Value AttentionProgram::largest() {
  return overAll(
      k.full(-1e30, {plan.block}),
      [&](ValueRange state, const CacheReader &cache, const Rows &rows) {
        Value s = scores(keys(cache, rows), maskOf(rows.valid), rows);
        return SmallVector<Value>{
            k.max(state[0], k.reduce(tile::ReduceKind::Max, s, 0))};
      })[0];
}

AttentionProgram::Scores AttentionProgram::allScores() {
  auto none = [&](int64_t steps) {
    SmallVector<int64_t> shape{pow2Ceil(steps * plan.step), plan.block};
    return tensor::EmptyOp::create(k.b, k.loc, shape, k.b.getF32Type());
  };
  SmallVector<Value> state{k.full(-1e30, {plan.block}),
                           none(plan.windowSteps())};
  if (plan.compressed.type)
    state.push_back(none(plan.compressedSteps()));
  state = overAll(
      state, [&](ValueRange all, const CacheReader &cache, const Rows &rows) {
        Value s = scores(keys(cache, rows), maskOf(rows.valid), rows);
        SmallVector<Value> next(all);
        Value &kept = next[&cache == &plan.window ? 1 : 2];
        kept = k.insert(s, kept, placeOf(rows));
        next[0] = k.max(all[0], k.reduce(tile::ReduceKind::Max, s, 0));
        return next;
      });
  return {state[0], state[1], plan.compressed.type ? state[2] : Value()};
}

Value AttentionProgram::scoresOf(const Scores &all, const CacheReader &cache,
                                 const Rows &rows) {
  Value kept = &cache == &plan.window ? all.window : all.compressed;
  return kept ? k.rows(kept, placeOf(rows), plan.step) : Value();
}

Value AttentionProgram::probabilities(Value scores, Value largest) {
  SmallVector<int64_t> shape{plan.step, plan.block};
  return k.exp(k.sub(scores, k.broadcast(largest, {0}, shape)));
}

SmallVector<Value> AttentionProgram::addProducts(ValueRange sums, Value p,
                                                 Value keys, const Rows &rows) {
  Value own = k.reduce(tile::ReduceKind::Add, p, 0);
  own.getDefiningOp()->setAttr(tile::kSharesAttr, k.b.getUnitAttr());
  Value total = k.add(sums[0], own);
  p = k.to(p, plan.carrier);
  Value acc = sums[1];
  if (plan.sumsBySteps)
    acc = k.full(0, k.type(acc).getShape());
  acc = k.dot(tile::DotForm::TN, plan.headsLast ? keys : p,
              plan.headsLast ? p : keys, acc, {}, rows.some);
  return {total, plan.sumsBySteps ? k.add(sums[1], acc) : acc};
}

SmallVector<Value> AttentionProgram::addStep(ValueRange sums,
                                             const CacheReader &cache,
                                             const Rows &rows, Value largest,
                                             Value scores) {
  Value keys = this->keys(cache, rows), mask = maskOf(rows.valid);
  if (!scores)
    scores = this->scores(keys, mask, rows);
  Value p = probabilities(scores, largest);
  p = k.select(mask, p, k.full(0, {plan.step, plan.block}));
  return addProducts(sums, p, keys, rows);
}

SmallVector<Value> AttentionProgram::firstSums(Value sink, Value largest,
                                               int64_t channels) {
  // The sink is one more logit: it has a weight but no value.
  return {k.exp(k.sub(sink, largest)), k.full(0, plan.sumShape(channels))};
}

Value AttentionProgram::sink() {
  SmallVector<Value> bound;
  if (plan.heads % plan.block)
    bound.push_back(k.ci(plan.heads));
  return k.f32(k.load(k.arg(3), h, {plan.block}, bound));
}

Value AttentionProgram::divided(Value y, Value denominator, int64_t channels) {
  SmallVector<int64_t> shape = plan.sumShape(channels);
  if (!plan.headsLast)
    return k.to(k.div(y, k.broadcast(denominator, {1}, shape)), plan.carrier);
  // One division a head, not one a channel.
  Value inverse = k.div(k.full(1, {plan.block}), denominator);
  y = k.mul(y, k.broadcast(inverse, {0}, shape));
  return k.to(k.transpose(y), plan.carrier);
}

Value AttentionProgram::turnedBack(Value y, Value cos, Value sin) {
  return k.to(rotatePairs(k, y, cos, sin, /*inverse=*/true), plan.carrier);
}

void AttentionProgram::finish(ValueRange sums, unsigned out) {
  for (const AttentionPlan::Piece &p : plan.pieces) {
    int64_t half = p.width / 2;
    SmallVector<Value> halfBound;
    if (p.ragged)
      halfBound.push_back(k.ci(plan.rotated / 2));
    Slice at(k, k.type(sums[1]).getShape(), plan.headsLast ? 0 : 1, p.column,
             p.width);
    Value y = tensor::ExtractSliceOp::create(
        k.b, k.loc, k.type(sums[1]).clone(plan.sumShape(p.width)), sums[1],
        at.offsets, at.sizes, at.strides);
    y = divided(y, sums[0], p.width);
    if (plan.rotated && p.column == plan.width - plan.rotated) {
      auto angle = [&](unsigned arg) {
        return k.load(k.arg(arg), {t, k.ci(0)}, {half}, halfBound);
      };
      y = k.f32(y);
      Value cos = angle(plan.cos), sin = angle(plan.sin);
      y = turnedBack(y, cos, sin);
    }
    k.store(y, k.arg(out), {t, h, k.ci(p.column)}, bounds(p));
  }
}

//===-- The kernel -------------------------------------------------------===//

bool canRotateResult(dsv4::AttentionOp op, dsv4::RopeOp rope) {
  auto window = cast<dsv4::CacheType>(op.getWindowCache().getType());
  auto cos = cast<RankedTensorType>(rope.getCos().getType());
  return rope.getInverse() && rope.getX() == op.getResult() &&
         2 * cos.getDimSize(1) == window.getRope();
}

bool choosesFor(dsv4::SelectTopKOp select, dsv4::AttentionOp op) {
  return select.getRatio() == op.getRatio() &&
         select.getPositions() == op.getPositions();
}

void emitAttention(Lowering &l, dsv4::AttentionOp op, Value indices,
                   dsv4::RopeOp rope) {
  AttentionPlan plan(l, op, indices, rope);
  Value result = l.result(rope ? rope.getResult() : op.getResult(), op.getQ());
  if (splitAttention(l, plan, result))
    return;
  Lowering::Grid grid;
  grid.like = op.getQ();
  grid.others[0] = plan.headBlocks();
  SmallVector<Value> operands(plan.operands);
  unsigned top = operands.size();
  if (l.shapes.largestApart) {
    operands.push_back(
        l.workspace(op.getQ(), 1, {plan.paddedHeads()}, l.b.getF32Type()));
    auto kernel =
        l.kernels.get("attention_largest", plan.params,
                      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
                        AttentionProgram a(k, plan);
                        a.loadQuery();
                        k.store(a.largest(), k.arg(top), {a.t, a.h});
                      });
    l.launch(kernel, grid, operands);
  }
  operands.push_back(result);
  auto kernel = l.kernels.get(
      rope ? "attention_unrotated" : "attention", plan.params,
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        AttentionProgram a(k, plan);
        a.loadQuery();
        Value sink = a.sink();
        AttentionProgram::Scores scores;
        if (l.shapes.largestApart)
          scores.largest = k.load(k.arg(top), {a.t, a.h}, {plan.block});
        else
          scores = a.allScores();
        SmallVector<Value> sums =
            a.overAll(a.firstSums(sink, scores.largest, plan.tileWidth),
                      [&](ValueRange carried, const CacheReader &cache,
                          const AttentionProgram::Rows &rows) {
                        return a.addStep(carried, cache, rows, scores.largest,
                                         a.scoresOf(scores, cache, rows));
                      });
        a.finish(sums, operands.size() - 1);
      });
  l.launch(kernel, grid, operands);
}

} // namespace fathom
