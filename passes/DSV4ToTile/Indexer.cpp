// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lightning indexer: scores of the visible blocks, and the k best of them.
// Choosing only compares, so that any division of the blocks gives the same
// choice: in a group each program scores and thins out a part of the blocks,
// and a second kernel chooses among the candidates.
#include "passes/DSV4ToTile/Selection.h"
#include "passes/DSV4ToTile/SparseAttention.h"

using namespace mlir;

namespace fathom {

namespace {
/// Scores of one token: kernel arguments q, w, positions, slots, index cache.
struct Scorer {
  dsv4::CacheType type;
  int64_t heads, width, ratio, keys;
  std::optional<double> factor; // what w is still to be scaled with

  static constexpr unsigned kCache = 4;
  static SmallVector<Value> operands(Lowering &l, dsv4::IndexScoresOp op,
                                     Value w) {
    SmallVector<Value> all{l.buffer(op.getQ()), l.buffer(w),
                           l.buffer(op.getPositions()),
                           l.buffer(op.getSlots())};
    all.append(CacheReader::operands(l, op.getCache()));
    return all;
  }
  Scorer(const TileShapes &shapes, dsv4::IndexScoresOp op)
      : type(cast<dsv4::CacheType>(op.getCache().getType())),
        ratio(op.getRatio()), keys(shapes.indexKeys) {
    auto q = cast<RankedTensorType>(op.getQ().getType());
    heads = q.getDimSize(1);
    width = q.getDimSize(2);
  }

  Value visible(KernelBuilder &k, Value t) const {
    return k.divi(k.addi(k.loadIndex(k.arg(2), t), k.ci(1)), ratio);
  }
  /// Calls store(block, scores [keys] f32) for the blocks from .. to, in
  /// chunks; scores of blocks at or beyond `to` are zero.
  SmallVector<Value>
  walk(KernelBuilder &k, Value t, Value from, Value to, ValueRange init,
       function_ref<SmallVector<Value>(Value, Value, ValueRange)> store) const;
};
} // namespace

SmallVector<Value> Scorer::walk(
    KernelBuilder &k, Value t, Value from, Value to, ValueRange init,
    function_ref<SmallVector<Value>(Value, Value, ValueRange)> store) const {
  using P = arith::CmpIPredicate;
  Type carrier = k.argType(0).getElementType();
  auto round = [&](Value x) { return k.f32(k.to(x, carrier)); };
  int64_t padded = pow2Ceil(heads);
  SmallVector<Value> bounds, bound;
  if (padded != heads) {
    bounds = {k.ci(heads), k.ci(width)};
    bound = {k.ci(heads)};
  }
  Value slot = k.loadIndex(k.arg(3), t);
  Value query =
      k.load(k.arg(0), {t, k.ci(0), k.ci(0)}, {padded, width}, bounds);
  Value w = k.f32(k.load(k.arg(1), {t, k.ci(0)}, {padded}, bound));
  if (factor)
    w = round(k.mul(w, *factor));
  SmallVector<int64_t> shape{keys, padded};
  w = k.broadcast(w, {0}, shape);
  CacheReader cache{type, kCache};
  Value base = k.splat(k.toI32(k.muli(slot, type.getRows())), {keys});
  return k.loop(from, to, k.ci(keys), init, [&](Value at, ValueRange carried) {
    Value b = k.iadd(k.splat(k.toI32(at), {keys}), k.iota(keys));
    Value valid = k.icmp(P::slt, b, k.splat(k.toI32(to), {keys}));
    Value row = k.select(valid, k.iadd(b, base), k.fullI32(-1, {keys}));
    Value s = k.dot(tile::DotForm::NT, cache.read(k, row, 0, width), query,
                    k.full(0, shape));
    s = round(k.mul(k.max(round(s), k.full(0, shape)), w));
    return store(at, round(k.reduce(tile::ReduceKind::Add, s, 1)), carried);
  });
}

void lowerIndexScores(Lowering &l, dsv4::IndexScoresOp op) {
  Scorer scorer(l.shapes, op);
  SmallVector<Value> operands = Scorer::operands(l, op, op.getW());
  unsigned out = operands.size();
  operands.push_back(l.result(op.getScores(), op.getQ()));
  int64_t rows = scorer.type.getRows(), strip = l.shapes.indexStrip;
  auto kernel = l.kernels.get(
      "index_scores", std::to_string(scorer.ratio) + "_" + std::to_string(rows),
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value t = k.pid(0), from = k.muli(k.pid(1), strip);
        Value to = k.mini(scorer.visible(k, t), k.addi(from, k.ci(strip)));
        k.when(k.cmpi(arith::CmpIPredicate::slt, from, to), [&] {
          scorer.walk(k, t, from, to, {},
                      [&](Value at, Value s, ValueRange) -> SmallVector<Value> {
                        k.store(s, k.arg(out), {t, at}, {k.ci(rows)});
                        return {};
                      });
        });
      });
  Lowering::Grid grid;
  grid.like = op.getQ();
  grid.others[0] = llvm::divideCeil(rows, strip);
  l.launch(kernel, grid, operands);
}

/// The blocks 0 .. visible-1, then -1, as the `n` chosen ones of token t; `out`
/// is flat.
static void chooseAll(KernelBuilder &k, Value t, Value visible, int64_t n,
                      Value out) {
  int64_t w = std::min<int64_t>(256, pow2Ceil(n));
  SmallVector<int64_t> shape{w};
  Value first = k.muli(t, n);
  k.loop(k.ci(0), k.ci(n), k.ci(w), [&](Value c) {
    Value b = k.iadd(k.splat(k.toI32(c), shape), k.iota(w));
    Value there =
        k.icmp(arith::CmpIPredicate::slt, b, k.splat(k.toI32(visible), shape));
    k.store(k.select(there, b, k.fullI32(-1, shape)), out, k.addi(first, c),
            k.addi(first, k.ci(n)));
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
        Value t = k.pid(0), out = k.arg(2);
        Value visible =
            k.divi(k.addi(k.loadIndex(k.arg(1), t), k.ci(1)), ratio);
        auto all = [&] { chooseAll(k, t, visible, n, out); };
        if (n >= rows)
          return all();
        k.when(k.cmpi(arith::CmpIPredicate::sle, visible, k.ci(n)), all, [&] {
          int64_t w = std::min<int64_t>(256, pow2Ceil(rows));
          auto at = [&](Value c) {
            Value x = k.load(k.arg(0), {t, c}, {w}, {k.ci(rows)});
            Value b = k.iadd(k.splat(k.toI32(c), {w}), k.iota(w));
            return Selection::Entries{orderOf(k, x), b,
                                      k.icmp(arith::CmpIPredicate::slt, b,
                                             k.splat(k.toI32(visible), {w}))};
          };
          Selection s{k, visible, w, at};
          s.choose(n, [&](const Selection::Entries &e, Value place) {
            scatterChosen(k, e.block, out, k.muli(t, n), place);
          });
        });
      });
  Lowering::Grid grid;
  grid.like = op.getScores();
  l.launch(kernel, grid, operands);
}

namespace {
/// The kernels of a group. Scores are kept as integers in their order.
struct Indexer {
  const Scorer &scorer;
  int64_t chosen, part, parts, tile;
  bool apart; // as TileShapes: scores go through memory

  /// What the program (t, p) is for: the blocks from .. to, if needed.
  struct Part {
    Value t, p, visible, from, to, needed;
  };
  Part partOf(KernelBuilder &k) const;
  /// Part `s` of token t: its scores, in a tile [part].
  Value partScores(KernelBuilder &k, Value t, Value from, Value to) const {
    return scorer.walk(k, t, from, to, k.fullI32(0, {part}),
                       [&](Value at, Value s, ValueRange kept) {
                         return SmallVector<Value>{k.insert(
                             orderOf(k, s), kept[0], k.subi(at, from))};
                       })[0];
  }
  /// Where the scores of a part lie in memory.
  Value place(KernelBuilder &k, const Part &p) const {
    return k.addi(k.muli(p.t, parts * part), p.from);
  }
  /// `order`: a tile [part], or a buffer where they lie from `first` on.
  Selection selection(KernelBuilder &k, Value order, Value first, Value from,
                      Value to) const {
    int64_t w = std::min(tile, part);
    Value count = k.subi(to, from);
    return {k, count, w, [=, &k](Value c) {
              Value i = k.iadd(k.splat(k.toI32(c), {w}), k.iota(w));
              Value some = first ? k.load(order, k.addi(first, c), {w})
                                 : k.extract(order, c, w);
              return Selection::Entries{some,
                                        k.iadd(i, k.splat(k.toI32(from), {w})),
                                        k.icmp(arith::CmpIPredicate::slt, i,
                                               k.splat(k.toI32(count), {w}))};
            }};
  }
  /// Arguments from `out` on: where scores go.
  void scores(KernelBuilder &k, unsigned out) const;
  /// Arguments from `out` on: where choices go and, if there are several parts,
  /// their scores; then the scores, if they come from memory.
  void candidates(KernelBuilder &k, unsigned out) const;
  void merge(KernelBuilder &k) const;
};
} // namespace

Indexer::Part Indexer::partOf(KernelBuilder &k) const {
  using P = arith::CmpIPredicate;
  Part part;
  part.t = k.pid(0);
  part.p = k.pid(1);
  part.visible = scorer.visible(k, part.t);
  part.from = k.muli(part.p, this->part);
  part.to = k.mini(part.visible, k.addi(part.from, k.ci(this->part)));
  part.needed = k.andi(k.cmpi(P::slt, part.from, part.to),
                       k.cmpi(P::sgt, part.visible, k.ci(chosen)));
  return part;
}

void Indexer::scores(KernelBuilder &k, unsigned out) const {
  Part p = partOf(k);
  k.when(p.needed, [&] {
    Value first = k.subi(place(k, p), p.from);
    scorer.walk(k, p.t, p.from, p.to, {},
                [&](Value at, Value s, ValueRange) -> SmallVector<Value> {
                  k.store(orderOf(k, s), k.arg(out), k.addi(first, at));
                  return {};
                });
  });
}

/// One part: the best `chosen` of its blocks, ascending, then blocks -1.
void Indexer::candidates(KernelBuilder &k, unsigned out) const {
  using P = arith::CmpIPredicate;
  Part p = partOf(k);
  Value first = k.muli(k.addi(k.muli(p.t, parts), p.p), chosen);
  Value blocks = k.arg(out);
  auto best = [&] {
    Value order = apart ? k.arg(parts > 1 ? out + 2 : out + 1)
                        : partScores(k, p.t, p.from, p.to);
    Selection s =
        selection(k, order, apart ? place(k, p) : Value(), p.from, p.to);
    auto some = [&] {
      s.choose(chosen, [&](const Selection::Entries &e, Value place) {
        scatterChosen(k, e.block, blocks, first, place);
        if (parts > 1)
          scatterChosen(k, e.order, k.arg(out + 1), first, place);
      });
    };
    if (parts == 1) // more are visible than chosen
      return some();
    k.when(k.cmpi(P::sgt, s.count, k.ci(chosen)), some, [&] {
      k.loop(k.ci(0), k.ci(llvm::alignTo(chosen, s.width)), k.ci(s.width),
             [&](Value c) {
               Selection::Entries e = s.at(c);
               Value end = k.addi(first, k.ci(chosen));
               k.store(k.select(e.valid, e.block, k.fullI32(-1, {s.width})),
                       blocks, k.addi(first, c), end);
               k.store(e.order, k.arg(out + 1), k.addi(first, c), end);
             });
    });
  };
  if (parts == 1)
    return k.when(
        k.cmpi(P::sle, p.visible, k.ci(chosen)),
        [&] { chooseAll(k, p.t, p.visible, chosen, blocks); }, best);
  k.when(p.needed, best);
}

/// Arguments: positions, candidate blocks and their order, result; all flat.
void Indexer::merge(KernelBuilder &k) const {
  using P = arith::CmpIPredicate;
  Value t = k.pid(0), out = k.arg(3);
  Value visible =
      k.divi(k.addi(k.loadIndex(k.arg(0), t), k.ci(1)), scorer.ratio);
  k.when(
      k.cmpi(P::sle, visible, k.ci(chosen)),
      [&] { chooseAll(k, t, visible, chosen, out); },
      [&] {
        int64_t w = std::min(tile, pow2Ceil(chosen));
        Value used = k.divi(k.addi(visible, k.ci(part - 1)), part);
        Value count = k.muli(used, chosen);
        Value first = k.muli(t, parts * chosen), end = k.addi(first, count);
        auto only = [&] {
          k.loop(k.ci(0), k.ci(chosen), k.ci(w), [&](Value c) {
            Value at = k.muli(t, chosen);
            k.store(k.load(k.arg(1), k.addi(first, c), {w}, end), out,
                    k.addi(at, c), k.addi(at, k.ci(chosen)));
          });
        };
        Selection s{k, count, w, [&](Value c) {
                      Value at = k.addi(first, c);
                      Value i = k.iadd(k.splat(k.toI32(c), {w}), k.iota(w));
                      Value block = k.load(k.arg(1), at, {w}, end);
                      Value valid = k.bitAnd(
                          k.icmp(P::sge, block, k.fullI32(0, {w})),
                          k.icmp(P::slt, i, k.splat(k.toI32(count), {w})));
                      return Selection::Entries{k.load(k.arg(2), at, {w}, end),
                                                block, valid};
                    }};
        k.when(k.cmpi(P::eq, used, k.ci(1)), only, [&] {
          s.choose(chosen, [&](const Selection::Entries &e, Value place) {
            scatterChosen(k, e.block, out, k.muli(t, chosen), place);
          });
        });
      });
}

/// How many blocks a program scores. A single token shares them out; many
/// tokens keep the candidates few.
static int64_t partSize(const Lowering &l, int64_t chosen, int64_t rows) {
  int64_t least =
      l.maxTokens == 1 ? l.shapes.fewCandidates : l.shapes.manyCandidates;
  return std::min(std::max(least, 2 * pow2Ceil(chosen)),
                  std::max(pow2Ceil(rows), l.shapes.indexKeys));
}

void emitIndexer(Lowering &l, dsv4::IndexScoresOp op, dsv4::SelectTopKOp select,
                 dsv4::ScaleOp scale) {
  Scorer scorer(l.shapes, op);
  if (scale)
    scorer.factor = scale.getFactor().convertToDouble();
  int64_t rows = scorer.type.getRows(), chosen = select.getK();
  Value result = l.flat(l.result(select.getIndices(), op.getQ()));
  int64_t part = partSize(l, chosen, rows);
  Indexer indexer{scorer,
                  chosen,
                  part,
                  int64_t(llvm::divideCeil(rows, part)),
                  l.shapes.selectionTile,
                  l.shapes.scoresApart};
  Lowering::Grid grid;
  grid.like = op.getQ();
  std::string params = std::to_string(chosen) + "_" +
                       std::to_string(scorer.ratio) + "_" +
                       std::to_string(rows);
  if (chosen >= rows) {
    SmallVector<Value> operands{l.buffer(op.getPositions()), result};
    auto kernel = l.kernels.get(
        "index_all", params, ValueRange(operands).getTypes(),
        [&](KernelBuilder &k) {
          Value t = k.pid(0);
          Value visible =
              k.divi(k.addi(k.loadIndex(k.arg(0), t), k.ci(1)), scorer.ratio);
          chooseAll(k, t, visible, chosen, k.arg(1));
        });
    return l.launch(kernel, grid, operands);
  }
  params += "_" + std::to_string(part);
  if (scale)
    params += "_" + number(*scorer.factor);
  SmallVector<Value> operands =
      Scorer::operands(l, op, scale ? scale.getX() : op.getW());
  unsigned out = operands.size();
  Value blocks = result, order;
  operands.push_back(result);
  if (indexer.parts > 1) {
    Type i32 = l.b.getI32Type();
    blocks = l.workspace(op.getQ(), indexer.parts * chosen, {}, i32);
    order = l.workspace(op.getQ(), indexer.parts * chosen, {}, i32);
    operands.back() = blocks;
    operands.push_back(order);
  }
  Lowering::Grid partGrid = grid;
  partGrid.others[0] = indexer.parts;
  if (indexer.apart) {
    Value scores =
        l.workspace(op.getQ(), indexer.parts * part, {}, l.b.getI32Type());
    SmallVector<Value> scoring(ArrayRef<Value>(operands).take_front(out));
    scoring.push_back(scores);
    auto kernel =
        l.kernels.get("index_order", params, ValueRange(scoring).getTypes(),
                      [&](KernelBuilder &k) { indexer.scores(k, out); });
    l.launch(kernel, partGrid, scoring);
    operands.push_back(scores);
  }
  auto kernel =
      l.kernels.get("index_select", params, ValueRange(operands).getTypes(),
                    [&](KernelBuilder &k) { indexer.candidates(k, out); });
  l.launch(kernel, partGrid, operands);
  if (indexer.parts == 1)
    return;
  operands = {l.buffer(op.getPositions()), blocks, order, result};
  auto merge =
      l.kernels.get("index_merge", params, ValueRange(operands).getTypes(),
                    [&](KernelBuilder &k) { indexer.merge(k); });
  l.launch(merge, grid, operands);
}

} // namespace fathom
