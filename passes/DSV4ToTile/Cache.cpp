// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writing and reading cache rows, and the compressor. One program per token.
#include "passes/DSV4ToTile/BlockRows.h"

using namespace mlir;

namespace fathom {

/// Component buffers of a window, compressed or index cache, in the order in
/// which kernels take them.
SmallVector<Value> CacheReader::operands(Lowering &l, Value cache) {
  auto type = cast<dsv4::CacheType>(cache.getType());
  MLIRContext *ctx = type.getContext();
  int64_t nope = type.getWidth() - type.getRope();
  Type scale = Float8E8M0FNUType::get(ctx);
  switch (type.getFormat()) {
  case dsv4::CacheFormat::F32:
    return {l.cache(cache, "rows", Float32Type::get(ctx), type.getWidth())};
  case dsv4::CacheFormat::FP4:
    return {
        l.cache(cache, "codes", IntegerType::get(ctx, 8), type.getWidth() / 2),
        l.cache(cache, "scales", scale, type.getWidth() / kFP4Block)};
  case dsv4::CacheFormat::FP8:
    break;
  }
  SmallVector<Value> all;
  if (nope) {
    all.push_back(l.cache(cache, "codes", Float8E4M3FNType::get(ctx), nope));
    all.push_back(
        l.cache(cache, "scales", scale, llvm::alignTo(nope / kFP8Block, 8)));
  }
  all.push_back(l.cache(cache, "rope", BFloat16Type::get(ctx), type.getRope()));
  return all;
}

unsigned CacheReader::components() const {
  if (type.getFormat() == dsv4::CacheFormat::F32)
    return 1;
  if (type.getFormat() == dsv4::CacheFormat::FP4)
    return 2;
  return type.getWidth() == type.getRope() ? 1 : 3;
}

Value CacheReader::read(KernelBuilder &k, Value rows, int64_t column,
                        int64_t width) const {
  bool rope = hasRope() && column >= ropeColumn();
  return read(k, rows, k.ci(rope ? column - ropeColumn() : column), width,
              rope);
}

Value CacheReader::read(KernelBuilder &k, Value rows, Value column,
                        int64_t width, bool rope) const {
  int64_t n = k.type(rows).getDimSize(0);
  auto plain = [&](unsigned component) {
    return k.gather(k.arg(firstArg + component), rows, column, {n, width});
  };
  if (type.getFormat() == dsv4::CacheFormat::F32)
    return plain(0);
  if (rope)
    return plain(components() - 1);
  bool fp4 = type.getFormat() == dsv4::CacheFormat::FP4;
  auto tile = RankedTensorType::get({n, width}, k.b.getBF16Type());
  return tile::GatherScaledOp::create(k.b, k.loc, tile, k.arg(firstArg),
                                      k.arg(firstArg + 1), rows, column,
                                      fp4 ? kFP4Block : kFP8Block);
}

/// Stores token t of x [T, width] as cache row `row`. Values are on the grid
/// already, so encoding chooses scales anew and loses nothing.
static void writeRow(KernelBuilder &k, dsv4::CacheType type, unsigned firstArg,
                     Value x, Value t, Value row) {
  auto one = [&](Value c, int64_t w, ValueRange bounds = {}) {
    return k.f32(k.load(x, {t, c}, {1, w}, bounds));
  };
  int64_t width = type.getWidth(), nope = width - type.getRope();
  if (type.getFormat() == dsv4::CacheFormat::F32)
    return k.chunks(width, 256, [&](Value c, int64_t w) {
      k.store(one(c, w), k.arg(firstArg), {row, c});
    });
  Type e8m0 = k.b.getType<Float8E8M0FNUType>();
  bool fp4 = type.getFormat() == dsv4::CacheFormat::FP4;
  int64_t block = fp4 ? kFP4Block : kFP8Block, coded = fp4 ? width : nope;
  auto format = fp4 ? dsv4::QuantFormat::E2M1 : dsv4::QuantFormat::E4M3;
  k.chunks(coded, block, [&](Value c, int64_t) {
    ScaledBlock s = scaleBlock(k, one(c, block), format);
    k.store(k.reshape(k.to(s.scale, e8m0), {1, 1}), k.arg(firstArg + 1),
            {row, k.divi(c, block)});
    Value codes;
    if (fp4)
      codes = tile::PackFP4Op::create(
          k.b, k.loc, RankedTensorType::get({1, block / 2}, k.b.getI8Type()),
          s.scaled);
    else
      codes = k.to(s.scaled, k.b.getType<Float8E4M3FNType>());
    k.store(codes, k.arg(firstArg), {row, k.divi(c, fp4 ? 2 : 1)});
  });
  if (fp4)
    return;
  unsigned rope = firstArg + (nope ? 2 : 0);
  k.chunks(type.getRope(), 256, [&](Value c, int64_t w) {
    k.store(k.to(one(k.addi(c, k.ci(nope)), w), k.b.getBF16Type()), k.arg(rope),
            {row, c});
  });
}

std::string cacheName(dsv4::CacheType type) {
  return (dsv4::stringifyCacheKind(type.getKind()) + "_" +
          Twine(type.getRows()) + "_" +
          dsv4::stringifyCacheFormat(type.getFormat()) + "_" +
          Twine(type.getRope()))
      .str();
}

/// `ratio` 0: the window's ring; otherwise blocks of that many tokens.
static void insert(Lowering &l, const char *name, Value cache, Value x,
                   Value positions, Value slots, int64_t ratio) {
  auto type = cast<dsv4::CacheType>(cache.getType());
  SmallVector<Value> operands{l.buffer(x), l.buffer(positions),
                              l.buffer(slots)};
  operands.append(CacheReader::operands(l, cache));
  auto kernel = l.kernels.get(
      name, cacheName(type) + "_" + std::to_string(ratio),
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value t = k.pid(0), position = k.loadIndex(k.arg(1), t);
        auto store = [&](Value inSlot) {
          Value slot = k.loadIndex(k.arg(2), t);
          writeRow(k, type, 3, k.arg(0), t,
                   k.addi(k.muli(slot, type.getRows()), inSlot));
        };
        if (!ratio)
          return store(k.remi(position, type.getRows()));
        Value last = k.cmpi(arith::CmpIPredicate::eq,
                            k.remi(k.addi(position, k.ci(1)), ratio), k.ci(0));
        k.when(last, [&] { store(k.divi(position, ratio)); });
      });
  Lowering::Grid grid;
  grid.like = x;
  l.launch(kernel, grid, operands);
}

void lowerWindowInsert(Lowering &l, dsv4::WindowInsertOp op) {
  insert(l, "window_insert", op.getCache(), op.getKv(), op.getPositions(),
         op.getSlots(), 0);
}

void lowerCompressedInsert(Lowering &l, dsv4::CompressedInsertOp op) {
  insert(l, "compressed_insert", op.getCache(), op.getX(), op.getPositions(),
         op.getSlots(), op.getRatio());
}

SmallVector<Value> stateOperands(Lowering &l, Value state) {
  auto type = cast<dsv4::CacheType>(state.getType());
  Type f32 = Float32Type::get(type.getContext());
  return {l.cache(state, "kv", f32, type.getWidth()),
          l.cache(state, "gate", f32, type.getWidth())};
}

void lowerStateUpdate(Lowering &l, dsv4::StateUpdateOp op) {
  auto type = cast<dsv4::CacheType>(op.getState().getType());
  int64_t rows = type.getRows(), width = type.getWidth();
  SmallVector<Value> operands{l.buffer(op.getKv()), l.buffer(op.getGate()),
                              l.buffer(op.getPositions()),
                              l.buffer(op.getSlots())};
  operands.append(stateOperands(l, op.getState()));
  operands.push_back(l.count(op.getKv()));
  auto kernel = l.kernels.get(
      "state_update", std::to_string(rows), ValueRange(operands).getTypes(),
      [&](KernelBuilder &k) {
        using P = arith::CmpIPredicate;
        Value t = k.pid(0), slot = k.loadIndex(k.arg(3), t);
        // A later token of this sequence that goes to the same row wins.
        Value later = k.addi(t, k.ci(rows)),
              lastToken = k.subi(k.arg(6), k.ci(1));
        Value laterSlot = k.loadIndex(k.arg(3), k.mini(later, lastToken));
        Value beaten = k.andi(k.cmpi(P::sle, later, lastToken),
                              k.cmpi(P::eq, laterSlot, slot));
        Value row =
            k.addi(k.muli(slot, rows), k.remi(k.loadIndex(k.arg(2), t), rows));
        k.when(
            beaten, [] {},
            [&] {
              k.chunks(width, 512, [&](Value c, int64_t w) {
                for (unsigned i = 0; i < 2; ++i)
                  k.store(k.load(k.arg(i), {t, c}, {w}), k.arg(4 + i),
                          {row, c});
              });
            });
      });
  Lowering::Grid grid;
  grid.like = op.getKv();
  l.launch(kernel, grid, operands);
}

void lowerCompressPool(Lowering &l, dsv4::CompressPoolOp op) {
  auto type = cast<dsv4::CacheType>(op.getState().getType());
  int64_t ratio = op.getRatio(), stateRows = type.getRows();
  int64_t width =
      cast<RankedTensorType>(op.getResult().getType()).getDimSize(1);
  bool overlap = op.getOverlap();
  SmallVector<Value> operands{
      l.buffer(op.getKv()), l.buffer(op.getGate()), l.buffer(op.getApe()),
      l.buffer(op.getPositions()), l.buffer(op.getSlots())};
  operands.append(stateOperands(l, op.getState()));
  operands.push_back(l.result(op.getResult(), op.getKv()));
  int64_t w = pow2Divisor(width, l.shapes.poolChannels);
  std::string params = std::to_string(ratio) + "_" + std::to_string(stateRows);
  auto kernel = l.kernels.get(
      overlap ? "compress_pool_overlap" : "compress_pool", params,
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value t = k.pid(0), c = k.muli(k.pid(1), w);
        Value position = k.loadIndex(k.arg(3), t),
              slot = k.loadIndex(k.arg(4), t);
        SmallVector<int64_t> shape{ratio, w};
        // Values and gates of `ratio` slots; gates of absent tokens are -1e30.
        auto slotsOf = [&](int64_t back, int64_t firstColumn) {
          BlockRows rows(k, {t, position, slot, k.arg(4), ratio, stateRows},
                         back, k.ci(0), ratio);
          Value column = k.addi(c, k.ci(firstColumn));
          Value kv = rows.read(k.arg(0), k.arg(5), column, w);
          Value gate = rows.read(k.arg(1), k.arg(6), column, w);
          gate = k.add(gate, k.f32(k.load(k.arg(2), {k.ci(0), column}, shape)));
          gate = k.select(k.broadcast(rows.exists, {1}, shape), gate,
                          k.full(-1e30, shape));
          return std::pair<Value, Value>(kv, gate);
        };
        auto overSlots = [&](tile::ReduceKind kind, Value x) {
          return k.reduce(kind, x, 0);
        };
        auto pooled = [&] {
          SmallVector<std::pair<Value, Value>> parts;
          if (overlap)
            parts.push_back(slotsOf(ratio, 0));
          parts.push_back(slotsOf(0, overlap ? width : 0));
          Value m;
          for (auto &[kv, gate] : parts) {
            Value own = overSlots(tile::ReduceKind::Max, gate);
            m = m ? k.max(m, own) : own;
          }
          Value sum;
          for (auto &[kv, gate] : parts) {
            gate = k.exp(k.sub(gate, k.broadcast(m, {0}, shape)));
            Value own = overSlots(tile::ReduceKind::Add, gate);
            sum = sum ? k.add(sum, own) : own;
          }
          Value y;
          for (auto &[kv, gate] : parts) {
            Value weight = k.div(gate, k.broadcast(sum, {0}, shape));
            Value own = overSlots(tile::ReduceKind::Add, k.mul(kv, weight));
            y = y ? k.add(y, own) : own;
          }
          return y;
        };
        Type element = k.argType(7).getElementType();
        Value last = k.cmpi(arith::CmpIPredicate::eq,
                            k.remi(k.addi(position, k.ci(1)), ratio), k.ci(0));
        k.when(
            last, [&] { k.store(k.to(pooled(), element), k.arg(7), {t, c}); },
            [&] { k.store(k.to(k.full(0, {w}), element), k.arg(7), {t, c}); });
      });
  Lowering::Grid grid;
  grid.like = op.getKv();
  grid.others[0] = width / w;
  l.launch(kernel, grid, operands);
}

} // namespace fathom
