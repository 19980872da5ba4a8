// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// tile.dot_scaled in f32 with 512 bits, with the sums of `dot nt`: lane l of 16
// takes k = l, l+16, ..., and every product is exact weight x scale.
#include "codegen/CPU/MicroKernels.h"
#include "codegen/CPU/NarrowWeights.h"

#include <limits>

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

static MemRefType typeOf(Value buffer) {
  return cast<MemRefType>(buffer.getType());
}

namespace {
struct WideDot {
  Emit &e;
  Target target;
  Value codes, scales;
  bool packed;
  int64_t rows, k, rowBlock, columnBlock;
  Value factors;                      // what scale() reads
  static constexpr int64_t step = 32; // weights that decode() yields

  WideDot(Emit &e, Target target, Value codes, Value scales)
      : e(e), target(target), codes(codes), scales(scales) {
    packed = typeOf(codes).getElementType().isInteger(8);
    rows = typeOf(codes).getDimSize(0);
    k = typeOf(codes).getDimSize(1) * (packed ? 2 : 1);
    rowBlock = rows / typeOf(scales).getDimSize(0);
    columnBlock = k / typeOf(scales).getDimSize(1);
  }

  Value times(Value v, int64_t factor) {
    return arith::MulIOp::create(e.b, e.loc, v, e.index(factor));
  }
  Value over(Value v, int64_t divisor) {
    return arith::DivUIOp::create(e.b, e.loc, v, e.index(divisor));
  }
  Value bits(Value v, int64_t lanes, Type element) {
    return vector::BitCastOp::create(e.b, e.loc,
                                     VectorType::get({lanes}, element), v);
  }
  Value half(Value v, int64_t lanes, int64_t at) {
    return vector::ExtractStridedSliceOp::create(
        e.b, e.loc, v, ArrayRef<int64_t>{at}, ArrayRef<int64_t>{lanes},
        ArrayRef<int64_t>{1});
  }
  Value shuffle(Value v, ArrayRef<int64_t> lanes) {
    return vector::ShuffleOp::create(e.b, e.loc, v, v, lanes);
  }

  // ---- Scales ----

  /// Room for the scales of `count` rows of scales.
  void allocFactors(int64_t count) {
    factors = e.alloc({count, k / columnBlock}, e.b.getF32Type());
  }
  /// Puts rows of scales from `first` on there: as numbers for FP4, whose table
  /// they scale, as exponents for FP8, to which they are added.
  void stageScales(Value first, int64_t count) {
    int64_t columns = k / columnBlock, lanes = std::min(columns, kLanes);
    e.loop(0, count, 1, [&](Value i) {
      e.loop(0, columns, lanes, [&](Value at) {
        Value v = e.load(scales, {e.add(first, i), at}, lanes);
        e.store(packed ? e.toF32(v) : exponents(v), factors, {i, at});
      });
    });
  }
  Value exponents(Value codes) {
    int64_t lanes = lanesOf(codes.getType());
    Type ints = e.vec(lanes, e.b.getI32Type()),
         floats = e.vec(lanes, e.b.getF32Type());
    Value v = arith::BitcastOp::create(e.b, e.loc,
                                       e.vec(lanes, e.b.getI8Type()), codes);
    v = arith::ExtUIOp::create(e.b, e.loc, ints, v);
    Value isNaN = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::eq, v,
                                        e.constant(ints, 255));
    // decodeE4M3 owes 256.
    v = arith::SubIOp::create(e.b, e.loc, v, e.constant(ints, 127 - 8));
    v = arith::SIToFPOp::create(e.b, e.loc, floats, v);
    Value nan = arith::ConstantOp::create(
        e.b, e.loc,
        e.b.getF32FloatAttr(std::numeric_limits<float>::quiet_NaN()));
    return arith::SelectOp::create(e.b, e.loc, isNaN, e.splat(nan, lanes), v);
  }
  /// Of row `row` of factors, block `block` of columns.
  Value scale(Value row, Value block) {
    return e.splat(e.load(factors, {row, block}, 1), 16);
  }

  // ---- Weights ----

  /// `step` weights of a row from column `at` on, times their scale. FP4 is in
  /// the order of weave().
  Emit::Values decode(Value row, Value at, Value scale) {
    if (packed)
      return lookUp(row, over(at, 2), scale);
    Emit::Values weights = decodeE4M3(row, at);
    Value all = e.constant(e.b.getI16Type(), -1),
          asSet = e.constant(e.b.getI32Type(), 4); // the mode of rounding
    for (Value &weight : weights)
      weight =
          e.intrinsic(weight.getType(), "llvm.x86.avx512.mask.scalef.ps.512",
                      ValueRange{weight, scale, weight, all, asSet});
    return weights;
  }

  /// 16 lanes in the order in which FP4 is decoded cheaply, or back: a half of
  /// 16 weights is 32 bits, and has every second lane.
  Value weave(Value v, bool back = false) {
    SmallVector<int64_t> lanes(16);
    for (int64_t i = 0; i < 16; ++i)
      (back ? lanes[i % 2 * 8 + i / 2] : lanes[i]) =
          back ? i : i % 2 * 8 + i / 2;
    return shuffle(v, lanes);
  }

  /// 32 weights of e2m1 from a table of all 16 that has the scale already: each
  /// lane looks at the lowest four bits of a number. A load puts the 64 bits of
  /// 16 weights into all pairs of lanes, where they are shifted to their place.
  Emit::Values lookUp(Value row, Value byte, Value scale) {
    SmallVector<float> values;
    for (float sign : {1.0f, -1.0f})
      for (float magnitude : {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f})
        values.push_back(sign * magnitude);
    auto floats = cast<VectorType>(e.vec(16, e.b.getF32Type())),
         longs = cast<VectorType>(e.vec(8, e.b.getI64Type()));
    Value table = arith::ConstantOp::create(
        e.b, e.loc, DenseElementsAttr::get(floats, ArrayRef<float>(values)));
    table = arith::MulFOp::create(e.b, e.loc, table, scale);
    SmallVector<int64_t> places;
    for (int64_t pair = 0; pair < 8; ++pair)
      places.push_back(4 * pair);
    Value shifts = arith::ConstantOp::create(
        e.b, e.loc, DenseElementsAttr::get(longs, ArrayRef<int64_t>(places)));
    Emit::Values weights;
    for (int64_t part = 0; part < 2; ++part) {
      Value bytes = e.load(codes, {row, e.add(byte, 8 * part)}, 8);
      Value word = vector::ExtractOp::create(
          e.b, e.loc, bits(bytes, 1, e.b.getI64Type()), ArrayRef<int64_t>{0});
      Value index =
          arith::ShRUIOp::create(e.b, e.loc, e.splat(word, 8), shifts);
      weights.push_back(
          e.intrinsic(floats, "llvm.x86.avx512.permvar.sf.512",
                      ValueRange{table, bits(index, 16, e.b.getI32Type())}));
    }
    return weights;
  }

  /// 32 weights of e4m3 by way of f16, where the bits mean a 256th of them.
  Emit::Values decodeE4M3(Value row, Value at) {
    Type words = e.vec(32, e.b.getI16Type()),
         bytes = e.vec(32, e.b.getI8Type());
    Value code = arith::BitcastOp::create(e.b, e.loc, bytes,
                                          e.load(codes, {row, at}, 32));
    Value v = arith::ExtSIOp::create(e.b, e.loc, words, code);
    v = arith::ShLIOp::create(e.b, e.loc, v, e.constant(words, 7));
    v = arith::AndIOp::create(e.b, e.loc, v, e.constant(words, -0x4001));
    // The one magnitude that is no number; a weight like that must show.
    Value negative =
        arith::OrIOp::create(e.b, e.loc, code, e.constant(bytes, -0x80));
    Value isNaN = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::eq,
                                        negative, e.constant(bytes, -1));
    v = arith::SelectOp::create(e.b, e.loc, isNaN, e.constant(words, 0x7E00),
                                v);
    v = arith::BitcastOp::create(e.b, e.loc, e.vec(32, e.b.getF16Type()), v);
    Emit::Values weights;
    for (int64_t at : {0, 16})
      weights.push_back(arith::ExtFOp::create(
          e.b, e.loc, e.vec(16, e.b.getF32Type()), half(v, 16, at)));
    return weights;
  }

  // ---- Up to eight tokens: each weight is decoded once ----

  /// Tokens by lanes: 16 of k of each, in the order of decode(), then the next
  /// 16. So they share no set of the first-level cache.
  struct Tokens {
    Value buffer;
    int64_t count;
  };
  Emit::Values place(const Tokens &x, Value k, Value token) {
    return {e.add(times(over(k, 16), x.count), token), e.index(0)};
  }
  Tokens byLanes(Value tokens) {
    int64_t count = typeOf(tokens).getDimSize(0);
    Tokens x{e.alloc({k / 16 * count, 16}, e.b.getF32Type()), count};
    e.loop(0, count, 1, [&](Value token) {
      e.loop(0, k, 16, [&](Value at) {
        Value v = e.toF32(e.load(tokens, {token, at}, 16));
        e.store(packed ? weave(v) : v, x.buffer, place(x, at, token));
      });
    });
    return x;
  }

  /// How far ahead and from how many places, as measured: PERFORMANCE.md.
  Strips strips(int64_t height, int64_t tokens) {
    const bool one = tokens == 1;
    int64_t bytes = packed ? one ? 4096 : 8192 : 16384;
    int64_t streams = packed ? one ? 1 : 2 : one ? 4 : 1;
    return {e, codes, height, bytes, streams, k / step};
  }

  void few(Value tokens, Value acc) {
    Tokens x = byLanes(tokens);
    int64_t blockM = std::min<int64_t>(rows, x.count > 4 ? 2 : 4);
    Strips next = strips(blockM, x.count);
    Prefetch nextScales(e, scales);
    allocFactors(packed ? blockM : rows / rowBlock);
    if (!packed)
      stageScales(e.index(0), rows / rowBlock);
    e.loop(0, rows, blockM, [&](Value m) {
      next.start(m);
      if (packed) {
        nextScales.startStrip(m, blockM, rows);
        nextScales.touchNext(e.index(0), 1);
        stageScales(m, blockM);
      }
      Emit::Values init(blockM * x.count, e.zero(e.vec(16, e.b.getF32Type())));
      Emit::Values sums = e.loop(
          0, k / columnBlock, 1, init, [&](Value index, Emit::Range outer) {
            return block(x, next, m, blockM, index, outer);
          });
      addSums(sums, acc, m, blockM, x.count);
    });
  }

  /// The sums after the products of a block of columns that share their scales.
  Emit::Values block(const Tokens &x, Strips &strips, Value m, int64_t blockM,
                     Value index, Emit::Range sums) {
    Emit::Values scales;
    for (int64_t i = 0; i < blockM; ++i)
      scales.push_back(packed ? scale(e.index(i), index)
                       : i > 0 && rowBlock % blockM == 0
                           ? scales[0]
                           : scale(over(e.add(m, i), rowBlock), index));
    Value start = times(index, columnBlock);
    return e.loop(
        0, columnBlock, step, sums, [&](Value offset, Emit::Range inner) {
          Emit::Values next(inner);
          Value at = e.add(start, offset);
          strips.touch(over(at, step));
          SmallVector<Emit::Values> left;
          for (int64_t i = 0; i < blockM; ++i)
            left.push_back(decode(e.add(m, i), at, scales[i]));
          for (int64_t part = 0; part < step / 16; ++part) {
            Emit::Values right;
            for (int64_t j = 0; j < x.count; ++j)
              right.push_back(e.load(
                  x.buffer, place(x, e.add(at, part * 16), e.index(j)), 16));
            for (int64_t i = 0; i < blockM; ++i)
              for (int64_t j = 0; j < x.count; ++j) {
                Value &sum = next[i * x.count + j];
                sum = e.fma(left[i][part], right[j], sum);
              }
          }
          return next;
        });
  }

  void addSums(Emit::Values sums, Value acc, Value m, int64_t blockM,
               int64_t count) {
    if (packed)
      for (Value &sum : sums)
        sum = weave(sum, /*back=*/true);
    if (count > 1 || blockM == 1)
      return addTotals(e, sums, acc, m, e.index(0), blockM, count);
    Value totals = e.treeAddAll(sums);
    for (int64_t i = 0; i < blockM; ++i) {
      Emit::Values at{e.add(m, i), e.index(0)};
      Value total =
          vector::ExtractOp::create(e.b, e.loc, totals, ArrayRef<int64_t>{i});
      e.store(arith::AddFOp::create(e.b, e.loc, e.load(acc, at, 1), total), acc,
              at);
    }
  }

  // ---- More tokens: a few rows are decoded into scratch, then multiplied ----

  void many(Value tokens, Value acc) {
    Value x = e.alloc(typeOf(tokens).getShape(), e.b.getF32Type());
    e.loop(0, typeOf(tokens).getDimSize(0), 1, [&](Value token) {
      e.loop(0, k, 16, [&](Value at) {
        e.store(e.toF32(e.load(tokens, {token, at}, 16)), x, {token, at});
      });
    });
    int64_t blockM = std::min<int64_t>(rows, 4);
    Value stage = e.alloc({blockM, k}, e.b.getF32Type());
    allocFactors(packed ? blockM : rows / rowBlock);
    if (!packed)
      stageScales(e.index(0), rows / rowBlock);
    e.loop(0, rows, blockM, [&](Value m) {
      if (packed)
        stageScales(m, blockM);
      e.loop(0, blockM, 1, [&](Value i) {
        Value row = e.add(m, i), scaleRow = packed ? i : over(row, rowBlock);
        e.loop(0, k, step, [&](Value at) {
          Emit::Values weights =
              decode(row, at, scale(scaleRow, over(at, columnBlock)));
          for (auto [part, v] : llvm::enumerate(weights))
            e.store(packed ? weave(v, /*back=*/true) : v, stage,
                    {i, e.add(at, part * 16)});
        });
      });
      emitDotNT(e, target, stage, x, acc, m, blockM);
    });
  }
};
} // namespace

bool fathom::cpu::suitsWide(Value codes, Value scales) {
  int64_t blocks = typeOf(scales).getDimSize(1),
          k = typeOf(codes).getDimSize(1) *
              (typeOf(codes).getElementType().isInteger(8) ? 2 : 1);
  return k % blocks == 0 && k / blocks % 32 == 0;
}

void fathom::cpu::emitDotWide(Emit &e, Target target, Value codes, Value scales,
                              Value x, Value acc) {
  WideDot dot(e, target, codes, scales);
  if (typeOf(x).getDimSize(0) <= 8)
    dot.few(x, acc);
  else
    dot.many(x, acc);
}
