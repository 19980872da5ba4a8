// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// tile.dot_scaled: weights are decoded in registers for few tokens, once into
// scratch rows for many. All ways in f32 take the exact product weight x scale
// into the sums of `dot nt`; those by bf16 have the sums of their level. Which
// it is depends on the weights' tile, its rows and scales, so a token's result
// does not know its company. Here is what takes any scales; what is fast:
// BlockScaledDot.cpp, BF16Kernels.cpp and AMXKernels.cpp.
#include "codegen/CPU/NarrowWeights.h"

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

Value fathom::cpu::e4m3AsF16(Emit &e, Value codes) {
  Type words = e.vec(lanesOf(codes.getType()), e.b.getI16Type());
  Value v = arith::ExtSIOp::create(e.b, e.loc, words, codes);
  v = arith::ShLIOp::create(e.b, e.loc, v, e.constant(words, 7));
  return arith::AndIOp::create(e.b, e.loc, v, e.constant(words, -0x4001));
}

namespace {
/// Weights of one operation and how they are read.
struct ScaledWeights {
  Value codes, scales;
  bool packed;
  int64_t rows, k, rowBlock, columnBlock;
  int64_t lanes; // weights that decode() yields

  static FailureOr<ScaledWeights> of(Emit &e, tile::DotScaledOp op, Value codes,
                                     Value scales) {
    auto codeType = cast<MemRefType>(codes.getType());
    auto scaleType = cast<MemRefType>(scales.getType());
    ScaledWeights w{};
    w.codes = codes;
    w.scales = scales;
    w.packed = codeType.getElementType().isInteger(8);
    w.rows = codeType.getDimSize(0);
    w.k = codeType.getDimSize(1) * (w.packed ? 2 : 1);
    w.rowBlock = w.rows / scaleType.getDimSize(0);
    w.columnBlock = w.k / scaleType.getDimSize(1);
    w.lanes = std::min(w.columnBlock, kLanes);
    if (std::min(w.k, kLanes) != w.lanes || (w.packed && w.lanes < 2))
      return op.emitError("a scale covers ")
             << w.columnBlock << " weights of " << w.k
             << " along a row; at least 16 are needed";
    if (w.packed) // a scale for every 32 weights of every row
      w.scales = e.inF32(scales);
    return w;
  }

  /// Scale of row `row`, column block `block`.
  Value scale(Emit &e, Value row, Value block) const {
    if (rowBlock > 1)
      row = e.over(row, rowBlock);
    return e.splat(e.toF32(e.load(scales, {row, block}, 1)), lanes);
  }

  /// `lanes` weights from column k on, times their scale.
  Value decode(Emit &e, Value row, Value k, Value scale) const {
    Value weights;
    if (packed) {
      Value byte = arith::ShRUIOp::create(e.b, e.loc, k, e.index(1));
      weights = decodeFP4(e, e.load(codes, {row, byte}, lanes / 2));
    } else {
      weights = decodeE4M3(e, row, k);
    }
    return arith::MulFOp::create(e.b, e.loc, weights, scale);
  }

private:
  /// `lanes` weights of e4m3, by way of f16.
  Value decodeE4M3(Emit &e, Value row, Value k) const {
    OpBuilder &b = e.b;
    Type words = e.vec(lanes, b.getI16Type()),
         bytes = e.vec(lanes, b.getI8Type());
    Value code = arith::BitcastOp::create(b, e.loc, bytes,
                                          e.load(codes, {row, k}, lanes));
    Value bits = e4m3AsF16(e, code);
    // The one magnitude that is no number; a weight like that must show.
    Value negative =
        arith::OrIOp::create(b, e.loc, code, e.constant(bytes, -0x80));
    Value isNaN = arith::CmpIOp::create(b, e.loc, arith::CmpIPredicate::eq,
                                        negative, e.constant(bytes, -1));
    Value mask = arith::ExtSIOp::create(b, e.loc, words, isNaN);
    mask = arith::AndIOp::create(b, e.loc, mask, e.constant(words, 0x7E00));
    bits = arith::OrIOp::create(b, e.loc, bits, mask);
    bits =
        arith::BitcastOp::create(b, e.loc, e.vec(lanes, b.getF16Type()), bits);
    Type floats = e.vec(lanes, b.getF32Type());
    Value value = arith::ExtFOp::create(b, e.loc, floats, bits);
    return arith::MulFOp::create(b, e.loc, value, e.constant(floats, 256));
  }
};
} // namespace

/// Any scales: a few rows are decoded into scratch, then multiplied. Little
/// code rather than speed.
static LogicalResult inFloats(Emit &e, tile::DotScaledOp op, Buffers operands) {
  FailureOr<ScaledWeights> weights =
      ScaledWeights::of(e, op, operands[0], operands[1]);
  if (failed(weights))
    return failure();
  const ScaledWeights &w = *weights;
  Value x = operands[2], acc = operands[3];
  if (w.rows >= 8)
    x = e.inF32(x);
  int64_t blockM = std::min<int64_t>(w.rows, 4);
  Value rows = e.alloc({blockM, w.k}, e.b.getF32Type());
  e.loop(0, w.rows, blockM, [&](Value m) {
    e.loop(0, blockM, 1, [&](Value i) {
      e.loop(0, w.k / w.columnBlock, 1, [&](Value block) {
        Value row = e.add(m, i), scale = w.scale(e, row, block);
        Value start = e.times(block, w.columnBlock);
        e.loop(0, w.columnBlock, w.lanes, [&](Value offset) {
          Value k = e.add(start, offset);
          e.store(w.decode(e, row, k, scale), rows, {i, k});
        });
      });
    });
    emitDotNT(e, Target{}, rows, x, acc, m, blockM);
  });
  return success();
}

/// Weights whose rows share the scales of their columns, or FP4.
static LogicalResult expandBlock(Emit &e, tile::DotScaledOp op, Target target,
                                 Buffers operands, Value columns) {
  Value x = operands[2], acc = operands[3];
  auto narrow = NarrowWeights::of(operands[0], operands[1], x);
  LogicalResult result = success();
  auto otherwise = [&] { result = inFloats(e, op, operands); };
  if (!narrow || !(target.amx() || target.dotBF16())) {
    if (suitsBlockScaled(operands[0], operands[1]))
      emitDotBlockScaled(e, target, operands[0], operands[1], x, acc, columns,
                         otherwise);
    else
      otherwise();
    return result;
  }
  // Scales that would leave the normal numbers of bf16 are for f32: a matter
  // of the weights, so again the same for every token.
  auto pack = target.amx() ? packForAMX : packInRows;
  auto emitDot = target.amx() ? emitDotAMX : emitDotBF16;
  pack(e, *narrow, x); // where the next dot of x finds it, too
  e.ifElse(
      scalesAreModerate(e, *narrow),
      [&] { emitDot(e, *narrow, x, acc, columns); }, otherwise);
  return result;
}

LogicalResult fathom::cpu::expandOp(Emit &e, tile::DotScaledOp op,
                                    Target target, Buffers operands,
                                    Value columns) {
  // FP8: the narrow kernels take rows that share their scales.
  int64_t blocks = cast<MemRefType>(operands[1].getType()).getDimSize(0);
  int64_t rows = cast<MemRefType>(operands[0].getType()).getDimSize(0);
  bool packed =
      cast<MemRefType>(operands[0].getType()).getElementType().isInteger(8);
  if (!packed && blocks > 1 && rows % blocks == 0) {
    for (int64_t i = 0; i < blocks; ++i) {
      int64_t count = rows / blocks;
      auto some = [&](Value of, int64_t first, int64_t count) {
        return e.window(of, e.index(first), count, e.index(0),
                        cast<MemRefType>(of.getType()).getDimSize(1));
      };
      SmallVector<Value> part{some(operands[0], i * count, count),
                              some(operands[1], i, 1), operands[2],
                              some(operands[3], i * count, count)};
      if (failed(expandBlock(e, op, target, part, columns)))
        return failure();
    }
    return success();
  }
  return expandBlock(e, op, target, operands, columns);
}
