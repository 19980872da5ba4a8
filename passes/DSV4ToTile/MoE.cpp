// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Experts. A pair is a token and one of its experts; pair p of a step is expert
// p mod k of token p / k. Pairs are put in the order of their experts so that a
// program reads an expert's weights for all of its tokens.
#include "passes/DSV4ToTile/MoE.h"

using namespace mlir;

namespace fathom {

namespace {
/// Everything that the kernels of one experts operation share.
struct Experts {
  Lowering &l;
  dsv4::ExpertsOp op;
  int64_t experts, chosen, hidden, inner, tokens;
  Type carrier;
  Lowering::Activation x;
  Value ids, pairWeights;      // flat [pairs]
  Value order, offsets, place; // [pairs], [experts+1], [pairs]; null: one token
  Lowering::Activation inOrder;    // x [pairs, hidden] in that order, or null
  Lowering::Activation activation; // [pairs, inner]
  Value output;                    // [pairs, hidden]

  bool grouped() const { return bool(order); }
  /// Calls body(expert, first, end) with the pairs of the program's expert:
  /// grid axis 1 counts experts, or pairs when there is one token.
  void forPairs(KernelBuilder &k, unsigned idsArg, unsigned offsetsArg,
                function_ref<void(Value, Value, Value)> body) {
    Value y = k.pid(1);
    if (!grouped())
      return body(k.loadIndex(k.arg(idsArg), y), y, k.addi(y, k.ci(1)));
    body(y, k.loadIndex(k.arg(offsetsArg), y),
         k.loadIndex(k.arg(offsetsArg), k.addi(y, k.ci(1))));
  }
  Lowering::Grid grid(int64_t blocks) {
    Lowering::Grid g;
    g.like = op.getX();
    if (grouped()) { // the number of tokens does not matter: axis 2 has one
      g.tokenAxis = 2;
      g.perProgram = l.maxTokens;
      g.others[0] = blocks;
      g.others[1] = experts;
    } else {
      g.tokenAxis = 1;
      g.multiply = chosen;
      g.others[0] = blocks;
    }
    return g;
  }
};
} // namespace

Value tokensOfPairs(KernelBuilder &k, Value pairs, Value real, int64_t chosen) {
  Shape list = k.type(pairs).getShape();
  Value token =
      arith::DivSIOp::create(k.b, k.loc, pairs, k.fullI32(chosen, list));
  return k.select(real, token, k.fullI32(-1, list));
}

/// The rows of the tokens of `order`'s pairs behind each other. A program
/// takes few of them, as many as are read by pointers, and a piece of each.
static Lowering::Activation rowsInOrder(Lowering &l, Value like, Value order,
                                        int64_t chosen) {
  constexpr int64_t kRows = 8, kColumns = 1024;
  Lowering::Activation x = l.activation(like);
  auto space = [&](Value of) -> Value {
    if (!of)
      return {};
    auto type = cast<MemRefType>(of.getType());
    return l.workspace(like, chosen, type.getShape().drop_front(),
                       type.getElementType());
  };
  Lowering::Activation rows{space(x.rows), space(x.scales)};
  SmallVector<Value> operands{order, l.count(like)};
  ActivationArg from(operands, x), to(operands, rows);
  const int64_t hidden = cast<MemRefType>(x.rows.getType()).getShape().back(),
                width = pow2Divisor(hidden, kColumns);
  auto kernel = l.kernels.get(
      "moe_rows", std::to_string(chosen), ValueRange(operands).getTypes(),
      [&](KernelBuilder &k) {
        SmallVector<int64_t> list{kRows};
        Value c = k.muli(k.pid(0), width), at = k.muli(k.pid(1), kRows),
              end = k.muli(k.arg(1), chosen);
        Value place = k.iadd(k.splat(k.toI32(at), list), k.iota(kRows));
        Value real = k.icmp(arith::CmpIPredicate::slt, place,
                            k.splat(k.toI32(end), list));
        Value pair = k.load(k.arg(0), at, list, end);
        Value token = tokensOfPairs(k, pair, real, chosen);
        to.store(k, from.gather(k, token, c, {kRows, width}), {at, c},
                 {end, k.ci(hidden)});
      });
  Lowering::Grid grid; // kRows tokens have as many pairs as `chosen` programs
  grid.like = like;
  grid.tokenAxis = 1;
  grid.perProgram = kRows;
  grid.multiply = chosen;
  grid.others[0] = hidden / width;
  l.launch(kernel, grid, operands);
  return rows;
}

/// order: pairs by expert, within an expert as they come; offsets: where each
/// expert's begin; place: the inverse of order. Program e writes e's part.
Groups groupPairs(Lowering &l, Value like, Value ids, int64_t experts,
                  int64_t chosen) {
  Type i32 = IntegerType::get(l.b.getContext(), 32);
  Groups g;
  g.order = l.workspace(like, chosen, {}, i32);
  g.place = l.workspace(like, chosen, {}, i32);
  g.offsets = memref::AllocOp::create(l.b, l.loc(),
                                      MemRefType::get({experts + 1}, i32));
  SmallVector<Value> operands{ids, g.order, g.offsets, g.place, l.count(like)};
  auto kernel = l.kernels.get(
      "moe_group", std::to_string(experts) + "_" + std::to_string(chosen),
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        using P = arith::CmpIPredicate;
        constexpr int64_t kWidth = 128;
        SmallVector<int64_t> shape{kWidth};
        Value e = k.pid(0), pairs = k.muli(k.arg(4), chosen);
        auto sum = [&](Value mask) {
          return k.total(tile::ReduceKind::Add, k.toInt(mask));
        };
        auto tileAt = [&](Value at, P predicate) {
          Value p = k.iadd(k.splat(k.toI32(at), shape), k.iota(kWidth));
          Value id = k.load(k.arg(0), at, shape, pairs);
          Value real = k.icmp(P::slt, p, k.splat(k.toI32(pairs), shape));
          Value hit = k.icmp(predicate, id, k.splat(k.toI32(e), shape));
          return std::pair<Value, Value>(p, k.bitAnd(real, hit));
        };
        Value first =
            k.loop(k.ci(0), pairs, k.ci(kWidth), k.fullI32(0, {1}),
                   [&](Value at, ValueRange n) -> SmallVector<Value> {
                     return {k.iadd(n[0], sum(tileAt(at, P::slt).second))};
                   })[0];
        k.store(first, k.arg(2), e);
        Value end =
            k.loop(k.ci(0), pairs, k.ci(kWidth), first,
                   [&](Value at, ValueRange n) -> SmallVector<Value> {
                     auto [p, mine] = tileAt(at, P::eq);
                     Value none = k.fullI32(-1, shape);
                     Value place =
                         k.iadd(k.scan(k.toInt(mine)), k.spread(n[0], kWidth));
                     place = k.isub(place, k.fullI32(1, shape));
                     k.scatter(p, k.arg(1), k.select(mine, place, none));
                     k.scatter(place, k.arg(3), k.select(mine, p, none));
                     return {k.iadd(n[0], sum(mine))};
                   })[0];
        Value last = k.cmpi(P::eq, e, k.ci(experts - 1));
        k.when(last, [&] { k.store(end, k.arg(2), k.ci(experts)); });
      });
  Lowering::Grid grid;
  grid.like = like;
  grid.tokenAxis = 1;
  grid.perProgram = l.maxTokens;
  grid.others[0] = experts;
  l.launch(kernel, grid, operands);
  if (l.shapes.rowsByExpert)
    g.rows = rowsInOrder(l, like, g.order, chosen);
  return g;
}

Value tableEntry(KernelBuilder &k, Value table, Value index) {
  auto type = cast<tile::TableType>(table.getType());
  return tile::SelectBufferOp::create(k.b, k.loc, type.getBuffer(), table,
                                      index);
}

WeightTile stackedTile(const TileShapes &shapes, Value stacked) {
  auto type = cast<RankedTensorType>(stacked.getType());
  WeightTile tile = WeightTile::of(shapes, type.getShape().drop_front(),
                                   type.getElementType(), type.getDimSize(1));
  if (!tile.ragged)
    tile.rows = std::min(tile.rows, shapes.expertRows);
  return tile;
}

Value tokensFirst(KernelBuilder &k, Value acc) {
  Shape shape = k.type(acc).getShape();
  return shape[1] == 1 ? k.reshape(acc, {1, shape[0]}) : k.transpose(acc);
}

Value swiglu(KernelBuilder &k, ArrayRef<Value> gu, double limit, Value weight,
             Type carrier) {
  auto rounded = [&](Value v) {
    return k.f32(k.to(tokensFirst(k, v), carrier));
  };
  Value g = rounded(gu[0]), u = rounded(gu[1]);
  Shape shape = k.type(g).getShape();
  Value top = k.full(limit, shape);
  g = k.min(g, top);
  u = k.max(k.min(u, top), k.full(-limit, shape));
  Value a = k.mul(k.mul(g, k.sigmoid(g)), u);
  return weight ? k.mul(k.broadcast(weight, {1}, shape), a) : a;
}

Value quantiseBlocks(KernelBuilder &k, Value x, int64_t block, Type carrier) {
  auto format = dsv4::QuantFormat::E4M3;
  SmallVector<int64_t> shape(k.type(x).getShape());
  SmallVector<int64_t> blocks{shape[0] * shape[1] / block, block};
  ScaledBlock s = scaleBlock(k, k.reshape(k.f32(x), blocks), format);
  Value y = k.mul(roundToGrid(k, s.scaled, format),
                  k.broadcast(s.scale, {1}, blocks));
  return k.reshape(k.to(y, carrier), shape);
}

/// activation[pair] = silu(g) u weight, g and u the products with w1 and w3.
static void gateUp(Experts &x) {
  Lowering &l = x.l;
  dsv4::ExpertsOp op = x.op;
  WeightTile w = stackedTile(l.shapes, op.getW1());
  bool scaled = bool(op.getS1());
  SmallVector<Value> operands;
  ActivationArg input(operands, x.inOrder.rows ? x.inOrder : x.x);
  unsigned rest = operands.size();
  operands.append({x.ids, x.pairWeights, l.buffer(op.getW1()),
                   l.buffer(op.getW3()), x.activation.rows});
  if (scaled)
    operands.append({l.buffer(op.getS1()), l.buffer(op.getS3())});
  unsigned group = operands.size();
  if (x.grouped())
    operands.append({x.offsets, x.order});
  double limit = op.getLimit().convertToDouble();
  auto kernel = l.kernels.get(
      "experts_up",
      std::to_string(x.chosen) + "_t" + std::to_string(x.tokens) + "_" +
          number(limit),
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        using P = arith::CmpIPredicate;
        Value row = k.muli(k.pid(0), w.rows);
        SmallVector<int64_t> list{x.tokens};
        x.forPairs(k, rest, group, [&](Value e, Value first, Value end) {
          WeightOperand up[2] = {{tableEntry(k, k.arg(rest + 2), e), {}},
                                 {tableEntry(k, k.arg(rest + 3), e), {}}};
          if (scaled) {
            up[0].scale = tableEntry(k, k.arg(rest + 5), e);
            up[1].scale = tableEntry(k, k.arg(rest + 6), e);
          }
          k.loop(first, end, k.ci(x.tokens), [&](Value at) {
            Value p = k.iadd(k.splat(k.toI32(at), list), k.iota(x.tokens));
            Value real = k.icmp(P::slt, p, k.splat(k.toI32(end), list));
            if (x.grouped())
              p = k.load(k.arg(group + 1), at, list, end);
            Value token = tokensOfPairs(k, p, real, x.chosen),
                  none = k.fullI32(-1, list);
            auto loadX = [&](Value k0, int64_t width) {
              if (x.inOrder.rows)
                return input.load(k, {at, k0}, {x.tokens, width},
                                  {end, k.ci(w.k)});
              return input.gather(k, token, k0, {x.tokens, width})
                  .ofTokens(at, end);
            };
            auto gu = walkK(k, w, up, row, x.tokens, loadX);
            Value weight =
                k.gather(k.arg(rest + 1), k.select(real, p, none), {}, list);
            Value a = swiglu(k, gu, limit, weight, x.carrier);
            bool bounded = x.tokens > 1 || w.ragged;
            k.store(k.to(a, x.carrier), k.arg(rest + 4), {at, row},
                    bounded ? SmallVector<Value>{end, k.ci(w.n)}
                            : SmallVector<Value>{});
          });
        });
      });
  l.launch(kernel, x.grid(w.blocks()), operands);
}

/// The activation of every pair on the e4m3 grid, for `published` numerics.
static void quantiseActivation(Experts &x, int64_t block) {
  Lowering &l = x.l;
  std::optional<int64_t> codes;
  if (x.op.getS2())
    codes = block;
  Lowering::Activation quantised =
      l.activationSpace(x.op.getX(), x.chosen, x.inner, x.carrier, codes);
  SmallVector<Value> operands{x.activation.rows};
  ActivationArg out(operands, quantised);
  auto kernel =
      l.kernels.get("experts_quantize", std::to_string(block),
                    ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
                      Value p = k.pid(0);
                      k.chunks(x.inner, block, [&](Value c, int64_t w) {
                        Value v = k.load(k.arg(0), {p, c}, {1, w});
                        out.store(k, v, w, x.carrier, {p, c}, {});
                      });
                    });
  Lowering::Grid grid;
  grid.like = x.op.getX();
  grid.multiply = x.chosen;
  l.launch(kernel, grid, operands);
  x.activation = quantised;
}

/// output[pair] = w2 activation[pair], rounded.
static void down(Experts &x) {
  Lowering &l = x.l;
  dsv4::ExpertsOp op = x.op;
  WeightTile w = stackedTile(l.shapes, op.getW2());
  bool scaled = bool(op.getS2());
  SmallVector<Value> operands;
  ActivationArg input(operands, x.activation);
  unsigned rest = operands.size();
  operands.append({x.ids, l.buffer(op.getW2()), x.output});
  if (scaled)
    operands.push_back(l.buffer(op.getS2()));
  unsigned group = operands.size();
  if (x.grouped())
    operands.push_back(x.offsets);
  auto kernel = l.kernels.get(
      "experts_down", "t" + std::to_string(x.tokens),
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value row = k.muli(k.pid(0), w.rows);
        x.forPairs(k, rest, group, [&](Value e, Value first, Value end) {
          WeightOperand weight{tableEntry(k, k.arg(rest + 1), e),
                               scaled ? tableEntry(k, k.arg(rest + 3), e)
                                      : Value()};
          k.loop(first, end, k.ci(x.tokens), [&](Value at) {
            auto loadX = [&](Value k0, int64_t width) {
              SmallVector<Value> bounds;
              if (x.tokens > 1)
                bounds = {end, k.ci(w.k)};
              return input.load(k, {at, k0}, {x.tokens, width}, bounds);
            };
            Value y = k.transpose(walkK(k, w, weight, row, x.tokens, loadX)[0]);
            bool bounded = x.tokens > 1 || w.ragged;
            k.store(k.to(y, x.carrier), k.arg(rest + 2), {at, row},
                    bounded ? SmallVector<Value>{end, k.ci(w.n)}
                            : SmallVector<Value>{});
          });
        });
      });
  l.launch(kernel, x.grid(w.blocks()), operands);
}

/// result[t] = sum of the token's pairs in ascending expert id, f32.
static void collect(Experts &x) {
  Lowering &l = x.l;
  SmallVector<Value> operands{x.output};
  if (x.grouped())
    operands.push_back(x.place);
  operands.push_back(l.result(x.op.getResult(), x.op.getX()));
  unsigned out = operands.size() - 1;
  int64_t chunk = pow2Divisor(x.hidden, l.shapes.elements / 2);
  auto kernel = l.kernels.get(
      "experts_sum", std::to_string(x.chosen), ValueRange(operands).getTypes(),
      [&](KernelBuilder &k) {
        Value t = k.pid(0), c = k.muli(k.pid(1), chunk),
              first = k.muli(t, x.chosen);
        Value sum = k.loop(
            k.ci(0), k.ci(x.chosen), k.ci(1), k.full(0, {chunk}),
            [&](Value j, ValueRange acc) -> SmallVector<Value> {
              Value p = k.addi(first, j);
              if (x.grouped())
                p = k.loadIndex(k.arg(1), p);
              return {k.add(acc[0], k.f32(k.load(k.arg(0), {p, c}, {chunk})))};
            })[0];
        k.store(sum, k.arg(out), {t, c});
      });
  Lowering::Grid grid;
  grid.like = x.op.getX();
  grid.others[0] = x.hidden / chunk;
  l.launch(kernel, grid, operands);
}

/// The second of some numbers of tokens, or the only one.
static int64_t smaller(ArrayRef<int64_t> pairs) {
  return pairs[1] ? pairs[1] : pairs[0];
}

void lowerExperts(Lowering &l, dsv4::ExpertsOp op) {
  auto xType = cast<RankedTensorType>(op.getX().getType());
  Experts x{l,  op, 0,  0,  0,  0,  0, xType.getElementType(), {}, {},
            {}, {}, {}, {}, {}, {}, {}};
  auto w1 = cast<RankedTensorType>(op.getW1().getType());
  x.experts = w1.getDimSize(0);
  x.inner = w1.getDimSize(1);
  x.hidden = xType.getDimSize(1);
  x.chosen = cast<RankedTensorType>(op.getIds().getType()).getDimSize(1);
  x.tokens = l.maxTokens == 1    ? 1
             : l.maxTokens <= 16 ? smaller(l.shapes.fewPairs)
                                 : smaller(l.shapes.manyPairs);
  x.x = l.activation(op.getX());
  x.ids = l.flat(l.buffer(op.getIds()));
  x.pairWeights = l.flat(l.buffer(op.getWeights()));
  if (l.maxTokens > 1) {
    Groups g = groupPairs(l, op.getX(), x.ids, x.experts, x.chosen);
    x.order = g.order;
    x.offsets = g.offsets;
    x.place = g.place;
    x.inOrder = g.rows;
  }
  x.activation.rows = l.workspace(op.getX(), x.chosen, {x.inner}, x.carrier);
  gateUp(x);
  if (auto block = op.getHiddenBlock())
    quantiseActivation(x, *block);
  x.output = l.workspace(op.getX(), x.chosen, {x.hidden}, x.carrier);
  down(x);
  collect(x);
}

} // namespace fathom
