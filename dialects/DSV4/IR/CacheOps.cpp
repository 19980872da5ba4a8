// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is written into caches. Tags refer to ../docs/Spec.md.
#include "dialects/DSV4/IR/ShapeRules.h"

using namespace mlir;
using namespace fathom::dsv4;

/// Rows for a cache: T x width of the cache.
static LogicalResult requireRows(Operation *op, StringRef name, Value rows,
                                 Value cache) {
  if (failed(requireRank(op, name, rows, 2, 2)))
    return failure();
  return requireShape(op, name, rows,
                      {kUnknown, cast<CacheType>(cache.getType()).getWidth()},
                      "T x the cache's width");
}

LogicalResult WindowInsertOp::verify() {
  // window_insert_c1
  if (failed(requireCache(*this, "cache", getCache(), CacheKind::Window,
                          kUnknown)))
    return failure();
  // window_insert_c2
  if (failed(requireRows(*this, "kv", getKv(), getCache())))
    return failure();
  // window_insert_c3
  return requireTokens(*this, dimOf(getKv(), 0), getPositions(), getSlots());
}

LogicalResult CompressedInsertOp::verify() {
  // compressed_insert_c1
  if (failed(requireCache(*this, "cache", getCache(),
                          {CacheKind::Compressed, CacheKind::Index}, kUnknown)))
    return failure();
  // compressed_insert_c2
  if (failed(requireRows(*this, "x", getX(), getCache())))
    return failure();
  // compressed_insert_c3
  if (failed(
          requireTokens(*this, dimOf(getX(), 0), getPositions(), getSlots())))
    return failure();
  // compressed_insert_c4
  return requireAtLeast(*this, "ratio", getRatio(), 1);
}

LogicalResult CompressPoolOp::verify() {
  // compress_pool_c1
  if (failed(
          requireCache(*this, "state", getState(), CacheKind::State, kUnknown)))
    return failure();
  // compress_pool_c2
  if (failed(requireRows(*this, "kv", getKv(), getState())) ||
      failed(requireRows(*this, "gate", getGate(), getState())))
    return failure();
  int64_t tokens = dimOf(getKv(), 0);
  if (failed(requireShape(*this, "gate", getGate(), {tokens, dimOf(getKv(), 1)},
                          "T x cd, as 'kv'")))
    return failure();
  // compress_pool_c3
  int64_t ratio = getRatio();
  auto state = cast<CacheType>(getState().getType());
  if (failed(requireAtLeast(*this, "ratio", ratio, 1)) ||
      failed(requireShape(*this, "ape", getApe(), {ratio, state.getWidth()},
                          "ratio x cd")))
    return failure();
  // compress_pool_c4
  int64_t rows = getOverlap() ? 2 * ratio : ratio;
  if (state.getRows() != rows)
    return emitOpError() << "operand 'state' must have " << rows
                         << " rows (ratio, twice that with overlap), found "
                         << state.getRows();
  // compress_pool_c5
  if (getOverlap() && state.getWidth() % 2 != 0)
    return emitOpError()
           << "operand 'state' must have an even width with overlap, found "
           << state.getWidth();
  int64_t width = getOverlap() ? state.getWidth() / 2 : state.getWidth();
  if (failed(requireShape(*this, "result", getResult(), {tokens, width},
                          "T x d, half of cd with overlap")))
    return failure();
  // compress_pool_c6
  return requireTokens(*this, tokens, getPositions(), getSlots());
}

LogicalResult StateUpdateOp::verify() {
  // state_update_c1
  if (failed(
          requireCache(*this, "state", getState(), CacheKind::State, kUnknown)))
    return failure();
  // state_update_c2
  if (failed(requireRows(*this, "kv", getKv(), getState())) ||
      failed(requireRows(*this, "gate", getGate(), getState())))
    return failure();
  int64_t tokens = dimOf(getKv(), 0);
  if (failed(requireShape(*this, "gate", getGate(), {tokens, dimOf(getKv(), 1)},
                          "T x cd, as 'kv'")))
    return failure();
  // state_update_c3
  return requireTokens(*this, tokens, getPositions(), getSlots());
}
