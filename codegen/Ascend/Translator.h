// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Walks one tile kernel and builds its function. Values map to values; counts
// and places in the grid stay `index`. f8E4M3FN and f8E8M0FNU are i8 codes,
// f4E2M1FN, which only appears between two conversions, is the f32 that it
// stands for, and a tile of f64 is a pair of tiles of f32.
#pragma once

#include "codegen/Ascend/TileToAdapter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/DenseMap.h"

namespace fathom::ascend {

class Translator {
public:
  using Value = mlir::Value;
  using Shape = llvm::ArrayRef<int64_t>;
  using Dims = llvm::SmallVector<int64_t, 4>;

  Translator(tile::KernelOp kernel, const Target &target,
             mlir::ModuleOp module);
  mlir::LogicalResult run();

private:
  /// A buffer lies `start` elements after `base` (nothing: there).
  struct Buffer {
    Value base, start;
    mlir::MemRefType type;
  };
  /// The unevaluated sum of two f32, the second at most half a unit in the last
  /// place of the first: some 48 bits.
  struct Pair {
    Value high, low;
  };

  // Translator.cpp: types, values, dispatch, control flow.
  mlir::Type converted(mlir::Type type);
  Value get(Value value);
  void set(Value value, Value is) { values[value] = is; }
  mlir::LogicalResult refuse(mlir::Operation *op, const llvm::Twine &why);
  void arguments(mlir::func::FuncOp function);
  mlir::LogicalResult block(mlir::Block &block);
  mlir::LogicalResult operation(mlir::Operation *op);
  mlir::LogicalResult loop(mlir::scf::ForOp op);
  mlir::LogicalResult branch(mlir::scf::IfOp op);

  // Elementwise.cpp
  std::optional<mlir::LogicalResult> elementwise(mlir::Operation *op);
  mlir::LogicalResult constant(mlir::arith::ConstantOp op);
  /// c * (-1)^(number of ones in i & j), if the matrix is that for some c.
  std::optional<Value> hadamard(mlir::DenseElementsAttr elements);
  mlir::LogicalResult compareInt(mlir::arith::CmpIOp op);
  mlir::LogicalResult compareFloat(mlir::arith::CmpFOp op);
  std::optional<mlir::LogicalResult> divide(mlir::Operation *op);
  Value log1p(Value x);
  Value roundEven(Value x);

  // Floats.cpp: conversions of narrow floats by integer operations that give
  // the same bits as on every other target.
  mlir::LogicalResult extend(mlir::arith::ExtFOp op);
  mlir::LogicalResult truncate(mlir::arith::TruncFOp op);
  Value decodeE4M3(Value codes); // f32
  Value decodeE8M0(Value codes); // f32
  Value decodeE2M1(Value bytes); // f32, two a byte
  /// Codes e4m3 of the same numbers.
  Value recodeE2M1(Value bytes);
  Value encodeE4M3(Value x);
  Value encodeE8M0(Value x);
  Value encodeE2M1(Value x);
  Value nearestE2M1(Value x);

  // Doubles.cpp: f64 by pairs of f32.
  std::optional<mlir::LogicalResult> doubles(mlir::Operation *op);
  Pair pairOf(Value value);
  Pair twoSum(Value a, Value b);
  Pair quickTwoSum(Value a, Value b);
  Pair twoProduct(Value a, Value b);
  Pair add(Pair a, Pair b);
  Pair multiply(Pair a, Pair b);

  // Memory.cpp
  Buffer bufferOf(Value memref);
  Value offsetOf(const Buffer &buffer, mlir::ValueRange indices);
  /// The same at indices of the tile program.
  Value elementAt(const Buffer &buffer, mlir::ValueRange indices);
  Value rectangle(const Buffer &buffer, Value offset, Shape shape,
                  Shape strides);
  /// How many of `size` elements from `index` lie below `bound`.
  mlir::OpFoldResult within(Value index, Value bound, int64_t size);
  struct Access {
    Value view;
    llvm::SmallVector<mlir::OpFoldResult> sizes; // below the bounds
    bool whole = true;
    llvm::SmallVector<int64_t> shape; // of the tile
    /// Where all sizes are known and none is 0: them. The view has these, else
    /// those of the tile.
    std::optional<llvm::SmallVector<int64_t>> known;
  };
  /// `withMiddle`: else the second of three dimensions, of one element, is left
  /// out of the view.
  Access access(Value memref, mlir::ValueRange indices, mlir::ValueRange bounds,
                Shape shape, bool withMiddle = true);
  /// Calls `row` with the number of each row that is not negative, and its
  /// place among `rows`.
  void forEachRow(Value rows,
                  llvm::function_ref<void(Value place, Value number)> row);
  Value partOf(Value memref, llvm::ArrayRef<mlir::OpFoldResult> offsets,
               llvm::ArrayRef<mlir::OpFoldResult> sizes);
  Value zeroed(Shape shape, mlir::Type element);
  mlir::LogicalResult load(tile::LoadOp op);
  mlir::LogicalResult store(tile::StoreOp op);
  mlir::LogicalResult gather(tile::GatherOp op);
  mlir::LogicalResult gatherScaled(tile::GatherScaledOp op);
  mlir::LogicalResult scatter(tile::ScatterOp op);
  /// Rows of `memref` by number; zero where it is negative, or beyond the width
  /// (`column` is where the tile begins, nothing: at the first).
  Value gatherRows(Value memref, Value rows, Value column, Shape shape);
  Value gatherElements(Value memref, Value rows);
  mlir::LogicalResult loadScalar(mlir::memref::LoadOp op);
  mlir::LogicalResult storeScalar(mlir::memref::StoreOp op);
  mlir::LogicalResult selectBuffer(tile::SelectBufferOp op);

  // Shapes.cpp
  std::optional<mlir::LogicalResult> shapes(mlir::Operation *op);
  Value reshape(Value x, Shape shape);
  Value broadcast(Value x, Shape shape, Shape dims);
  Value transpose(Value x, Shape permutation);
  Value splat(Value scalar, Shape shape);
  Value iota(int64_t size);
  Value everySecond(Value x, int64_t first);
  Value interleave(Value even, Value odd);
  mlir::LogicalResult reduce(tile::ReduceOp op);
  mlir::LogicalResult scan(tile::ScanOp op);
  struct Slice {
    Dims whole, part; // shapes with the cut dimension split
    llvm::SmallVector<mlir::OpFoldResult> offsets, sizes, ones;
  };
  mlir::FailureOr<Slice> sliceOf(mlir::OffsetSizeAndStrideOpInterface op,
                                 Shape whole, Shape part);
  mlir::LogicalResult extractSlice(mlir::tensor::ExtractSliceOp op);
  mlir::LogicalResult insertSlice(mlir::tensor::InsertSliceOp op);

  // Products.cpp
  mlir::LogicalResult dot(tile::DotOp op);
  mlir::LogicalResult dotScaled(tile::DotScaledOp op);
  Value product(Value lhs, Value rhs, Value acc);
  Value matmul(Value lhs, Value rhs, Value acc);
  /// In f32, of a left operand that is bf16.
  Value productInStrips(Value lhs, Value rhs, Value acc);
  mlir::LogicalResult dotCodes(tile::DotScaledOp op);
  /// A tile of values, or of codes, for blocks as one [m, k].
  Value spread(Value scale, int64_t m, int64_t k);
  /// `scale` has a value for each block of the tile `values`.
  Value scaled(Value values, Value scale);

  // Small helpers.
  /// bf16 where the value is one that was only extended.
  static Value narrowed(Value x);
  template <typename Op, typename... Args> Value make(Args &&...args) {
    return Op::create(b, std::forward<Args>(args)...);
  }
  Value empty(Shape shape, mlir::Type element);
  Value index(int64_t value);
  Value number(Value like, double value);   // a float tile or scalar
  Value integer(Value like, int64_t value); // an integer tile or scalar
  mlir::Type withElement(Value like, mlir::Type element);
  template <typename Op> Value with(Value x, int64_t c) {
    return make<Op>(x, integer(x, c));
  }
  Value bits(Value x);   // f32 as i32, f16 as i16
  Value floats(Value x); // the other way
  Value widen(Value x, unsigned width);
  Value compare(mlir::arith::CmpIPredicate p, Value x, int64_t c);
  Value compare(mlir::arith::CmpFPredicate p, Value x, double c);
  Value select(Value condition, Value x, Value y) {
    return make<mlir::arith::SelectOp>(condition, x, y);
  }

  tile::KernelOp kernel;
  const Target &target;
  mlir::ImplicitLocOpBuilder b;
  llvm::DenseMap<Value, Value> values;
  llvm::DenseMap<Value, Pair> pairs;
  llvm::DenseMap<Value, Buffer> buffers; // also one entry of a table
  llvm::DenseMap<Value, std::pair<Value, Value>> tables; // first, addresses
  llvm::SmallVector<Value, 3> places;
};

} // namespace fathom::ascend
