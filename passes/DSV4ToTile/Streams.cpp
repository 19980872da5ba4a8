// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Fused hyper-connections. A mix reads (2+n)n rows of weights as long as all
// streams together: too much for one program, so every block of channels gives
// its share of the sums while it is at hand.
#include "passes/DSV4ToTile/Streams.h"

#include "passes/DSV4ToTile/MoE.h"

using namespace mlir;

namespace fathom {

Residual Residual::of(dsv4::FusedOp group) {
  Residual r;
  for (Operation &op : group.members()) {
    if (auto post = dyn_cast<dsv4::HCPostOp>(op))
      r.post = post;
    else if (auto pre = dyn_cast<dsv4::HCPreOp>(op))
      r.pre = pre;
    else if (auto embed = dyn_cast<dsv4::EmbedOp>(op))
      r.embed = embed;
    else if (auto expand = dyn_cast<dsv4::HCExpandOp>(op))
      r.expand = expand;
  }
  for (Operation &op : group.members()) {
    Value norm = r.norm ? r.norm.getResult() : Value();
    if (auto o = dyn_cast<dsv4::RMSNormOp>(op)) {
      if (r.pre && o.getX() == r.pre.getX())
        r.norm = o;
    } else if (auto o = dyn_cast<dsv4::FakeQuantizeOp>(op)) {
      if (o.getX() == norm)
        r.quantise = o;
    } else if (auto o = dyn_cast<dsv4::GateOp>(op)) {
      if (o.getX() == norm)
        r.gate = o;
    }
  }
  return r;
}

SmallVector<Operation *> Residual::members() const {
  return {embed, expand, post, pre, norm, quantise, gate};
}

SmallVector<Value> Residual::results() const {
  // The embedding and the mix go on to the streams and the norm alone.
  SmallVector<Value> all;
  for (Operation *op : members())
    if (op && !isa<dsv4::EmbedOp>(op))
      llvm::append_range(all, op->getResults());
  if (dsv4::HCPreOp mix = pre)
    llvm::erase(all, mix.getX());
  return all;
}

/// Channels that the second kernel takes at once.
static int64_t finishChunk(const TileShapes &shapes, int64_t width) {
  return pow2Divisor(width, shapes.finishChannels);
}

int64_t streamBlock(const TileShapes &shapes, int64_t width) {
  return pow2Divisor(width, shapes.streamChannels);
}

bool Residual::fits(const TileShapes &shapes) const {
  dsv4::HCPostOp post = this->post;
  dsv4::HCPreOp pre = this->pre;
  dsv4::HCExpandOp expand = this->expand;
  dsv4::EmbedOp embed = this->embed;
  dsv4::RMSNormOp norm = this->norm;
  if ((!post && !pre) || (post && expand) ||
      (expand && pre.getH() != expand.getResult()) ||
      (embed && (!expand || expand.getX() != embed.getResult())))
    return false;
  auto type =
      cast<RankedTensorType>((pre ? pre.getH() : post.getH()).getType());
  int64_t n = type.getDimSize(1), width = type.getDimSize(2);
  if (pow2Ceil(n) != n || streamBlock(shapes, width) < 8)
    return false;
  if (!pre)
    return true;
  if (!norm || (post && pre.getH() != post.getResult()) ||
      !haveOneCarrier({pre.getH(), norm.getResult()}))
    return false;
  if (dsv4::FakeQuantizeOp q = quantise) {
    int64_t block = q.getBlock();
    if (q.getFormat() != dsv4::QuantFormat::E4M3 ||
        int64_t(q.getChannels()) != width || pow2Ceil(block) != block ||
        finishChunk(shapes, width) % block != 0)
      return false;
  }
  return true;
}

StreamsUpdate::StreamsUpdate(Lowering &l, const Residual &r) {
  dsv4::HCPostOp post = r.post;
  dsv4::HCPreOp pre = r.pre;
  dsv4::HCExpandOp expand = r.expand;
  dsv4::EmbedOp embed = r.embed;
  posts = bool(post);
  mixes = bool(pre);
  embeds = bool(embed);
  expands = bool(expand);
  Value h = post ? post.getH() : pre.getH();
  auto type = cast<RankedTensorType>(h.getType());
  n = type.getDimSize(1);
  width = type.getDimSize(2);
  blockSize = streamBlock(l.shapes, width);
  byStream = l.shapes.streamByStream;
  together = l.shapes.streamTokens;
  if (embeds) {
    operands = {l.result(h, embed.getIds()), l.buffer(embed.getTable()),
                l.buffer(embed.getIds())};
    embedded = getElementTypeOrSelf(embed.getResult());
  } else if (expands) {
    operands = {l.result(h, expand.getX()), l.buffer(expand.getX())};
    embedded = getElementTypeOrSelf(expand.getX());
  } else {
    operands.push_back(l.buffer(h));
  }
  if (posts)
    operands.append({l.buffer(post.getPost()), l.buffer(post.getComb()),
                     l.result(post.getResult(), h)});
  if (mixes) {
    coefficients = (2 + n) * n;
    row = std::max(pow2Ceil(coefficients + 1), l.shapes.mixRows);
    Value fn = l.buffer(pre.getFn());
    auto fnType = cast<MemRefType>(fn.getType());
    fn = memref::ExpandShapeOp::create(
        l.b, l.loc(),
        MemRefType::get({coefficients, n, width}, fnType.getElementType()), fn,
        SmallVector<ReassociationIndices>{{0}, {1, 2}});
    shares =
        l.workspace(h, 1, {blocks(), row}, Float32Type::get(l.b.getContext()));
    operands.append({fn, shares});
  }
  params = std::string(embeds    ? "embed"
                       : expands ? "expand"
                                 : "") +
           std::string(posts ? "post" : "") + (mixes ? "mix" : "");
}

/// The block of the embedding, f32 [tokens, block], as the streams have it.
Value StreamsUpdate::embeddingOf(KernelBuilder &k, unsigned first,
                                 int64_t tokens, Value t, Value c,
                                 Value count) const {
  Value e;
  if (embeds) {
    SmallVector<Value> bound;
    if (tokens > 1)
      bound.push_back(count);
    Value ids = k.load(k.arg(first + 2), t, {tokens}, bound);
    e = k.gather(k.arg(first + 1), ids, c, {tokens, blockSize});
  } else {
    SmallVector<Value> bounds;
    if (tokens > 1)
      bounds = {count, k.ci(width)};
    e = k.load(k.arg(first + 1), {t, c}, {tokens, blockSize}, bounds);
  }
  return k.f32(k.to(k.f32(e), embedded));
}

/// The block of the first streams, f32 [tokens, n, block]: the embedding, as
/// often as there are streams.
Value StreamsUpdate::expanded(KernelBuilder &k, unsigned first, int64_t tokens,
                              Value t, Value c, Value count) const {
  Value e = embeddingOf(k, first, tokens, t, c, count);
  SmallVector<Value> bounds;
  if (tokens > 1)
    bounds = {count, k.ci(n), k.ci(width)};
  e = k.broadcast(e, {1}, {tokens, n, blockSize});
  Value h = k.to(e, k.argType(first).getElementType());
  k.store(h, k.arg(first), {t, k.ci(0), c}, bounds);
  return k.f32(h);
}

/// The streams of the block after the post-mix, f32 [tokens, n, block].
Value StreamsUpdate::updated(KernelBuilder &k, unsigned first, int64_t tokens,
                             Value y, Value t, Value c, Value count) const {
  SmallVector<int64_t> shape{tokens, n, blockSize};
  SmallVector<Value> bounds, pairBounds, smallBounds;
  if (tokens > 1) {
    bounds = {count, k.ci(n), k.ci(width)};
    pairBounds = {count, k.ci(n), k.ci(n)};
    smallBounds = {count, k.ci(n)};
  }
  Value zero = k.ci(0);
  if (expands)
    return expanded(k, first, tokens, t, c, count);
  if (!posts)
    return k.f32(k.load(k.arg(first), {t, zero, c}, shape, bounds));
  Value sum;
  for (int64_t i = 0; i < n; ++i) {
    Value weight = k.load(k.arg(first + 2), {t, k.ci(i), zero}, {tokens, 1, n},
                          pairBounds);
    Value h = k.f32(
        k.load(k.arg(first), {t, k.ci(i), c}, {tokens, 1, blockSize}, bounds));
    Value x = k.mul(k.broadcast(k.reshape(weight, {tokens, n}), {2}, shape),
                    k.broadcast(k.reshape(h, {tokens, blockSize}), {1}, shape));
    sum = sum ? k.add(sum, x) : x;
  }
  Value weight = k.load(k.arg(first + 1), {t, zero}, {tokens, n}, smallBounds);
  Value x = k.mul(k.broadcast(weight, {2}, shape), k.broadcast(y, {1}, shape));
  Value next = k.to(k.add(x, sum), k.argType(first + 3).getElementType());
  k.store(next, k.arg(first + 3), {t, zero, c}, bounds);
  return k.f32(next);
}

void StreamsUpdate::applyByStream(KernelBuilder &k, unsigned first,
                                  int64_t tokens, Value y, Value t, Value c,
                                  Value count) const {
  SmallVector<int64_t> shape{tokens, blockSize};
  auto bounds = [&](ArrayRef<int64_t> sizes) {
    SmallVector<Value> all;
    if (tokens > 1)
      all.push_back(count);
    for (int64_t size : sizes)
      if (tokens > 1)
        all.push_back(k.ci(size));
    return all;
  };
  // One column of coefficients, for each of the block's channels.
  auto column = [&](unsigned arg, ArrayRef<Value> at, ArrayRef<int64_t> sizes) {
    SmallVector<int64_t> one(at.size(), 1);
    one.front() = tokens;
    Value x = k.load(k.arg(arg), at, one, bounds(sizes));
    return k.broadcast(k.reshape(x, {tokens}), {1}, shape);
  };
  auto load = [&](int64_t i) {
    Value h = k.load(k.arg(first), {t, k.ci(i), c}, {tokens, 1, blockSize},
                     bounds({n, width}));
    return k.f32(k.reshape(h, shape));
  };
  SmallVector<Value> before;
  Value embedding;
  if (expands)
    embedding = embeddingOf(k, first, tokens, t, c, count);
  else
    for (int64_t i = 0; i < n; ++i)
      before.push_back(load(i));
  unsigned fn = first + operands.size() - 2, out = fn + 1;
  // The squares stand in the row behind the coefficients: a product with ones
  // there, since a sum of its own would be longer than all the products.
  Value z, ones;
  if (mixes) {
    z = k.full(0, {row, tokens});
    Value last = k.icmp(arith::CmpIPredicate::eq, k.iota(row),
                        k.fullI32(coefficients, {row}));
    SmallVector<int64_t> all{row, blockSize};
    ones =
        k.select(k.broadcast(last, {1}, all), k.full(1, all), k.full(0, all));
  }
  for (int64_t j = 0; j < n; ++j) {
    Value h = expands ? embedding : before[j];
    if (posts) {
      Value sum;
      for (int64_t i = 0; i < n; ++i) {
        Value x =
            k.mul(column(first + 2, {t, k.ci(i), k.ci(j)}, {n, n}), before[i]);
        sum = sum ? k.add(sum, x) : x;
      }
      h = k.add(k.mul(column(first + 1, {t, k.ci(j)}, {n}), y), sum);
    }
    if (posts || expands) {
      unsigned to = first + (posts ? 3 : 0);
      Value next = k.to(h, k.argType(to).getElementType());
      k.store(k.reshape(next, {tokens, 1, blockSize}), k.arg(to),
              {t, k.ci(j), c}, bounds({n, width}));
      h = k.f32(next);
    }
    if (!mixes)
      continue;
    SmallVector<Value> rows{k.ci(coefficients), k.ci(n), k.ci(width)};
    Value w =
        k.load(k.arg(fn), {k.ci(0), k.ci(j), c}, {row, 1, blockSize}, rows);
    w = k.f32(k.reshape(w, {row, blockSize}));
    z = k.dot(tile::DotForm::NT, w, h, z);
    z = k.dot(tile::DotForm::NT, ones, k.mul(h, h), z);
  }
  if (!mixes)
    return;
  k.store(k.reshape(tokensFirst(k, z), {tokens, 1, row}), k.arg(out),
          {t, k.divi(c, blockSize), k.ci(0)}, bounds({blocks(), row}));
}

void StreamsUpdate::apply(KernelBuilder &k, unsigned first, int64_t tokens,
                          Value y, Value t, Value c, Value count) const {
  if (tokens <= together)
    return applyTogether(k, first, tokens, y, t, c, count);
  Value end = k.mini(k.addi(t, k.ci(tokens)), count);
  k.loop(t, end, k.ci(together), [&](Value at) {
    Value part = y ? k.rows(y, k.subi(at, t), together) : Value();
    applyTogether(k, first, together, part, at, c, count);
  });
}

void StreamsUpdate::applyTogether(KernelBuilder &k, unsigned first,
                                  int64_t tokens, Value y, Value t, Value c,
                                  Value count) const {
  if (byStream)
    return applyByStream(k, first, tokens, y, t, c, count);
  Value h = updated(k, first, tokens, y, t, c, count);
  if (!mixes)
    return;
  unsigned fn = first + operands.size() - 2, out = fn + 1;
  Value block = k.divi(c, blockSize), zero = k.ci(0);
  SmallVector<Value> bounds;
  if (tokens > 1)
    bounds = {count, k.ci(blocks()), k.ci(row)};
  int64_t wide = n * blockSize;
  Value x = k.reshape(h, {tokens, wide});
  Value squares = k.reduce(tile::ReduceKind::Add, k.mul(x, x), 1);
  k.store(k.reshape(squares, {tokens, 1, 1}), k.arg(out),
          {t, block, k.ci(coefficients)}, bounds);
  int64_t start = 0;
  for (int64_t rows : pow2Pieces(coefficients)) {
    Value w =
        k.f32(k.load(k.arg(fn), {k.ci(start), zero, c}, {rows, n, blockSize}));
    Value z = k.dot(tile::DotForm::NT, k.reshape(w, {rows, wide}), x,
                    k.full(0, {rows, tokens}));
    z = tokens == 1 ? k.reshape(z, {1, rows}) : k.transpose(z);
    k.store(k.reshape(z, {tokens, 1, rows}), k.arg(out),
            {t, block, k.ci(start)}, bounds);
    start += rows;
  }
}

namespace {
/// Coefficients of one token as a tile of rows of n: `pre`, `post`, the matrix
/// in n rows, then padding.
struct Coefficients {
  KernelBuilder &k;
  int64_t n, rows;
  SmallVector<int64_t> shape{rows, n};

  Value rowIs(arith::CmpIPredicate p, int64_t i) {
    return k.icmp(p, k.broadcast(k.iota(rows), {1}, shape),
                  k.fullI32(i, shape));
  }
  /// v in the rows of the matrix, `other` elsewhere.
  Value matrix(Value v, double other) {
    using P = arith::CmpIPredicate;
    Value o = k.full(other, shape);
    v = k.select(rowIs(P::sge, 2), v, o);
    return rows == 2 + n ? v : k.select(rowIs(P::slt, 2 + n), v, o);
  }
  Value divided(Value v, int64_t dim, double plus) {
    Value sum = k.add(k.reduce(tile::ReduceKind::Add, v, dim), plus);
    return k.div(v, k.broadcast(sum, {dim}, shape));
  }
  /// See spec, hc_pre. Rows beside the matrix are zero and stay so.
  Value sinkhorn(Value c, double eps, int64_t iterations) {
    c = matrix(c, 0);
    Value m = k.reduce(tile::ReduceKind::Max, c, 1);
    c = matrix(k.exp(k.sub(c, k.broadcast(m, {1}, shape))), 0);
    Value sum = k.reduce(tile::ReduceKind::Add, c, 1);
    c = matrix(k.add(k.div(c, k.broadcast(sum, {1}, shape)), eps), 0);
    c = divided(c, 0, eps);
    return k.loop(k.ci(1), k.ci(iterations), k.ci(1), c,
                  [&](Value, ValueRange carried) -> SmallVector<Value> {
                    return {divided(divided(carried[0], 1, eps), 0, eps)};
                  })[0];
  }
};

/// The second kernel and the places of its arguments.
struct Finish {
  Lowering &l;
  const Residual &r;
  int64_t n, width, coefficients, row, blocks;
  SmallVector<Value> operands;
  int normWeight = -1, normed = -1, gateWeight = -1, scores = -1;
  std::optional<ActivationArg> quantised;
  std::optional<WeightTile> router;

  int add(Value v) {
    operands.push_back(v);
    return operands.size() - 1;
  }
  Finish(Lowering &l, const Residual &r, Value shares);
  std::string params() const;
  int64_t programs() const;
  void write(KernelBuilder &k);

private:
  Coefficients shapeOf(KernelBuilder &k) const { return {k, n, row / n}; }
  /// The logits of all coefficients, from the shares.
  Value logits(KernelBuilder &k, Value t);
  /// What the next post-mix needs.
  void storePost(KernelBuilder &k, Value t, Value gates, Value matrix);
  /// The gates of the mix and of the post-mix: its first two rows.
  Value gatesOf(KernelBuilder &k, Value logits);
  /// The mix, its norm and what follows.
  void mix(KernelBuilder &k, Value t, Value part, Value stores, Value gates);
};
} // namespace

static bool isYielded(Value v) {
  return llvm::any_of(v.getUsers(),
                      [](Operation *op) { return isa<dsv4::YieldOp>(op); });
}

Finish::Finish(Lowering &l, const Residual &r, Value shares) : l(l), r(r) {
  dsv4::HCPreOp pre = r.pre;
  dsv4::RMSNormOp norm = r.norm;
  Value h = pre.getH();
  auto type = cast<RankedTensorType>(h.getType());
  n = type.getDimSize(1);
  width = type.getDimSize(2);
  coefficients = (2 + n) * n;
  auto sharesType = cast<MemRefType>(shares.getType());
  blocks = sharesType.getDimSize(1);
  row = sharesType.getDimSize(2);
  add(shares);
  add(l.buffer(h));
  add(l.buffer(pre.getBase()));
  add(l.buffer(pre.getScale()));
  add(l.result(pre.getPost(), h));
  add(l.result(pre.getComb(), h));
  normWeight = add(l.buffer(norm.getWeight()));
  bool gateHere = r.gate && l.maxTokens == 1;
  if (isYielded(norm.getResult()) || (r.gate && !gateHere))
    normed = add(l.result(norm.getResult(), h));
  if (dsv4::FakeQuantizeOp q = r.quantise)
    quantised = ActivationArg(operands, l.quantised(q, h));
  if (gateHere) {
    dsv4::GateOp gate = r.gate;
    auto weight = cast<RankedTensorType>(gate.getWeight().getType());
    int64_t experts = weight.getDimSize(0);
    router = WeightTile::of(l.shapes, weight.getShape(),
                            weight.getElementType(), experts);
    if (!router->ragged)
      router->rows = pow2Divisor(experts, l.shapes.routerRows);
    gateWeight = add(l.buffer(gate.getWeight()));
    scores = add(l.result(gate.getScores(), h));
  }
}

std::string Finish::params() const {
  dsv4::HCPreOp pre = r.pre;
  dsv4::RMSNormOp norm = r.norm;
  std::string p = number(pre.getHcEps().convertToDouble()) + "_" +
                  number(pre.getNormEps().convertToDouble()) + "_" +
                  std::to_string(pre.getIterations()) + "_" +
                  number(norm.getEps().convertToDouble());
  if (normed >= 0)
    p += "_n";
  if (dsv4::FakeQuantizeOp q = r.quantise)
    p += "_q" + std::to_string(q.getBlock());
  if (router)
    p += "_r";
  return p;
}

/// Programs of a token: one for each block of the router's experts, if it is
/// here, and perhaps one for the matrix.
int64_t Finish::programs() const {
  return (router ? router->blocks() : 1) + (l.shapes.matrixApart ? 1 : 0);
}

Value Finish::logits(KernelBuilder &k, Value t) {
  dsv4::HCPreOp pre = r.pre;
  Coefficients c = shapeOf(k);
  Shape shape = c.shape;
  // One after the other, but read together. (As one tile and its sum they left
  // four coefficients to each thread of an NVIDIA GPU: Sinkhorn took twice as
  // long.)
  int64_t together = pow2Divisor(blocks, l.shapes.sharesTogether);
  Value sums = k.loop(
      k.ci(0), k.ci(blocks), k.ci(together), k.full(0, {row}),
      [&](Value b, ValueRange sum) -> SmallVector<Value> {
        SmallVector<Value> shares;
        for (int64_t i = 0; i < together; ++i)
          shares.push_back(k.load(
              k.arg(0), {t, i ? k.addi(b, k.ci(i)) : b, k.ci(0)}, {row}));
        Value all = sum[0];
        for (Value share : shares)
          all = k.add(all, share);
        return {all};
      })[0];
  Value z = k.reshape(sums, shape);
  // All in scalars: one division and one root.
  Value squares = k.extract(z, {coefficients / n, coefficients % n});
  Value one = k.splat(squares, {1});
  Value inverse = k.div(k.full(1, {1}),
                        k.sqrt(k.add(k.div(one, k.full(double(n * width), {1})),
                                     pre.getNormEps().convertToDouble())));
  z = k.mul(z, k.splat(k.extract(inverse, {0}), shape));
  // Extended as scalars: a select of bf16 tiles has no code on every CPU.
  auto scale = [&](int64_t i) {
    Value x = k.loadScalar(k.arg(3), k.ci(i));
    if (!x.getType().isF32())
      x = arith::ExtFOp::create(k.b, k.loc, k.b.getF32Type(), x);
    return k.splat(x, shape);
  };
  using P = arith::CmpIPredicate;
  Value s = k.select(c.rowIs(P::eq, 0), scale(0),
                     k.select(c.rowIs(P::eq, 1), scale(1), scale(2)));
  Value base = k.f32(
      k.load(k.arg(2), k.ci(0), {row}, SmallVector<Value>{k.ci(coefficients)}));
  return k.add(k.mul(z, s), k.reshape(base, shape));
}

Value Finish::gatesOf(KernelBuilder &k, Value logits) {
  dsv4::HCPreOp pre = r.pre;
  Value sigmoid = k.sigmoid(logits);
  return k.select(shapeOf(k).rowIs(arith::CmpIPredicate::eq, 0),
                  k.add(sigmoid, pre.getHcEps().convertToDouble()),
                  k.mul(sigmoid, 2.0));
}

void Finish::storePost(KernelBuilder &k, Value t, Value gates, Value matrix) {
  for (int64_t j = 0; j < n; ++j)
    k.storeScalar(k.extract(gates, {1, j}), k.arg(4), {t, k.ci(j)});
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      k.storeScalar(k.extract(matrix, {2 + i, j}), k.arg(5),
                    {t, k.ci(i), k.ci(j)});
}

void Finish::write(KernelBuilder &k) {
  using P = arith::CmpIPredicate;
  dsv4::HCPreOp pre = r.pre;
  Value t = k.pid(0), part = k.pid(1);
  Value first = k.cmpi(P::eq, part, k.ci(0)), z = logits(k, t),
        gates = gatesOf(k, z);
  auto matrix = [&] {
    return shapeOf(k).sinkhorn(z, pre.getHcEps().convertToDouble(),
                               pre.getIterations());
  };
  if (!l.shapes.matrixApart) {
    Value m = matrix();
    k.when(first, [&] { storePost(k, t, gates, m); });
    return mix(k, t, part, first, gates);
  }
  k.when(
      k.cmpi(P::eq, part, k.ci(programs() - 1)),
      [&] { storePost(k, t, gates, matrix()); },
      [&] { mix(k, t, part, first, gates); });
}

void Finish::mix(KernelBuilder &k, Value t, Value part, Value stores,
                 Value gates) {
  dsv4::RMSNormOp norm = r.norm;
  SmallVector<Value> weights;
  for (int64_t j = 0; j < n; ++j)
    weights.push_back(k.extract(gates, {0, j}));
  Type carrier = k.argType(1).getElementType();
  auto mixed = [&](Value c, int64_t w) {
    Value sum;
    for (int64_t j = 0; j < n; ++j) {
      Value x = k.mul(k.splat(weights[j], {w}),
                      k.f32(k.load(k.arg(1), {t, k.ci(j), c}, {w})));
      sum = sum ? k.add(sum, x) : x;
    }
    return k.f32(k.to(sum, carrier));
  };
  int64_t w = pow2Divisor(width, l.shapes.rowPiece); // as rms_norm by itself
  // A row that is held is read once, all at a time.
  const int64_t pieces = width / w;
  const bool held = pieces <= l.shapes.heldPieces;
  SmallVector<Value> row;
  for (int64_t i = 0; held && i < pieces; ++i)
    row.push_back(mixed(k.ci(i * w), w));
  Value squares = k.full(0, {w});
  auto addSquares = [&](Value sum, Value x) { return k.add(sum, k.mul(x, x)); };
  if (held)
    for (Value x : row)
      squares = addSquares(squares, x);
  else
    squares = k.loop(k.ci(0), k.ci(width), k.ci(w), squares,
                     [&](Value c, ValueRange sum) -> SmallVector<Value> {
                       return {addSquares(sum[0], mixed(c, w))};
                     })[0];
  Value mean = k.div(k.total(tile::ReduceKind::Add, squares),
                     k.full(double(width), {1}));
  Value inverse =
      k.extract(k.div(k.full(1, {1}),
                      k.sqrt(k.add(mean, norm.getEps().convertToDouble()))),
                {0});
  // From the mix of n channels to what the next kernels read.
  auto normalised = [&](Value x, Value c, int64_t n) {
    Value y = k.mul(x, k.splat(inverse, {n}));
    return k.to(k.mul(y, k.f32(k.load(k.arg(normWeight), c, {n}))), carrier);
  };
  auto store = [&](Value y, Value c, int64_t n) {
    if (normed < 0 && !quantised)
      return;
    auto all = [&] {
      if (normed >= 0)
        k.store(y, k.arg(normed), {t, c});
      if (!quantised)
        return;
      dsv4::FakeQuantizeOp q = r.quantise;
      quantised->store(k, k.reshape(y, {1, n}), q.getBlock(), carrier, {t, c},
                       {});
    };
    // Without a router no other program of the token comes here.
    if (l.shapes.matrixApart && !router)
      all();
    else
      k.when(stores, all);
  };
  if (!router && held) {
    for (auto [i, x] : llvm::enumerate(row)) {
      Value c = k.ci(i * w);
      store(normalised(x, c, w), c, w);
    }
    return;
  }

  int64_t chunk = router ? router->chunk * router->chunksATurn(1)
                         : finishChunk(l.shapes, width);
  SmallVector<Value> init;
  if (router)
    init.push_back(k.full(0, {router->rows, 1}));
  Value expert = router ? k.muli(part, router->rows) : Value();
  auto acc =
      k.loop(k.ci(0), k.ci(width), k.ci(chunk), init,
             [&](Value c, ValueRange carried) -> SmallVector<Value> {
               Value y = normalised(mixed(c, chunk), c, chunk);
               store(y, c, chunk);
               if (!router)
                 return {};
               return router->dot(k, WeightOperand{k.arg(gateWeight), {}},
                                  expert, c, k.reshape(y, {1, chunk}), carried);
             });
  if (!router)
    return;
  Value s = sqrtSoftplus(k, k.reshape(acc[0], {1, router->rows}));
  k.store(s, k.arg(scores), {t, expert},
          router->ragged ? SmallVector<Value>{k.ci(1), k.ci(router->n)}
                         : SmallVector<Value>{});
}

void finishMix(Lowering &l, const Residual &r, Value shares) {
  // The mix is the beginning of the next sub-layer.
  dsv4::HCPreOp mix = r.pre;
  l.setLocation(mix.getLoc());
  Finish f(l, r, shares);
  auto kernel =
      l.kernels.get("hc_finish", f.params(), ValueRange(f.operands).getTypes(),
                    [&](KernelBuilder &k) { f.write(k); });
  dsv4::HCPreOp pre = r.pre;
  Lowering::Grid grid;
  grid.like = pre.getH();
  grid.others[0] = f.programs();
  l.launch(kernel, grid, f.operands);
  if (r.gate && !f.router)
    lowerGate(l, r.gate);
}

void updateAndFinish(Lowering &l, const Residual &r) {
  dsv4::HCPostOp post = r.post;
  dsv4::HCPreOp pre = r.pre;
  StreamsUpdate update(l, r);
  SmallVector<Value> operands;
  if (post)
    operands.push_back(l.buffer(post.getY()));
  unsigned first = operands.size();
  operands.append(update.operands);
  // The streams' beginning belongs to no layer, the mix to the first.
  if (dsv4::HCExpandOp expand = r.expand)
    l.setLocation(expand.getLoc());
  Value like = post ? post.getH() : pre.getH();
  operands.push_back(l.count(like));
  int64_t tokens = std::min(l.tokenTile(), l.shapes.streamTokens);
  auto kernel = l.kernels.get(
      "hc_update", update.params + "_t" + std::to_string(tokens),
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value c = k.muli(k.pid(0), update.block()),
              t = k.muli(k.pid(1), tokens), count = k.arg(operands.size() - 1);
        Value y;
        if (post) {
          SmallVector<Value> bounds;
          if (tokens > 1)
            bounds = {count, k.ci(update.block() * update.blocks())};
          y = k.f32(k.load(k.arg(0), {t, c}, {tokens, update.block()}, bounds));
        }
        update.apply(k, first, tokens, y, t, c, count);
      });
  Lowering::Grid grid;
  grid.like = like;
  grid.tokenAxis = 1;
  grid.perProgram = tokens;
  grid.others[0] = update.blocks();
  l.launch(kernel, grid, operands);
  if (!pre)
    return;
  finishMix(l, r, update.shares);
}

} // namespace fathom
