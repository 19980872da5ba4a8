// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Hyper-connections: the mix coefficients as one kernel over tokens (a small
// matrix product), what follows from them as one program per token.
#include "passes/DSV4ToTile/Lowering.h"

using namespace mlir;

namespace fathom {

/// z[t, :] = (fn f) / sqrt(mean f^2 + eps), f = the token's streams, flat.
static Value mix(Lowering &l, Value h, Value fn, double eps) {
  Value flat = l.buffer(h);
  auto hType = cast<MemRefType>(flat.getType());
  int64_t width = hType.getDimSize(1) * hType.getDimSize(2);
  flat = l.expand(flat, {width});
  int64_t n = cast<RankedTensorType>(fn.getType()).getDimSize(0),
          rows = std::max(pow2Ceil(n), l.shapes.mixRows);
  Value z = l.workspace(h, 1, {n}, Float32Type::get(l.b.getContext()));
  SmallVector<Value> operands{flat, l.buffer(fn), z, l.count(h)};
  int64_t tokens = l.tokenTile(), chunk = pow2Divisor(width, l.shapes.mixChunk);
  auto kernel = l.kernels.get(
      "hc_mix", number(eps) + "_t" + std::to_string(tokens),
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value t = k.muli(k.pid(0), tokens), count = k.arg(3);
        SmallVector<Value> xBounds, fnBounds;
        if (tokens > 1)
          xBounds = {count, k.ci(width)};
        if (rows != n)
          fnBounds = {k.ci(n), k.ci(width)};
        auto sums = k.loop(
            k.ci(0), k.ci(width), k.ci(chunk),
            {k.full(0, {rows, tokens}), k.full(0, {tokens, chunk})},
            [&](Value c, ValueRange acc) -> SmallVector<Value> {
              Value x =
                  k.f32(k.load(k.arg(0), {t, c}, {tokens, chunk}, xBounds));
              Value w = k.f32(
                  k.load(k.arg(1), {k.ci(0), c}, {rows, chunk}, fnBounds));
              return {k.dot(tile::DotForm::NT, w, x, acc[0]),
                      k.add(acc[1], k.mul(x, x))};
            });
        Value mean = k.div(k.reduce(tile::ReduceKind::Add, sums[1], 1),
                           k.full(double(width), {tokens}));
        Value inverse = k.div(k.full(1, {tokens}), k.sqrt(k.add(mean, eps)));
        Value y = k.mul(k.transpose(sums[0]),
                        k.broadcast(inverse, {1}, {tokens, rows}));
        bool bounded = tokens > 1 || rows != n;
        k.store(y, k.arg(2), {t, k.ci(0)},
                bounded ? SmallVector<Value>{count, k.ci(n)}
                        : SmallVector<Value>{});
      });
  Lowering::Grid grid;
  grid.like = h;
  grid.perProgram = tokens;
  l.launch(kernel, grid, operands);
  return z;
}

namespace {
/// Streams in a tile padded to a power of two.
struct Streams {
  KernelBuilder &k;
  int64_t n, padded;
  Streams(KernelBuilder &k, int64_t n) : k(k), n(n), padded(pow2Ceil(n)) {}
  SmallVector<Value> bound(int64_t at = 0) {
    return padded == n ? SmallVector<Value>{}
                       : SmallVector<Value>{k.ci(at + n)};
  }
  /// i1 [padded, padded]: both coordinates below n.
  Value inside() {
    Value i = k.icmp(arith::CmpIPredicate::slt, k.iota(padded),
                     k.fullI32(n, {padded}));
    return k.bitAnd(k.broadcast(i, {1}, {padded, padded}),
                    k.broadcast(i, {0}, {padded, padded}));
  }
  /// x * scale[i] + base.
  Value affine(Value x, Value scale, int64_t i, Value base) {
    Value s =
        k.f32(k.splat(k.loadScalar(scale, k.ci(i)), k.type(x).getShape()));
    return k.add(k.mul(x, s), base);
  }
};
} // namespace

/// Sinkhorn normalisation of the logits c [n, n] (source, destination), spec
/// section 2: softmax over destinations, then columns and rows in turn.
static Value sinkhorn(Streams &s, Value c, double eps, int64_t iterations) {
  KernelBuilder &k = s.k;
  SmallVector<int64_t> shape{s.padded, s.padded};
  Value inside = s.padded == s.n ? Value() : s.inside();
  Value zero = k.full(0, shape);
  auto masked = [&](Value v) { return inside ? k.select(inside, v, zero) : v; };
  auto divided = [&](Value v, int64_t dim, double plus) {
    Value sum = k.reduce(tile::ReduceKind::Add, v, dim);
    if (plus)
      sum = k.add(sum, plus);
    return masked(k.div(v, k.broadcast(sum, {dim}, shape)));
  };
  if (inside)
    c = k.select(inside, c, k.full(-1e30, shape));
  Value m = k.reduce(tile::ReduceKind::Max, c, 1);
  c = masked(k.exp(k.sub(c, k.broadcast(m, {1}, shape))));
  c = masked(k.add(divided(c, 1, 0), eps));
  c = divided(c, 0, eps);
  return k.loop(k.ci(1), k.ci(iterations), k.ci(1), c,
                [&](Value, ValueRange carried) -> SmallVector<Value> {
                  return {divided(divided(carried[0], 1, eps), 0, eps)};
                })[0];
}

/// x[t, :] = sum_j pre[t, j] h[t, j, :], rounded once.
static void weightedSum(Lowering &l, Value pre, Value h, Value result) {
  SmallVector<Value> operands{pre, l.buffer(h), l.result(result, h)};
  auto type = cast<MemRefType>(operands[1].getType());
  int64_t n = type.getDimSize(1), width = type.getDimSize(2),
          chunk = pow2Divisor(width, l.shapes.elements);
  auto kernel = l.kernels.get(
      "hc_collect", "", ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value t = k.pid(0), c = k.muli(k.pid(1), chunk), sum;
        for (int64_t j = 0; j < n; ++j) {
          Value w = k.splat(k.loadScalar(k.arg(0), {t, k.ci(j)}), {chunk});
          Value x = k.mul(w, k.f32(k.load(k.arg(1), {t, k.ci(j), c}, {chunk})));
          sum = sum ? k.add(sum, x) : x;
        }
        k.store(k.to(sum, k.argType(2).getElementType()), k.arg(2), {t, c});
      });
  Lowering::Grid grid;
  grid.like = h;
  grid.others[0] = width / chunk;
  l.launch(kernel, grid, operands);
}

void lowerHCPre(Lowering &l, dsv4::HCPreOp op) {
  Value h = op.getH();
  int64_t n = cast<RankedTensorType>(h.getType()).getDimSize(1);
  double eps = op.getHcEps().convertToDouble();
  int64_t iterations = op.getIterations();
  Value z = mix(l, h, op.getFn(), op.getNormEps().convertToDouble());
  Type f32 = Float32Type::get(l.b.getContext());
  Value pre = l.workspace(h, 1, {n}, f32);
  // A row of z is (2+n) rows of n: pre, post, and the matrix.
  SmallVector<Value> operands{
      l.expand(z, {2 + n, n}),   l.buffer(op.getBase()),
      l.buffer(op.getScale()),   pre,
      l.result(op.getPost(), h), l.result(op.getComb(), h)};
  auto kernel = l.kernels.get(
      "hc_split", number(eps) + "_" + std::to_string(iterations),
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Streams s(k, n);
        Value t = k.pid(0), zero = k.ci(0);
        int64_t p = s.padded;
        auto row = [&](int64_t i) {
          Value x = k.load(k.arg(0), {t, k.ci(i), zero}, {p}, s.bound());
          Value base =
              k.f32(k.load(k.arg(1), k.ci(i * n), {p}, s.bound(i * n)));
          return k.sigmoid(s.affine(x, k.arg(2), i, base));
        };
        k.store(k.add(row(0), eps), k.arg(3), {t, zero}, s.bound());
        k.store(k.mul(row(1), 2.0), k.arg(4), {t, zero}, s.bound());
        SmallVector<Value> bounds, outBounds;
        if (p != n) {
          bounds = {k.ci(2 + n), k.ci(n)};
          outBounds = {k.ci(n), k.ci(n)};
        }
        Value c = k.load(k.arg(0), {t, k.ci(2), zero}, {p, p}, bounds);
        // base[2n + i n + j] as rows: one row of the base vector at a time.
        Value base = k.full(0, {p, p});
        for (int64_t i = 0; i < n; ++i) {
          Value r = k.f32(
              k.load(k.arg(1), k.ci((2 + i) * n), {p}, s.bound((2 + i) * n)));
          Value here =
              k.icmp(arith::CmpIPredicate::eq, k.iota(p), k.fullI32(i, {p}));
          base = k.select(k.broadcast(here, {1}, {p, p}),
                          k.broadcast(r, {0}, {p, p}), base);
        }
        c = sinkhorn(s, s.affine(c, k.arg(2), 2, base), eps, iterations);
        k.store(c, k.arg(5), {t, zero, zero}, outBounds);
      });
  Lowering::Grid grid;
  grid.like = h;
  l.launch(kernel, grid, operands);
  weightedSum(l, pre, h, op.getX());
}

void lowerHCHead(Lowering &l, dsv4::HCHeadOp op) {
  Value h = op.getH();
  int64_t n = cast<RankedTensorType>(h.getType()).getDimSize(1);
  double eps = op.getHcEps().convertToDouble();
  Value z = mix(l, h, op.getFn(), op.getNormEps().convertToDouble());
  Value pre = l.workspace(h, 1, {n}, Float32Type::get(l.b.getContext()));
  SmallVector<Value> operands{z, l.buffer(op.getBase()),
                              l.buffer(op.getScale()), pre};
  auto kernel = l.kernels.get(
      "hc_head", number(eps), ValueRange(operands).getTypes(),
      [&](KernelBuilder &k) {
        Streams s(k, n);
        Value t = k.pid(0), zero = k.ci(0);
        Value x = k.load(k.arg(0), {t, zero}, {s.padded}, s.bound());
        Value base = k.f32(k.load(k.arg(1), zero, {s.padded}, s.bound()));
        Value y = k.add(k.sigmoid(s.affine(x, k.arg(2), 0, base)), eps);
        k.store(y, k.arg(3), {t, zero}, s.bound());
      });
  Lowering::Grid grid;
  grid.like = h;
  l.launch(kernel, grid, operands);
  weightedSum(l, pre, h, op.getResult());
}

void lowerHCPost(Lowering &l, dsv4::HCPostOp op) {
  SmallVector<Value> operands{l.buffer(op.getY()), l.buffer(op.getH()),
                              l.buffer(op.getPost()), l.buffer(op.getComb()),
                              l.result(op.getResult(), op.getH())};
  auto type = cast<MemRefType>(operands[1].getType());
  int64_t n = type.getDimSize(1), width = type.getDimSize(2),
          chunk = pow2Divisor(width, l.shapes.elements / 2);
  auto kernel = l.kernels.get(
      "hc_post", "", ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value t = k.pid(0), c = k.muli(k.pid(1), chunk), j = k.pid(2);
        auto scalar = [&](Value v) { return k.splat(v, {chunk}); };
        Value sum;
        for (int64_t i = 0; i < n; ++i) {
          Value w = scalar(k.loadScalar(k.arg(3), {t, k.ci(i), j}));
          Value x = k.mul(w, k.f32(k.load(k.arg(1), {t, k.ci(i), c}, {chunk})));
          sum = sum ? k.add(sum, x) : x;
        }
        Value y = k.f32(k.load(k.arg(0), {t, c}, {chunk}));
        y = k.add(k.mul(scalar(k.loadScalar(k.arg(2), {t, j})), y), sum);
        k.store(k.to(y, k.argType(4).getElementType()), k.arg(4), {t, j, c});
      });
  Lowering::Grid grid;
  grid.like = op.getH();
  grid.others[0] = width / chunk;
  grid.others[1] = n;
  l.launch(kernel, grid, operands);
}

} // namespace fathom
