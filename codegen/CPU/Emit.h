// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Small helpers to write loops over short vectors: what the micro-kernels and
// the elementwise loops are made of. Lengths are in elements; a "vector" of one
// lane is a plain scalar throughout.
#pragma once

#include "codegen/CPU/Passes.h"

#include "llvm/ADT/STLFunctionalExtras.h"

namespace fathom::cpu {

/// Lanes of one partial sum: fixed, since it is part of the result's bits.
constexpr int64_t kLanes = 16;

struct Emit {
  mlir::OpBuilder &b;
  mlir::Location loc;

  using Values = llvm::SmallVector<mlir::Value>;
  using Range = llvm::ArrayRef<mlir::Value>;

  mlir::Value index(int64_t value);
  mlir::Value add(mlir::Value a, mlir::Value c);
  mlir::Value add(mlir::Value a, int64_t c) {
    return c == 0 ? a : add(a, index(c));
  }
  mlir::Value sub(mlir::Value a, mlir::Value c);
  /// Of an index that is not negative: product, quotient and rest.
  mlir::Value times(mlir::Value value, int64_t factor);
  mlir::Value over(mlir::Value value, int64_t divisor);
  mlir::Value rest(mlir::Value value, int64_t divisor);
  /// The next multiple of `n` of a number that is not negative.
  mlir::Value roundUp(mlir::Value value, int64_t n);
  /// value limited to 0 .. high, signed.
  mlir::Value clamp(mlir::Value value, int64_t high);

  /// for iv = low, low+step, ... < high; no loop if there is one iteration.
  void loop(int64_t low, int64_t high, int64_t step,
            llvm::function_ref<void(mlir::Value)> body);
  void loop(mlir::Value low, mlir::Value high, int64_t step,
            llvm::function_ref<void(mlir::Value)> body);
  /// Some of the numbers from 0 to an extent: from .. to-1; null: all.
  struct Part {
    mlir::Value from, to;
    explicit operator bool() const { return bool(to); }
  };
  /// Multiples of `step` below `high`; those whose `step` numbers have some of
  /// `some`.
  void loop(int64_t high, Part some, int64_t step,
            llvm::function_ref<void(mlir::Value)> body);
  /// From 0 to `high`, or to `some` if that is given and it takes more than one
  /// iteration.
  void loop(int64_t high, mlir::Value some, int64_t step,
            llvm::function_ref<void(mlir::Value)> body);
  Values loop(int64_t low, int64_t high, int64_t step, Range init,
              llvm::function_ref<Values(mlir::Value, Range)> body);
  Values loop(mlir::Value low, mlir::Value high, int64_t step, Range init,
              llvm::function_ref<Values(mlir::Value, Range)> body);
  /// One loop of step 1 per extent, outermost first.
  void nest(llvm::ArrayRef<int64_t> extents,
            llvm::function_ref<void(Range)> body);
  void ifThen(mlir::Value condition, llvm::function_ref<void()> then);
  void ifElse(mlir::Value condition, llvm::function_ref<void()> then,
              llvm::function_ref<void()> otherwise);

  /// Emits `body` before all loops around that `buffer` does not change in: one
  /// that is defined before a loop keeps its elements as long as the loop uses
  /// them, since it stands for a tile.
  mlir::Value beforeLoops(mlir::Value buffer,
                          llvm::function_ref<mlir::Value()> body);

  mlir::Type vec(int64_t lanes, mlir::Type element);
  mlir::Value load(mlir::Value buffer, Range at, int64_t lanes);
  void store(mlir::Value value, mlir::Value buffer, Range at);
  mlir::Value alloc(llvm::ArrayRef<int64_t> shape, mlir::Type element);

  /// Constant of `type` (scalar or vector of int or float) from an integer.
  mlir::Value constant(mlir::Type type, int64_t value);
  mlir::Value zero(mlir::Type type) { return constant(type, 0); }
  mlir::Value splat(mlir::Value scalar, int64_t lanes);
  /// Lanes `at` to `at + count` of a vector.
  mlir::Value part(mlir::Value vector, int64_t at, int64_t count);
  /// The lanes of one vector, then those of another as long.
  mlir::Value join(mlir::Value first, mlir::Value second);
  /// Extends bf16 and narrower floats; f32 stays.
  mlir::Value toF32(mlir::Value value);
  mlir::Value fma(mlir::Value a, mlir::Value b, mlir::Value c);
  /// An instruction of x86 by LLVM's name: "llvm.x86.avx2.pshuf.b".
  mlir::Value intrinsic(mlir::Type result, llvm::StringRef name,
                        mlir::ValueRange operands);
  /// Halving tree over the lanes: lane i with lane i + n/2, then n/4, ...
  mlir::Value
  tree(mlir::Value vector,
       llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);
  mlir::Value treeAdd(mlir::Value vector);
  /// The sums of several vectors, a lane each, every one by the tree of
  /// treeAdd: side by side they take a third of the instructions. The number of
  /// vectors is a power of two, at most their length.
  mlir::Value treeAddAll(Range vectors);

  /// A power of two of vectors, row after row of a block with as many columns,
  /// becomes a vector a column. Lengths are as many or more, also a power of
  /// two.
  void columnsFirst(Values &block);

  /// A part of a matrix, or the matrix if that is all of it. Of a part it is
  /// again a part of the whole, so that prefetching sees where the matrix goes
  /// on.
  mlir::Value window(mlir::Value buffer, mlir::Value row, int64_t rows,
                     mlir::Value column, int64_t columns);
  /// The matrix, or an f32 copy of a narrower one, of `rows` alone: what is
  /// used many times is not extended again.
  mlir::Value inF32(mlir::Value buffer, Part rows = {});
  /// The buffer, or a copy where the elements of a row lie apart.
  mlir::Value withWholeRows(mlir::Value buffer);
  /// Copies the first `extent` of `length` elements of a row (all without an
  /// extent); elements beyond it are zeroed, or left alone with `keepRest`.
  void copyRow(mlir::Value from, Range fromAt, mlir::Value to, Range toAt,
               int64_t length, mlir::Value extent, bool keepRest);
  void zeroRow(mlir::Value to, Range at, int64_t length);
};

/// Bits of an element in memory.
inline int64_t bitsOf(mlir::Type element) {
  return element.isIndex() ? 64 : element.getIntOrFloatBitWidth();
}

inline int64_t lanesOf(mlir::Type type) {
  auto vector = mlir::dyn_cast<mlir::VectorType>(type);
  return vector ? vector.getNumElements() : 1;
}

/// Whether the elements of a row lie next to each other, as vectors take them:
/// not of a column that became a row.
bool hasWholeRows(mlir::MemRefType type);

} // namespace fathom::cpu
