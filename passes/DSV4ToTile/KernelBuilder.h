// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A short notation for writing tile programs in C++. Every function makes one
// operation (or a fixed small group) at the current place. Tiles are f32 inside
// a program unless said otherwise; rounding happens where `to` is called.
#pragma once

#include "passes/Passes.h"

namespace fathom {

using mlir::Location;
using mlir::OpBuilder;
using mlir::RankedTensorType;
using mlir::Type;
using mlir::Value;
using mlir::ValueRange;
using Shape = llvm::ArrayRef<int64_t>;

/// Smallest power of two that is at least n (n >= 1).
int64_t pow2Ceil(int64_t n);
/// Largest power of two that divides n, at most cap (a power of two).
int64_t pow2Divisor(int64_t n, int64_t cap);
/// Powers of two that add up to n, descending: 448 = 256 + 128 + 64.
llvm::SmallVector<int64_t> pow2Pieces(int64_t n);

class KernelBuilder {
public:
  KernelBuilder(tile::KernelOp kernel);

  Value arg(unsigned i) { return kernel.getBody().getArgument(i); }
  mlir::MemRefType argType(unsigned i) {
    return llvm::cast<mlir::MemRefType>(arg(i).getType());
  }
  Value pid(int axis);

  // Scalars. index(a op b) on index values, constants folded by the builder.
  Value ci(int64_t v);
  Value cf(double v);
  Value addi(Value a, Value b);
  Value subi(Value a, Value b);
  Value muli(Value a, int64_t c);
  Value divi(Value a, int64_t c);
  Value remi(Value a, int64_t c);
  Value mini(Value a, Value b);
  Value maxi(Value a, Value b);
  Value cmpi(mlir::arith::CmpIPredicate p, Value a, Value b);
  Value andi(Value a, Value b);
  Value toI32(Value index);
  Value toIndex(Value integer);
  /// An element of an integer buffer as an index.
  Value loadIndex(Value buffer, ValueRange at);
  Value loadScalar(Value buffer, ValueRange at);
  void storeScalar(Value v, Value buffer, ValueRange at);

  // Memory. Result element type is the buffer's.
  Value load(Value buffer, ValueRange at, Shape shape, ValueRange bounds = {});
  void store(Value tile, Value buffer, ValueRange at, ValueRange bounds = {});
  Value gather(Value buffer, Value rows, Value column, Shape shape);
  void scatter(Value tile, Value buffer, Value rows, Value column = {});

  // Tiles.
  RankedTensorType type(Value tile) {
    return llvm::cast<RankedTensorType>(tile.getType());
  }
  Value full(double v, Shape shape);
  Value fullI32(int64_t v, Shape shape);
  Value splat(Value scalar, Shape shape);
  Value f32(Value tile);
  Value to(Value tile, Type element);
  Value add(Value a, Value b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value div(Value a, Value b);
  Value mul(Value a, double c);
  Value add(Value a, double c);
  Value max(Value a, Value b);
  Value min(Value a, Value b);
  Value neg(Value a);
  Value abs(Value a);
  Value exp(Value a);
  Value sqrt(Value a);
  Value log1p(Value a);
  Value sigmoid(Value a);
  Value select(Value c, Value a, Value b);
  Value cmp(mlir::arith::CmpFPredicate p, Value a, Value b);
  Value icmp(mlir::arith::CmpIPredicate p, Value a, Value b);
  Value iadd(Value a, Value b);
  Value isub(Value a, Value b);
  Value bitAnd(Value a, Value b);
  Value bitOr(Value a, Value b);
  /// i1 tile or scalar to i32 0/1.
  Value toInt(Value mask);
  Value bitcast(Value a, Type element);
  Value reduce(tile::ReduceKind kind, Value x, int64_t dim);
  /// All of a tile [n] reduced to a tile [1], and a tile [1] repeated to [n]:
  /// what a program carries about a row that it walks in tiles.
  Value total(tile::ReduceKind kind, Value x);
  Value spread(Value one, int64_t n);
  /// One element of a tile as a scalar.
  Value extract(Value tile, llvm::ArrayRef<int64_t> at);
  Value scan(Value x, int64_t dim = 0);
  Value broadcast(Value x, llvm::ArrayRef<int64_t> dims, Shape shape);
  Value reshape(Value x, Shape shape);
  Value transpose(Value x);
  Value iota(int64_t n);
  /// `tile` [m, ...] with `part` [n, ...] in place of what it has from `at` on,
  /// and the n elements of a tile [m] from `at` on; all lie inside.
  Value insert(Value part, Value tile, Value at);
  Value extract(Value tile, Value at, int64_t n);
  /// n rows of a tile [m, *] from row `at` on; all lie inside.
  Value rows(Value tile, Value at, int64_t n);
  /// `columns`: how many of the result are asked for; null: all. `rows`: those
  /// of lhs that matter, as tile.dot has it.
  struct Range {
    Value from, to; // null: all
  };
  Value dot(tile::DotForm form, Value lhs, Value rhs, Value acc,
            Value columns = {}, Range rows = {});
  /// `xScale`: of x where it is codes; else null.
  Value dotScaled(Value weight, Value scale, Value x, Value acc,
                  Value xScale = {}, Value columns = {});
  /// 2^ceil(log2 x) of positive normal x, from the exponent bits.
  Value powerOfTwoCeil(Value x);

  // Control flow. The body gets the induction variable and the carried values
  // and returns their successors.
  using LoopBody =
      llvm::function_ref<llvm::SmallVector<Value>(Value, ValueRange)>;
  llvm::SmallVector<Value> loop(Value from, Value to, Value step,
                                ValueRange init, LoopBody body);
  void loop(Value from, Value to, Value step,
            llvm::function_ref<void(Value)> body);
  void when(Value condition, llvm::function_ref<void()> then,
            llvm::function_ref<void()> otherwise = nullptr);
  /// Calls body(offset, width) for chunks of `width`, a power of two that
  /// divides n (at most cap): as a loop, or at once if there is one chunk.
  void chunks(int64_t n, int64_t cap,
              llvm::function_ref<void(Value, int64_t)> body);

  OpBuilder b;
  Location loc;
  tile::KernelOp kernel;
};

} // namespace fathom
