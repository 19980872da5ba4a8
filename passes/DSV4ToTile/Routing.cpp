// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Routing: which experts a token goes to, and with what weights.
#include "passes/DSV4ToTile/MoE.h"

using namespace mlir;
using P = arith::CmpIPredicate;
using F = arith::CmpFPredicate;

namespace fathom {

Value Choice::isAt(KernelBuilder &k, Value j) const {
  return k.icmp(P::eq, ranks, k.splat(k.toI32(j), k.type(ranks).getShape()));
}

Value Choice::id(KernelBuilder &k, Value j) const {
  if (scalarId)
    return scalarId(k, j);
  Shape shape = k.type(ids).getShape();
  Value here = k.select(isAt(k, j), ids, k.fullI32(-1, shape));
  return k.toIndex(k.extract(k.reduce(tile::ReduceKind::Max, here, 1), {0}));
}

Value Choice::weight(KernelBuilder &k, Value j) const {
  Shape shape = k.type(weights).getShape();
  Value here = k.select(isAt(k, j), weights, k.full(0, shape));
  return k.reduce(tile::ReduceKind::Add, here, 1);
}

/// weights / sum * factor for the tile s [1, n], which is zero where nothing is
/// chosen.
static Value normalised(KernelBuilder &k, Value s, double factor) {
  Value sum = k.reduce(tile::ReduceKind::Add, s, 1);
  return k.mul(k.div(s, k.broadcast(sum, {1}, k.type(s).getShape())), factor);
}

/// The `chosen` largest of scores + bias, one after the other.
static Choice chooseTopK(KernelBuilder &k, Value scores, Value bias, Value t,
                         int64_t experts, int64_t chosen, double factor,
                         int64_t leastTile) {
  int64_t n = std::max(pow2Ceil(experts), leastTile);
  SmallVector<int64_t> shape{1, n};
  bool padded = n != experts;
  SmallVector<Value> bound, biasBound;
  if (padded) {
    biasBound = {k.ci(experts)};
    bound = {k.addi(t, k.ci(1)), k.ci(experts)};
  }
  Value s = k.load(scores, {t, k.ci(0)}, shape, bound);
  Value b = k.reshape(k.f32(k.load(bias, k.ci(0), {n}, biasBound)), shape);
  Value biased = k.add(s, b);
  Value e = k.reshape(k.iota(n), shape);
  // Real experts stay above the padding, whatever a bad weight gives.
  Value lowest = k.full(-3.0e38, shape), gone = k.full(-3.4e38, shape);
  biased = k.select(k.cmp(F::OGT, biased, lowest), biased, lowest);
  auto isReal = [&] { return k.icmp(P::slt, e, k.fullI32(experts, shape)); };
  if (padded)
    biased = k.select(isReal(), biased, gone);
  Value left = k.loop(
      k.ci(0), k.ci(chosen), k.ci(1), biased,
      [&](Value, ValueRange c) -> SmallVector<Value> {
        Value best = k.reduce(tile::ReduceKind::Max, c[0], 1);
        Value id = k.select(k.cmp(F::OEQ, c[0], k.broadcast(best, {1}, shape)),
                            e, k.fullI32(n, shape));
        Value first = k.reduce(tile::ReduceKind::Min, id, 1);
        return {k.select(k.icmp(P::eq, e, k.broadcast(first, {1}, shape)), gone,
                         c[0])};
      })[0];
  auto taken = [&](Value yes, Value no) {
    if (padded)
      yes = k.select(isReal(), yes, no);
    return k.select(k.cmp(F::OEQ, left, gone), yes, no);
  };
  Value none = k.fullI32(0, shape), one = k.fullI32(1, shape);
  Value count = k.scan(taken(one, none), 1);
  Choice c;
  c.ids = e;
  c.ranks = taken(k.isub(count, one), k.fullI32(-1, shape));
  c.weights = normalised(k, taken(s, k.full(0, shape)), factor);
  return c;
}

/// The one of a row of the table that has rank `j`, as chooseHash ranks them.
static Value hashedId(KernelBuilder &k, Value table, Value token, Value j,
                      int64_t experts, int64_t chosen) {
  Type i32 = k.b.getI32Type();
  auto constant = [&](int64_t v) -> Value {
    return arith::ConstantIntOp::create(k.b, k.loc, v, 32);
  };
  SmallVector<Value> ids, keys;
  for (int64_t i = 0; i < chosen; ++i) {
    Value id = k.loadScalar(table, {token, k.ci(i)});
    if (id.getType() != i32)
      id = arith::TruncIOp::create(k.b, k.loc, i32, id);
    id = arith::MaxSIOp::create(k.b, k.loc, id, constant(0));
    id = arith::MinSIOp::create(k.b, k.loc, id, constant(experts - 1));
    ids.push_back(id);
    Value key =
        arith::MulIOp::create(k.b, k.loc, id, constant(pow2Ceil(chosen)));
    keys.push_back(k.iadd(key, constant(i)));
  }
  Value rank = k.toI32(j), found = ids[0];
  for (int64_t i = 1; i < chosen; ++i) {
    Value before = constant(0);
    for (int64_t other = 0; other < chosen; ++other)
      if (other != i)
        before = k.iadd(before, k.toInt(k.icmp(P::slt, keys[other], keys[i])));
    found = k.select(k.icmp(P::eq, before, rank), ids[i], found);
  }
  return k.toIndex(found);
}

/// The experts that a table has for the token's id.
static Choice chooseHash(KernelBuilder &k, Value scores, Value tokenIds,
                         Value table, Value t, int64_t experts, int64_t chosen,
                         double factor, bool byScalars) {
  int64_t n = pow2Ceil(chosen);
  SmallVector<int64_t> shape{n}, row{1, n}, square{n, n};
  SmallVector<Value> bound;
  if (n != chosen)
    bound.push_back(k.ci(chosen));
  Value token = k.loadIndex(tokenIds, t);
  Value id = k.load(table, {token, k.ci(0)}, shape, bound);
  auto i32 = RankedTensorType::get(shape, k.b.getI32Type());
  if (id.getType() != i32)
    id = arith::TruncIOp::create(k.b, k.loc, i32, id);
  // The table is data from a file: its ids are made to exist.
  id = arith::MaxSIOp::create(k.b, k.loc, id, k.fullI32(0, shape));
  id = arith::MinSIOp::create(k.b, k.loc, id, k.fullI32(experts - 1, shape));
  Value i = k.iota(n);
  auto isReal = [&] { return k.icmp(P::slt, i, k.fullI32(chosen, shape)); };
  // Rank of each id; equal ids, which a good table has not, by place.
  Value key =
      k.iadd(arith::MulIOp::create(k.b, k.loc, id, k.fullI32(n, shape)), i);
  key = k.select(isReal(), key, k.iadd(k.fullI32(1 << 30, shape), i));
  Value less = k.icmp(P::slt, k.broadcast(key, {0}, square),
                      k.broadcast(key, {1}, square));
  Value rank = k.reduce(tile::ReduceKind::Add, k.toInt(less), 1);
  Value none = k.fullI32(-1, shape);
  Value from = k.iadd(id, k.splat(k.toI32(k.muli(t, experts)), shape));
  Value s = k.gather(scores, k.select(isReal(), from, none), {}, shape);
  Choice c;
  c.ids = k.reshape(id, row);
  c.ranks = k.reshape(k.select(isReal(), rank, none), row);
  c.weights = normalised(k, k.reshape(s, row), factor);
  if (byScalars)
    c.scalarId = [=](KernelBuilder &k, Value j) {
      return hashedId(k, table, token, j, experts, chosen);
    };
  return c;
}

std::optional<Router> Router::of(Lowering &l, Operation *op) {
  Router r;
  if (auto o = dyn_cast<dsv4::RouteTopKOp>(op)) {
    r.like = o.getScores();
    r.ids = o.getIds();
    r.weights = o.getWeights();
    r.factor = o.getFactor().convertToDouble();
    r.operands = {l.buffer(o.getScores()), l.buffer(o.getBias())};
  } else if (auto o = dyn_cast<dsv4::RouteHashOp>(op)) {
    r.like = o.getScores();
    r.ids = o.getExpertIds();
    r.weights = o.getWeights();
    r.factor = o.getFactor().convertToDouble();
    r.hash = true;
    r.byScalars = l.shapes.hashByScalars;
    r.operands = {l.flat(l.buffer(o.getScores())), l.buffer(o.getIds()),
                  l.buffer(o.getTable())};
  } else {
    return std::nullopt;
  }
  r.experts = cast<RankedTensorType>(r.like.getType()).getDimSize(1);
  r.chosen = cast<RankedTensorType>(r.ids.getType()).getDimSize(1);
  r.leastTile = l.shapes.routedScores;
  r.params = std::string(r.hash ? "hash" : "topk") + std::to_string(r.chosen) +
             "_" + std::to_string(r.experts) + "_" + number(r.factor);
  return r;
}

Choice Router::choose(KernelBuilder &k, unsigned first, Value t) const {
  if (hash)
    return chooseHash(k, k.arg(first), k.arg(first + 1), k.arg(first + 2), t,
                      experts, chosen, factor, byScalars);
  return chooseTopK(k, k.arg(first), k.arg(first + 1), t, experts, chosen,
                    factor, leastTile);
}

void Router::launch(Lowering &l) const {
  SmallVector<Value> all(operands);
  unsigned out = all.size();
  all.append({l.flat(l.result(ids, like)), l.flat(l.result(weights, like))});
  auto kernel = l.kernels.get(
      hash ? "route_hash" : "route_topk", params, ValueRange(all).getTypes(),
      [&](KernelBuilder &k) {
        Value t = k.pid(0);
        Choice c = choose(k, 0, t);
        SmallVector<int64_t> flat{k.type(c.ids).getDimSize(1)};
        Value ranks = k.reshape(c.ranks, flat);
        Value row = k.iadd(ranks, k.splat(k.toI32(k.muli(t, chosen)), flat));
        Value none = k.fullI32(-1, flat);
        row = k.select(k.icmp(P::sge, ranks, k.fullI32(0, flat)), row, none);
        k.scatter(k.reshape(c.ids, flat), k.arg(out), row);
        k.scatter(k.reshape(c.weights, flat), k.arg(out + 1), row);
      });
  Lowering::Grid grid;
  grid.like = like;
  l.launch(kernel, grid, all);
}

void lowerRouteTopK(Lowering &l, dsv4::RouteTopKOp op) {
  Router::of(l, op)->launch(l);
}

void lowerRouteHash(Lowering &l, dsv4::RouteHashOp op) {
  Router::of(l, op)->launch(l);
}

} // namespace fathom
