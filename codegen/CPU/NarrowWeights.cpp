// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/NarrowWeights.h"

using namespace mlir;
using namespace fathom::cpu;

using Kind = NarrowWeights::Kind;

static MemRefType typeOf(Value buffer) {
  return cast<MemRefType>(buffer.getType());
}

std::optional<NarrowWeights> NarrowWeights::of(Value lhs, Value rhs) {
  MemRefType left = typeOf(lhs), right = typeOf(rhs);
  NarrowWeights w{Kind::BF16, lhs, {}, left.getDimSize(0), left.getDimSize(1)};
  if (!left.getElementType().isBF16() || !right.getElementType().isBF16() ||
      w.k % w.unit())
    return std::nullopt;
  return w;
}

std::optional<NarrowWeights> NarrowWeights::of(Value codes, Value scales,
                                               Value x) {
  MemRefType code = typeOf(codes), scale = typeOf(scales);
  bool packed = code.getElementType().isInteger(8);
  NarrowWeights w{packed ? Kind::FP4 : Kind::FP8, codes, scales,
                  code.getDimSize(0), code.getDimSize(1) * (packed ? 2 : 1)};
  if (!typeOf(x).getElementType().isBF16() || w.rows % 16 || w.k % w.unit())
    return std::nullopt;
  int64_t scaleRows = packed ? w.rows : 1;
  int64_t scaleColumns = w.k / (packed ? 32 : w.group());
  if (scale.getDimSize(0) != scaleRows || scale.getDimSize(1) != scaleColumns)
    return std::nullopt;
  return w;
}

// ---- Small vocabulary -------------------------------------------------------

static Value bits(Emit &e, Value v, int64_t lanes, unsigned width) {
  auto from = cast<VectorType>(v.getType());
  Type element = e.b.getIntegerType(from.getElementTypeBitWidth());
  if (from.getElementType() != element)
    v = arith::BitcastOp::create(e.b, e.loc, from.clone(element), v);
  Type to = VectorType::get({lanes}, e.b.getIntegerType(width));
  return v.getType() == to ? v : vector::BitCastOp::create(e.b, e.loc, to, v);
}

template <typename T> static Value dense(Emit &e, ArrayRef<T> values) {
  auto type = VectorType::get({int64_t(values.size())},
                              e.b.getIntegerType(8 * sizeof(T)));
  return arith::ConstantOp::create(e.b, e.loc,
                                   DenseElementsAttr::get(type, values));
}

static Value shuffle(Emit &e, Value a, Value b, ArrayRef<int64_t> lanes) {
  return vector::ShuffleOp::create(e.b, e.loc, a, b, lanes);
}

static Value shiftRight(Emit &e, Value v, int64_t by) {
  return by == 0 ? v
                 : arith::ShRUIOp::create(e.b, e.loc, v,
                                          e.constant(v.getType(), by));
}

static Value asBF16(Emit &e, Value words) {
  return arith::BitcastOp::create(
      e.b, e.loc, VectorType::get({32}, e.b.getBF16Type()), words);
}

// ---- Decoding ---------------------------------------------------------------

/// Exponents in the table are as large as they can be. A scale then only ever
/// lowers them, by an addition that saturates: it leaves a zero what it is if
/// that is the smallest number of 16 bits, -0.
constexpr int kRaised = 126;

/// bf16 of the 16 codes of e2m1, each twice: vpermw looks at five bits.
static SmallVector<int16_t> tableE2M1() {
  static const uint16_t magnitudes[8] = {0,      0x3F00, 0x3F80, 0x3FC0,
                                         0x4000, 0x4040, 0x4080, 0x40C0};
  SmallVector<int16_t> words;
  for (int code = 0; code < 32; ++code) {
    unsigned word = magnitudes[code % 8];
    word = word ? word + (kRaised << 7) : 0x8000;
    words.push_back(int16_t(word | (code & 8) << 12));
  }
  return words;
}

/// bf16 of the 128 magnitudes of e4m3; subnormals are normal in bf16.
static uint16_t magnitudeE4M3(int code) {
  if (code == 0x7F)
    return 0x7FC0;
  if (code >= 8)
    return uint16_t((code << 4) + (120 << 7));
  float value = float(code) / 512;
  return uint16_t(llvm::bit_cast<uint32_t>(value) >> 16);
}

Decoder::Decoder(Emit &e, const NarrowWeights &w) : e(e), w(w) {
  if (w.kind == Kind::FP4) {
    tables[0] = dense<int16_t>(e, tableE2M1());
    // Lane g of 128 bits is a group of 32 weights; its scale becomes the high
    // byte of every word.
    SmallVector<int8_t> from;
    for (int byte = 0; byte < 64; ++byte)
      from.push_back(byte % 2 ? int8_t(byte / 16) : int8_t(-128));
    spread = dense<int8_t>(e, from);
  }
}

void Decoder::stageGroups() {
  if (w.kind != Kind::FP8)
    return;
  Value buffer = e.alloc({w.k / w.group() * 4, 64}, e.b.getI8Type());
  e.loop(0, w.k, w.group(), [&](Value k) {
    makeTables(k);
    Value row = e.over(k, w.group() / 4);
    for (int i = 0; i < 4; ++i)
      e.store(tables[i], buffer, {e.add(row, i), e.index(0)});
  });
  staged = buffer;
}

void Decoder::startGroup(Value k) {
  if (w.kind != Kind::FP8)
    return;
  if (!staged)
    return makeTables(k);
  Value row = e.over(k, w.group() / 4);
  for (int i = 0; i < 4; ++i)
    tables[i] = e.load(staged, {e.add(row, i), e.index(0)}, 64);
}

Emit::Values
Decoder::forUnits(Emit::Range init,
                  function_ref<Emit::Values(Value, Emit::Range)> body) {
  return e.loop(0, w.k, w.group(), init, [&](Value first, Emit::Range outer) {
    startGroup(first);
    return e.loop(0, w.group(), w.unit(), outer,
                  [&](Value k, Emit::Range inner) {
                    return body(e.add(first, k), inner);
                  });
  });
}

void Decoder::makeTables(Value k) {
  Value block = e.over(k, w.group());
  Value code = e.load(w.scales, {e.index(0), block}, 1);
  code = arith::BitcastOp::create(e.b, e.loc, e.b.getI8Type(), code);
  Type word = e.b.getI16Type();
  code = arith::ExtUIOp::create(e.b, e.loc, word, code);
  code = arith::SubIOp::create(e.b, e.loc, code, e.constant(word, 127));
  code = arith::ShLIOp::create(e.b, e.loc, code, e.constant(word, 7));
  Value shift = e.splat(code, 32);
  Value words[4];
  for (int part = 0; part < 4; ++part) {
    SmallVector<int16_t> values, mask;
    for (int i = 0; i < 32; ++i) {
      int code = 32 * part + i;
      values.push_back(int16_t(magnitudeE4M3(code)));
      mask.push_back(code == 0 || code == 0x7F ? 0 : -1); // zero and NaN stay
    }
    Value v = dense<int16_t>(e, values);
    v = arith::AddIOp::create(
        e.b, e.loc, v,
        arith::AndIOp::create(e.b, e.loc, shift, dense<int16_t>(e, mask)));
    words[part] = bits(e, v, 64, 8);
  }
  for (int byte = 0; byte < 2; ++byte)
    for (int half = 0; half < 2; ++half) {
      SmallVector<int64_t> lanes;
      for (int i = 0; i < 64; ++i)
        lanes.push_back(2 * i + byte);
      tables[2 * byte + half] =
          shuffle(e, words[2 * half], words[2 * half + 1], lanes);
    }
}

Value Decoder::scaleWords(Value row, Value k) const {
  Value block = e.over(k, 32);
  Value four = bits(e, e.load(w.scales, {row, block}, 4), 1, 32);
  Value one = vector::ExtractOp::create(e.b, e.loc, four, ArrayRef<int64_t>{0});
  Value all = bits(e, e.splat(one, 16), 64, 8);
  Value high = e.intrinsic(all.getType(), "llvm.x86.avx512.pshuf.b.512",
                           ValueRange{all, spread});
  return bits(e, high, 32, 16);
}

Emit::Values Decoder::decode(Value row, Value k) const {
  Emit::Values result;
  auto words = VectorType::get({32}, e.b.getI16Type());
  auto bytes = VectorType::get({64}, e.b.getI8Type());
  if (w.kind == Kind::BF16)
    return {e.load(w.codes, {row, k}, 32)};
  if (w.kind == Kind::FP4) {
    Value byte = e.over(k, 2);
    Value codes = bits(e, e.load(w.codes, {row, byte}, 64), 32, 16);
    Value shift =
        arith::AddIOp::create(e.b, e.loc, shiftRight(e, scaleWords(row, k), 1),
                              e.constant(words, -((127 + kRaised) << 7)));
    for (int n = 0; n < 4; ++n) {
      Value word =
          e.intrinsic(words, "llvm.x86.avx512.permvar.hi.512",
                      ValueRange{tables[0], shiftRight(e, codes, 4 * n)});
      word = LLVM::SAddSat::create(e.b, e.loc, words, word, shift);
      result.push_back(asBF16(e, word));
    }
    return result;
  }
  Value codes = bits(e, e.load(w.codes, {row, k}, 64), 64, 8);
  auto lookUp = [&](int byte) {
    return e.intrinsic(
        bytes, "llvm.x86.avx512.vpermi2var.qi.512",
        ValueRange{tables[2 * byte], codes, tables[2 * byte + 1]});
  };
  Value low = lookUp(0), high = lookUp(1);
  Value sign =
      arith::AndIOp::create(e.b, e.loc, codes, e.constant(bytes, -128));
  high = arith::OrIOp::create(e.b, e.loc, high, sign);
  for (int n = 0; n < 2; ++n) {
    SmallVector<int64_t> lanes; // of 128 bits each, as vpunpck does
    for (int i = 0; i < 64; ++i)
      lanes.push_back(i / 16 * 16 + 8 * n + i % 16 / 2 + (i % 2 ? 64 : 0));
    result.push_back(asBF16(e, bits(e, shuffle(e, low, high, lanes), 32, 16)));
  }
  return result;
}

/// A tile as one row, where its rows follow each other without a gap.
static Value asOneRow(Emit &e, Value tile) {
  MemRefType type = typeOf(tile);
  auto [strides, offset] = type.getStridesAndOffset();
  int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
  if (rows > 1 && strides[0] != columns)
    return tile;
  SmallVector<ReassociationIndices> all{{0, 1}};
  Value flat = memref::CollapseShapeOp::create(e.b, e.loc, tile, all);
  return memref::ExpandShapeOp::create(
      e.b, e.loc, ArrayRef<int64_t>{1, rows * columns}, flat, all);
}

/// i1: all codes of scales [rows, columns] lie within low .. high.
static Value scalesAreWithin(Emit &e, Value scales, int64_t low, int64_t high) {
  scales = asOneRow(e, scales);
  MemRefType type = typeOf(scales);
  int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
  int64_t lanes = std::min<int64_t>(columns, 64);
  Type bytes = e.vec(lanes, e.b.getI8Type());
  // Several vectors at a time: the maximum of one waits for the one before.
  int64_t together = std::min<int64_t>(columns / lanes, 4);
  Emit::Values worst(together, e.zero(bytes));
  worst = e.loop(0, rows, 1, worst, [&](Value row, Emit::Range outer) {
    return e.loop(
        0, columns, lanes * together, outer, [&](Value at, Emit::Range inner) {
          Emit::Values next;
          for (int64_t i = 0; i < together; ++i) {
            Value codes = e.load(scales, {row, e.add(at, i * lanes)}, lanes);
            codes = arith::BitcastOp::create(e.b, e.loc, bytes, codes);
            codes = arith::SubIOp::create(e.b, e.loc, codes,
                                          e.constant(bytes, low));
            next.push_back(arith::MaxUIOp::create(e.b, e.loc, inner[i], codes));
          }
          return next;
        });
  });
  for (Value more : ArrayRef(worst).drop_front())
    worst[0] = arith::MaxUIOp::create(e.b, e.loc, worst[0], more);
  Value all = worst[0];
  if (lanes > 1)
    all = e.tree(all, [&](Value x, Value y) -> Value {
      return arith::MaxUIOp::create(e.b, e.loc, x, y);
    });
  return arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::ule, all,
                               e.constant(e.b.getI8Type(), high - low));
}

Value fathom::cpu::scalesAreModerate(Emit &e, const NarrowWeights &w) {
  // Weights lie in 2^-9 .. 448 (e4m3) or 0.5 .. 6 (e2m1).
  bool packed = w.kind == Kind::FP4;
  return scalesAreWithin(e, w.scales, packed ? 2 : 10, packed ? 252 : 246);
}

// ---- Activations in the order of the weights --------------------------------

/// Pairs (0,4) (1,5) (2,6) (3,7) of each eight words: what the nibbles of a
/// word and its neighbour are.
static Value pairNibbles(Emit &e, Value words) {
  int64_t n = cast<VectorType>(words.getType()).getNumElements();
  SmallVector<int64_t> lanes;
  for (int64_t i = 0; i < n; ++i)
    lanes.push_back(i / 8 * 8 + i % 8 / 2 + i % 2 * 4);
  return shuffle(e, words, words, lanes);
}

/// One token's unit: vectors() x vector<32xi16> in the order of decode().
static Emit::Values permuteUnit(Emit &e, const NarrowWeights &w, Value x,
                                Value token, Value k) {
  Emit::Values in;
  for (int64_t i = 0; i < w.vectors(); ++i)
    in.push_back(bits(e, e.load(x, {token, e.add(k, 32 * i)}, 32), 32, 16));
  if (w.kind == Kind::BF16)
    return in;
  if (w.kind == Kind::FP8) {
    Emit::Values out;
    for (int64_t n = 0; n < 2; ++n) {
      SmallVector<int64_t> lanes;
      for (int64_t p = 0; p < 16; ++p)
        lanes.push_back(8 * (p / 4) + 4 * n + p % 4);
      Value v =
          shuffle(e, bits(e, in[0], 16, 32), bits(e, in[1], 16, 32), lanes);
      out.push_back(bits(e, v, 32, 16));
    }
    return out;
  }
  Emit::Values out(4);
  for (Value &v : in)
    v = bits(e, pairNibbles(e, v), 16, 32);
  for (int64_t half = 0; half < 2; ++half) {
    SmallVector<int64_t> lanes;
    for (int64_t n = 2 * half; n < 2 * half + 2; ++n)
      for (int64_t i = 0; i < 8; ++i)
        lanes.push_back(i / 4 * 16 + i % 4 * 4 + n);
    Value front = shuffle(e, in[0], in[1], lanes),
          back = shuffle(e, in[2], in[3], lanes);
    for (int64_t n = 0; n < 2; ++n) {
      SmallVector<int64_t> join;
      for (int64_t i = 0; i < 16; ++i)
        join.push_back(i / 8 * 16 + 8 * n + i % 8);
      out[2 * half + n] = bits(e, shuffle(e, front, back, join), 32, 16);
    }
  }
  return out;
}

/// Four tokens in each 128-bit lane: dword c of token j to dword j of vector c.
static void transpose4(Emit &e, Value (&v)[4]) {
  SmallVector<int64_t> low, high, first, second;
  for (int64_t i = 0; i < 16; ++i) {
    low.push_back(i / 4 * 4 + i % 4 / 2 + i % 2 * 16);
    high.push_back(i / 4 * 4 + i % 4 / 2 + i % 2 * 16 + 2);
    first.push_back(i / 4 * 4 + i % 2 + i % 4 / 2 * 16);
    second.push_back(i / 4 * 4 + i % 2 + i % 4 / 2 * 16 + 2);
  }
  Value a = shuffle(e, v[0], v[1], low), b = shuffle(e, v[0], v[1], high),
        c = shuffle(e, v[2], v[3], low), d = shuffle(e, v[2], v[3], high);
  v[0] = shuffle(e, a, c, first), v[1] = shuffle(e, a, c, second);
  v[2] = shuffle(e, b, d, first), v[3] = shuffle(e, b, d, second);
}

/// Row of packTokens, within a unit, of dword `c` of the 16 bytes number
/// `piece` of a token's unit.
static int64_t pairRow(const NarrowWeights &w, int64_t piece, int64_t c) {
  switch (w.kind) {
  case Kind::FP4:
    return 16 * c + piece;
  case Kind::FP8:
    return 16 * (piece % 2) + piece / 2 * 4 + c;
  case Kind::BF16:
    return 4 * piece + c;
  }
  llvm_unreachable("all kinds are above");
}

/// `width` tokens from `token` on, 8 or 16, of which each vector takes those of
/// one or two pieces of 8 words: `pieces` that lie from column k on, to rows
/// from `row` on as pairRow says.
static void packWide(Emit &e, const NarrowWeights &w, Value x, Value token,
                     Value k, int64_t width, ArrayRef<int64_t> pieces,
                     Value out, Value row) {
  Value v[4];
  auto words = VectorType::get({32}, e.b.getBF16Type());
  int64_t lanes = width / 4; // of 128 bits that a piece takes
  for (int64_t j = 0; j < 4; ++j) {
    Value all = e.zero(words);
    for (int64_t i = 0; i < 4; ++i) {
      Value from = e.add(token, 4 * (i % lanes) + j),
            column = e.add(k, 8 * pieces[i / lanes]);
      all = vector::InsertStridedSliceOp::create(
          e.b, e.loc, e.load(x, {from, column}, 8), all,
          ArrayRef<int64_t>{8 * i}, ArrayRef<int64_t>{1});
    }
    if (w.kind == Kind::FP4)
      all = pairNibbles(e, bits(e, all, 32, 16));
    v[j] = bits(e, all, 16, 32);
  }
  transpose4(e, v);
  for (int64_t c = 0; c < 4; ++c) {
    Value rows = asBF16(e, bits(e, v[c], 32, 16));
    for (auto [i, piece] : llvm::enumerate(pieces)) {
      Value part = rows;
      if (pieces.size() > 1)
        part = e.part(rows, int64_t(i) * 2 * width, 2 * width);
      e.store(part, out, {e.add(row, pairRow(w, piece, c)), e.index(0)});
    }
  }
}

/// Four tokens, 32 words of each, to parts of rows from `column` on.
static void packFour(Emit &e, const NarrowWeights &w, Value x, Value token,
                     Value k, int64_t part, Value out, Value row,
                     Value column) {
  Value v[4];
  for (int64_t j = 0; j < 4; ++j) {
    Value words =
        bits(e, e.load(x, {e.add(token, j), e.add(k, 32 * part)}, 32), 32, 16);
    if (w.kind == Kind::FP4)
      words = pairNibbles(e, words);
    v[j] = bits(e, words, 16, 32);
  }
  transpose4(e, v);
  for (int64_t c = 0; c < 4; ++c) {
    Value words = asBF16(e, bits(e, v[c], 32, 16));
    for (int64_t lane = 0; lane < 4; ++lane) {
      Value eight = e.part(words, 8 * lane, 8);
      e.store(eight, out, {e.add(row, pairRow(w, 4 * part + lane, c)), column});
    }
  }
}

Value fathom::cpu::packTokens(Emit &e, const NarrowWeights &w, Value x,
                              int64_t width) {
  int64_t tokens = typeOf(x).getDimSize(0), pairs = w.k / 2;
  Value out = e.alloc({tokens / width * pairs, 2 * width}, e.b.getBF16Type());
  Value flat = out;
  if (width == 1) { // whole vectors are stored
    SmallVector<ReassociationIndices> whole{{0, 1}};
    flat = memref::CollapseShapeOp::create(e.b, e.loc, out, whole);
  }
  e.loop(0, tokens, width, [&](Value token) {
    Value first =
        arith::MulIOp::create(e.b, e.loc, e.over(token, width), e.index(pairs));
    e.loop(0, w.k, w.unit(), [&](Value k) {
      Value row = e.add(first, e.over(k, 2));
      if (width == 1) {
        Value at = e.times(row, 2);
        for (auto [n, v] : llvm::enumerate(permuteUnit(e, w, x, token, k)))
          e.store(asBF16(e, v), flat, e.add(at, 32 * n));
      } else if (width == 16) {
        // Two pieces later (FP8) or one, rows go on as far as that.
        int64_t pieces = w.kind == Kind::FP8 ? 2 : 1;
        e.loop(0, w.unit() / 8, pieces, [&](Value first) {
          Value at = e.add(row, first);
          if (w.kind != Kind::FP4)
            at = e.add(row, e.times(first, 4 / pieces));
          Value column = e.add(k, e.times(first, 8));
          for (int64_t piece = 0; piece < pieces; ++piece)
            packWide(e, w, x, token, column, width, piece, out, at);
        });
      } else if (width == 8) {
        for (int64_t piece = 0; piece < w.unit() / 8; piece += 2)
          packWide(e, w, x, token, k, width, {piece, piece + 1}, out, row);
      } else {
        for (int64_t t = 0; t < width; t += 4)
          for (int64_t part = 0; part < w.vectors(); ++part)
            packFour(e, w, x, e.add(token, t), k, part, out, row,
                     e.index(2 * t));
      }
    });
  });
  return out;
}

int64_t fathom::cpu::tokensOfGroup(Value x) {
  int64_t count = typeOf(x).getDimSize(0);
  return count % 4 ? 1 : std::min<int64_t>(count, 16);
}

/// On the buffer of packed tokens: the kind of weights that they suit.
static constexpr StringLiteral kPackedFor = "fathom.packed_for";

/// Whether `op` at most reads x.
static bool onlyReads(Operation *op, Value x) {
  if (auto linalg = dyn_cast<linalg::LinalgOp>(op))
    return !llvm::is_contained(linalg.getDpsInits(), x);
  if (auto copy = dyn_cast<memref::CopyOp>(op))
    return copy.getTarget() != x;
  return isa<vector::LoadOp, memref::LoadOp, bufferization::ToTensorOp>(op);
}

/// The buffer that loops before `place` in `block` have packed x into: what
/// they load of x they store there. None if x may have changed since.
static Value packedBefore(Value x, int64_t kind, Block *block,
                          Block::iterator place) {
  for (Operation *user : x.getUsers()) {
    Operation *loops = block->findAncestorOpInBlock(*user);
    if (!isa<vector::LoadOp>(user) || !loops ||
        (place != block->end() && !loops->isBeforeInBlock(&*place)))
      continue;
    for (auto store : user->getBlock()->getOps<vector::StoreOp>()) {
      Value to = store.getBase();
      if (auto flat = to.getDefiningOp<memref::CollapseShapeOp>())
        to = flat.getSrc();
      Operation *made = to.getDefiningOp();
      auto number =
          made ? made->getAttrOfType<IntegerAttr>(kPackedFor) : IntegerAttr();
      if (number && number.getInt() == kind && made->getBlock() == block &&
          llvm::all_of(x.getUsers(), [&](Operation *other) {
            Operation *top = block->findAncestorOpInBlock(*other);
            return onlyReads(other, x) || !top || top->isBeforeInBlock(loops);
          }))
        return to;
    }
  }
  return {};
}

static Value packOnce(Emit &e, const NarrowWeights &w, Value x, int64_t width) {
  int64_t kind = int64_t(w.kind);
  return e.beforeLoops(x, [&] {
    Block *block = e.b.getInsertionBlock();
    for (Block::iterator place = e.b.getInsertionPoint();;) {
      if (Value packed = packedBefore(x, kind, block, place))
        return packed;
      Operation *parent = block->getParentOp();
      if (!isa<scf::IfOp>(parent))
        break;
      place = parent->getIterator();
      block = parent->getBlock();
    }
    Value packed = packTokens(e, w, x, width);
    packed.getDefiningOp()->setAttr(kPackedFor, e.b.getI64IntegerAttr(kind));
    return packed;
  });
}

Value fathom::cpu::packForAMX(Emit &e, const NarrowWeights &w, Value x) {
  return packOnce(e, w, x, tokensOfGroup(x));
}

Value fathom::cpu::packInRows(Emit &e, const NarrowWeights &w, Value x) {
  return packOnce(e, w, x, 1);
}

// ---- Prefetch ---------------------------------------------------------------

/// Whether the kernel's arguments, such as its place in the grid, give v
/// without a look at memory.
static bool knownAtStart(Value v) {
  Operation *op = v.getDefiningOp();
  if (!op)
    return isa<func::FuncOp>(v.getParentBlock()->getParentOp());
  return isa<arith::ArithDialect>(op->getDialect()) &&
         llvm::all_of(op->getOperands(), knownAtStart);
}

Prefetch::Prefetch(Emit &e, Value tile) : e(e) {
  auto view = tile.getDefiningOp<memref::SubViewOp>();
  if (!view || view.getSourceType().getRank() != 2 ||
      typeOf(tile).getRank() != 2 || !view.getOffsets().size() ||
      view.getSourceType().isDynamicDim(1))
    return;
  auto offsets = view.getMixedOffsets();
  auto value = [&](OpFoldResult of) {
    if (auto known = getConstantIntValue(of))
      return e.index(*known);
    return cast<Value>(of);
  };
  matrix = view.getSource();
  row0 = value(offsets[0]);
  column0 = value(offsets[1]);
  tileRows = typeOf(tile).getDimSize(0);
  tileColumns = typeOf(tile).getDimSize(1);
  matrixColumns = view.getSourceType().getDimSize(1);
  ofTable = matrix.getDefiningOp<tile::SelectBufferOp>();
  if (ofTable && !knownAtStart(ofTable.getIndex()))
    ofTable = {};
}

int64_t Prefetch::rowsOf(Value tile, int64_t bytes, int64_t step) {
  MemRefType type = typeOf(tile);
  int64_t rows = type.getDimSize(0);
  int64_t row = type.getDimSize(1) * type.getElementTypeBitWidth() / 8;
  return std::clamp(bytes / row / step * step, std::min(step, rows), rows);
}

std::pair<Value, Value> Prefetch::place(Value row) {
  if (tileColumns == matrixColumns) // the next tile's rows follow
    return {e.add(row0, row), column0};
  /// `at` within `extent`; beyond it, `next` goes a step further.
  auto wrap = [&](Value at, int64_t extent, int64_t step, Value &next) {
    Value over = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::uge,
                                       at, e.index(extent));
    next = e.add(next, arith::SelectOp::create(e.b, e.loc, over, e.index(step),
                                               e.index(0)));
    Value less = e.sub(at, e.index(extent));
    return arith::SelectOp::create(e.b, e.loc, over, less, at).getResult();
  };
  Value start = column0, block = row0;
  row = wrap(row, tileRows, tileColumns, start);
  start = wrap(start, matrixColumns, tileRows, block);
  return {e.add(block, row), start};
}

void Prefetch::prefetch(Value from, Value row, Value column, int locality) {
  memref::PrefetchOp::create(e.b, e.loc, from, ValueRange{row, column},
                             /*isWrite=*/false, locality,
                             /*isDataCache=*/true);
}

void Prefetch::touchRows(Value row, Value column, int64_t rows) {
  if (!matrix)
    return;
  // Where the tile starts is settled before the column joins: in loops over
  // columns all of it stays outside.
  auto [r, c] = place(e.add(row, rows));
  prefetch(matrix, r, e.add(c, column), kFirstLevel);
}

void Prefetch::startStrip(Value row, int64_t rows, int64_t distance) {
  if (!matrix)
    return;
  strip = row;
  height = rows;
  std::tie(nextRow, nextColumn) = place(e.add(row, distance));
  nextMatrix = matrix;
  if (!ofTable)
    return;
  Value end = e.index(typeOf(matrix).getDimSize(0)),
        over = arith::CmpIOp::create(e.b, e.loc, arith::CmpIPredicate::uge,
                                     nextRow, end);
  Value index = ofTable.getIndex(),
        last = e.index(ofTable.getTable().getType().getCount() - 1),
        next = arith::MinUIOp::create(e.b, e.loc, e.add(index, 1), last);
  index = arith::SelectOp::create(e.b, e.loc, over, next, index);
  nextRow =
      arith::SelectOp::create(e.b, e.loc, over, e.sub(nextRow, end), nextRow);
  nextMatrix = tile::SelectBufferOp::create(e.b, e.loc, matrix.getType(),
                                            ofTable.getTable(), index);
}

int64_t Prefetch::columnsOfLine() const {
  return 512 / typeOf(matrix).getElementTypeBitWidth();
}

void Prefetch::touchNear(Value row, Value column) {
  if (!matrix)
    return;
  column = e.add(column, kNearBytes / 64 * columnsOfLine());
  prefetch(matrix, e.add(e.add(row0, strip), row), e.add(column0, column),
           kFirstLevel);
}

void Prefetch::touchNext(Value step, int64_t steps, Value stream,
                         int64_t streams, int locality) {
  if (!matrix)
    return;
  // Lines of a row, or rows of a line.
  int64_t line = columnsOfLine();
  int64_t lines = std::max<int64_t>(tileColumns / line, 1),
          rows = std::max<int64_t>(line / tileColumns, 1);
  int64_t all = height / rows * lines;
  int64_t count = std::max<int64_t>(all / streams / steps, 1);
  Value first = e.times(step, count);
  if (stream)
    first = e.add(first, e.times(stream, all / streams));
  for (int64_t i = 0; i < count; ++i) {
    Value number = e.add(first, i);
    Value r = e.over(number, lines), c = e.rest(number, lines);
    r = e.times(r, rows);
    c = e.times(c, line);
    prefetch(nextMatrix, e.add(nextRow, r), e.add(nextColumn, c), locality);
  }
}

Strips::Strips(Emit &e, Value tile, int64_t height, int64_t bytes,
               int64_t streams, int64_t steps, bool soon)
    : e(e), prefetch(e, tile), height(height),
      distance(Prefetch::rowsOf(tile, bytes, height)),
      streams(std::min(streams, steps)), steps(steps) {
  constexpr int64_t kSmall = 4096; // bytes of a strip
  MemRefType type = typeOf(tile);
  int64_t bits = height * type.getDimSize(1) * type.getElementTypeBitWidth();
  if (soon && bits / 8 <= kSmall)
    next.emplace(e, tile);
}

void Strips::start(Value row) {
  prefetch.startStrip(row, height, distance);
  if (next)
    next->startStrip(row, height, height);
}

Strips fathom::cpu::stripsOfScaled(Emit &e, Value codes, int64_t height,
                                   bool one, int64_t steps, bool soon) {
  bool packed = typeOf(codes).getElementType().isInteger(8);
  bool low = one && height < 8; // a strip that is walked soon
  int64_t bytes = packed ? low ? 4096 : 8192 : 16384;
  int64_t streams = packed ? one ? 1 : 2 : one ? 4 : 1;
  return {e, codes, height, bytes, streams, steps, soon};
}

void Strips::touch(Value step) {
  Value of = e.index(streams);
  prefetch.touchNext(arith::DivUIOp::create(e.b, e.loc, step, of),
                     steps / streams,
                     arith::RemUIOp::create(e.b, e.loc, step, of), streams);
  if (next)
    next->touchNext(step, steps, /*stream=*/{}, /*streams=*/1,
                    Prefetch::kFirstLevel);
}
