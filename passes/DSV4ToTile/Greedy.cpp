// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/DSV4ToTile/Greedy.h"

#include "passes/DSV4ToTile/Selection.h"

using namespace mlir;
using P = mlir::arith::CmpIPredicate;

namespace fathom {

namespace {

/// Logits of one program of the first launch, and of one of its tiles.
constexpr int64_t kSegment = 8192, kTile = 1024;

/// The larger order with its id, in each of the places of two tiles. Of equal
/// ones the first stays: ids of `a` are the lower ones.
std::pair<Value, Value> better(KernelBuilder &k, Value order, Value id,
                               Value nextOrder, Value nextId) {
  Value more = k.icmp(P::sgt, nextOrder, order);
  return {k.select(more, nextOrder, order), k.select(more, nextId, id)};
}

/// The largest order of a tile and the lowest id that has it, as [1] each.
std::pair<Value, Value> best(KernelBuilder &k, Value order, Value id) {
  const int64_t n = k.type(order).getDimSize(0);
  Value top = k.total(tile::ReduceKind::Max, order);
  Value among = k.select(k.icmp(P::eq, order, k.spread(top, n)), id,
                         k.fullI32(INT32_MAX, {n}));
  return {top, k.total(tile::ReduceKind::Min, among)};
}

/// Of one segment of a row: logits -> orders, ids. Grid: rows x segments.
void writeScan(KernelBuilder &k, int64_t vocabulary) {
  const int64_t width = std::min(kTile, pow2Ceil(vocabulary));
  const SmallVector<int64_t> shape{width};
  Value row = k.pid(0), from = k.muli(k.pid(1), kSegment);
  Value end = k.mini(k.addi(from, k.ci(kSegment)), k.ci(vocabulary));
  Value lowest = k.fullI32(INT32_MIN, shape);
  SmallVector<Value> found = k.loop(
      from, end, k.ci(width), {lowest, k.fullI32(INT32_MAX, shape)},
      [&](Value c, ValueRange carried) -> SmallVector<Value> {
        Value x = k.load(k.arg(0), {row, c}, shape, {k.ci(vocabulary)});
        Value id = k.iadd(k.iota(width), k.splat(k.toI32(c), shape));
        // What is no number and what is no token come last.
        Value out = k.bitOr(k.cmp(arith::CmpFPredicate::UNO, x, x),
                            k.icmp(P::sge, id, k.fullI32(vocabulary, shape)));
        Value order = k.select(out, lowest, orderOf(k, x));
        auto [nextOrder, nextId] = better(k, carried[0], carried[1], order, id);
        return {nextOrder, nextId};
      });
  auto [order, id] = best(k, found[0], found[1]);
  k.store(order, k.arg(1), {row, k.pid(1)});
  k.store(id, k.arg(2), {row, k.pid(1)});
}

/// orders, ids, positions -> ids, positions. Grid: rows. The runtime gives one
/// buffer as both positions: an element is read by the program that writes it.
void writeChoice(KernelBuilder &k, int64_t segments) {
  const int64_t width = pow2Ceil(segments);
  const SmallVector<int64_t> shape{width};
  Value row = k.pid(0), bound = k.ci(segments);
  Value order = k.load(k.arg(0), {row, k.ci(0)}, shape, {bound});
  Value id = k.load(k.arg(1), {row, k.ci(0)}, shape, {bound});
  Value inside = k.icmp(P::slt, k.iota(width), k.fullI32(segments, shape));
  order = k.select(inside, order, k.fullI32(INT32_MIN, shape));
  id = k.select(inside, id, k.fullI32(INT32_MAX, shape));
  Value chosen = best(k, order, id).second;
  // A row without any number: token 0, as the host's choice.
  chosen = k.select(k.icmp(P::eq, chosen, k.fullI32(INT32_MAX, {1})),
                    k.fullI32(0, {1}), chosen);
  k.store(chosen, k.arg(3), {row});
  Value position = k.load(k.arg(2), {row}, {1});
  k.store(k.iadd(position, k.fullI32(1, {1})), k.arg(4), {row});
}

} // namespace

void addGreedySchedule(OpBuilder &b, Location loc, KernelCache &kernels,
                       const TileShapes &shapes, int64_t vocabulary,
                       int64_t maxTokens) {
  constexpr int64_t any = ShapedType::kDynamic;
  Type index = b.getIndexType(), i32 = b.getI32Type();
  Type perToken = MemRefType::get({any}, i32);
  Type logitsType = MemRefType::get({any, vocabulary}, b.getF32Type());
  const std::pair<StringRef, Type> ports[] = {
      {"count.tokens", index}, {"count.rows", index}, {"logits", logitsType},
      {"positions", perToken}, {"ids", perToken},     {"positions", perToken}};
  SmallVector<Type> types;
  for (const auto &port : ports)
    types.push_back(port.second);
  auto schedule =
      func::FuncOp::create(b, loc, ("greedy__t" + Twine(maxTokens)).str(),
                           b.getFunctionType(types, {}));
  schedule->setAttr(tile::kEntryAttr, b.getStringAttr("greedy"));
  schedule->setAttr(tile::kMaxTokensAttr, b.getI64IntegerAttr(maxTokens));
  for (auto [i, port] : llvm::enumerate(ports))
    schedule.setArgAttr(i, tile::kPortAttr, b.getStringAttr(port.first));
  for (unsigned output : {4, 5})
    schedule.setArgAttr(output, tile::kOutputAttr, b.getUnitAttr());
  Block *body = schedule.addEntryBlock();
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(body);
  Lowering lowering(kernels, b, shapes, maxTokens);
  lowering.setLocation(loc);
  lowering.bindCount(body->getArgument(0), body->getArgument(1));
  Value logits = body->getArgument(2);
  lowering.bind(logits, logits, /*rows=*/true);

  const int64_t segments = llvm::divideCeil(vocabulary, kSegment);
  Value orders = lowering.workspace(logits, 1, {segments}, i32);
  Value ids = lowering.workspace(logits, 1, {segments}, i32);
  SmallVector<Value> scanned{logits, orders, ids};
  auto scan = kernels.get("greedy_scan", "", ValueRange(scanned).getTypes(),
                          [&](KernelBuilder &k) { writeScan(k, vocabulary); });
  Lowering::Grid grid;
  grid.like = logits;
  grid.others[0] = segments;
  lowering.launch(scan, grid, scanned);

  SmallVector<Value> chosen{orders, ids, body->getArgument(3),
                            body->getArgument(4), body->getArgument(5)};
  auto choice =
      kernels.get("greedy_choice", "", ValueRange(chosen).getTypes(),
                  [&](KernelBuilder &k) { writeChoice(k, segments); });
  grid.others[0] = 1;
  lowering.launch(choice, grid, chosen);
  func::ReturnOp::create(b, loc);
}

} // namespace fathom
