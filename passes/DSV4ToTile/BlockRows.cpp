// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/DSV4ToTile/BlockRows.h"

using namespace mlir;

namespace fathom {

BlockRows::BlockRows(KernelBuilder &k, const BlockEnd &end, int64_t back,
                     Value first, int64_t n)
    : k(k) {
  using P = arith::CmpIPredicate;
  SmallVector<int64_t> shape{n};
  Value none = k.fullI32(-1, shape), zero = k.fullI32(0, shape);
  auto spread = [&](Value index) { return k.splat(k.toI32(index), shape); };
  Value behind = k.subi(k.ci(end.ratio - 1 + back), first);
  Value offset = k.isub(spread(behind), k.iota(n));
  Value token = k.isub(spread(end.t), offset),
        at = k.isub(spread(end.position), offset);
  exists = k.icmp(P::sge, at, zero);
  Value started = k.icmp(P::sge, token, zero);
  Value theirs = k.gather(end.slots, k.select(started, token, none), {}, shape);
  Value here = k.bitAnd(k.bitAnd(started, exists),
                        k.icmp(P::eq, theirs, spread(end.slot)));
  step = k.select(here, token, none);
  Value safe = k.select(exists, at, zero);
  Value ring = k.iadd(
      arith::RemSIOp::create(k.b, k.loc, safe, k.fullI32(end.stateRows, shape)),
      spread(k.muli(end.slot, end.stateRows)));
  Value kept = k.bitAnd(exists, k.icmp(P::eq, step, none));
  state = k.select(kept, ring, none);
}

Value BlockRows::read(Value now, Value kept, Value column,
                      int64_t width) const {
  int64_t n = k.type(step).getDimSize(0);
  return k.add(k.gather(now, step, column, {n, width}),
               k.gather(kept, state, column, {n, width}));
}

} // namespace fathom
