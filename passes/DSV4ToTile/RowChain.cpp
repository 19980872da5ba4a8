// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/DSV4ToTile/RowChain.h"

using namespace mlir;

namespace fathom {

static int64_t ropeWidth(dsv4::RopeOp op) {
  return 2 * cast<RankedTensorType>(op.getCos().getType()).getDimSize(1);
}

bool RowChain::accepts(const TileShapes &shapes, Operation *op, int64_t width) {
  // Wider rows are summed in pieces by the operation alone.
  if (!llvm::isPowerOf2_64(width) || width > shapes.rowPiece)
    return false;
  if (auto rope = dyn_cast<dsv4::RopeOp>(op)) {
    int64_t rotated = ropeWidth(rope);
    return llvm::isPowerOf2_64(rotated) && rotated <= width;
  }
  if (auto quantise = dyn_cast<dsv4::FakeQuantizeOp>(op))
    return llvm::isPowerOf2_64(quantise.getBlock()) &&
           int64_t(quantise.getBlock()) <= width && quantise.getChannels() > 0;
  return isa<dsv4::RMSNormOp, dsv4::HeadNormOp, dsv4::HadamardOp>(op);
}

bool RowChain::leads(Value from, ArrayRef<Operation *> ops, Value to) {
  for (Operation *op : ops) {
    if (op->getOperand(0) != from)
      return false;
    from = op->getResult(0);
  }
  return from == to;
}

RowChain::RowChain(Lowering &l, ArrayRef<Operation *> list)
    : ops(list.begin(), list.end()) {
  for (Operation *op : ops) {
    if (auto norm = dyn_cast<dsv4::RMSNormOp>(op)) {
      operands.push_back(l.buffer(norm.getWeight()));
      params += "_n" + number(norm.getEps().convertToDouble());
    } else if (auto norm = dyn_cast<dsv4::HeadNormOp>(op)) {
      params += "_h" + number(norm.getEps().convertToDouble());
    } else if (auto rope = dyn_cast<dsv4::RopeOp>(op)) {
      operands.push_back(l.buffer(rope.getCos()));
      operands.push_back(l.buffer(rope.getSin()));
      params += rope.getInverse() ? "_inverse" : "_rope";
    } else if (auto quantise = dyn_cast<dsv4::FakeQuantizeOp>(op)) {
      params +=
          ("_" + dsv4::stringifyQuantFormat(quantise.getFormat()) + "x" +
           Twine(quantise.getBlock()) + "x" + Twine(quantise.getChannels()))
              .str();
    } else {
      params += "_hadamard";
    }
  }
}

namespace {
/// One step; rows are [n, d].
struct Step {
  KernelBuilder &k;
  int64_t n, d;
  Type element; // what the operation's result is rounded to

  Value round(Value x) { return k.f32(k.to(x, element)); }
  Value perRow(Value x) { return k.broadcast(x, {1}, {n, d}); }

  Value inverseRms(Value x, double eps, Type to) {
    return fathom::inverseRms(k, k.f32(k.to(k.mul(x, x), to)), d, eps, to);
  }

  Value rmsNorm(Value x, double eps, Value weight) {
    Value y = k.mul(x, perRow(inverseRms(x, eps, k.b.getF32Type())));
    Value w = k.f32(k.load(weight, k.ci(0), {d}));
    return k.mul(y, k.broadcast(w, {0}, {n, d}));
  }

  Value headNorm(Value x, double eps) {
    return k.mul(x, perRow(inverseRms(x, eps, element)));
  }

  /// Rows in pieces of `piece`: [n, d/piece, piece]. Of the pieces from
  /// `from` to before `to`, y; of the others x.
  Value onlyPieces(Value y, Value x, int64_t piece, int64_t from, int64_t to) {
    SmallVector<int64_t> shape{n, d / piece, piece};
    int64_t pieces = shape[1];
    auto inPieces = [&](Value v) { return k.reshape(v, shape); };
    if (from == 0 && to == pieces)
      return k.reshape(y, {n, d});
    Value i = k.iota(pieces);
    Value chosen =
        from ? k.icmp(arith::CmpIPredicate::sge, i, k.fullI32(from, {pieces}))
             : k.icmp(arith::CmpIPredicate::slt, i, k.fullI32(to, {pieces}));
    Value all =
        k.select(k.broadcast(chosen, {0, 2}, shape), inPieces(y), inPieces(x));
    return k.reshape(all, {n, d});
  }

  /// Rotates the last channels, as many as there are angles for, and keeps the
  /// others.
  Value rope(Value x, Value cos, Value sin, bool inverse) {
    int64_t half = k.type(cos).getDimSize(1), from = d - 2 * half;
    auto index = [&](int64_t v) { return k.b.getIndexAttr(v); };
    SmallVector<OpFoldResult> offsets{index(0), index(from)},
        sizes{index(n), index(2 * half)}, strides{index(1), index(1)};
    Value last = x;
    if (from)
      last = tensor::ExtractSliceOp::create(
          k.b, k.loc, k.type(x).clone(ArrayRef<int64_t>{n, 2 * half}), x,
          offsets, sizes, strides);
    Value y = rotatePairs(k, last, cos, sin, inverse);
    if (!from)
      return y;
    return tensor::InsertSliceOp::create(k.b, k.loc, y, x, offsets, sizes,
                                         strides);
  }

  Value hadamard(Value x) {
    Value m = hadamardMatrix(k, d);
    Value y = k.dot(tile::DotForm::NT, m, x, k.full(0, {d, n}));
    return k.mul(k.transpose(y), 1.0 / std::sqrt(double(d)));
  }

  Value quantise(Value x, dsv4::QuantFormat format, int64_t block,
                 int64_t channels) {
    SmallVector<int64_t> shape{n * d / block, block};
    ScaledBlock s = scaleBlock(k, k.reshape(x, shape), format);
    Value y = k.mul(roundToGrid(k, s.scaled, format),
                    k.broadcast(s.scale, {1}, shape));
    return onlyPieces(y, x, block, 0, channels / block);
  }
};
} // namespace

Value RowChain::apply(KernelBuilder &k, Value x, Value t, Value count,
                      unsigned first) const {
  auto shape = k.type(x).getShape();
  unsigned next = first;
  for (Operation *op : ops) {
    Step step{
        k, shape[0], shape[1],
        cast<RankedTensorType>(op->getResult(0).getType()).getElementType()};
    if (auto norm = dyn_cast<dsv4::RMSNormOp>(op)) {
      x = step.rmsNorm(x, norm.getEps().convertToDouble(), k.arg(next++));
    } else if (auto norm = dyn_cast<dsv4::HeadNormOp>(op)) {
      x = step.headNorm(x, norm.getEps().convertToDouble());
    } else if (auto rope = dyn_cast<dsv4::RopeOp>(op)) {
      int64_t half = ropeWidth(rope) / 2;
      auto angles = [&] {
        SmallVector<Value> bounds;
        if (count)
          bounds = {count, k.ci(half)};
        return k.load(k.arg(next++), {t, k.ci(0)}, {shape[0], half}, bounds);
      };
      Value cos = angles(), sin = angles();
      x = step.rope(x, cos, sin, rope.getInverse());
    } else if (auto quantise = dyn_cast<dsv4::FakeQuantizeOp>(op)) {
      x = step.quantise(x, quantise.getFormat(), quantise.getBlock(),
                        quantise.getChannels());
    } else {
      x = step.hadamard(x);
    }
    x = step.round(x);
  }
  return x;
}

bool canInsertRow(const TileShapes &shapes, dsv4::CacheType type) {
  int64_t width = type.getWidth(), rope = type.getRope();
  if (!llvm::isPowerOf2_64(width) || width > shapes.rowPiece)
    return false;
  switch (type.getFormat()) {
  case dsv4::CacheFormat::F32:
    return true;
  case dsv4::CacheFormat::FP4:
    return width % kFP4Block == 0;
  case dsv4::CacheFormat::FP8:
    return llvm::isPowerOf2_64(rope) && rope <= width &&
           (width - rope) % kFP8Block == 0 &&
           (width == rope || width % kFP8Block == 0);
  }
  return false;
}

void insertRow(KernelBuilder &k, dsv4::CacheType type, unsigned first, Value x,
               Value row) {
  int64_t width = type.getWidth(), nope = width - type.getRope();
  Value zero = k.ci(0);
  if (type.getFormat() == dsv4::CacheFormat::F32)
    return k.store(x, k.arg(first), {row, zero});
  bool fp4 = type.getFormat() == dsv4::CacheFormat::FP4;
  if (fp4 || nope) {
    int64_t block = fp4 ? kFP4Block : kFP8Block, blocks = width / block;
    int64_t coded = fp4 ? width : nope;
    ScaledBlock s =
        scaleBlock(k, k.reshape(x, {blocks, block}),
                   fp4 ? dsv4::QuantFormat::E2M1 : dsv4::QuantFormat::E4M3);
    auto bound = [&](int64_t n) {
      return coded == width ? SmallVector<Value>{}
                            : SmallVector<Value>{k.ci(n)};
    };
    k.store(k.to(s.scale, k.b.getType<Float8E8M0FNUType>()), k.arg(first + 1),
            {row, zero}, bound(coded / block));
    Value scaled = k.reshape(s.scaled, {width}), codes;
    if (fp4)
      codes = tile::PackFP4Op::create(
          k.b, k.loc, RankedTensorType::get({width / 2}, k.b.getI8Type()),
          scaled);
    else
      codes = k.to(scaled, k.b.getType<Float8E4M3FNType>());
    k.store(codes, k.arg(first), {row, zero}, bound(coded));
  }
  if (fp4)
    return;
  // The last piece of the row goes to the rope rows, the others nowhere.
  int64_t rope = type.getRope(), pieces = width / rope;
  Value rows =
      k.select(k.icmp(arith::CmpIPredicate::eq, k.iota(pieces),
                      k.fullI32(pieces - 1, {pieces})),
               k.splat(k.toI32(row), {pieces}), k.fullI32(-1, {pieces}));
  k.scatter(k.to(k.reshape(x, {pieces, rope}), k.b.getBF16Type()),
            k.arg(first + (nope ? 2 : 0)), rows);
}

} // namespace fathom
