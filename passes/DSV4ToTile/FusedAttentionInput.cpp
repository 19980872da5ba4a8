// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What follows the projections of attention's input: the queries of a head from
// the normed rank in one program, and a token's row on its way into the window.
#include "passes/DSV4ToTile/RowChain.h"
#include "passes/DSV4ToTile/WeightTile.h"

using namespace mlir;

namespace fathom {

//===-- A row into the window --------------------------------------------===//

/// Members: steps on rows, then window_insert.
static bool lowerWindowRow(Lowering &l, SmallVector<Operation *> members) {
  auto insert = cast<dsv4::WindowInsertOp>(members.pop_back_val());
  auto type = cast<dsv4::CacheType>(insert.getCache().getType());
  int64_t width = type.getWidth();
  Value x = members.empty() ? insert.getKv() : members.front()->getOperand(0);
  if (!canInsertRow(l.shapes, type) ||
      !RowChain::accepts(l.shapes, members, width) ||
      !RowChain::leads(x, members, insert.getKv()))
    return false;
  RowChain chain(l, members);
  SmallVector<Value> operands{l.buffer(x), l.buffer(insert.getPositions()),
                              l.buffer(insert.getSlots())};
  llvm::append_range(operands, chain.operands);
  unsigned cache = operands.size();
  llvm::append_range(operands, CacheReader::operands(l, insert.getCache()));
  auto kernel = l.kernels.get(
      "window_row", cacheName(type) + chain.params,
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value t = k.pid(0);
        Value row = k.f32(k.load(k.arg(0), {t, k.ci(0)}, {1, width}));
        row = chain.apply(k, row, t, {}, 3);
        Value slot = k.loadIndex(k.arg(2), t);
        Value ring = k.remi(k.loadIndex(k.arg(1), t), type.getRows());
        insertRow(k, type, cache, row,
                  k.addi(k.muli(slot, type.getRows()), ring));
      });
  Lowering::Grid grid;
  grid.like = x;
  l.launch(kernel, grid, operands);
  return true;
}

//===-- Queries ----------------------------------------------------------===//

namespace {
/// Members: rms_norm, fake_quantize in `published`, and then projections with
/// the steps that follow each.
struct Queries {
  dsv4::RMSNormOp norm;
  dsv4::FakeQuantizeOp quantise;
  struct Projection {
    dsv4::LinearOp linear;
    SmallVector<Operation *> steps;
  };
  SmallVector<Projection> projections;

  bool match(const TileShapes &shapes, ArrayRef<Operation *> members);
  /// What the kernels write: the end of every projection.
  SmallVector<Value> results() const;
};
} // namespace

/// What the projection and its steps give.
static Value endOf(const Queries::Projection &p) {
  dsv4::LinearOp linear = p.linear;
  return p.steps.empty() ? Value(linear.getResult())
                         : p.steps.back()->getResult(0);
}

SmallVector<Value> Queries::results() const {
  return llvm::map_to_vector(projections, endOf);
}

bool Queries::match(const TileShapes &shapes, ArrayRef<Operation *> members) {
  for (Operation *op : members) {
    if (auto linear = dyn_cast<dsv4::LinearOp>(op)) {
      projections.push_back({linear, {}});
      continue;
    }
    bool step = false;
    for (Projection &p : projections) {
      if (op->getOperand(0) != endOf(p))
        continue;
      p.steps.push_back(op);
      step = true;
    }
    if (step)
      continue;
    if (auto first = dyn_cast<dsv4::RMSNormOp>(op); first && !norm)
      norm = first;
    else if (auto next = dyn_cast<dsv4::FakeQuantizeOp>(op); next && !quantise)
      quantise = next;
    else
      return false;
  }
  if (!norm || projections.empty() ||
      !haveOneCarrier({norm.getX(), norm.getResult()}))
    return false;
  Value x = norm.getResult();
  if (quantise && quantise.getX() != x)
    return false;
  if (quantise)
    x = quantise.getResult();
  for (const Projection &p : projections) {
    dsv4::LinearOp linear = p.linear;
    if (linear.getX() != x)
      return false;
    auto type = cast<RankedTensorType>(linear.getResult().getType());
    if (type.getRank() != 3 || type.getDimSize(2) > shapes.projectedHead ||
        !RowChain::accepts(shapes, p.steps, type.getDimSize(2)))
      return false;
  }
  return true;
}

namespace {
/// How a program gets its input: as it is in memory, or normed (and quantised)
/// on the way.
struct Input {
  Lowering::Activation rank;
  Value normWeight; // with `norm`
  dsv4::RMSNormOp norm;
  dsv4::FakeQuantizeOp quantise;

  std::string params() {
    if (!norm)
      return "";
    std::string text = "_n" + number(norm.getEps().convertToDouble());
    if (quantise)
      text += "_q" + std::to_string(quantise.getBlock());
    return text;
  }
};
} // namespace

/// Of `tokens` rows, summed as rms_norm sums.
static Value inverseRmsOfRows(KernelBuilder &k, const TileShapes &shapes,
                              int64_t width, double eps, int64_t tokens,
                              function_ref<Value(Value, int64_t)> load) {
  int64_t w = pow2Divisor(width, shapes.rowPiece);
  Value squares = k.loop(k.ci(0), k.ci(width), k.ci(w), k.full(0, {tokens, w}),
                         [&](Value c, ValueRange sums) -> SmallVector<Value> {
                           Value x = load(c, w);
                           return {k.add(sums[0], k.mul(x, x))};
                         })[0];
  return inverseRms(k, squares, width, eps, k.b.getF32Type());
}

/// [tokens, width] from the head's rows of the weight, walked one block after
/// the other.
static Value projectedHead(KernelBuilder &k, const WeightTile &w,
                           WeightOperand weight, Value row, int64_t width,
                           int64_t tokens,
                           function_ref<XTile(Value, int64_t)> loadX) {
  return inBlocksAlong(k, {tokens, width}, 1, w.rows, [&](int64_t from) {
    Value at = w.rows == width ? row : k.addi(row, k.ci(from));
    return k.transpose(walkK(k, w, weight, at, tokens, loadX)[0]);
  });
}

/// One head of `tokens` tokens a program.
static void lowerHeads(Lowering &l, const Queries::Projection &p, Input input) {
  dsv4::LinearOp linear = p.linear;
  Value result = endOf(p);
  RowChain chain(l, p.steps);
  SmallVector<Value> operands;
  ActivationArg rank(operands, input.rank);
  if (input.norm)
    operands.push_back(input.normWeight);
  unsigned weight = operands.size();
  operands.push_back(l.buffer(linear.getWeight()));
  if (linear.getScale())
    operands.push_back(l.buffer(linear.getScale()));
  unsigned steps = operands.size();
  llvm::append_range(operands, chain.operands);
  unsigned out = operands.size();
  operands.push_back(l.result(result, linear.getX()));
  operands.push_back(l.count(linear.getX()));

  auto type = cast<RankedTensorType>(linear.getResult().getType());
  auto weightType = cast<RankedTensorType>(linear.getWeight().getType());
  int64_t heads = type.getDimSize(1), width = type.getDimSize(2);
  int64_t tokens = l.tokenTile();
  WeightTile w = WeightTile::of(l.shapes, weightType.getShape(),
                                weightType.getElementType(), width);
  w.byCodes = rank.isCodes() || (input.quantise && l.shapes.codes);
  // Values of a whole head may be more than a program holds.
  w.rows = w.byCodes ? width : std::min(width, l.shapes.valueRows);
  w.ragged = false;
  std::string params = "t" + std::to_string(tokens) + input.params() + "_d" +
                       std::to_string(width) + chain.params;
  auto kernel = l.kernels.get(
      "queries", params, ValueRange(operands).getTypes(),
      [&](KernelBuilder &k) {
        Value head = k.pid(0), t = k.muli(k.pid(1), tokens);
        Value count = tokens > 1 ? k.arg(out + 1) : Value();
        auto load = [&](Value c, int64_t n) {
          SmallVector<Value> bounds;
          if (count)
            bounds = {count, k.ci(w.k)};
          return k.load(k.arg(0), {t, c}, {tokens, n}, bounds);
        };
        Type element = k.argType(0).getElementType();
        Value inverse;
        dsv4::RMSNormOp norm = input.norm;
        dsv4::FakeQuantizeOp quantise = input.quantise;
        if (norm)
          inverse = inverseRmsOfRows(
              k, l.shapes, w.k, norm.getEps().convertToDouble(), tokens,
              [&](Value c, int64_t n) { return k.f32(load(c, n)); });
        auto loadX = [&](Value k0, int64_t n) -> XTile {
          if (!norm)
            return rank.load(k, {t, k0}, {tokens, n},
                             count ? SmallVector<Value>{count, k.ci(w.k)}
                                   : SmallVector<Value>{});
          Value x = load(k0, n);
          SmallVector<int64_t> shape{tokens, n};
          x = k.mul(k.f32(x), k.broadcast(inverse, {1}, shape));
          Value g = k.f32(k.load(k.arg(1), k0, {n}));
          x = k.to(k.mul(x, k.broadcast(g, {0}, shape)), element);
          XTile tile =
              quantise ? quantised(k, l.shapes, x, quantise) : XTile(x);
          return tile.ofTokens(t, count);
        };
        WeightOperand operand{k.arg(weight),
                              linear.getScale() ? k.arg(weight + 1) : Value()};
        Value y = projectedHead(k, w, operand, k.muli(head, width), width,
                                tokens, loadX);
        y = k.f32(k.to(y, type.getElementType()));
        y = chain.apply(k, y, t, count, steps);
        k.store(k.reshape(k.to(y, k.argType(out).getElementType()),
                          {tokens, 1, width}),
                k.arg(out), {t, head, k.ci(0)},
                count ? SmallVector<Value>{count, k.ci(heads), k.ci(width)}
                      : SmallVector<Value>{});
      });
  Lowering::Grid grid;
  grid.like = linear.getX();
  grid.tokenAxis = 1;
  grid.perProgram = tokens;
  grid.others[0] = heads;
  l.launch(kernel, grid, operands);
}

/// For one token every head norms the rank again, which costs less than a
/// launch; for several the norm is a launch of its own.
static bool lowerQueries(Lowering &l, dsv4::FusedOp group,
                         ArrayRef<Operation *> members) {
  if (l.maxTokens > l.shapes.headTokens)
    return false;
  Queries q;
  if (!q.match(l.shapes, members) || !yieldsOnly(group, q.results()))
    return false;
  Input input;
  bool inProgram = l.tokenTile() == 1;
  if (q.quantise) {
    int64_t width =
        cast<RankedTensorType>(q.quantise.getX().getType()).getDimSize(1);
    int64_t block = q.quantise.getBlock();
    inProgram &= int64_t(q.quantise.getChannels()) == width &&
                 llvm::isPowerOf2_64(block) &&
                 pow2Divisor(width, l.shapes.chunk) % block == 0;
  }
  if (inProgram) {
    input.norm = q.norm;
    input.quantise = q.quantise;
    input.rank.rows = l.buffer(q.norm.getX());
    input.normWeight = l.buffer(q.norm.getWeight());
  } else {
    lowerRMSNorm(l, q.norm);
    if (q.quantise)
      lowerFakeQuantize(l, q.quantise);
    input.rank = l.activation(q.projections.front().linear.getX());
  }
  for (const Queries::Projection &p : q.projections)
    lowerHeads(l, p, input);
  return true;
}

bool lowerAttentionInput(Lowering &l, dsv4::FusedOp group) {
  SmallVector<Operation *> members;
  for (Operation &op : group.members())
    members.push_back(&op);
  if (isa<dsv4::WindowInsertOp>(members.back()))
    return yieldsOnly(group, {}) && lowerWindowRow(l, members);
  return lowerQueries(l, group, members);
}

} // namespace fathom
