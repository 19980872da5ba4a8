// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Norms, rotation, Hadamard transform and quantisation points as steps on rows
// that a program holds, for kernels that do something before and after.
#pragma once

#include "passes/DSV4ToTile/Lowering.h"

namespace fathom {

/// Operations that follow each other on rows of one power-of-two width. Every
/// step rounds as its operation does by itself, and sums in the same order, so
/// the bits are those of the operations one by one.
class RowChain {
public:
  /// Whether `op` can be a step on rows of `width`.
  static bool accepts(const TileShapes &shapes, mlir::Operation *op,
                      int64_t width);
  static bool accepts(const TileShapes &shapes,
                      llvm::ArrayRef<mlir::Operation *> ops, int64_t width) {
    return llvm::all_of(ops,
                        [&](auto *op) { return accepts(shapes, op, width); });
  }
  /// Whether `ops`, one after the other, make the rows `to` of the rows `from`.
  static bool leads(Value from, llvm::ArrayRef<mlir::Operation *> ops,
                    Value to);

  RowChain(Lowering &l, llvm::ArrayRef<mlir::Operation *> ops);

  /// What the kernel takes for the steps, and what tells kernels apart.
  llvm::SmallVector<Value> operands;
  std::string params;

  /// x [tokens, width] f32, the rows of tokens t, t+1, ..., through all steps;
  /// `first` is the argument of the first operand. Tokens from `count` on are
  /// not there; null where all are.
  Value apply(KernelBuilder &k, Value x, Value t, Value count,
              unsigned first) const;

private:
  llvm::SmallVector<mlir::Operation *> ops;
};

/// Stores a row [1, width], on the grid of the cache's format already, as row
/// `row`; the components are arguments from `first` on.
bool canInsertRow(const TileShapes &shapes, dsv4::CacheType type);
void insertRow(KernelBuilder &k, dsv4::CacheType type, unsigned first, Value x,
               Value row);

} // namespace fathom
