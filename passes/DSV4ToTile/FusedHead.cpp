// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From the streams to the input of the vocabulary's matrix, for the rows whose
// logits are wanted: one program a row. The product itself is a launch of its
// own, since every block of the vocabulary needs the whole row.
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

/// pre_j of the row's n streams, [n], in the order of sums of hc_head.
static Value preOf(KernelBuilder &k, Value streams, Value fn, Value base,
                   Value scale, Value row, int64_t n, int64_t width,
                   dsv4::HCHeadOp op, const TileShapes &shapes) {
  int64_t chunk = pow2Divisor(width, shapes.mixChunk);
  int64_t rows = std::max(n, shapes.mixRows);
  SmallVector<Value> bounds;
  if (rows != n)
    bounds = {k.ci(n), k.ci(width)};
  auto sums =
      k.loop(k.ci(0), k.ci(width), k.ci(chunk),
             {k.full(0, {rows, 1}), k.full(0, {1, chunk})},
             [&](Value c, ValueRange acc) -> SmallVector<Value> {
               Value x = k.f32(k.load(streams, {row, c}, {1, chunk}));
               Value w = k.f32(k.load(fn, {k.ci(0), c}, {rows, chunk}, bounds));
               return {k.dot(tile::DotForm::NT, w, x, acc[0]),
                       k.add(acc[1], k.mul(x, x))};
             });
  Value mean = k.div(k.reduce(tile::ReduceKind::Add, sums[1], 1),
                     k.full(double(width), {1}));
  Value inverse = k.div(k.full(1, {1}),
                        k.sqrt(k.add(mean, op.getNormEps().convertToDouble())));
  Value z = k.reshape(sums[0], {rows});
  if (rows != n)
    z = k.extract(z, k.ci(0), n);
  z = k.mul(z, k.spread(inverse, n));
  Value s = k.splat(k.loadScalar(scale, k.ci(0)), {n});
  z = k.add(k.mul(z, k.f32(s)), k.f32(k.load(base, k.ci(0), {n})));
  return k.add(k.sigmoid(z), op.getHcEps().convertToDouble());
}

bool lowerHead(Lowering &l, dsv4::FusedOp group) {
  Head h;
  if (!h.match(group))
    return false;
  auto type = cast<RankedTensorType>(h.mix.getH().getType());
  int64_t n = type.getDimSize(1), width = type.getDimSize(2);
  if (!llvm::isPowerOf2_64(n))
    return false;
  Value rows = h.select.getRows();
  Value streams = l.buffer(h.select.getX());
  SmallVector<Value> operands{l.buffer(rows),
                              streams,
                              l.expand(streams, {n * width}),
                              l.buffer(h.mix.getFn()),
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
        Value pre = preOf(k, k.arg(2), k.arg(3), k.arg(4), k.arg(5), row, n,
                          n * width, h.mix, l.shapes);
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
