// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/DSV4ToTile/Selection.h"

using namespace mlir;
using P = mlir::arith::CmpIPredicate;

namespace fathom {

Value orderOf(KernelBuilder &k, Value x) {
  Shape shape = k.type(x).getShape();
  x = k.select(k.cmp(arith::CmpFPredicate::UNO, x, x),
               k.full(-std::numeric_limits<double>::infinity(), shape), x);
  x = k.add(x, k.full(0, shape)); // minus zero becomes zero
  Value bits = k.bitcast(x, k.b.getI32Type());
  Value negative = k.icmp(P::slt, bits, k.fullI32(0, shape));
  Value flipped =
      arith::XOrIOp::create(k.b, k.loc, bits, k.fullI32(0x7FFFFFFF, shape));
  return k.select(negative, flipped, bits);
}

/// How many entries stand in `predicate` to `threshold` ([1] i32), as [1] i32.
Value Selection::countOf(P predicate, Value threshold) {
  return k.loop(k.ci(0), count, k.ci(width), k.fullI32(0, {1}),
                [&](Value c, ValueRange n) -> SmallVector<Value> {
                  Entries e = at(c);
                  Value hit = k.icmp(predicate, e.order, spread(threshold));
                  return {k.iadd(n[0], sum(k.bitAnd(hit, e.valid)))};
                })[0];
}

/// The order of the n-th largest entry, bit by bit from the top: [1] i32.
Value Selection::kthLargest(int64_t n) {
  Value enough = k.fullI32(n, {1}), zero = k.fullI32(0, {1});
  // First the sign: is the n-th entry non-negative?
  Value positive = k.icmp(P::sge, countOf(P::sge, zero), enough);
  Value start = k.select(positive, zero, k.fullI32(INT32_MIN, {1}));
  return k.loop(k.ci(0), k.ci(31), k.ci(1), start,
                [&](Value i, ValueRange carried) -> SmallVector<Value> {
                  Value shift = k.toI32(k.subi(k.ci(30), i));
                  Value one = arith::ConstantIntOp::create(k.b, k.loc, 1, 32);
                  Value bit = arith::ShLIOp::create(k.b, k.loc, one, shift);
                  Value candidate = k.bitOr(carried[0], k.splat(bit, {1}));
                  Value ok = k.icmp(P::sge, countOf(P::sge, candidate), enough);
                  return {k.select(ok, candidate, carried[0])};
                })[0];
}

void Selection::choose(int64_t n,
                       function_ref<void(const Entries &, Value)> emit) {
  SmallVector<int64_t> shape{width};
  Value threshold = kthLargest(n);
  Value ties = k.isub(k.fullI32(n, {1}), countOf(P::sgt, threshold));
  k.loop(k.ci(0), count, k.ci(width), {k.fullI32(0, {1}), k.fullI32(0, {1})},
         [&](Value c, ValueRange seen) -> SmallVector<Value> {
           Entries e = at(c);
           Value above =
               k.bitAnd(e.valid, k.icmp(P::sgt, e.order, spread(threshold)));
           Value equal =
               k.bitAnd(e.valid, k.icmp(P::eq, e.order, spread(threshold)));
           Value rank = k.iadd(k.scan(k.toInt(equal)), spread(seen[0]));
           Value take = k.bitOr(
               above, k.bitAnd(equal, k.icmp(P::sle, rank, spread(ties))));
           Value place = k.iadd(k.scan(k.toInt(take)), spread(seen[1]));
           place = k.isub(place, k.fullI32(1, shape));
           emit(e, k.select(take, place, k.fullI32(-1, shape)));
           return {k.iadd(seen[0], sum(equal)), k.iadd(seen[1], sum(take))};
         });
}

void scatterChosen(KernelBuilder &k, Value values, Value out, Value first,
                   Value place) {
  Shape shape = k.type(place).getShape();
  Value row = k.iadd(place, k.splat(k.toI32(first), shape));
  Value chosen = k.icmp(P::sge, place, k.fullI32(0, shape));
  k.scatter(values, out, k.select(chosen, row, k.fullI32(-1, shape)));
}

} // namespace fathom
