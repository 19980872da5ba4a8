// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From the streams to the input of the vocabulary's matrix, for the rows whose
// logits are wanted: one program a row, perhaps after a launch whose programs
// make shares of its mix. The product itself is a launch of its own, since
// every block of the vocabulary needs the whole row.
#include "passes/DSV4ToTile/Lowering.h"

using namespace mlir;

namespace fathom {

namespace {
struct Head {
  dsv4::SelectRowsOp select;
  dsv4::HCHeadOp mix;
  dsv4::RMSNormOp norm;
  dsv4::LinearOp linear;

  bool match(dsv4::FusedOp group) {
    for (Operation &op : group.members()) {
      if (auto member = dyn_cast<dsv4::SelectRowsOp>(op))
        select = member;
      else if (auto member = dyn_cast<dsv4::HCHeadOp>(op))
        mix = member;
      else if (auto member = dyn_cast<dsv4::RMSNormOp>(op))
        norm = member;
      else if (auto member = dyn_cast<dsv4::LinearOp>(op))
        linear = member;
      else
        return false;
    }
    return select && mix && norm && linear &&
           mix.getH() == select.getResult() && norm.getX() == mix.getResult() &&
           linear.getX() == norm.getResult();
  }
};
} // namespace

namespace {
/// The mix of a row's streams: sums over all their channels, n with the weights
/// and one of squares, and what they make.
struct HeadMix {
  dsv4::HCHeadOp op;
  const TileShapes &shapes;
  int64_t n, width; // streams, channels of all of them

  int64_t chunk() const { return pow2Divisor(width, shapes.mixChunk); }
  /// Channels of a share of the sums; all of them where the row's program makes
  /// them itself.
  int64_t share() const {
    return shapes.headShare ? pow2Divisor(width, shapes.headShare) : width;
  }
  int64_t shares() const { return width / share(); }
  /// Of a share in memory: the sums, then nothing.
  int64_t shareWidth() const { return pow2Ceil(n + 1); }

  struct Sums {
    Value z, squares; // [n], [1]
  };
  /// Of channels from .. from+count-1, in the order of sums of hc_head.
  Sums walk(KernelBuilder &k, Value streams, Value fn, Value row, Value from,
            int64_t count) const;
  /// pre_j of the streams, [n].
  Value finish(KernelBuilder &k, Sums sums, Value base, Value scale) const;
};
} // namespace

HeadMix::Sums HeadMix::walk(KernelBuilder &k, Value streams, Value fn,
                            Value row, Value from, int64_t count) const {
  int64_t rows = std::max(n, shapes.mixRows);
  SmallVector<Value> bounds;
  if (rows != n)
    bounds = {k.ci(n), k.ci(width)};
  Value end = count == width ? k.ci(width) : k.addi(from, k.ci(count));
  auto sums = k.loop(
      from, end, k.ci(chunk()), {k.full(0, {rows, 1}), k.full(0, {1, chunk()})},
      [&](Value c, ValueRange acc) -> SmallVector<Value> {
        Value x = k.f32(k.load(streams, {row, c}, {1, chunk()}));
        Value w = k.f32(k.load(fn, {k.ci(0), c}, {rows, chunk()}, bounds));
        return {k.dot(tile::DotForm::NT, w, x, acc[0]),
                k.add(acc[1], k.mul(x, x))};
      });
  Value z = k.reshape(sums[0], {rows});
  if (rows != n)
    z = k.extract(z, k.ci(0), n);
  return {z, k.reduce(tile::ReduceKind::Add, sums[1], 1)};
}

Value HeadMix::finish(KernelBuilder &k, Sums sums, Value base,
                      Value scale) const {
  dsv4::HCHeadOp op = this->op;
  Value mean = k.div(sums.squares, k.full(double(width), {1}));
  Value inverse = k.div(k.full(1, {1}),
                        k.sqrt(k.add(mean, op.getNormEps().convertToDouble())));
  Value z = k.mul(sums.z, k.spread(inverse, n));
  Value s = k.splat(k.loadScalar(scale, k.ci(0)), {n});
  z = k.add(k.mul(z, k.f32(s)), k.f32(k.load(base, k.ci(0), {n})));
  return k.add(k.sigmoid(z), op.getHcEps().convertToDouble());
}

/// The launch that makes the shares of `mix`: [T, shares, shareWidth] f32.
static Value headShares(Lowering &l, const HeadMix &mix, Value rows,
                        Value streams, Value fn) {
  Value shares = l.workspace(rows, 1, {mix.shares(), mix.shareWidth()},
                             Float32Type::get(l.b.getContext()));
  SmallVector<Value> operands{l.buffer(rows), streams, fn, shares};
  auto kernel = l.kernels.get(
      "head_mix", "", ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value i = k.pid(0), part = k.pid(1), row = k.loadIndex(k.arg(0), i);
        HeadMix::Sums sums = mix.walk(k, k.arg(1), k.arg(2), row,
                                      k.muli(part, mix.share()), mix.share());
        k.store(k.reshape(sums.z, {1, 1, mix.n}), k.arg(3), {i, part, k.ci(0)});
        k.store(k.reshape(sums.squares, {1, 1, 1}), k.arg(3),
                {i, part, k.ci(mix.n)});
      });
  Lowering::Grid grid;
  grid.like = rows;
  grid.others[0] = mix.shares();
  l.launch(kernel, grid, operands);
  return shares;
}

/// The sums of a row from its shares.
static HeadMix::Sums addedShares(KernelBuilder &k, const HeadMix &mix,
                                 Value shares, Value row) {
  Value all = k.load(shares, {row, k.ci(0), k.ci(0)},
                     {pow2Ceil(mix.shares()), mix.shareWidth()},
                     SmallVector<Value>{k.ci(mix.shares()), k.ci(mix.n + 1)});
  Value sums = k.reduce(tile::ReduceKind::Add, all, 0);
  return {k.extract(sums, k.ci(0), mix.n),
          k.splat(k.extract(sums, {mix.n}), {1})};
}

bool lowerHead(Lowering &l, dsv4::FusedOp group) {
  Head h;
  if (!h.match(group) ||
      !yieldsOnly(group, {h.norm.getResult(), h.linear.getResult()}))
    return false;
  auto type = cast<RankedTensorType>(h.mix.getH().getType());
  int64_t n = type.getDimSize(1), width = type.getDimSize(2);
  if (!llvm::isPowerOf2_64(n))
    return false;
  HeadMix mix{h.mix, l.shapes, n, n * width};
  Value rows = h.select.getRows();
  Value streams = l.buffer(h.select.getX()),
        flat = l.expand(streams, {n * width}), fn = l.buffer(h.mix.getFn());
  bool apart = mix.shares() > 1;
  if (apart)
    flat = headShares(l, mix, rows, flat, fn);
  SmallVector<Value> operands{l.buffer(rows),
                              streams,
                              flat,
                              fn,
                              l.buffer(h.mix.getBase()),
                              l.buffer(h.mix.getScale()),
                              l.buffer(h.norm.getWeight()),
                              l.result(h.norm.getResult(), rows)};
  double eps = h.norm.getEps().convertToDouble();
  std::string params = number(h.mix.getHcEps().convertToDouble()) + "_" +
                       number(h.mix.getNormEps().convertToDouble()) + "_" +
                       number(eps);
  auto kernel = l.kernels.get(
      "head", params, ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value i = k.pid(0), row = k.loadIndex(k.arg(0), i);
        HeadMix::Sums sums =
            apart ? addedShares(k, mix, k.arg(2), i)
                  : mix.walk(k, k.arg(2), k.arg(3), row, k.ci(0), n * width);
        Value pre = mix.finish(k, sums, k.arg(4), k.arg(5));
        Type element = type.getElementType();
        int64_t w = pow2Divisor(width, l.shapes.rowPiece);
        // The mixed row in pieces, once for its length and once to be stored.
        auto mixed = [&](Value c) {
          Value x = k.f32(k.load(k.arg(1), {row, k.ci(0), c}, {n, w}));
          x = k.mul(k.broadcast(pre, {1}, {n, w}), x);
          return k.f32(k.to(k.reduce(tile::ReduceKind::Add, x, 0), element));
        };
        Value squares =
            k.loop(k.ci(0), k.ci(width), k.ci(w), k.full(0, {w}),
                   [&](Value c, ValueRange sum) -> SmallVector<Value> {
                     Value x = mixed(c);
                     return {k.add(sum[0], k.mul(x, x))};
                   })[0];
        Value mean = k.div(k.total(tile::ReduceKind::Add, squares),
                           k.full(double(width), {1}));
        Value inverse = k.div(k.full(1, {1}), k.sqrt(k.add(mean, eps)));
        k.chunks(width, w, [&](Value c, int64_t) {
          Value y = k.mul(mixed(c), k.spread(inverse, w));
          y = k.mul(y, k.f32(k.load(k.arg(6), c, {w})));
          k.store(k.to(y, k.argType(7).getElementType()), k.arg(7), {i, c});
        });
      });
  Lowering::Grid grid;
  grid.like = rows;
  l.launch(kernel, grid, operands);
  lowerLinear(l, h.linear);
  return true;
}

} // namespace fathom
