// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// tile.gather_scaled: rows of codes by number, decoded on the way into the
// tile. Products with a power of two have few bits, so that storing bf16 is a
// matter of dropping zeros, or, of the smallest subnormals, what is below them.
#include "codegen/CPU/MicroKernels.h"

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

/// The upper halves of two vectors of floats, whose lower halves are zero but
/// for a code of e4m3 with a scale near 2^-127.
static Value upperHalves(Emit &e, Value first, Value second) {
  int64_t lanes = lanesOf(first.getType());
  Type words = e.vec(2 * lanes, e.b.getI16Type());
  auto asWords = [&](Value v) -> Value {
    return vector::BitCastOp::create(e.b, e.loc, cast<VectorType>(words), v);
  };
  SmallVector<int64_t> odd;
  for (int64_t i = 0; i < 2 * lanes; ++i)
    odd.push_back(2 * i + 1);
  Value halves = vector::ShuffleOp::create(e.b, e.loc, asWords(first),
                                           asWords(second), odd);
  return arith::BitcastOp::create(e.b, e.loc,
                                  e.vec(2 * lanes, e.b.getBF16Type()), halves);
}

namespace {
struct ScaledRows {
  Value codes, scales, result;
  bool packed;
  int64_t block, width;
  int64_t lanes; // values of one step and of one scale
  bool byWords;  // 64 codes at once

  /// `lanes` values from column k of the row on, as one or two f32 vectors.
  Emit::Values decode(Emit &e, Value row, Value k) const {
    int64_t part = std::min(lanes, kLanes);
    if (packed) {
      Value byte = arith::ShRUIOp::create(e.b, e.loc, k, e.index(1));
      Value bytes = e.load(codes, {row, byte}, lanes / 2);
      if (lanes < 32)
        return {decodeFP4(e, bytes)};
      auto [first, second] = decodeFP4x32(e, bytes);
      return {first, second};
    }
    Emit::Values parts;
    for (int64_t at = 0; at < lanes; at += part)
      parts.push_back(e.toF32(e.load(codes, {row, e.add(k, at)}, part)));
    return parts;
  }

  void step(Emit &e, Value row, Value k, Value i, Value column,
            Value scale) const {
    Emit::Values parts = decode(e, row, k);
    int64_t part = lanesOf(parts.front().getType());
    for (Value &v : parts)
      v = arith::MulFOp::create(e.b, e.loc, v, e.splat(scale, part));
    if (cast<MemRefType>(result.getType()).getElementType().isF32()) {
      for (auto [n, v] : llvm::enumerate(parts))
        e.store(v, result, {i, e.add(column, n * part)});
      return;
    }
    if (parts.size() == 2) {
      e.store(upperHalves(e, parts[0], parts[1]), result, {i, column});
      return;
    }
    e.store(arith::TruncFOp::create(e.b, e.loc, e.vec(part, e.b.getBF16Type()),
                                    parts[0]),
            result, {i, column});
  }

  /// 64 codes with their scale, which is added to the exponents of what is then
  /// bf16. Rare codes that have no exponent (zeros, subnormal numbers) or are
  /// no numbers, and scales that would leave the normal numbers, are for
  /// `steps`.
  void sixtyFour(Emit &e, Value row, Value k, Value i, Value column,
                 Value scaleAt, function_ref<void()> steps) const {
    Type byte = e.b.getI8Type(), word = e.b.getI16Type();
    Type bytes = e.vec(64, byte), words = e.vec(32, word);
    Value scale = arith::BitcastOp::create(e.b, e.loc, byte,
                                           e.load(scales, {row, scaleAt}, 1));
    scale = arith::SubIOp::create(e.b, e.loc, scale, e.constant(byte, 7));
    Value plain = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::ule,
                                        scale, e.constant(byte, 246 - 7));
    // The magnitude less 8, where those below 0 are above all others: the
    // largest number is 0x7E, what is no number 0x7F.
    Value code = arith::BitcastOp::create(e.b, e.loc, bytes,
                                          e.load(codes, {row, k}, 64));
    Value above =
        arith::OrIOp::create(e.b, e.loc, code, e.constant(bytes, -0x80));
    above =
        arith::AddIOp::create(e.b, e.loc, above, e.constant(bytes, 0x80 - 8));
    Value each = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::ule,
                                       above, e.constant(bytes, 0x7E - 8));
    plain = arith::AndIOp::create(
        e.b, e.loc, plain,
        vector::ReductionOp::create(e.b, e.loc, vector::CombiningKind::AND,
                                    each));
    auto quick = [&] {
      Value exponent = arith::ExtUIOp::create(e.b, e.loc, word, scale);
      exponent =
          arith::ShLIOp::create(e.b, e.loc, exponent, e.constant(word, 7));
      exponent = e.splat(exponent, 32);
      for (int64_t at : {0, 32}) {
        Value v =
            arith::ExtSIOp::create(e.b, e.loc, words, e.part(code, at, 32));
        v = arith::ShLIOp::create(e.b, e.loc, v, e.constant(words, 4));
        v = arith::AndIOp::create(e.b, e.loc, v, e.constant(words, -0x7810));
        v = arith::AddIOp::create(e.b, e.loc, v, exponent);
        v = arith::BitcastOp::create(e.b, e.loc, e.vec(32, e.b.getBF16Type()),
                                     v);
        e.store(v, result, {i, e.add(column, at)});
      }
    };
    e.ifElse(plain, quick, steps);
  }

  /// Columns from `start` on of row `row` into row i of the tile.
  void decodeRow(Emit &e, Value row, Value start, Value i) const {
    int64_t perScale = std::min(block, width);
    Value first = e.over(start, block);
    e.loop(0, width / perScale, 1, [&](Value n) {
      Value at = e.times(n, perScale);
      auto steps = [&] {
        Value scale = e.toF32(e.load(scales, {row, e.add(first, n)}, 1));
        for (int64_t k = 0; k < perScale; k += lanes) {
          Value column = e.add(at, k);
          step(e, row, e.add(start, column), i, column, scale);
        }
      };
      if (!byWords || perScale != 64)
        return steps();
      sixtyFour(e, row, e.add(start, at), i, at, e.add(first, n), steps);
    });
  }
};
} // namespace

LogicalResult fathom::cpu::expandOp(Emit &e, tile::GatherScaledOp op,
                                    Buffers operands, Buffers results) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  bool packed =
      cast<MemRefType>(op.getCodes().getType()).getElementType().isInteger(8);
  int64_t block = op.getBlock(), width = type.getDimSize(1);
  ScaledRows rows{op.getCodes(),
                  op.getScales(),
                  results[0],
                  packed,
                  block,
                  width,
                  std::min<int64_t>({block, width, 32}),
                  !packed && type.getElementType().isBF16()};
  if (rows.lanes < 2)
    return op.emitError("a scale covers ")
           << block << " values of " << width << "; at least 2 are needed";
  Value start = op.getColumn() ? op.getColumn() : e.index(0);
  e.loop(0, type.getDimSize(0), 1, [&](Value i) {
    Value number = e.load(operands[2], {i}, 1);
    Value isRow = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::sge,
                                        number, e.zero(number.getType()));
    e.ifElse(
        isRow,
        [&] {
          Value row = arith::IndexCastOp::create(e.b, e.loc, e.b.getIndexType(),
                                                 number);
          rows.decodeRow(e, row, start, i);
        },
        [&] {
          e.zeroRow(results[0], {i, e.index(0)}, width);
        });
  });
  return success();
}
