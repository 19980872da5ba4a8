// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Matrix products with checkpoint weights. A program takes a block of weight
// rows and a tile of tokens; weights are the left operand.
#include "passes/DSV4ToTile/MoE.h"
#include "passes/DSV4ToTile/Streams.h"

#include <limits>

using namespace mlir;

namespace fathom {

WeightTile WeightTile::of(const TileShapes &shapes, Shape shape, Type element,
                          int64_t rowUnit, int64_t tokens) {
  WeightTile w;
  w.format = element.isInteger(8)             ? Format::FP4
             : isa<Float8E4M3FNType>(element) ? Format::FP8
                                              : Format::Plain;
  w.n = shape[0];
  w.k = shape[1] * (w.format == Format::FP4 ? 2 : 1);
  w.chunk = pow2Divisor(w.k, shapes.chunk);
  int64_t even = pow2Divisor(rowUnit, tokens > 16  ? shapes.manyRows
                                      : tokens > 1 ? shapes.fewRows
                                                   : shapes.oneRows);
  // Small odd matrices waste less on a ragged block than on single rows.
  w.rows = rowUnit == w.n && even < shapes.leastRows
               ? std::min(shapes.oneRows, pow2Ceil(w.n))
               : even;
  w.ragged = w.n % w.rows != 0;
  w.turnElements = shapes.turnElements;
  w.countsTokens = shapes.countsRows;
  return w;
}

int64_t WeightTile::chunksATurn(int64_t tokens, int64_t weights) const {
  // Of what is decoded the values of one chunk are enough to hold.
  if (tokens > 1 || format == Format::FP4 ||
      (format == Format::FP8 && !byCodes))
    return 1;
  constexpr int64_t kMost = 4;
  return pow2Divisor(
      k / chunk,
      std::clamp<int64_t>(turnElements / (rows * chunk * weights), 1, kMost));
}

//===-- Right sides ------------------------------------------------------===//

ActivationArg::ActivationArg(SmallVectorImpl<Value> &operands,
                             Lowering::Activation activation) {
  rows = operands.size();
  operands.push_back(activation.rows);
  if (!activation.scales)
    return;
  scales = operands.size();
  operands.push_back(activation.scales);
}

int64_t ActivationArg::block(KernelBuilder &k) const {
  return k.argType(rows).getShape().back() /
         k.argType(scales).getShape().back();
}

/// The last number, of channels, as a number of blocks.
static SmallVector<Value> inBlocks(KernelBuilder &k, ArrayRef<Value> numbers,
                                   int64_t block) {
  SmallVector<Value> all(numbers);
  if (!all.empty())
    all.back() = k.divi(all.back(), block);
  return all;
}

XTile ActivationArg::load(KernelBuilder &k, ArrayRef<Value> at, Shape shape,
                          ArrayRef<Value> bounds) const {
  auto take = [&](unsigned arg, ArrayRef<Value> from, Shape size,
                  ArrayRef<Value> limits) {
    Value tile = k.load(k.arg(arg), from, size, limits);
    return k.reshape(tile, {size.front(), size.back()});
  };
  XTile tile = take(rows, at, shape, bounds);
  if (!bounds.empty())
    tile = tile.ofTokens(at.front(), bounds.front());
  if (!scales)
    return tile;
  int64_t n = block(k);
  SmallVector<int64_t> size(shape);
  size.back() /= n;
  tile.scale = take(scales, inBlocks(k, at, n), size, inBlocks(k, bounds, n));
  return tile;
}

XTile ActivationArg::gather(KernelBuilder &k, Value which, Value column,
                            Shape shape) const {
  Value x = k.gather(k.arg(rows), which, column, shape);
  if (!scales)
    return x;
  int64_t n = block(k);
  return {x, k.gather(k.arg(scales), which, k.divi(column, n),
                      {shape[0], shape[1] / n})};
}

void ActivationArg::store(KernelBuilder &k, XTile x, ArrayRef<Value> at,
                          ArrayRef<Value> bounds) const {
  k.store(x.x, k.arg(rows), at, bounds);
  if (!scales)
    return;
  int64_t n = block(k);
  k.store(x.scale, k.arg(scales), inBlocks(k, at, n), inBlocks(k, bounds, n));
}

void ActivationArg::store(KernelBuilder &k, Value x, int64_t block,
                          Type carrier, ArrayRef<Value> at,
                          ArrayRef<Value> bounds) const {
  if (!scales)
    return k.store(quantiseBlocks(k, x, block, carrier), k.arg(rows), at,
                   bounds);
  store(k, encoded(k, x, block), at, bounds);
}

XTile encoded(KernelBuilder &k, Value x, int64_t block) {
  SmallVector<int64_t> shape(k.type(x).getShape());
  int64_t n = shape[0], blocks = shape[1] / block;
  ScaledBlock s = scaleBlock(k, k.reshape(k.f32(x), {n * blocks, block}),
                             dsv4::QuantFormat::E4M3);
  Value codes = k.to(s.scaled, k.b.getType<Float8E4M3FNType>()),
        scale = k.to(s.scale, k.b.getType<Float8E8M0FNUType>());
  return {k.reshape(codes, shape), k.reshape(scale, {n, blocks})};
}

//===-- Products ---------------------------------------------------------===//

WeightOperand WeightTile::load(KernelBuilder &b, WeightOperand operand,
                               Value row, Value k0) const {
  int64_t perByte = format == Format::FP4 ? 2 : 1;
  Value column = b.divi(k0, perByte);
  SmallVector<Value> bounds;
  if (ragged)
    bounds = {b.ci(n), b.ci(k / perByte)};
  WeightOperand loaded;
  loaded.weight =
      b.load(operand.weight, {row, column}, {rows, chunk / perByte}, bounds);
  if (format == Format::FP8) {
    // `rows` divides 128 or is a multiple of it.
    loaded.scale = b.load(
        operand.scale, {b.divi(row, 128), b.divi(k0, 128)},
        {std::max<int64_t>(1, rows / 128), std::max<int64_t>(1, chunk / 128)});
  } else if (format == Format::FP4) {
    SmallVector<Value> scaleBounds;
    if (ragged)
      scaleBounds = {b.ci(n), b.ci(k / 32)};
    loaded.scale = b.load(operand.scale, {row, b.divi(k0, 32)},
                          {rows, chunk / 32}, scaleBounds);
  }
  return loaded;
}

/// Part i of n of the columns of x [1, *].
static Value columnsOf(KernelBuilder &k, Value x, int64_t i, int64_t n) {
  int64_t width = k.type(x).getDimSize(1) / n;
  return k.rows(k.reshape(x, {n, width}), k.ci(i), 1);
}

SmallVector<Value> WeightTile::dot(KernelBuilder &b,
                                   ArrayRef<WeightOperand> weights, Value row,
                                   Value k0, XTile x, ValueRange acc) const {
  int64_t chunks = b.type(x.x).getDimSize(1) / chunk;
  auto loadAt = [&](int64_t i, WeightOperand weight) {
    return load(b, weight, row, i ? b.addi(k0, b.ci(i * chunk)) : k0);
  };
  // Of much all is read before the first product: what no engine fetches ahead
  // is then waited for once.
  const bool ahead = chunks > 1 || weights.size() > 2;
  SmallVector<WeightOperand> loaded;
  for (int64_t i = 0; ahead && i < chunks; ++i)
    for (WeightOperand weight : weights)
      loaded.push_back(loadAt(i, weight));
  Value columns;
  if (countsTokens && x.end && b.type(x.x).getDimSize(0) > 1)
    columns = b.subi(x.end, x.first);
  SmallVector<Value> sums(acc);
  for (int64_t i = 0; i < chunks; ++i) {
    XTile part = x;
    if (chunks > 1)
      part = {columnsOf(b, x.x, i, chunks),
              x.scale ? columnsOf(b, x.scale, i, chunks) : Value()};
    for (size_t j = 0; j < weights.size(); ++j) {
      WeightOperand w =
          ahead ? loaded[i * weights.size() + j] : loadAt(i, weights[j]);
      sums[j] = w.scale ? b.dotScaled(w.weight, w.scale, part.x, sums[j],
                                      part.scale, columns)
                        : b.dot(tile::DotForm::NT, w.weight, part.x, sums[j],
                                columns);
    }
  }
  return sums;
}

bool quantisesChunks(dsv4::FakeQuantizeOp op, int64_t width, int64_t chunk) {
  int64_t block = op.getBlock();
  return op.getFormat() == dsv4::QuantFormat::E4M3 &&
         int64_t(op.getChannels()) == width && pow2Ceil(block) == block &&
         chunk % block == 0;
}

XTile quantised(KernelBuilder &k, const TileShapes &shapes, Value x,
                dsv4::FakeQuantizeOp op) {
  if (shapes.codes)
    return encoded(k, x, op.getBlock());
  RankedTensorType type = k.type(x);
  int64_t block = op.getBlock();
  SmallVector<int64_t> blocks{type.getNumElements() / block, block};
  ScaledBlock s = scaleBlock(k, k.reshape(k.f32(x), blocks), op.getFormat());
  Value y = k.mul(roundToGrid(k, s.scaled, op.getFormat()),
                  k.broadcast(s.scale, {1}, blocks));
  return k.to(k.reshape(y, type.getShape()), type.getElementType());
}

Value inBlocksAlong(KernelBuilder &k, Shape shape, unsigned dim, int64_t size,
                    function_ref<Value(int64_t)> block) {
  if (size == shape[dim])
    return block(0);
  SmallVector<OpFoldResult> offsets(shape.size(), k.b.getIndexAttr(0)),
      strides(shape.size(), k.b.getIndexAttr(1)), sizes;
  for (int64_t n : shape)
    sizes.push_back(k.b.getIndexAttr(n));
  sizes[dim] = k.b.getIndexAttr(size);
  Value all = k.full(0, shape);
  for (int64_t from = 0; from < shape[dim]; from += size) {
    offsets[dim] = k.b.getIndexAttr(from);
    all = tensor::InsertSliceOp::create(k.b, k.loc, block(from), all, offsets,
                                        sizes, strides);
  }
  return all;
}

SmallVector<Value> walkK(KernelBuilder &b, const WeightTile &w,
                         ArrayRef<WeightOperand> weights, Value row,
                         int64_t tokens,
                         function_ref<XTile(Value, int64_t)> loadX) {
  SmallVector<Value> zeros(weights.size());
  for (Value &z : zeros)
    z = b.full(0, {w.rows, tokens});
  int64_t width = w.chunk * w.chunksATurn(tokens, weights.size());
  return b.loop(b.ci(0), b.ci(w.k), b.ci(width), zeros,
                [&](Value k0, ValueRange acc) {
                  return w.dot(b, weights, row, k0, loadX(k0, width), acc);
                });
}

namespace {
/// y[t, z, :] = epilogue(W_z x[t, z, :]) with x [T, Z, K]. `grouped`: W_z are
/// the rows z*N/Z .. of W and y is [T, N]; otherwise W_z = W and y is [T, Z,
/// N].
struct Product {
  Lowering::Activation x;
  Value weight, scale, result;
  bool grouped = false;
  const char *name = "linear";
  Value (*epilogue)(KernelBuilder &, Value) = nullptr;
  int64_t mostRows = std::numeric_limits<int64_t>::max(); // of a block
};
} // namespace

static void lowerProduct(Lowering &l, Value like, const Product &p, int64_t z) {
  SmallVector<Value> operands;
  ActivationArg input(operands, p.x);
  unsigned weight = operands.size();
  operands.push_back(l.buffer(p.weight));
  if (p.scale)
    operands.push_back(l.buffer(p.scale));
  operands.push_back(p.result);
  operands.push_back(l.count(like));
  unsigned out = operands.size() - 2;
  auto weightType = cast<RankedTensorType>(p.weight.getType());
  int64_t n = weightType.getDimSize(0), perZ = p.grouped ? n / z : n;
  int64_t tokens = l.tokenTile();
  WeightTile w = WeightTile::of(l.shapes, weightType.getShape(),
                                weightType.getElementType(), perZ, tokens);
  w.byCodes = input.isCodes();
  if (!w.ragged)
    w.rows = std::min(w.rows, p.mostRows);
  auto kernel = l.kernels.get(
      p.name, (p.grouped ? "grouped_t" : "t") + std::to_string(tokens),
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value block = k.muli(k.pid(0), w.rows), t = k.muli(k.pid(1), tokens),
              g = k.pid(2);
        Value row = p.grouped ? k.addi(k.muli(g, perZ), block) : block;
        Value count = k.arg(operands.size() - 1);
        auto loadX = [&](Value k0, int64_t width) {
          SmallVector<Value> bounds;
          if (tokens > 1)
            bounds = {count, k.ci(z), k.ci(w.k)};
          return input.load(k, {t, g, k0}, {tokens, 1, width}, bounds);
        };
        WeightOperand operand{k.arg(weight),
                              p.scale ? k.arg(weight + 1) : Value()};
        Value acc = walkK(k, w, operand, row, tokens, loadX)[0];
        Value y = k.transpose(acc);
        if (p.epilogue)
          y = p.epilogue(k, y);
        y = k.to(y, k.argType(out).getElementType());
        bool bounded = tokens > 1 || w.ragged;
        if (p.grouped) {
          k.store(y, k.arg(out), {t, row},
                  bounded ? SmallVector<Value>{count, k.ci(n)}
                          : SmallVector<Value>{});
        } else {
          k.store(k.reshape(y, {tokens, 1, w.rows}), k.arg(out), {t, g, row},
                  bounded ? SmallVector<Value>{count, k.ci(z), k.ci(n)}
                          : SmallVector<Value>{});
        }
      });
  Lowering::Grid grid;
  grid.like = like;
  grid.tokenAxis = 1;
  grid.perProgram = tokens;
  grid.others[0] = llvm::divideCeil(perZ, w.rows);
  grid.others[1] = z;
  l.launch(kernel, grid, operands);
}

/// Channels that share a scale.
static int64_t blockOf(const Lowering::Activation &x) {
  auto width = [](Value m) {
    return cast<MemRefType>(m.getType()).getShape().back();
  };
  return width(x.rows) / width(x.scales);
}

/// [T, W] as [T, 1, W]; [T, Z, W] as it is.
static Value withMiddle(Lowering &l, Value m) {
  if (!m)
    return m;
  auto type = cast<MemRefType>(m.getType());
  return type.getRank() == 3 ? m : l.expand(m, {1, type.getDimSize(1)});
}

void lowerLinear(Lowering &l, dsv4::LinearOp op) {
  Product p;
  Lowering::Activation x = l.activation(op.getX());
  p.x = {withMiddle(l, x.rows), withMiddle(l, x.scales)};
  p.weight = op.getWeight();
  p.scale = op.getScale();
  // Only streams stay apart in the result; heads are rows of one weight.
  p.result = l.result(op.getResult(), op.getX());
  if (cast<RankedTensorType>(op.getX().getType()).getRank() == 2)
    p.result = l.expand(
        p.result,
        {cast<RankedTensorType>(op.getWeight().getType()).getDimSize(0)});
  p.result = withMiddle(l, p.result);
  lowerProduct(l, op.getX(), p,
               cast<MemRefType>(p.x.rows.getType()).getDimSize(1));
}

void lowerGroupedLinear(Lowering &l, dsv4::GroupedLinearOp op) {
  Product p;
  auto weight = cast<RankedTensorType>(op.getWeight().getType());
  int64_t groups = op.getGroups();
  int64_t perByte = weight.getElementType().isInteger(8) ? 2 : 1;
  int64_t width = weight.getDimSize(1) * perByte;
  Lowering::Activation x = l.activation(op.getX());
  p.x.rows = l.expand(x.rows, {groups, width});
  if (x.scales)
    p.x.scales = l.expand(x.scales, {groups, width / blockOf(x)});
  p.weight = op.getWeight();
  p.scale = op.getScale();
  p.result = l.result(op.getResult(), op.getX());
  p.grouped = true;
  lowerProduct(l, op.getX(), p, groups);
}

Value sqrtSoftplus(KernelBuilder &k, Value x) {
  Shape shape = k.type(x).getShape();
  Value limit = k.full(20, shape);
  Value soft = k.log1p(k.exp(k.min(x, limit)));
  return k.sqrt(k.select(k.cmp(arith::CmpFPredicate::OGT, x, limit), x, soft));
}

void lowerGate(Lowering &l, dsv4::GateOp op) {
  Product p;
  p.x.rows = withMiddle(l, l.buffer(op.getX()));
  p.weight = op.getWeight();
  p.result = withMiddle(l, l.result(op.getScores(), op.getX()));
  p.name = "gate";
  p.epilogue = sqrtSoftplus;
  if (l.maxTokens <= 16)
    p.mostRows = l.shapes.gateRows;
  lowerProduct(l, op.getX(), p, 1);
}

} // namespace fathom
