// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Groups of routed and shared experts. For one token two kernels: gate and up
// of the chosen and the shared experts, where every program finds the choice
// again from the scores; down of all, their sum and what follows. For more, the
// choices and their grouping come first, and the sum last, so that a program
// reads its part of an expert once for all tokens.
#include "dialects/Tile/IR/TokenLoops.h"
#include "passes/DSV4ToTile/MoE.h"
#include "passes/DSV4ToTile/Streams.h"

using namespace mlir;

namespace fathom {

namespace {
/// A matrix, or the same matrix of every expert, in blocks of rows.
struct Part {
  WeightTile tile;
  unsigned weight = 0, scale = 0; // arguments; scale 0: none

  int64_t programs() const { return tile.blocks(); }
  bool bounded(int64_t tokens) const { return tokens > 1 || tile.ragged; }
};

struct FusedExperts {
  Lowering &l;
  Operation *routeOp = nullptr;
  dsv4::ExpertsOp op;
  dsv4::LinearOp w1, w3, w2; // of the shared experts
  dsv4::SwiGLUOp act;
  dsv4::FakeQuantizeOp quantise;
  dsv4::MoECombineOp combine;
  Residual residual;

  int64_t experts, chosen, hidden, inner, sharedInner;
  SmallVector<int64_t> tiles; // numbers of tokens taken at once, descending
  Type carrier;
  std::optional<Router> router;
  Groups groups;
  Value ids, pairWeights;                            // flat [pairs]
  Lowering::Activation activation, sharedActivation; // [pairs, inner], [T, ..]
  Value output, sharedOutput; // [pairs, hidden], [T, hidden]

  FusedExperts(Lowering &l) : l(l) {}
  bool match(dsv4::FusedOp group);
  bool one() const { return l.maxTokens == 1; }
  void run();

private:
  /// Covers first .. end-1: the larger tiles as long as more than the next
  /// smaller one would be left.
  void forTiles(KernelBuilder &k, Value first, Value end,
                function_ref<void(Value, int64_t)> body) {
    for (auto [i, size] : llvm::enumerate(tiles)) {
      Value stop = end;
      if (i + 1 < tiles.size()) {
        Value n = k.subi(end, first);
        if (i > 0)
          n = k.maxi(n, k.ci(0));
        n = k.addi(n, k.ci(size - tiles[i + 1] - 1));
        stop = k.addi(first, k.muli(k.divi(n, size), size));
      }
      k.loop(first, stop, k.ci(size),
             [&, size = size](Value t) { body(t, size); });
      if (l.shapes.pairsByLevel && tiles.size() > 1)
        std::prev(k.b.getInsertionPoint())
            ->setAttr(tile::kTokensAttr, k.b.getI64IntegerAttr(size));
      first = stop;
    }
  }
  void launch(StringRef name, std::string params, int64_t programs,
              ValueRange operands, function_ref<void(KernelBuilder &)> write);
  /// Of weights that a program reads.
  int64_t bytes() const {
    return one() ? l.shapes.oneExpertBytes : l.shapes.expertBytes;
  }
  /// Programs of the shared experts for the same rows of weights, each with its
  /// tokens.
  int64_t sharedParts() const {
    return llvm::divideCeil(l.maxTokens, sharedTokens());
  }
  int64_t sharedTokens() const {
    return std::min(l.maxTokens, l.shapes.sharedTokens);
  }
  /// What a kernel's name says of them.
  std::string tokensParam() const {
    std::string text = "t" + std::to_string(tiles.front());
    if (sharedParts() > 1)
      text += "x" + std::to_string(sharedParts());
    return text;
  }
  /// Block and tokens of a program of the shared experts; parts are apart by
  /// all blocks, so that programs beside each other read the same tokens.
  struct SharedProgram {
    Value block, first, end;
  };
  SharedProgram sharedProgram(KernelBuilder &k, Value program, int64_t blocks,
                              Value count) const {
    if (sharedParts() == 1)
      return {program, k.ci(0), count};
    Value first = k.muli(k.divi(program, blocks), sharedTokens());
    return {k.remi(program, blocks), first,
            k.mini(count, k.addi(first, k.ci(sharedTokens())))};
  }
  void up();
  void sharedUp(KernelBuilder &k, ArrayRef<Part> parts, Value program);
  void routedUp(KernelBuilder &k, ArrayRef<Part> parts, Value program);
  void down();
  void downAndSum();
  Value downInTurn(KernelBuilder &k, const Part &p, unsigned idsAt,
                   ActivationArg from, Value c);
  Value downTogether(KernelBuilder &k, const Part &p, unsigned idsAt,
                     ActivationArg from, Value c);
  Value rounded(KernelBuilder &k, Value y) const {
    return k.f32(k.to(y, carrier));
  }
  void sum();

  // Arguments of the first kernel.
  ActivationArg xArg, sharedXArg, activationArg, sharedActivationArg;
  unsigned first = 0, idsArg = 0, countArg = 0;
};

/// Adds the weight and, if there is one, the scale to the operands. A block has
/// a multiple of `rows`, or as many rows as the format has with 0, and grows to
/// `bytes`.
Part part(Lowering &l, SmallVectorImpl<Value> &operands, Value weight,
          Value scale, int64_t rows, int64_t bytes) {
  auto type = cast<RankedTensorType>(weight.getType());
  Part p;
  p.tile = type.getRank() == 3
               ? stackedTile(l.shapes, weight)
               : WeightTile::of(l.shapes, type.getShape(),
                                type.getElementType(), type.getDimSize(0));
  if (rows) {
    p.tile.rows = rows;
    p.tile.ragged = false;
  } else if (!p.tile.ragged) {
    p.tile.rows = std::min(p.tile.rows, l.shapes.expertRows);
  }
  int64_t rowBytes = type.getShape().back() *
                     llvm::divideCeil(type.getElementTypeBitWidth(), 8);
  // 128 rows of e4m3 share the scales of their columns, which tokens may take.
  int64_t most = l.shapes.expertRows;
  if (p.tile.format == WeightTile::Format::FP8)
    most = std::min<int64_t>(most, 128);
  while (p.tile.n % (2 * p.tile.rows) == 0 && p.tile.rows < most &&
         2 * p.tile.rows * rowBytes <= bytes)
    p.tile.rows *= 2;
  p.weight = operands.size();
  operands.push_back(l.buffer(weight));
  if (scale) {
    p.scale = operands.size();
    operands.push_back(l.buffer(scale));
  }
  return p;
}

/// The operand of the walk; of expert `e` if there are several.
WeightOperand operandOf(KernelBuilder &k, const Part &p, Value e) {
  auto at = [&](unsigned arg) {
    return e ? tableEntry(k, k.arg(arg), e) : k.arg(arg);
  };
  return {at(p.weight), p.scale ? at(p.scale) : Value()};
}

/// Rows t .. of a matrix [*, K] as the right side of a walk.
std::function<XTile(Value, int64_t)> rowsOf(KernelBuilder &k,
                                            ActivationArg matrix, Value t,
                                            Value end, int64_t tokens) {
  SmallVector<Value> bounds;
  if (tokens > 1)
    bounds = {end, k.ci(k.argType(matrix.rows).getShape().back())};
  return [=, &k](Value k0, int64_t width) {
    return matrix.load(k, {t, k0}, {tokens, width}, bounds);
  };
}

/// The products with gate and up, for swiglu: in one walk, which reads the
/// tokens once, where that holds not too much.
SmallVector<Value> gateUp(KernelBuilder &k, const TileShapes &shapes,
                          const WeightTile &w, ArrayRef<WeightOperand> both,
                          Value row, int64_t tokens, bool codes,
                          function_ref<XTile(Value, int64_t)> x) {
  if (codes || tokens <= shapes.togetherTokens)
    return walkK(k, w, both, row, tokens, x);
  SmallVector<Value> products;
  for (WeightOperand weight : both)
    products.append(walkK(k, w, weight, row, tokens, x));
  return products;
}

/// Rows of one token's gate or up that are walked at once. The kernel with a
/// choice of experts has few registers a thread: values of more rows, and more
/// rows in a walk of few turns, spill on sm_90.
int64_t rowsAtOnce(const WeightTile &w, bool codes) {
  constexpr int64_t kRows = 64, kFewTurns = 8;
  return codes && w.k / w.chunk >= kFewTurns ? w.rows : std::min(w.rows, kRows);
}

/// The product [rows, 1] of one token, of as many rows as `most` at once.
Value walkInParts(KernelBuilder &k, WeightTile w, int64_t most,
                  WeightOperand weight, Value row,
                  function_ref<XTile(Value, int64_t)> x) {
  const int64_t rows = w.rows;
  w.rows = std::min(rows, most);
  return inBlocksAlong(k, {rows, 1}, 0, w.rows, [&](int64_t from) {
    Value at = w.rows == rows ? row : k.addi(row, k.ci(from));
    return walkK(k, w, weight, at, 1, x)[0];
  });
}

/// The activation of a block of rows, quantised in blocks if `block` says so.
void storeActivation(KernelBuilder &k, Value a, ActivationArg to,
                     std::optional<int64_t> block, Type carrier, Value t,
                     Value row, Value end, const Part &p, int64_t tokens) {
  SmallVector<Value> bounds;
  if (p.bounded(tokens))
    bounds = {end, k.ci(p.tile.n)};
  if (block)
    to.store(k, a, *block, carrier, {t, row}, bounds);
  else
    k.store(a, k.arg(to.rows), {t, row}, bounds);
}

void storeRows(KernelBuilder &k, Value tile, Value buffer, Value t, Value row,
               Value end, const Part &p, int64_t tokens) {
  k.store(tile, buffer, {t, row},
          p.bounded(tokens) ? SmallVector<Value>{end, k.ci(p.tile.n)}
                            : SmallVector<Value>{});
}
} // namespace

bool FusedExperts::match(dsv4::FusedOp group) {
  for (Operation &o : group.members()) {
    if (isa<dsv4::RouteTopKOp, dsv4::RouteHashOp>(o))
      routeOp = &o;
    else if (auto e = dyn_cast<dsv4::ExpertsOp>(o))
      op = e;
    else if (auto c = dyn_cast<dsv4::MoECombineOp>(o))
      combine = c;
  }
  if (!routeOp || !op || !combine || combine.getRouted() != op.getResult() ||
      op.getIds() != routeOp->getResult(0) ||
      op.getWeights() != routeOp->getResult(1))
    return false;
  w2 = combine.getShared().getDefiningOp<dsv4::LinearOp>();
  if (!w2)
    return false;
  Value a = w2.getX();
  if ((quantise = a.getDefiningOp<dsv4::FakeQuantizeOp>()))
    a = quantise.getX();
  act = a.getDefiningOp<dsv4::SwiGLUOp>();
  if (!act)
    return false;
  w1 = act.getG().getDefiningOp<dsv4::LinearOp>();
  w3 = act.getU().getDefiningOp<dsv4::LinearOp>();
  if (!w1 || !w3 || w1.getX() != w3.getX() ||
      w1.getWeight().getType() != w3.getWeight().getType())
    return false;
  residual = Residual::of(group);
  if (residual.post &&
      (residual.post.getY() != combine.getResult() || !residual.fits(l.shapes)))
    return false;
  if (residual.pre && !residual.post)
    return false;
  SmallVector<Operation *> members{routeOp, op, combine, w1,
                                   w3,      w2, act,     quantise};
  SmallVector<Value> results{combine.getResult()};
  if (residual.post) {
    llvm::append_range(members, residual.members());
    results = residual.results();
  }
  if (!hasOnly(group, members) || !yieldsOnly(group, results) ||
      !haveOneCarrier({op.getX(), w1.getResult(), w3.getResult(),
                       w2.getResult(), combine.getResult()}))
    return false;

  auto x = cast<RankedTensorType>(op.getX().getType());
  auto stack = cast<RankedTensorType>(op.getW1().getType());
  if (op.getW3().getType() != stack || bool(op.getS1()) != bool(op.getS3()) ||
      cast<RankedTensorType>(w1.getX().getType()).getRank() != 2)
    return false;
  carrier = x.getElementType();
  experts = stack.getDimSize(0);
  inner = stack.getDimSize(1);
  hidden = x.getDimSize(1);
  chosen = cast<RankedTensorType>(op.getIds().getType()).getDimSize(1);
  sharedInner = cast<RankedTensorType>(act.getResult().getType()).getDimSize(1);
  if (streamBlock(l.shapes, hidden) < 8)
    return false;
  auto blocksFit = [&](int64_t block, int64_t width) {
    return pow2Ceil(block) == block && block <= l.shapes.expertRows &&
           width % block == 0;
  };
  if (auto block = op.getHiddenBlock(); block && !blocksFit(*block, inner))
    return false;
  return !quantise || (quantise.getFormat() == dsv4::QuantFormat::E4M3 &&
                       int64_t(quantise.getChannels()) == sharedInner &&
                       blocksFit(quantise.getBlock(), sharedInner));
}

void FusedExperts::launch(StringRef name, std::string params, int64_t programs,
                          ValueRange operands,
                          function_ref<void(KernelBuilder &)> write) {
  auto kernel = l.kernels.get(name, params, operands.getTypes(), write);
  Lowering::Grid g; // the number of tokens does not matter: axis 1 has one
  g.like = op.getX();
  g.tokenAxis = 1;
  g.perProgram = l.maxTokens;
  g.others[0] = programs;
  l.launch(kernel, g, operands);
}

/// The shared experts' activation, one block of rows, all tokens of a program.
void FusedExperts::sharedUp(KernelBuilder &k, ArrayRef<Part> parts,
                            Value program) {
  const Part &p = parts[0];
  WeightOperand both[2] = {operandOf(k, p, {}), operandOf(k, parts[1], {})};
  double limit = act.getLimit().convertToDouble();
  SharedProgram s = sharedProgram(k, program, p.programs(),
                                  one() ? k.ci(1) : k.arg(countArg));
  Value row = k.muli(s.block, p.tile.rows);
  auto at = [&](Value t, Value end, int64_t tokens) {
    auto x = rowsOf(k, sharedXArg, t, end, tokens);
    Value a = k.to(swiglu(k,
                          gateUp(k, l.shapes, p.tile, both, row, tokens,
                                 sharedXArg.isCodes(), x),
                          limit, {}, carrier),
                   carrier);
    std::optional<int64_t> width;
    if (quantise)
      width = quantise.getBlock();
    storeActivation(k, a, sharedActivationArg, width, carrier, t, row, end, p,
                    tokens);
  };
  if (one())
    return at(s.first, s.end, 1);
  forTiles(k, s.first, s.end,
           [&](Value t, int64_t tokens) { at(t, s.end, tokens); });
}

/// activation[pair] of one expert, or of the token's choice at one place.
void FusedExperts::routedUp(KernelBuilder &k, ArrayRef<Part> parts,
                            Value program) {
  using P = arith::CmpIPredicate;
  const Part &p = parts[0];
  Value which = k.divi(program, p.programs()),
        block = k.remi(program, p.programs()), row = k.muli(block, p.tile.rows);
  double limit = op.getLimit().convertToDouble();
  auto finish = [&](ArrayRef<Value> gu, Value weight, Value t, Value end,
                    int64_t tokens) {
    Value a = k.to(swiglu(k, gu, limit, weight, carrier), carrier);
    storeActivation(k, a, activationArg, op.getHiddenBlock(), carrier, t, row,
                    end, p, tokens);
  };
  if (one()) {
    Choice c = router->choose(k, first, k.ci(0));
    Value e = c.id(k, which), weight = c.weight(k, which);
    k.when(k.cmpi(P::eq, block, k.ci(0)),
           [&] { k.storeScalar(k.toI32(e), k.arg(idsArg), which); });
    WeightOperand both[2] = {operandOf(k, p, e), operandOf(k, parts[1], e)};
    auto x = rowsOf(k, xArg, k.ci(0), k.ci(1), 1);
    SmallVector<Value> gu;
    if (l.shapes.upInTurn)
      for (WeightOperand weight : both)
        gu.push_back(walkInParts(k, p.tile, rowsAtOnce(p.tile, xArg.isCodes()),
                                 weight, row, x));
    else
      gu = walkK(k, p.tile, both, row, 1, x);
    return finish(gu, weight, which, k.addi(which, k.ci(1)), 1);
  }
  Value from = k.loadIndex(k.arg(first + 1), which),
        end = k.loadIndex(k.arg(first + 1), k.addi(which, k.ci(1)));
  WeightOperand both[2] = {operandOf(k, p, which),
                           operandOf(k, parts[1], which)};
  forTiles(k, from, end, [&](Value at, int64_t tokens) {
    SmallVector<int64_t> list{tokens};
    Value place = k.iadd(k.splat(k.toI32(at), list), k.iota(tokens));
    auto real = [&] {
      return k.icmp(P::slt, place, k.splat(k.toI32(end), list));
    };
    Value pair = k.load(k.arg(first + 2), at, list, end);
    Value none = k.fullI32(-1, list);
    std::function<XTile(Value, int64_t)> x;
    if (groups.rows.rows) {
      x = rowsOf(k, xArg, at, end, tokens);
    } else {
      Value token = tokensOfPairs(k, pair, real(), chosen);
      x = [=, &k](Value k0, int64_t width) {
        return xArg.gather(k, token, k0, {tokens, width}).ofTokens(at, end);
      };
    }
    Value weight =
        k.gather(k.arg(first), k.select(real(), pair, none), {}, list);
    finish(gateUp(k, l.shapes, p.tile, both, row, tokens, xArg.isCodes(), x),
           weight, at, end, tokens);
  });
}

void FusedExperts::up() {
  SmallVector<Value> operands;
  xArg = ActivationArg(operands, groups.rows.rows ? groups.rows
                                                  : l.activation(op.getX()));
  sharedXArg = ActivationArg(operands, l.activation(w1.getX()));
  activationArg = ActivationArg(operands, activation);
  sharedActivationArg = ActivationArg(operands, sharedActivation);
  first = operands.size();
  if (one()) {
    operands.append(router->operands);
    idsArg = operands.size();
    operands.push_back(ids);
  } else {
    operands.append({pairWeights, groups.offsets, groups.order});
    countArg = operands.size();
    operands.push_back(l.count(op.getX()));
  }
  int64_t rows = op.getHiddenBlock().value_or(0),
          sharedRows = quantise ? quantise.getBlock() : 0;
  Part routed[2] = {part(l, operands, op.getW1(), op.getS1(), rows, bytes()),
                    part(l, operands, op.getW3(), op.getS3(), rows, bytes())};
  Part shared[2] = {
      part(l, operands, w1.getWeight(), w1.getScale(), sharedRows, bytes()),
      part(l, operands, w3.getWeight(), w3.getScale(), sharedRows, bytes())};
  int64_t split = shared[0].programs() * sharedParts();
  std::string params = tokensParam() + "_" +
                       number(op.getLimit().convertToDouble()) + "_" +
                       number(act.getLimit().convertToDouble()) + "_" +
                       std::to_string(rows) + "_" + std::to_string(sharedRows) +
                       "_" + (one() ? router->params : std::to_string(chosen));
  launch("moe_up", params,
         split + routed[0].programs() * (one() ? chosen : experts), operands,
         [&](KernelBuilder &k) {
           Value p = k.pid(0);
           k.when(
               k.cmpi(arith::CmpIPredicate::ult, p, k.ci(split)),
               [&] { sharedUp(k, shared, p); },
               [&] { routedUp(k, routed, k.subi(p, k.ci(split))); });
         });
}

/// output[pair] = w2 activation[pair], and the shared experts' likewise.
void FusedExperts::down() {
  SmallVector<Value> operands;
  ActivationArg from(operands, activation),
      sharedFrom(operands, sharedActivation);
  unsigned offsets = operands.size();
  operands.append({groups.offsets, output, sharedOutput, l.count(op.getX())});
  Part routed = part(l, operands, op.getW2(), op.getS2(), 0, bytes()),
       shared = part(l, operands, w2.getWeight(), w2.getScale(), 0, bytes());
  int64_t split = shared.programs() * sharedParts();
  auto rowsAt = [&](KernelBuilder &k, const Part &p, WeightOperand weight,
                    ActivationArg rows, unsigned to, Value first, Value end,
                    Value block) {
    Value row = k.muli(block, p.tile.rows);
    forTiles(k, first, end, [&](Value t, int64_t tokens) {
      auto x = rowsOf(k, rows, t, end, tokens);
      Value y = walkK(k, p.tile, weight, row, tokens, x)[0];
      storeRows(k, k.to(tokensFirst(k, y), carrier), k.arg(to), t, row, end, p,
                tokens);
    });
  };
  launch("moe_down", tokensParam(), split + routed.programs() * experts,
         operands, [&](KernelBuilder &k) {
           Value p = k.pid(0);
           k.when(
               k.cmpi(arith::CmpIPredicate::ult, p, k.ci(split)),
               [&] {
                 SharedProgram s =
                     sharedProgram(k, p, shared.programs(), k.arg(offsets + 3));
                 rowsAt(k, shared, operandOf(k, shared, {}), sharedFrom,
                        offsets + 2, s.first, s.end, s.block);
               },
               [&] {
                 Value q = k.subi(p, k.ci(split));
                 Value e = k.divi(q, routed.programs());
                 Value first = k.loadIndex(k.arg(offsets), e),
                       end = k.loadIndex(k.arg(offsets), k.addi(e, k.ci(1)));
                 rowsAt(k, routed, operandOf(k, routed, e), from, offsets + 1,
                        first, end, k.remi(q, routed.programs()));
               });
         });
}

/// One token: the chosen experts' down, one after the other, for a block of
/// channels from c on; the sum in ascending id, f32 [1, rows].
Value FusedExperts::downInTurn(KernelBuilder &k, const Part &p, unsigned idsAt,
                               ActivationArg from, Value c) {
  return k.loop(k.ci(0), k.ci(chosen), k.ci(1), k.full(0, {1, p.tile.rows}),
                [&](Value j, ValueRange sum) -> SmallVector<Value> {
                  Value e = k.loadIndex(k.arg(idsAt), j);
                  Value y = walkK(k, p.tile, operandOf(k, p, e), c, 1,
                                  rowsOf(k, from, j, {}, 1))[0];
                  return {k.add(sum[0], rounded(k, tokensFirst(k, y)))};
                })[0];
}

/// The same in one walk of all. Every expert's weights are multiplied with the
/// activations of all: products have so many columns anyway.
Value FusedExperts::downTogether(KernelBuilder &k, const Part &p,
                                 unsigned idsAt, ActivationArg from, Value c) {
  SmallVector<WeightOperand> weights;
  for (int64_t j = 0; j < chosen; ++j)
    weights.push_back(operandOf(k, p, k.loadIndex(k.arg(idsAt), k.ci(j))));
  int64_t columns = pow2Ceil(chosen);
  SmallVector<Value> all =
      walkK(k, p.tile, weights, c, columns,
            rowsOf(k, from, k.ci(0), k.ci(chosen), columns));
  Value sum = k.full(0, {1, p.tile.rows});
  for (int64_t j = 0; j < chosen; ++j)
    sum = k.add(sum, rounded(k, k.rows(k.transpose(all[j]), k.ci(j), 1)));
  return sum;
}

/// One token: down of all experts for a block of channels, their sum in
/// ascending id, and what follows.
void FusedExperts::downAndSum() {
  SmallVector<Value> operands;
  ActivationArg from(operands, activation),
      sharedFrom(operands, sharedActivation);
  unsigned idsAt = operands.size();
  operands.push_back(ids);
  unsigned first = operands.size();
  std::optional<StreamsUpdate> update;
  std::string params = std::to_string(chosen);
  if (residual.post) {
    update.emplace(l, residual);
    operands.append(update->operands);
    params += "_" + update->params;
  } else {
    operands.push_back(l.result(combine.getResult(), op.getX()));
  }
  int64_t rows = streamBlock(l.shapes, hidden);
  Part routed = part(l, operands, op.getW2(), op.getS2(), rows, 0),
       shared = part(l, operands, w2.getWeight(), w2.getScale(), rows, 0);
  shared.tile.byCodes = sharedFrom.isCodes();
  launch("moe_down", params, hidden / rows, operands, [&](KernelBuilder &k) {
    Value c = k.muli(k.pid(0), rows), zero = k.ci(0), single = k.ci(1);
    Value y = l.shapes.chosenTogether ? downTogether(k, routed, idsAt, from, c)
                                      : downInTurn(k, routed, idsAt, from, c);
    Value own = walkK(k, shared.tile, operandOf(k, shared, {}), c, 1,
                      rowsOf(k, sharedFrom, zero, {}, 1))[0];
    y = k.to(k.add(y, rounded(k, tokensFirst(k, own))), carrier);
    if (update)
      update->apply(k, first, 1, k.f32(y), zero, c, single);
    else
      k.store(y, k.arg(first), {zero, c});
  });
  if (residual.pre)
    finishMix(l, residual, update->shares);
}

/// Several tokens: the sums, from the outputs of pairs, and what follows.
void FusedExperts::sum() {
  SmallVector<Value> operands{output, groups.place, sharedOutput};
  unsigned first = operands.size();
  std::optional<StreamsUpdate> update;
  int64_t count = std::min(l.tokenTile(), l.shapes.streamTokens),
          rows = streamBlock(l.shapes, hidden);
  std::string params = std::to_string(chosen) + "_t" + std::to_string(count);
  if (residual.post) {
    update.emplace(l, residual);
    operands.append(update->operands);
    params += "_" + update->params;
  } else {
    operands.push_back(l.result(combine.getResult(), op.getX()));
  }
  operands.push_back(l.count(op.getX()));
  auto kernel = l.kernels.get(
      "moe_sum", params, ValueRange(operands).getTypes(),
      [&](KernelBuilder &k) {
        using P = arith::CmpIPredicate;
        Value c = k.muli(k.pid(0), rows), t = k.muli(k.pid(1), count),
              end = k.arg(operands.size() - 1);
        SmallVector<int64_t> list{count}, shape{count, rows};
        SmallVector<Value> bounds{end, k.ci(hidden)};
        Value token = k.iadd(k.splat(k.toI32(t), list), k.iota(count));
        auto ifReal = [&](Value v) {
          return k.select(k.icmp(P::slt, token, k.splat(k.toI32(end), list)), v,
                          k.fullI32(-1, list));
        };
        Value firstPair =
            arith::MulIOp::create(k.b, k.loc, token, k.fullI32(chosen, list));
        Value y =
            k.loop(k.ci(0), k.ci(chosen), k.ci(1), k.full(0, shape),
                   [&](Value j, ValueRange sum) -> SmallVector<Value> {
                     Value pair = k.iadd(firstPair, k.splat(k.toI32(j), list));
                     Value row = k.gather(k.arg(1), ifReal(pair), {}, list);
                     Value part = k.gather(k.arg(0), ifReal(row), c, shape);
                     return {k.add(sum[0], k.f32(part))};
                   })[0];
        Value shared = k.f32(k.load(k.arg(2), {t, c}, shape, bounds));
        y = k.to(k.add(y, shared), carrier);
        if (update)
          update->apply(k, first, count, k.f32(y), t, c, end);
        else
          k.store(y, k.arg(first), {t, c}, bounds);
      });
  Lowering::Grid grid;
  grid.like = op.getX();
  grid.tokenAxis = 1;
  grid.perProgram = count;
  grid.others[0] = hidden / rows;
  l.launch(kernel, grid, operands);
  if (residual.pre)
    finishMix(l, residual, update->shares);
}

void FusedExperts::run() {
  router = Router::of(l, routeOp);
  Value x = op.getX();
  if (one()) {
    tiles = {1};
  } else {
    ArrayRef<int64_t> pairs(l.shapes.fewPairs);
    if (l.maxTokens > 16)
      pairs = l.shapes.manyPairs;
    llvm::copy_if(pairs, std::back_inserter(tiles),
                  [](int64_t tokens) { return tokens > 0; });
  }
  ids = l.flat(l.result(router->ids, x));
  if (!one()) {
    pairWeights = l.flat(l.result(router->weights, x));
    router->launch(l);
    groups = groupPairs(l, x, ids, experts, chosen);
  }
  std::optional<int64_t> routedBlock, sharedBlock;
  if (op.getS2())
    routedBlock = op.getHiddenBlock();
  if (quantise && w2.getScale())
    sharedBlock = quantise.getBlock();
  activation = l.activationSpace(x, chosen, inner, carrier, routedBlock);
  sharedActivation = l.activationSpace(x, 1, sharedInner, carrier, sharedBlock);
  up();
  if (one())
    return downAndSum();
  output = l.workspace(x, chosen, {hidden}, carrier);
  sharedOutput = l.workspace(x, 1, {hidden}, carrier);
  down();
  sum();
}

bool lowerFusedExperts(Lowering &l, dsv4::FusedOp group) {
  FusedExperts f(l);
  if (!f.match(group))
    return false;
  f.run();
  return true;
}

} // namespace fathom
