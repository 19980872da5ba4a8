// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Emit.h"

#include <numeric>

using namespace mlir;
using namespace fathom::cpu;

Value Emit::index(int64_t value) {
  return arith::ConstantIndexOp::create(b, loc, value);
}

static std::optional<int64_t> constantOf(Value value) {
  IntegerAttr attr;
  if (matchPattern(value, m_Constant(&attr)))
    return attr.getInt();
  return std::nullopt;
}

Value Emit::add(Value a, Value c) {
  if (constantOf(a) == 0)
    return c;
  if (constantOf(c) == 0)
    return a;
  return arith::AddIOp::create(b, loc, a, c);
}

Value Emit::sub(Value a, Value c) {
  return arith::SubIOp::create(b, loc, a, c);
}

Value Emit::times(Value value, int64_t factor) {
  return arith::MulIOp::create(b, loc, value, index(factor));
}

Value Emit::over(Value value, int64_t divisor) {
  return arith::DivUIOp::create(b, loc, value, index(divisor));
}

Value Emit::rest(Value value, int64_t divisor) {
  return arith::RemUIOp::create(b, loc, value, index(divisor));
}

Value Emit::roundUp(Value value, int64_t n) {
  return times(arith::CeilDivUIOp::create(b, loc, value, index(n)), n);
}

Value Emit::clamp(Value value, int64_t high) {
  Value low = arith::MaxSIOp::create(b, loc, value, index(0));
  return arith::MinSIOp::create(b, loc, low, index(high));
}

void Emit::loop(int64_t low, int64_t high, int64_t step,
                function_ref<void(Value)> body) {
  if (low >= high)
    return;
  if (low + step >= high)
    return body(index(low));
  loop(index(low), index(high), step, body);
}

void Emit::loop(Value low, Value high, int64_t step,
                function_ref<void(Value)> body) {
  auto op = scf::ForOp::create(b, loc, low, high, index(step));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.getBody());
  body(op.getInductionVar());
}

void Emit::loop(int64_t high, Part some, int64_t step,
                function_ref<void(Value)> body) {
  if (!some)
    return loop(0, high, step, body);
  loop(sub(some.from, rest(some.from, step)), some.to, step, body);
}

void Emit::loop(int64_t high, Value some, int64_t step,
                function_ref<void(Value)> body) {
  if (some && step < high)
    return loop(index(0), some, step, body);
  loop(0, high, step, body);
}

Emit::Values Emit::loop(int64_t low, int64_t high, int64_t step, Range init,
                        function_ref<Values(Value, Range)> body) {
  if (low + step >= high)
    return body(index(low), init);
  if (init.empty()) { // such a loop has its terminator from the start
    loop(low, high, step, [&](Value iv) { body(iv, {}); });
    return {};
  }
  return loop(index(low), index(high), step, init, body);
}

Emit::Values Emit::loop(Value low, Value high, int64_t step, Range init,
                        function_ref<Values(Value, Range)> body) {
  auto op = scf::ForOp::create(b, loc, low, high, index(step), init);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.getBody());
  Values args(op.getRegionIterArgs().begin(), op.getRegionIterArgs().end());
  Values next = body(op.getInductionVar(), args);
  scf::YieldOp::create(b, loc, next);
  return Values(op.getResults().begin(), op.getResults().end());
}

static void nestFrom(Emit &e, ArrayRef<int64_t> extents, Emit::Values &ivs,
                     function_ref<void(Emit::Range)> body) {
  if (ivs.size() == extents.size())
    return body(ivs);
  e.loop(0, extents[ivs.size()], 1, [&](Value iv) {
    ivs.push_back(iv);
    nestFrom(e, extents, ivs, body);
    ivs.pop_back();
  });
}

void Emit::nest(ArrayRef<int64_t> extents, function_ref<void(Range)> body) {
  Values ivs;
  nestFrom(*this, extents, ivs, body);
}

void Emit::ifThen(Value condition, function_ref<void()> then) {
  auto op = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  then();
}

void Emit::ifElse(Value condition, function_ref<void()> then,
                  function_ref<void()> otherwise) {
  auto op = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  then();
  b.setInsertionPointToStart(op.elseBlock());
  otherwise();
}

Value Emit::beforeLoops(Value buffer, function_ref<Value()> body) {
  OpBuilder::InsertionGuard guard(b);
  Operation *parent = b.getInsertionBlock()->getParentOp();
  for (; isa<scf::ForOp, scf::IfOp>(parent); parent = parent->getParentOp()) {
    if (parent->isAncestor(buffer.getParentBlock()->getParentOp()))
      break;
    if (isa<scf::ForOp>(parent))
      b.setInsertionPoint(parent);
  }
  return body();
}

Type Emit::vec(int64_t lanes, Type element) {
  return lanes == 1 ? element : Type(VectorType::get({lanes}, element));
}

Value Emit::load(Value buffer, Range at, int64_t lanes) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  if (lanes == 1)
    return memref::LoadOp::create(b, loc, buffer, at);
  return vector::LoadOp::create(b, loc, VectorType::get({lanes}, element),
                                buffer, at);
}

void Emit::store(Value value, Value buffer, Range at) {
  if (isa<VectorType>(value.getType()))
    vector::StoreOp::create(b, loc, value, buffer, at);
  else
    memref::StoreOp::create(b, loc, value, buffer, at);
}

Value Emit::alloc(ArrayRef<int64_t> shape, Type element) {
  return memref::AllocOp::create(b, loc, MemRefType::get(shape, element));
}

Value Emit::constant(Type type, int64_t value) {
  Type element = getElementTypeOrSelf(type);
  TypedAttr attr;
  if (auto floating = dyn_cast<FloatType>(element))
    attr = FloatAttr::get(floating, static_cast<double>(value));
  else
    attr = IntegerAttr::get(element, value);
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return arith::ConstantOp::create(b, loc, attr);
}

Value Emit::splat(Value scalar, int64_t lanes) {
  if (lanes == 1)
    return scalar;
  return vector::BroadcastOp::create(
      b, loc, VectorType::get({lanes}, scalar.getType()), scalar);
}

Value Emit::part(Value vector, int64_t at, int64_t count) {
  return vector::ExtractStridedSliceOp::create(
      b, loc, vector, ArrayRef<int64_t>{at}, ArrayRef<int64_t>{count},
      ArrayRef<int64_t>{1});
}

Value Emit::join(Value first, Value second) {
  auto all =
      llvm::to_vector(llvm::seq<int64_t>(0, 2 * lanesOf(first.getType())));
  return vector::ShuffleOp::create(b, loc, first, second, all);
}

Value Emit::toF32(Value value) {
  if (getElementTypeOrSelf(value.getType()).isF32())
    return value;
  return arith::ExtFOp::create(
      b, loc, vec(lanesOf(value.getType()), b.getF32Type()), value);
}

Value Emit::fma(Value a, Value c, Value d) {
  return math::FmaOp::create(b, loc, a, c, d);
}

Value Emit::intrinsic(Type result, StringRef name, ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(b, loc, result, b.getStringAttr(name),
                                       operands)
      .getResult(0);
}

Value Emit::tree(Value vector, function_ref<Value(Value, Value)> combine) {
  for (int64_t n = lanesOf(vector.getType()); n > 1; n /= 2) {
    if (n == 2) {
      Value low =
          vector::ExtractOp::create(b, loc, vector, ArrayRef<int64_t>{0});
      Value high =
          vector::ExtractOp::create(b, loc, vector, ArrayRef<int64_t>{1});
      return combine(low, high);
    }
    vector = combine(part(vector, 0, n / 2), part(vector, n / 2, n / 2));
  }
  return vector;
}

Value Emit::treeAdd(Value vector) {
  return tree(vector, [&](Value x, Value y) -> Value {
    return arith::AddFOp::create(b, loc, x, y);
  });
}

Value Emit::treeAddAll(Range vectors) {
  Values all(vectors);
  int64_t length = lanesOf(all.front().getType());
  // Every vector holds sums of `width` lanes, one after another.
  for (int64_t width = length; width > 1; width /= 2) {
    bool pairs = all.size() > 1;
    SmallVector<int64_t> low;
    for (int64_t i = 0; i < (pairs ? 2 : 1) * length; i += width)
      for (int64_t lane = 0; lane < width / 2; ++lane)
        low.push_back(i + lane);
    SmallVector<int64_t> high(low);
    for (int64_t &lane : high)
      lane += width / 2;
    Values next;
    for (size_t i = 0; i < all.size(); i += 2) {
      Value first = all[i], second = all[pairs ? i + 1 : i];
      next.push_back(arith::AddFOp::create(
          b, loc, vector::ShuffleOp::create(b, loc, first, second, low),
          vector::ShuffleOp::create(b, loc, first, second, high)));
    }
    if (!pairs)
      length /= 2;
    all = next;
  }
  return all.front();
}

void Emit::columnsFirst(Values &block) {
  // Even elements before odd ones: the lowest bit of an element's number
  // becomes the highest, and after as many turns as a column number has bits
  // the column stands before the row.
  int64_t lanes = lanesOf(block.front().getType());
  SmallVector<int64_t> even, odd;
  for (int64_t i = 0; i < lanes; ++i) {
    even.push_back(2 * i);
    odd.push_back(2 * i + 1);
  }
  size_t half = block.size() / 2;
  for (size_t columns = block.size(); columns > 1; columns /= 2) {
    Values next(block.size());
    for (size_t i = 0; i < half; ++i) {
      Value a = block[2 * i], c = block[2 * i + 1];
      next[i] = vector::ShuffleOp::create(b, loc, a, c, even);
      next[half + i] = vector::ShuffleOp::create(b, loc, a, c, odd);
    }
    block = next;
  }
}

bool fathom::cpu::hasWholeRows(MemRefType type) {
  auto [strides, offset] = type.getStridesAndOffset();
  return strides.empty() || strides.back() == 1;
}

Value Emit::window(Value buffer, Value row, int64_t rows, Value column,
                   int64_t columns) {
  auto type = cast<MemRefType>(buffer.getType());
  if (type.getShape() == ArrayRef<int64_t>{rows, columns})
    return buffer;
  auto view = buffer.getDefiningOp<memref::SubViewOp>();
  if (view && view.getSourceType().getRank() == 2 && view.hasUnitStride() &&
      type.getRank() == 2) {
    auto offset = [&](unsigned dim) {
      return getValueOrCreateConstantIndexOp(b, loc,
                                             view.getMixedOffsets()[dim]);
    };
    row = add(offset(0), row);
    column = add(offset(1), column);
    buffer = view.getSource();
  }
  SmallVector<OpFoldResult> offsets{getAsOpFoldResult(row),
                                    getAsOpFoldResult(column)};
  SmallVector<OpFoldResult> sizes{b.getIndexAttr(rows),
                                  b.getIndexAttr(columns)};
  SmallVector<OpFoldResult> strides(2, b.getIndexAttr(1));
  return memref::SubViewOp::create(b, loc, buffer, offsets, sizes, strides);
}

Value Emit::inF32(Value buffer, Part rows) {
  auto type = cast<MemRefType>(buffer.getType());
  if (type.getElementType().isF32())
    return buffer;
  Value copy = alloc(type.getShape(), b.getF32Type());
  int64_t columns = type.getDimSize(1), lanes = std::min(columns, kLanes);
  int64_t unit = std::gcd(columns, 4 * lanes);
  loop(type.getDimSize(0), rows, 1, [&](Value row) {
    loop(0, columns, unit, [&](Value first) {
      for (int64_t i = 0; i < unit; i += lanes) {
        Value column = add(first, i);
        store(toF32(load(buffer, {row, column}, lanes)), copy, {row, column});
      }
    });
  });
  return copy;
}

Value Emit::withWholeRows(Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  if (hasWholeRows(type))
    return buffer;
  Value copy = alloc(type.getShape(), type.getElementType());
  memref::CopyOp::create(b, loc, buffer, copy);
  return copy;
}

static Emit::Values shifted(Emit &e, Emit::Range at, Value by) {
  Emit::Values result(at);
  result.back() = e.add(result.back(), by);
  return result;
}

/// Elements of one copy: a line of memory, of wide ones two.
static int64_t copyLanes(Value buffer, int64_t length) {
  int64_t bits = bitsOf(cast<MemRefType>(buffer.getType()).getElementType());
  return std::min<int64_t>(length,
                           bits == 8 || bits == 16 ? 512 / bits : kLanes);
}

void Emit::zeroRow(Value to, Range at, int64_t length) {
  int64_t lanes = copyLanes(to, length);
  Value zeros =
      zero(vec(lanes, cast<MemRefType>(to.getType()).getElementType()));
  loop(0, length, lanes,
       [&](Value i) { store(zeros, to, shifted(*this, at, i)); });
}

void Emit::copyRow(Value from, Range fromAt, Value to, Range toAt,
                   int64_t length, Value extent, bool keepRest) {
  int64_t lanes = copyLanes(from, length);
  auto copy = [&](Value i, int64_t n) {
    store(load(from, shifted(*this, fromAt, i), n), to,
          shifted(*this, toAt, i));
  };
  auto all = [&] { loop(0, length, lanes, [&](Value i) { copy(i, lanes); }); };
  if (!extent)
    return all();
  Value full = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, extent,
                                     index(length));
  ifElse(full, all, [&] {
    if (!keepRest)
      zeroRow(to, toAt, length);
    Value whole =
        sub(extent, arith::RemSIOp::create(b, loc, extent, index(lanes)));
    loop(index(0), whole, lanes, [&](Value i) { copy(i, lanes); });
    loop(whole, extent, 1, [&](Value i) { copy(i, 1); });
  });
}
