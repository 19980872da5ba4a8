// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shorter ways to write the common operations.
#include "codegen/NVIDIA/Bytecode/Encoding.h"
#include "codegen/NVIDIA/Bytecode/Writer.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;

namespace fathom::cudatile {

Value Function::one(Op op, const Type &result, ValueRef operands,
                    const Attributes &a) {
  return emit(op, result, ValueList(operands), a)[0];
}

//===-- Constants --------------------------------------------------------===//

Value Function::splatBits(Scalar scalar, uint64_t bits,
                          ArrayRef<int64_t> shape) {
  Attributes a;
  // A mask of one bit is a whole byte of ones.
  a.constant = scalar == Scalar::I1
                   ? fixed(bits ? 0xFF : 0, 1)
                   : fixed(bits, divideCeil(bitsOf(scalar), 8));
  return one(Op::Constant, Type::tile(scalar, shape), {}, a);
}

Value Function::splatInt(Scalar scalar, int64_t value,
                         ArrayRef<int64_t> shape) {
  return splatBits(scalar, static_cast<uint64_t>(value), shape);
}

Value Function::splatFloat(Scalar scalar, double value,
                           ArrayRef<int64_t> shape) {
  const fltSemantics *semantics = nullptr;
  switch (scalar) {
  case Scalar::F16:
    semantics = &APFloat::IEEEhalf();
    break;
  case Scalar::BF16:
    semantics = &APFloat::BFloat();
    break;
  case Scalar::F32:
    semantics = &APFloat::IEEEsingle();
    break;
  case Scalar::F64:
    semantics = &APFloat::IEEEdouble();
    break;
  case Scalar::F8E4M3FN:
    semantics = &APFloat::Float8E4M3FN();
    break;
  case Scalar::F8E5M2:
    semantics = &APFloat::Float8E5M2();
    break;
  default:
    fail(std::string("no constants of type ") + nameOf(scalar) + " by value");
    return {};
  }
  APFloat number(value);
  bool inexact;
  number.convert(*semantics, APFloat::rmNearestTiesToEven, &inexact);
  return splatBits(scalar, number.bitcastToAPInt().getZExtValue(), shape);
}

//===-- Elementwise and shapes -------------------------------------------===//

Value Function::compareInt(Comparison c, Signedness sign, const Value &x,
                           const Value &y) {
  Attributes a;
  a.comparison = c;
  a.sign = sign;
  return one(Op::CmpI, x.type.with(Element(Scalar::I1)), {x, y}, a);
}

Value Function::compareFloat(Comparison c, bool ordered, const Value &x,
                             const Value &y) {
  Attributes a;
  a.comparison = c;
  a.ordered = ordered;
  return one(Op::CmpF, x.type.with(Element(Scalar::I1)), {x, y}, a);
}

Value Function::select(const Value &condition, const Value &x, const Value &y) {
  return one(Op::Select, x.type, {condition, x, y});
}

Value Function::reshape(const Value &x, ArrayRef<int64_t> shape) {
  if (ArrayRef<int64_t>(x.type.shape) == shape)
    return x;
  return one(Op::Reshape, x.type.with(shape), x);
}

Value Function::broadcast(const Value &x, ArrayRef<int64_t> shape) {
  if (ArrayRef<int64_t>(x.type.shape) == shape)
    return x;
  return one(Op::Broadcast, x.type.with(shape), x);
}

Value Function::spread(const Value &x, ArrayRef<int64_t> shape) {
  SmallVector<int64_t> ones(shape.size(), 1);
  return broadcast(reshape(x, ones), shape);
}

Value Function::permute(const Value &x, ArrayRef<int32_t> permutation) {
  Attributes a;
  a.permutation.assign(permutation.begin(), permutation.end());
  SmallVector<int64_t> shape;
  for (int32_t d : permutation)
    shape.push_back(x.type.shape[d]);
  return one(Op::Permute, x.type.with(shape), x, a);
}

Value Function::cat(const Value &x, const Value &y, uint32_t dim) {
  Attributes a;
  a.dim = dim;
  SmallVector<int64_t, 4> shape(x.type.shape);
  shape[dim] += y.type.shape[dim];
  return one(Op::Cat, x.type.with(shape), {x, y}, a);
}

Value Function::extract(const Value &x, ValueRef slice,
                        ArrayRef<int64_t> shape) {
  ValueList operands{x};
  operands.append(slice.begin(), slice.end());
  return one(Op::Extract, x.type.with(shape), operands);
}

Value Function::extract(const Value &x, ArrayRef<int64_t> slice,
                        ArrayRef<int64_t> shape) {
  if (ArrayRef<int64_t>(x.type.shape) == shape)
    return x;
  ValueList numbers;
  for (int64_t s : slice)
    numbers.push_back(splatInt(Scalar::I32, s));
  return extract(x, ValueRef(numbers), shape);
}

Value Function::bitcast(const Value &x, Scalar scalar) {
  if (x.type.element == Element(scalar))
    return x;
  return one(Op::Bitcast, x.type.with(Element(scalar)), x);
}

Value Function::convertFloat(const Value &x, Scalar scalar, Rounding rounding) {
  if (x.type.element == Element(scalar))
    return x;
  Attributes a;
  a.rounding = rounding;
  return one(Op::FToF, x.type.with(Element(scalar)), x, a);
}

Value Function::extendInt(const Value &x, Scalar scalar, Signedness sign) {
  if (x.type.element == Element(scalar))
    return x;
  Attributes a;
  a.sign = sign;
  return one(Op::ExtI, x.type.with(Element(scalar)), x, a);
}

Value Function::truncateInt(const Value &x, Scalar scalar) {
  if (x.type.element == Element(scalar))
    return x;
  return one(Op::TruncI, x.type.with(Element(scalar)), x);
}

Value Function::iota(int64_t n) {
  return one(Op::Iota, Type::tile(Scalar::I32, n), {});
}

Value Function::assume(const Value &x, const Fact &fact) {
  Attributes a;
  a.fact = fact;
  return unary(Op::Assume, x, a);
}

Value Function::assumeDivBy(const Value &x, uint64_t divisor) {
  Fact fact;
  fact.divisor = divisor;
  return assume(x, fact);
}

Value Function::assumeBounded(const Value &x, std::optional<int64_t> lower,
                              std::optional<int64_t> upper) {
  Fact fact;
  fact.kind = Fact::Kind::Bounded;
  fact.lower = lower;
  fact.upper = upper;
  return assume(x, fact);
}

ValueList Function::blockIds() {
  Type i32 = Type::tile(Scalar::I32);
  return emit(Op::GetTileBlockId, {i32, i32, i32}, ValueList());
}

//===-- Memory -----------------------------------------------------------===//

Value Function::makeToken() { return one(Op::MakeToken, Type::token(), {}); }

Value Function::tensorView(const Value &base, ArrayRef<Size> shape,
                           ArrayRef<Size> strides) {
  ValueList dynamic[2];
  SmallVector<int64_t> fixed[2];
  const ArrayRef<Size> both[2] = {shape, strides};
  for (auto [i, sizes] : enumerate(both))
    for (const Size &size : sizes) {
      fixed[i].push_back(size.value ? kDynamic : size.fixed);
      if (size.value)
        dynamic[i].push_back(size.value);
    }
  Type type = Type::tensorView(base.type.element.scalar, fixed[0], fixed[1]);
  return emit(Op::MakeTensorView, type, {{base}, dynamic[0], dynamic[1]})[0];
}

Value Function::partitionView(const Value &tensor, ArrayRef<int64_t> tile,
                              std::optional<Padding> padding,
                              ArrayRef<int32_t> dimMap) {
  return one(Op::MakePartitionView,
             Type::partitionView(tensor.type, tile, padding, dimMap), tensor);
}

Value Function::gatherView(const Value &tensor, ArrayRef<int64_t> tile,
                           uint32_t sparseDim, std::optional<Padding> padding) {
  return one(Op::MakeGatherScatterView,
             Type::gatherView(tensor.type, tile, padding, sparseDim), tensor);
}

Value Function::stridedView(const Value &tensor, ArrayRef<int64_t> tile,
                            ArrayRef<int32_t> traversal,
                            std::optional<Padding> padding) {
  return one(Op::MakeStridedView,
             Type::stridedView(tensor.type, tile, traversal, padding), tensor);
}

std::pair<Value, Value> Function::loadView(const Value &view, ValueRef index,
                                           const Attributes &a) {
  ValueList r =
      emit(Op::LoadView,
           {Type::tile(view.type.element, view.type.shape), Type::token()},
           {{view}, ValueList(index)}, a);
  return {r[0], r[1]};
}

Value Function::storeView(const Value &tile, const Value &view, ValueRef index,
                          const Attributes &a) {
  return emit(Op::StoreView, Type::token(), {{tile}, {view}, ValueList(index)},
              a)[0];
}

std::pair<Value, Value> Function::loadPtr(const Value &pointers,
                                          const Attributes &a) {
  ValueList r = emit(Op::LoadPtr,
                     {pointers.type.with(Element(pointers.type.element.scalar)),
                      Type::token()},
                     {{pointers}}, a);
  return {r[0], r[1]};
}

Value Function::storePtr(const Value &pointers, const Value &tile,
                         const Attributes &a) {
  return emit(Op::StorePtr, Type::token(), {{pointers}, {tile}}, a)[0];
}

Value Function::offset(const Value &pointers, const Value &elements) {
  return one(Op::Offset, pointers.type, {pointers, elements});
}

//===-- Products, reductions, control flow -------------------------------===//

Value Function::mma(const Value &a, const Value &b, const Value &acc,
                    bool fastAccumulation) {
  Attributes attributes;
  attributes.fastAccumulation = fastAccumulation;
  return one(Op::MmaF, acc.type, {a, b, acc}, attributes);
}

/// The region of a reduction or scan over one tile.
static void combineBody(Function &f, ValueRef pair,
                        Function::Combiner combine) {
  f.emit(Op::Yield, {}, ValueList{combine(pair[0], pair[1])});
}

Value Function::reduce(const Value &x, uint32_t dim, Identity identity,
                       Combiner combine) {
  Attributes a;
  a.dim = dim;
  a.identities.push_back(identity);
  SmallVector<int64_t, 4> shape(x.type.shape);
  shape.erase(shape.begin() + dim);
  Type scalar = Type::tile(x.type.element);
  auto body = [&](ValueRef pair) { combineBody(*this, pair, combine); };
  return emit(Op::Reduce, x.type.with(shape), ValueList{x}, a,
              Region{{scalar, scalar}, body})[0];
}

Value Function::scan(const Value &x, uint32_t dim, bool reverse,
                     Identity identity, Combiner combine) {
  Attributes a;
  a.dim = dim;
  a.reverse = reverse;
  a.identities.push_back(identity);
  Type scalar = Type::tile(x.type.element);
  auto body = [&](ValueRef pair) { combineBody(*this, pair, combine); };
  return emit(Op::Scan, x.type, ValueList{x}, a,
              Region{{scalar, scalar}, body})[0];
}

ValueList Function::forLoop(const Value &lower, const Value &upper,
                            const Value &step, ValueRef init, LoopBody body) {
  ValueList operands{lower, upper, step};
  operands.append(init.begin(), init.end());
  std::vector<Type> results, inner{lower.type};
  for (const Value &value : init) {
    results.push_back(value.type);
    inner.push_back(value.type);
  }
  auto region = [&](ValueRef values) {
    emit(Op::Continue, {}, body(values[0], values.drop_front()));
  };
  return emit(Op::For, results, operands, {}, Region{inner, region});
}

ValueList Function::ifElse(const Value &condition, ArrayRef<Type> results,
                           BranchBody then, BranchBody otherwise) {
  auto first = [&](ValueRef) { emit(Op::Yield, {}, then()); };
  auto second = [&](ValueRef) { emit(Op::Yield, {}, otherwise()); };
  return emit(Op::If, results, ValueList{condition}, {},
              {Region{{}, first}, Region{{}, second}});
}

} // namespace fathom::cudatile
