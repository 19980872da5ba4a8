// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/DSV4ToTile/KernelBuilder.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace fathom {

int64_t pow2Ceil(int64_t n) { return llvm::PowerOf2Ceil(n); }

int64_t pow2Divisor(int64_t n, int64_t cap) {
  int64_t p = 1;
  while (p < cap && n % (2 * p) == 0)
    p *= 2;
  return p;
}

SmallVector<int64_t> pow2Pieces(int64_t n) {
  SmallVector<int64_t> pieces;
  for (int64_t bit = llvm::bit_floor(uint64_t(std::max<int64_t>(n, 1))); bit;
       bit /= 2)
    if (n & bit)
      pieces.push_back(bit);
  return pieces;
}

KernelBuilder::KernelBuilder(tile::KernelOp kernel)
    : b(OpBuilder::atBlockEnd(&kernel.getBody().front())), loc(kernel.getLoc()),
      kernel(kernel) {}

Value KernelBuilder::pid(int axis) {
  return tile::ProgramIdOp::create(b, loc, b.getIndexType(), axis);
}
Value KernelBuilder::ci(int64_t v) {
  return arith::ConstantIndexOp::create(b, loc, v);
}
Value KernelBuilder::cf(double v) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(v));
}
Value KernelBuilder::addi(Value x, Value y) {
  return b.createOrFold<arith::AddIOp>(loc, x, y);
}
Value KernelBuilder::subi(Value x, Value y) {
  return b.createOrFold<arith::SubIOp>(loc, x, y);
}
Value KernelBuilder::muli(Value x, int64_t c) {
  return b.createOrFold<arith::MulIOp>(loc, x, ci(c));
}
Value KernelBuilder::divi(Value x, int64_t c) {
  return b.createOrFold<arith::DivUIOp>(loc, x, ci(c));
}
Value KernelBuilder::remi(Value x, int64_t c) {
  return b.createOrFold<arith::RemUIOp>(loc, x, ci(c));
}
Value KernelBuilder::mini(Value x, Value y) {
  return b.createOrFold<arith::MinSIOp>(loc, x, y);
}
Value KernelBuilder::maxi(Value x, Value y) {
  return b.createOrFold<arith::MaxSIOp>(loc, x, y);
}
Value KernelBuilder::cmpi(arith::CmpIPredicate p, Value x, Value y) {
  return b.createOrFold<arith::CmpIOp>(loc, p, x, y);
}
Value KernelBuilder::andi(Value x, Value y) {
  return b.createOrFold<arith::AndIOp>(loc, x, y);
}
Value KernelBuilder::toI32(Value index) {
  return arith::IndexCastOp::create(b, loc, b.getI32Type(), index);
}
Value KernelBuilder::toIndex(Value integer) {
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), integer);
}
Value KernelBuilder::loadScalar(Value buffer, ValueRange at) {
  return memref::LoadOp::create(b, loc, buffer, at);
}
Value KernelBuilder::loadIndex(Value buffer, ValueRange at) {
  return toIndex(loadScalar(buffer, at));
}
void KernelBuilder::storeScalar(Value v, Value buffer, ValueRange at) {
  memref::StoreOp::create(b, loc, v, buffer, at);
}

Value KernelBuilder::load(Value buffer, ValueRange at, Shape shape,
                          ValueRange bounds) {
  auto element = cast<MemRefType>(buffer.getType()).getElementType();
  return tile::LoadOp::create(b, loc, RankedTensorType::get(shape, element),
                              buffer, at, bounds);
}
void KernelBuilder::store(Value tile, Value buffer, ValueRange at,
                          ValueRange bounds) {
  tile::StoreOp::create(b, loc, tile, buffer, at, bounds);
}
Value KernelBuilder::gather(Value buffer, Value rows, Value column,
                            Shape shape) {
  auto element = cast<MemRefType>(buffer.getType()).getElementType();
  return tile::GatherOp::create(b, loc, RankedTensorType::get(shape, element),
                                buffer, rows, column);
}
void KernelBuilder::scatter(Value tile, Value buffer, Value rows,
                            Value column) {
  tile::ScatterOp::create(b, loc, tile, buffer, rows, column);
}

Value KernelBuilder::full(double v, Shape shape) {
  auto t = RankedTensorType::get(shape, b.getF32Type());
  return arith::ConstantOp::create(
      b, loc, DenseElementsAttr::get(t, APFloat(float(v))));
}
Value KernelBuilder::fullI32(int64_t v, Shape shape) {
  auto t = RankedTensorType::get(shape, b.getI32Type());
  return arith::ConstantOp::create(
      b, loc, DenseElementsAttr::get(t, APInt(32, uint64_t(v), true, true)));
}
Value KernelBuilder::splat(Value scalar, Shape shape) {
  return mlir::tensor::SplatOp::create(
      b, loc, RankedTensorType::get(shape, scalar.getType()), scalar);
}
Value KernelBuilder::f32(Value tile) { return to(tile, b.getF32Type()); }
Value KernelBuilder::to(Value tile, Type element) {
  auto t = type(tile);
  Type from = t.getElementType();
  if (from == element)
    return tile;
  auto target = t.clone(element);
  if (from.getIntOrFloatBitWidth() < element.getIntOrFloatBitWidth())
    return arith::ExtFOp::create(b, loc, target, tile);
  return arith::TruncFOp::create(b, loc, target, tile);
}
Value KernelBuilder::add(Value x, Value y) {
  return arith::AddFOp::create(b, loc, x, y);
}
Value KernelBuilder::sub(Value x, Value y) {
  return arith::SubFOp::create(b, loc, x, y);
}
Value KernelBuilder::mul(Value x, Value y) {
  return arith::MulFOp::create(b, loc, x, y);
}
Value KernelBuilder::div(Value x, Value y) {
  return arith::DivFOp::create(b, loc, x, y);
}
Value KernelBuilder::mul(Value x, double c) {
  return mul(x, full(c, type(x).getShape()));
}
Value KernelBuilder::add(Value x, double c) {
  return add(x, full(c, type(x).getShape()));
}
Value KernelBuilder::max(Value x, Value y) {
  return arith::MaximumFOp::create(b, loc, x, y);
}
Value KernelBuilder::min(Value x, Value y) {
  return arith::MinimumFOp::create(b, loc, x, y);
}
Value KernelBuilder::neg(Value x) { return arith::NegFOp::create(b, loc, x); }
Value KernelBuilder::abs(Value x) { return math::AbsFOp::create(b, loc, x); }
Value KernelBuilder::exp(Value x) { return math::ExpOp::create(b, loc, x); }
Value KernelBuilder::sqrt(Value x) { return math::SqrtOp::create(b, loc, x); }
Value KernelBuilder::log1p(Value x) { return math::Log1pOp::create(b, loc, x); }
Value KernelBuilder::sigmoid(Value x) {
  Value one = full(1.0, type(x).getShape());
  return div(one, add(one, exp(neg(x))));
}
Value KernelBuilder::select(Value c, Value x, Value y) {
  return arith::SelectOp::create(b, loc, c, x, y);
}
Value KernelBuilder::cmp(arith::CmpFPredicate p, Value x, Value y) {
  return arith::CmpFOp::create(b, loc, p, x, y);
}
Value KernelBuilder::icmp(arith::CmpIPredicate p, Value x, Value y) {
  return arith::CmpIOp::create(b, loc, p, x, y);
}
Value KernelBuilder::iadd(Value x, Value y) {
  return arith::AddIOp::create(b, loc, x, y);
}
Value KernelBuilder::isub(Value x, Value y) {
  return arith::SubIOp::create(b, loc, x, y);
}
Value KernelBuilder::bitAnd(Value x, Value y) {
  return arith::AndIOp::create(b, loc, x, y);
}
Value KernelBuilder::bitOr(Value x, Value y) {
  return arith::OrIOp::create(b, loc, x, y);
}
Value KernelBuilder::toInt(Value mask) {
  Type t = mask.getType();
  Type result = b.getI32Type();
  if (auto tensor = dyn_cast<RankedTensorType>(t))
    result = tensor.clone(b.getI32Type());
  return arith::ExtUIOp::create(b, loc, result, mask);
}
Value KernelBuilder::bitcast(Value x, Type element) {
  return arith::BitcastOp::create(b, loc, type(x).clone(element), x);
}
Value KernelBuilder::reduce(tile::ReduceKind kind, Value x, int64_t dim) {
  return tile::ReduceOp::create(b, loc, x, kind, dim);
}
Value KernelBuilder::total(tile::ReduceKind kind, Value x) {
  return reduce(kind, reshape(x, {1, type(x).getDimSize(0)}), 1);
}
Value KernelBuilder::spread(Value one, int64_t n) {
  return reshape(broadcast(one, {1}, {1, n}), {n});
}
Value KernelBuilder::extract(Value tile, ArrayRef<int64_t> at) {
  SmallVector<Value> indices;
  for (int64_t i : at)
    indices.push_back(ci(i));
  return mlir::tensor::ExtractOp::create(b, loc, tile, indices);
}
Value KernelBuilder::scan(Value x, int64_t dim) {
  return tile::ScanOp::create(b, loc, x.getType(), x, dim);
}
Value KernelBuilder::broadcast(Value x, ArrayRef<int64_t> dims, Shape shape) {
  return tile::BroadcastOp::create(b, loc, type(x).clone(shape), x, dims);
}
Value KernelBuilder::reshape(Value x, Shape shape) {
  if (type(x).getShape() == shape)
    return x;
  return tile::ReshapeOp::create(b, loc, type(x).clone(shape), x);
}
Value KernelBuilder::transpose(Value x) {
  return tile::TransposeOp::create(b, loc, x, ArrayRef<int64_t>{1, 0});
}
Value KernelBuilder::iota(int64_t n) {
  return tile::IotaOp::create(b, loc,
                              RankedTensorType::get({n}, b.getI32Type()));
}
Value KernelBuilder::insert(Value part, Value tile, Value at) {
  if (type(part) == type(tile)) // whatever is known of where it lies
    return part;
  SmallVector<OpFoldResult> offsets, sizes;
  for (int64_t n : type(part).getShape()) {
    offsets.push_back(b.getIndexAttr(0));
    sizes.push_back(b.getIndexAttr(n));
  }
  offsets[0] = at;
  SmallVector<OpFoldResult> strides(sizes.size(), b.getIndexAttr(1));
  return mlir::tensor::InsertSliceOp::create(b, loc, part, tile, offsets, sizes,
                                             strides);
}
Value KernelBuilder::extract(Value tile, Value at, int64_t n) {
  OpFoldResult size = b.getIndexAttr(n), stride = b.getIndexAttr(1),
               offset = at;
  return mlir::tensor::ExtractSliceOp::create(
      b, loc, RankedTensorType::get({n}, type(tile).getElementType()), tile,
      offset, size, stride);
}
Value KernelBuilder::rows(Value tile, Value at, int64_t n) {
  RankedTensorType from = type(tile);
  int64_t width = from.getDimSize(1);
  if (n == from.getDimSize(0))
    return tile;
  SmallVector<OpFoldResult> offsets{at, b.getIndexAttr(0)},
      sizes{b.getIndexAttr(n), b.getIndexAttr(width)},
      strides(2, b.getIndexAttr(1));
  return mlir::tensor::ExtractSliceOp::create(
      b, loc, RankedTensorType::get({n, width}, from.getElementType()), tile,
      offsets, sizes, strides);
}
Value KernelBuilder::dot(tile::DotForm form, Value lhs, Value rhs, Value acc,
                         Value columns, Range rows) {
  return tile::DotOp::create(b, loc, acc.getType(), lhs, rhs, acc, columns,
                             rows.from, rows.to, form);
}
Value KernelBuilder::dotScaled(Value weight, Value scale, Value x, Value acc,
                               Value xScale, Value columns) {
  return tile::DotScaledOp::create(b, loc, acc.getType(), weight, scale, x, acc,
                                   xScale, columns);
}
Value KernelBuilder::powerOfTwoCeil(Value x) {
  Shape shape = type(x).getShape();
  Value bits = bitcast(x, b.getI32Type());
  bits = bitAnd(iadd(bits, fullI32(0x7FFFFF, shape)),
                fullI32(int32_t(0xFF800000), shape));
  return bitcast(bits, b.getF32Type());
}

SmallVector<Value> KernelBuilder::loop(Value from, Value to, Value step,
                                       ValueRange init, LoopBody body) {
  auto op = scf::ForOp::create(
      b, loc, from, to, step, init,
      [&](OpBuilder &inner, Location, Value iv, ValueRange carried) {
        OpBuilder saved = b;
        b = inner;
        SmallVector<Value> next = body(iv, carried);
        scf::YieldOp::create(b, loc, next);
        b = saved;
      });
  return op.getResults();
}
void KernelBuilder::loop(Value from, Value to, Value step,
                         function_ref<void(Value)> body) {
  loop(from, to, step, {}, [&](Value iv, ValueRange) {
    body(iv);
    return SmallVector<Value>{};
  });
}
void KernelBuilder::when(Value condition, function_ref<void()> then,
                         function_ref<void()> otherwise) {
  auto op = scf::IfOp::create(b, loc, condition, bool(otherwise));
  OpBuilder saved = b;
  b = op.getThenBodyBuilder();
  then();
  if (otherwise) {
    b = op.getElseBodyBuilder();
    otherwise();
  }
  b = saved;
}
void KernelBuilder::chunks(int64_t n, int64_t cap,
                           function_ref<void(Value, int64_t)> body) {
  if (n == 0)
    return;
  int64_t width = pow2Divisor(n, cap);
  if (width == n)
    return body(ci(0), width);
  loop(ci(0), ci(n), ci(width), [&](Value at) { body(at, width); });
}

} // namespace fathom
