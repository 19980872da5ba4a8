// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Pieces of routing and experts that operations by themselves and fused kernels
// share.
#pragma once

#include "passes/DSV4ToTile/WeightTile.h"

#include <functional>

namespace fathom {

/// What a router chooses for one token, among candidates [1, n].
struct Choice {
  Value ids;     // i32: the candidates' experts
  Value ranks;   // i32: the place among the chosen in ascending id; else -1
  Value weights; // f32
  /// The expert of the choice at place j by scalars alone; empty where it is
  /// found in `ids`.
  std::function<Value(KernelBuilder &, Value)> scalarId;

  /// Expert and weight [1] of the choice at place j.
  Value id(KernelBuilder &k, Value j) const;
  Value weight(KernelBuilder &k, Value j) const;

private:
  Value isAt(KernelBuilder &k, Value j) const;
};

/// Router operations seen alike: buffers that the choice of a token needs.
class Router {
public:
  /// Null if `op` is no router.
  static std::optional<Router> of(Lowering &l, mlir::Operation *op);
  llvm::SmallVector<Value> operands;
  std::string params;
  int64_t experts, chosen;
  Value like, ids, weights; // operand that counts tokens; results

  /// Token t's choice; `first` is the argument of the first operand.
  Choice choose(KernelBuilder &k, unsigned first, Value t) const;
  /// The kernel for the operation by itself.
  void launch(Lowering &l) const;

private:
  double factor = 1;
  int64_t leastTile = 1; // of scores
  bool hash = false, byScalars = false;
};

/// Pairs of token and expert in the order of their experts.
struct Groups {
  Value order, offsets, place; // [pairs], [experts+1], [pairs]
  /// The tokens' rows in that order [pairs, *]; null where the target reads
  /// them by their numbers.
  Lowering::Activation rows;
};
/// Of tokens whose rows, for products, are x.
Groups groupPairs(Lowering &l, Value x, Value ids, int64_t experts,
                  int64_t chosen);

/// The tokens of pairs i32 [n], of which a token has `chosen`; -1, which no
/// gather reads, where `real` does not hold.
Value tokensOfPairs(KernelBuilder &k, Value pairs, Value real, int64_t chosen);

/// Buffer `index` of a table.
Value tableEntry(KernelBuilder &k, Value table, Value index);
/// The walk over one matrix of a stack.
WeightTile stackedTile(const TileShapes &shapes, Value stacked);

/// silu(min(g, limit)) clip(u, -limit, limit), times weight [tokens] if given,
/// for gu = {g, u} as walkK gives them; rounded to `carrier` where the
/// operations round. f32 [tokens, rows], not rounded at last.
Value swiglu(KernelBuilder &k, llvm::ArrayRef<Value> gu, double limit,
             Value weight, Type carrier);
/// acc [rows, tokens] as [tokens, rows].
Value tokensFirst(KernelBuilder &k, Value acc);
/// Rows of x [n, w] in blocks on the e4m3 grid: x is rounded already, and so is
/// the result.
Value quantiseBlocks(KernelBuilder &k, Value x, int64_t block, Type carrier);

} // namespace fathom
