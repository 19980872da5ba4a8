// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How a program walks the weights of a matrix: blocks of rows, chunks of K.
#pragma once

#include "passes/DSV4ToTile/Lowering.h"

namespace fathom {

/// The right side of a product, [tokens, channels]: values, or codes with a
/// scale for each block of channels.
struct XTile {
  Value x, scale;
  /// Its tokens are numbers `first` to `end` - 1, and what is behind them is of
  /// none; null: all are there.
  Value first, end;
  XTile(Value x, Value scale = {}) : x(x), scale(scale) {}

  XTile ofTokens(Value from, Value to) const {
    XTile tile = *this;
    tile.first = from;
    tile.end = to;
    return tile;
  }
};

/// The arguments of a kernel that are an activation: what products take and
/// quantisation points fill.
struct ActivationArg {
  unsigned rows = 0, scales = 0; // scales 0: values

  ActivationArg() = default;
  ActivationArg(llvm::SmallVectorImpl<Value> &operands,
                Lowering::Activation activation);

  bool isCodes() const { return scales != 0; }
  /// Of the shape, dimensions before the last but the first are 1.
  XTile load(KernelBuilder &k, llvm::ArrayRef<Value> at, Shape shape,
             llvm::ArrayRef<Value> bounds) const;
  XTile gather(KernelBuilder &k, Value which, Value column, Shape shape) const;
  /// Rows as `load` and `gather` give them.
  void store(KernelBuilder &k, XTile x, llvm::ArrayRef<Value> at,
             llvm::ArrayRef<Value> bounds) const;
  /// Quantises x [n, channels] in blocks. `carrier` rounds what are values.
  void store(KernelBuilder &k, Value x, int64_t block, Type carrier,
             llvm::ArrayRef<Value> at, llvm::ArrayRef<Value> bounds) const;

private:
  int64_t block(KernelBuilder &k) const;
};

/// Codes and scales of x [tokens, channels] in blocks.
XTile encoded(KernelBuilder &k, Value x, int64_t block);

/// A matrix in memory, or a tile of it, and its scales if it has any.
struct WeightOperand {
  Value weight, scale;
};

/// A weight matrix [N, K] in one of the formats of dsv4.linear, seen by a
/// program as tiles of `rows` x `chunk`. `chunk` depends on the matrix alone,
/// never on the number of tokens: the order of sums is the same in every
/// specialisation, and no sum knows how many rows a block has.
struct WeightTile {
  enum class Format { Plain, FP8, FP4 };
  Format format;
  int64_t n, k, rows, chunk;
  int64_t turnElements; // most of a turn of one token's walk
  /// It is multiplied with codes, else FP8 is decoded.
  bool byCodes = false;
  /// Rows of the last block lie beyond the matrix.
  bool ragged;
  /// Products are told how many tokens are there.
  bool countsTokens;

  /// `shape` and `element` of the stored weight; `rowUnit`: a block of rows may
  /// not straddle multiples of it (output groups). `tokens` of a program: for
  /// several, blocks are taller, so that tokens are read and permuted less
  /// often.
  static WeightTile of(const TileShapes &shapes, Shape shape, Type element,
                       int64_t rowUnit, int64_t tokens = 1);

  int64_t blocks() const { return llvm::divideCeil(n, rows); }
  /// Chunks that a turn of a walk of as many weights takes, one after the
  /// other.
  int64_t chunksATurn(int64_t tokens, int64_t weights = 1) const;
  /// acc [rows, tokens] + W[row .. row+rows, k0 .. ] x^T for the chunks that x
  /// [tokens, chunks * chunk] has. Several weights, each with its sums, may
  /// share x.
  llvm::SmallVector<Value> dot(KernelBuilder &b,
                               llvm::ArrayRef<WeightOperand> weights, Value row,
                               Value k0, XTile x, ValueRange acc) const;

private:
  WeightOperand load(KernelBuilder &b, WeightOperand weight, Value row,
                     Value k0) const;
};

/// Whether `quantised` takes chunks of `chunk` channels of an input of `width`
/// for this quantisation point.
bool quantisesChunks(dsv4::FakeQuantizeOp op, int64_t width, int64_t chunk);
/// A tile [tokens, chunk] on the grid of a quantisation point whose blocks
/// divide the chunk: codes where the target multiplies codes, else values of
/// the element type as given.
XTile quantised(KernelBuilder &k, const TileShapes &shapes, Value x,
                dsv4::FakeQuantizeOp op);

/// A tile of this shape, f32, of blocks of `size` along a dimension; `block`
/// makes each from where it begins. One block is the tile itself.
Value inBlocksAlong(KernelBuilder &k, Shape shape, unsigned dim, int64_t size,
                    llvm::function_ref<Value(int64_t)> block);

/// Sum over all of K for the rows at `row` and the tokens that `loadX` gives as
/// tiles [tokens, width] at k0, from k0 and the width. Several weights may
/// share the walk.
llvm::SmallVector<Value> walkK(KernelBuilder &b, const WeightTile &w,
                               llvm::ArrayRef<WeightOperand> weights, Value row,
                               int64_t tokens,
                               llvm::function_ref<XTile(Value, int64_t)> loadX);

} // namespace fathom
