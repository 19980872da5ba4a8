// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What operations cost. Arithmetic is counted as the model defines it, not as
// some kernel does it; bytes are the least that must move when every operation
// reads its inputs and writes its results once.
#pragma once

#include "dialects/DSV4/IR/DSV4.h"

#include "llvm/ADT/DenseSet.h"

namespace fathom {

/// The tokens of a forward pass: `sequences` sequences, each at positions
/// first .. first + count - 1, in `steps` steps of equal size. Logits for the
/// last token of each sequence.
struct Workload {
  int64_t sequences = 1, first = 0, count = 1, steps = 1;

  /// One token of each sequence, the last of a context of `context` tokens.
  static Workload decode(int64_t context, int64_t sequences) {
    return {sequences, context - 1, 1, 1};
  }
  /// Everything from an empty cache to `context` tokens.
  static Workload prefill(int64_t context, int64_t sequences,
                          int64_t stepTokens) {
    int64_t tokens = context * sequences;
    return {sequences, 0, context, (tokens + stepTokens - 1) / stepTokens};
  }
};

/// Floating-point operations (a multiply-add is two) by the arithmetic they
/// are done in, and bytes. Doubles: a prefill of a million tokens and expected
/// numbers of experts are no integers of 64 bits.
struct Cost {
  double weightFlops = 0;    // products with weights, in the weights' format
  double attentionFlops = 0; // queries with keys, probabilities with values
  double indexFlops = 0;     // the indexer's queries with its FP4 keys
  double otherFlops = 0;     // everything that is no product of matrices
  double weightBytes = 0, cacheReadBytes = 0, cacheWrittenBytes = 0;
  double activationBytes = 0;
  /// Bytes that a token adds to a sequence for good: blocks, not the window.
  double cacheGrowthBytes = 0;

  double flops() const {
    return weightFlops + attentionFlops + indexFlops + otherFlops;
  }
  double bytes() const {
    return weightBytes + cacheReadBytes + cacheWrittenBytes + activationBytes;
  }
  void operator+=(const Cost &other);
};

/// The step around an operation: how many tokens its tensors stand for.
class CostContext {
public:
  /// For the operations of one function.
  CostContext(mlir::Operation *function, const Workload &workload);

  const Workload &workload() const { return load; }
  double tokens() const { return double(load.sequences) * load.count; }
  double tokensPerStep() const { return tokens() / load.steps; }
  /// What the leading dimension of a tensor counts: tokens, or rows of logits.
  double rowsOf(mlir::Value tensor) const;
  double elements(mlir::Value tensor) const;
  double bytes(mlir::Value tensor) const;
  /// Of all operands and results that are tensors of the step, weights left
  /// out.
  double activations(mlir::Operation *op) const;

  // Sums over all tokens; p is a token's position.
  /// of min(p + 1, window): keys of the window.
  double windowKeys(int64_t window) const;
  /// of floor((p + 1) / ratio), at most `most` each: visible blocks.
  double blocks(int64_t ratio, int64_t most) const;
  /// Rows that all steps read when each reads a sequence's rows once.
  double windowRows(int64_t window) const;
  double blockRows(int64_t ratio) const;

private:
  Workload load;
  llvm::DenseSet<mlir::Value> logitRows;
};

} // namespace fathom

#include "dialects/DSV4/Cost/CostOpInterface.h.inc"

namespace fathom {

/// Attaches the interface to every operation of dsv4.
void registerCostModels(mlir::DialectRegistry &registry);

} // namespace fathom
