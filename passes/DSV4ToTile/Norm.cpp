// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Norms, rotary embedding, Hadamard transform and quantisation points: one
// program per token and, where there are heads, block of heads.
#include "passes/DSV4ToTile/Lowering.h"

#include "dialects/DSV4/Reference/Kernels/Rope.h"

using namespace mlir;

namespace fathom {

/// x as [T, H, d] (H = 1 for a matrix), with the heads that one program takes.
struct Heads {
  SmallVector<Value> operands; // x, extra..., result
  int64_t heads, width, block, piece;
  Heads(Lowering &l, Value x, ValueRange extra, Value result) {
    operands.push_back(three(l, l.buffer(x)));
    operands.append(extra.begin(), extra.end());
    operands.push_back(three(l, l.result(result, x)));
    auto type = cast<MemRefType>(operands.front().getType());
    heads = type.getDimSize(1);
    width = type.getDimSize(2);
    block = std::min(pow2Ceil(heads), l.shapes.rowHeads);
    piece = l.shapes.rowPiece;
  }
  static Value three(Lowering &l, Value m) {
    auto type = cast<MemRefType>(m.getType());
    if (type.getRank() == 3)
      return m;
    return l.expand(m, {1, type.getDimSize(1)});
  }
  unsigned out() const { return operands.size() - 1; }
  Lowering::Grid grid(Value like) const {
    Lowering::Grid g;
    g.like = like;
    g.others[0] = llvm::divideCeil(heads, block);
    return g;
  }
  /// Tile [block, w] at column c, f32; columns at or beyond `columnBound` are
  /// zero. Bounds only where something can lie outside.
  Value load(KernelBuilder &k, Value t, Value h, Value c, int64_t w,
             int64_t columnBound) const {
    return k.f32(
        k.load(k.arg(0), {t, h, c}, {block, w}, bounds(k, columnBound, w)));
  }
  void store(KernelBuilder &k, Value x, Value t, Value h, Value c, int64_t w,
             int64_t columnBound) const {
    k.store(k.to(x, k.argType(out()).getElementType()), k.arg(out()), {t, h, c},
            bounds(k, columnBound, w));
  }
  SmallVector<Value> bounds(KernelBuilder &k, int64_t columnBound,
                            int64_t w) const {
    if (heads % block == 0 && columnBound % w == 0)
      return {};
    return {k.ci(heads), k.ci(columnBound)};
  }
  /// Copies the columns from .. to unchanged.
  void copy(KernelBuilder &k, Value t, Value h, int64_t from,
            int64_t to) const {
    k.chunks(to - from, 256, [&](Value at, int64_t w) {
      Value c = k.addi(at, k.ci(from));
      store(k, load(k, t, h, c, w, width), t, h, c, w, width);
    });
  }
};

Value inverseRms(KernelBuilder &k, Value squares, int64_t width, double eps,
                 Type rounding) {
  auto round = [&](Value x) { return k.f32(k.to(x, rounding)); };
  SmallVector<int64_t> shape{k.type(squares).getDimSize(0)};
  Value sum = k.reduce(tile::ReduceKind::Add, squares, 1);
  Value mean = round(k.div(sum, k.full(double(width), shape)));
  return round(k.div(k.full(1, shape), k.sqrt(round(k.add(mean, eps)))));
}

/// Of every row of the block, each square rounded, too.
static Value inverseRms(KernelBuilder &k, const Heads &v, Value t, Value h,
                        double eps, Type rounding) {
  int64_t w = pow2Divisor(v.width, v.piece);
  auto round = [&](Value x) { return k.f32(k.to(x, rounding)); };
  Value squares =
      k.loop(k.ci(0), k.ci(v.width), k.ci(w), k.full(0, {v.block, w}),
             [&](Value c, ValueRange carried) -> SmallVector<Value> {
               Value x = v.load(k, t, h, c, w, v.width);
               return {k.add(carried[0], round(k.mul(x, x)))};
             })[0];
  return inverseRms(k, squares, v.width, eps, rounding);
}

void lowerRMSNorm(Lowering &l, dsv4::RMSNormOp op) {
  Heads v(l, op.getX(), l.buffer(op.getWeight()), op.getResult());
  double eps = op.getEps().convertToDouble();
  auto kernel = l.kernels.get(
      "rms_norm", number(eps), ValueRange(v.operands).getTypes(),
      [&](KernelBuilder &k) {
        Value t = k.pid(0), h = k.muli(k.pid(1), v.block);
        Value inverse = inverseRms(k, v, t, h, eps, k.b.getF32Type());
        k.chunks(v.width, v.piece, [&](Value c, int64_t w) {
          Value x = v.load(k, t, h, c, w, v.width);
          Value y = k.mul(x, k.broadcast(inverse, {1}, {v.block, w}));
          Value weight = k.f32(k.load(k.arg(1), c, {w}));
          v.store(k, k.mul(y, k.broadcast(weight, {0}, {v.block, w})), t, h, c,
                  w, v.width);
        });
      });
  l.launch(kernel, v.grid(op.getX()), v.operands);
}

void lowerHeadNorm(Lowering &l, dsv4::HeadNormOp op) {
  Heads v(l, op.getX(), {}, op.getResult());
  double eps = op.getEps().convertToDouble();
  auto kernel = l.kernels.get(
      "head_norm", number(eps), ValueRange(v.operands).getTypes(),
      [&](KernelBuilder &k) {
        Value t = k.pid(0), h = k.muli(k.pid(1), v.block);
        Value inverse =
            inverseRms(k, v, t, h, eps, k.argType(v.out()).getElementType());
        k.chunks(v.width, 256, [&](Value c, int64_t w) {
          Value x = v.load(k, t, h, c, w, v.width);
          v.store(k, k.mul(x, k.broadcast(inverse, {1}, {v.block, w})), t, h, c,
                  w, v.width);
        });
      });
  l.launch(kernel, v.grid(op.getX()), v.operands);
}

Value rotatePairs(KernelBuilder &k, Value x, Value cos, Value sin,
                  bool inverse) {
  SmallVector<int64_t> shape(k.type(x).getShape());
  shape.back() /= 2;
  if (k.type(cos).getRank() == 1) {
    cos = k.broadcast(cos, {0}, shape);
    sin = k.broadcast(sin, {0}, shape);
  }
  auto pair = tile::DeinterleaveOp::create(k.b, k.loc, x);
  Value even = pair.getEven(), odd = pair.getOdd(), re, im;
  if (inverse) {
    re = k.add(k.mul(even, cos), k.mul(odd, sin));
    im = k.sub(k.mul(odd, cos), k.mul(even, sin));
  } else {
    re = k.sub(k.mul(even, cos), k.mul(odd, sin));
    im = k.add(k.mul(even, sin), k.mul(odd, cos));
  }
  return tile::InterleaveOp::create(k.b, k.loc, re, im);
}

void lowerRope(Lowering &l, dsv4::RopeOp op) {
  Heads v(l, op.getX(), {l.buffer(op.getCos()), l.buffer(op.getSin())},
          op.getResult());
  int64_t half = cast<RankedTensorType>(op.getCos().getType()).getDimSize(1);
  int64_t nope = v.width - 2 * half, tile = pow2Ceil(half);
  bool inverse = op.getInverse();
  auto kernel = l.kernels.get(
      "rope", inverse ? "inverse" : "", ValueRange(v.operands).getTypes(),
      [&](KernelBuilder &k) {
        Value t = k.pid(0), h = k.muli(k.pid(1), v.block);
        v.copy(k, t, h, 0, nope);
        SmallVector<Value> bound;
        if (tile != half)
          bound.push_back(k.ci(half));
        auto angle = [&](unsigned arg) {
          return k.load(k.arg(arg), {t, k.ci(0)}, {tile}, bound);
        };
        auto bounds = v.heads % v.block == 0 && tile == half
                          ? SmallVector<Value>{}
                          : SmallVector<Value>{k.ci(v.heads), k.ci(v.width)};
        Value x = k.f32(
            k.load(k.arg(0), {t, h, k.ci(nope)}, {v.block, 2 * tile}, bounds));
        Value y = rotatePairs(k, x, angle(1), angle(2), inverse);
        k.store(k.to(y, k.argType(v.out()).getElementType()), k.arg(v.out()),
                {t, h, k.ci(nope)}, bounds);
      });
  l.launch(kernel, v.grid(op.getX()), v.operands);
}

/// Sine and cosine of f64 angles in f64 by Cody-Waite reduction and Taylor
/// polynomials on [-pi/4, pi/4]: errors below 1e-15 for angles up to 2^24, so
/// that rounding to f32 gives the correctly rounded value but for ties.
static std::pair<Value, Value> cosSin(KernelBuilder &k, Value angle) {
  OpBuilder &b = k.b;
  Location loc = k.loc;
  auto type = cast<RankedTensorType>(angle.getType());
  auto c = [&](double v) -> Value {
    return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, v));
  };
  Value turns = math::RoundEvenOp::create(
      b, loc, k.mul(angle, c(0.63661977236758134308)));
  // pi/2 in two parts of 29 bits, whose products with `turns` are exact, and
  // the rest.
  Value r = k.sub(angle, k.mul(turns, c(1.57079632580280303955e+00)));
  r = k.sub(r, k.mul(turns, c(9.92093577428798667484e-10)));
  r = k.sub(r, k.mul(turns, c(2.25174177415621760794e-18)));
  Value z = k.mul(r, r);
  auto polynomial = [&](ArrayRef<double> coefficients) {
    Value p = c(coefficients.front());
    for (double a : coefficients.drop_front())
      p = k.add(k.mul(p, z), c(a));
    return p;
  };
  static constexpr double kSin[] = {1. / 355687428096000.,
                                    -1. / 1307674368000.,
                                    1. / 6227020800.,
                                    -1. / 39916800.,
                                    1. / 362880.,
                                    -1. / 5040.,
                                    1. / 120.,
                                    -1. / 6.};
  static constexpr double kCos[] = {-1. / 6402373705728000.,
                                    1. / 20922789888000.,
                                    -1. / 87178291200.,
                                    1. / 479001600.,
                                    -1. / 3628800.,
                                    1. / 40320.,
                                    -1. / 720.,
                                    1. / 24.,
                                    -.5,
                                    1.};
  Value sin = k.add(r, k.mul(k.mul(r, z), polynomial(kSin)));
  Value cos = polynomial(kCos);
  // The quadrant, from the two low bits of `turns`.
  auto i32 = type.clone(b.getI32Type());
  Value n = arith::FPToSIOp::create(b, loc, i32, turns);
  Shape shape = type.getShape();
  auto bit = [&](int64_t mask, Value v) {
    return k.icmp(arith::CmpIPredicate::ne, k.bitAnd(v, k.fullI32(mask, shape)),
                  k.fullI32(0, shape));
  };
  Value swap = bit(1, n), sinNegative = bit(2, n);
  Value cosNegative = bit(2, k.iadd(n, k.fullI32(1, shape)));
  Value s = k.select(swap, cos, sin), co = k.select(swap, sin, cos);
  return {k.select(cosNegative, k.neg(co), co),
          k.select(sinNegative, k.neg(s), s)};
}

void lowerRopeTable(Lowering &l, dsv4::RopeTableOp op) {
  SmallVector<Value> operands{l.buffer(op.getPositions()),
                              l.result(op.getCos(), op.getPositions()),
                              l.result(op.getSin(), op.getPositions())};
  dsv4::RopeAttr rope = op.getRope();
  int64_t half = rope.getWidth() / 2, tile = pow2Ceil(half),
          block = op.getBlock();
  std::string params = std::to_string(block);
  for (FloatAttr f : {rope.getTheta(), rope.getFactor(), rope.getBetaFast(),
                      rope.getBetaSlow()})
    params += "_" + number(f.getValueAsDouble());
  params += "_" + std::to_string(rope.getOriginal());
  auto kernel = l.kernels.get(
      "rope_table", params, ValueRange(operands).getTypes(),
      [&](KernelBuilder &k) {
        Value t = k.pid(0);
        Value p = k.loadIndex(k.arg(0), t);
        if (block != 1)
          p = k.maxi(k.subi(k.addi(p, k.ci(1)), k.ci(block)), k.ci(0));
        Value position =
            arith::SIToFPOp::create(k.b, k.loc, k.b.getF32Type(), k.toI32(p));
        ref::Yarn yarn{rope.getFactor().getValueAsDouble(), rope.getOriginal(),
                       rope.getBetaFast().getValueAsDouble(),
                       rope.getBetaSlow().getValueAsDouble()};
        std::vector<float> f = ref::ropeFrequencies(
            rope.getWidth(), rope.getTheta().getValueAsDouble(), yarn);
        f.resize(tile, 0);
        auto type = RankedTensorType::get({tile}, k.b.getF32Type());
        Value frequencies = arith::ConstantOp::create(
            k.b, k.loc, DenseElementsAttr::get(type, ArrayRef<float>(f)));
        Value angle = k.mul(k.splat(position, {tile}), frequencies);
        auto [cos, sin] = cosSin(k, k.to(angle, k.b.getF64Type()));
        SmallVector<Value> bound;
        if (tile != half)
          bound.push_back(k.ci(half));
        k.store(k.f32(cos), k.arg(1), {t, k.ci(0)}, bound);
        k.store(k.f32(sin), k.arg(2), {t, k.ci(0)}, bound);
      });
  Lowering::Grid grid;
  grid.like = op.getPositions();
  l.launch(kernel, grid, operands);
}

Value hadamardMatrix(KernelBuilder &k, int64_t n) {
  SmallVector<float> matrix(n * n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      matrix[i * n + j] = llvm::popcount(uint64_t(i & j)) % 2 ? -1.f : 1.f;
  auto type = RankedTensorType::get({n, n}, k.b.getF32Type());
  return arith::ConstantOp::create(
      k.b, k.loc, DenseElementsAttr::get(type, ArrayRef<float>(matrix)));
}

void lowerHadamard(Lowering &l, dsv4::HadamardOp op) {
  Heads v(l, op.getX(), {}, op.getResult());
  int64_t n = v.width;
  auto kernel = l.kernels.get(
      "hadamard", "", ValueRange(v.operands).getTypes(), [&](KernelBuilder &k) {
        Value t = k.pid(0), h = k.muli(k.pid(1), v.block);
        Value m = hadamardMatrix(k, n);
        Value x = v.load(k, t, h, k.ci(0), n, n);
        Value y = k.dot(tile::DotForm::NT, m, x, k.full(0, {n, v.block}));
        y = k.mul(k.transpose(y), 1.0 / std::sqrt(double(n)));
        v.store(k, y, t, h, k.ci(0), n, n);
      });
  l.launch(kernel, v.grid(op.getX()), v.operands);
}

ScaledBlock scaleBlock(KernelBuilder &k, Value x, dsv4::QuantFormat format) {
  Shape shape = k.type(x).getShape();
  bool fp8 = format == dsv4::QuantFormat::E4M3;
  double largest = fp8 ? 448 : 6,
         floor = fp8 ? 1e-4 : 6 * std::ldexp(1.0, -126);
  Value amax = k.reduce(tile::ReduceKind::Max, k.abs(x), 1);
  amax = k.max(amax, k.full(floor, {shape[0]}));
  Value scale = k.powerOfTwoCeil(k.mul(amax, double(float(1 / largest))));
  Value scaled = k.div(x, k.broadcast(scale, {1}, shape));
  scaled =
      k.max(k.min(scaled, k.full(largest, shape)), k.full(-largest, shape));
  return {scale, scaled};
}

Value roundToGrid(KernelBuilder &k, Value x, dsv4::QuantFormat format) {
  if (format == dsv4::QuantFormat::E4M3)
    return k.f32(k.to(x, k.b.getType<Float8E4M3FNType>()));
  SmallVector<int64_t> packed(k.type(x).getShape());
  packed.back() /= 2;
  Value codes = tile::PackFP4Op::create(
      k.b, k.loc, RankedTensorType::get(packed, k.b.getI8Type()), x);
  return tile::UnpackFP4Op::create(k.b, k.loc, x.getType(), codes);
}

void lowerFakeQuantize(Lowering &l, dsv4::FakeQuantizeOp op) {
  Value scales = l.quantised(op, op.getX()).scales;
  Heads v(l, op.getX(), {}, op.getResult());
  unsigned out = v.out();
  if (scales)
    v.operands.push_back(Heads::three(l, scales));
  int64_t block = op.getBlock(), channels = op.getChannels();
  auto format = op.getFormat();
  std::string params = (dsv4::stringifyQuantFormat(format) + "_" +
                        Twine(block) + "_" + Twine(channels))
                           .str();
  auto kernel = l.kernels.get(
      "fake_quantize", params, ValueRange(v.operands).getTypes(),
      [&](KernelBuilder &k) {
        Value t = k.pid(0), h = k.muli(k.pid(1), v.block);
        k.chunks(channels, block, [&](Value c, int64_t w) {
          ScaledBlock s = scaleBlock(k, v.load(k, t, h, c, w, v.width), format);
          if (scales) {
            Value scale = k.to(s.scale, k.b.getType<Float8E8M0FNUType>());
            k.store(k.to(s.scaled, k.b.getType<Float8E4M3FNType>()), k.arg(out),
                    {t, h, c}, v.bounds(k, v.width, w));
            k.store(k.reshape(scale, {v.block, 1}), k.arg(out + 1),
                    {t, h, k.divi(c, block)}, v.bounds(k, v.width / block, 1));
            return;
          }
          Value y = k.mul(roundToGrid(k, s.scaled, format),
                          k.broadcast(s.scale, {1}, {v.block, w}));
          v.store(k, y, t, h, c, w, v.width);
        });
        v.copy(k, t, h, channels, v.width);
      });
  l.launch(kernel, v.grid(op.getX()), v.operands);
}

} // namespace fathom
