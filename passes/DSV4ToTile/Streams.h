// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What stands between two sub-layers: the streams take the output of one, are
// mixed, and their normed mix is the input of the next. Two kernels: one over
// blocks of channels, as the end of whatever makes the output; one a token.
#pragma once

#include "passes/DSV4ToTile/Lowering.h"

namespace fathom {

/// The operations between two sub-layers; absent ones are null.
struct Residual {
  dsv4::EmbedOp embed; // what the streams begin as
  dsv4::HCExpandOp expand;
  dsv4::HCPostOp post;
  dsv4::HCPreOp pre;
  dsv4::RMSNormOp norm;
  dsv4::FakeQuantizeOp quantise;
  dsv4::GateOp gate;

  /// Those of `group` that belong to its last `hc_pre`.
  static Residual of(dsv4::FusedOp group);
  /// Whether the kernels below can do them.
  bool fits(const TileShapes &shapes) const;
  /// All of them, and those of their results that the kernels write.
  llvm::SmallVector<mlir::Operation *> members() const;
  llvm::SmallVector<Value> results() const;
};

/// Channels of one program, hence of one partial sum of a mix: depends on the
/// width alone.
int64_t streamBlock(const TileShapes &shapes, int64_t width);

/// Post-mix of a block of channels, and its share of the next mix: the sums
/// over the block's channels of all streams, one for each coefficient and one
/// of squares. A later kernel adds up the shares, ascending.
class StreamsUpdate {
public:
  StreamsUpdate(Lowering &l, const Residual &r);

  llvm::SmallVector<Value> operands;
  std::string params;
  /// [T, blocks, row] f32; null where no mix follows.
  Value shares;

  /// y [tokens, block] f32, already rounded, of tokens t.. and channels c..;
  /// null where the streams are an operand as they are. `first` is the argument
  /// of the first operand.
  void apply(KernelBuilder &k, unsigned first, int64_t tokens, Value y, Value t,
             Value c, Value count) const;

  int64_t block() const { return blockSize; }
  int64_t blocks() const { return width / blockSize; }

private:
  /// The same for tokens that are updated together.
  void applyTogether(KernelBuilder &k, unsigned first, int64_t tokens, Value y,
                     Value t, Value c, Value count) const;
  /// As `apply` does it, stream by stream.
  void applyByStream(KernelBuilder &k, unsigned first, int64_t tokens, Value y,
                     Value t, Value c, Value count) const;
  Value updated(KernelBuilder &k, unsigned first, int64_t tokens, Value y,
                Value t, Value c, Value count) const;

  Value embeddingOf(KernelBuilder &k, unsigned first, int64_t tokens, Value t,
                    Value c, Value count) const;
  Value expanded(KernelBuilder &k, unsigned first, int64_t tokens, Value t,
                 Value c, Value count) const;

  bool posts, mixes, embeds, expands, byStream;
  int64_t together; // tokens
  Type embedded;    // element type between embedding and streams
  int64_t n, width, blockSize, coefficients = 0, row = 0;
};

/// The second kernel: coefficients from their shares, the mix, its norm, its
/// quantisation and, in a step of one token, the scores of the router.
void finishMix(Lowering &l, const Residual &r, Value shares);

/// Both kernels for what is in `r` alone, without the sub-layer.
void updateAndFinish(Lowering &l, const Residual &r);

/// sqrt(softplus(x)); softplus(x) = x for x > 20.
Value sqrtSoftplus(KernelBuilder &k, Value x);

} // namespace fathom
