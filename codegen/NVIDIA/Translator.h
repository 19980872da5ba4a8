// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Walks one tile kernel and appends its operations to an entry. Values of MLIR
// map to values of the entry; `index` is i32, f8E8M0FNU an i8 code, f8E4M3FN
// one too where the target has no such type, and f4E2M1FN, which only appears
// between two conversions, the f32 that it stands for.
#pragma once

#include "codegen/NVIDIA/Bytecode/Writer.h"
#include "codegen/NVIDIA/TileToCudaTile.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallSet.h"

namespace fathom::nvidia {

class Translator {
public:
  using Value = cudatile::Value;
  using Shape = llvm::ArrayRef<int64_t>;
  using Dims = llvm::SmallVector<int64_t, 4>;

  Translator(tile::KernelOp kernel, const Target &target,
             cudatile::Module &module, const Configuration &configuration);
  mlir::LogicalResult run();

private:
  /// A buffer: its first element, and the argument that it belongs to.
  struct Buffer {
    Value base;
    mlir::Value root;
    mlir::MemRefType type;
  };

  // Translator.cpp: types, values, dispatch.
  mlir::FailureOr<cudatile::Scalar> scalarOf(mlir::Type type) const;
  cudatile::Type tileOf(mlir::Type type) const;
  bool checkTypes(mlir::Operation *op);
  /// The value in the shape that its MLIR type says.
  Value get(mlir::Value value);
  void set(mlir::Value value, Value is) { values[value] = std::move(is); }
  mlir::LogicalResult refuse(mlir::Operation *op, const llvm::Twine &why);
  mlir::LogicalResult block(mlir::Block &block);
  mlir::LogicalResult operation(mlir::Operation *op);

  // Elementwise.cpp
  /// Not interesting for other kinds of operations: nothing, if op is none.
  std::optional<mlir::LogicalResult> elementwise(mlir::Operation *op);
  std::optional<mlir::LogicalResult> math(mlir::Operation *op);
  mlir::LogicalResult constant(mlir::arith::ConstantOp op);
  mlir::LogicalResult compareFloat(mlir::arith::CmpFOp op);
  mlir::LogicalResult divide(mlir::arith::DivFOp op);
  Value log1p(const Value &x);
  Value roundEven(const Value &x);

  // Floats.cpp: conversions of narrow floats.
  mlir::LogicalResult extend(mlir::arith::ExtFOp op);
  mlir::LogicalResult truncate(mlir::arith::TruncFOp op);
  Value decodeE4M3(const Value &codes, cudatile::Scalar to);
  Value decodeE8M0(const Value &codes, cudatile::Scalar to);
  Value decodeE2M1(const Value &bytes, cudatile::Scalar to);
  Value pairsOfE2M1(const Value &bytes);
  Value fieldsOfE2M1(const Value &bytes, cudatile::Scalar to);
  Value encodeE4M3(const Value &x);
  Value encodeE8M0(const Value &x);
  Value encodeE2M1(const Value &x);
  Value nearestE2M1(const Value &x);

  // Memory.cpp
  Buffer bufferOf(mlir::Value memref);
  Value address(const Buffer &buffer, mlir::ValueRange indices);
  Value tensorView(const Buffer &buffer, mlir::ValueRange bounds);
  Value rectangle(mlir::Operation *op, const Buffer &buffer, Shape tile,
                  mlir::ValueRange bounds);
  /// Token attributes of an access, and what follows it.
  cudatile::Attributes ordered(const Buffer &buffer) const;
  void follow(const Buffer &buffer, const Value &token);
  mlir::LogicalResult load(tile::LoadOp op);
  mlir::LogicalResult store(tile::StoreOp op);
  mlir::LogicalResult gather(tile::GatherOp op);
  bool readsByPointers(mlir::Operation *gather) const;
  mlir::LogicalResult gatherScaled(tile::GatherScaledOp op);
  mlir::LogicalResult scatter(tile::ScatterOp op);
  Value firstOf(mlir::Operation *gather);
  Value gatherSome(const Buffer &buffer, const Value &view, const Value &rows,
                   const Value &column, int64_t from, int64_t n);
  struct Elements {
    Value pointers, inside;
  };
  Elements elementsOf(const Buffer &buffer, const Value &rows,
                      const Value &column, Shape shape);
  mlir::FailureOr<Value> gatherRows(mlir::Operation *gather, mlir::Value memref,
                                    const Value &rows, const Value &column,
                                    Shape shape);
  mlir::LogicalResult loadScalar(mlir::memref::LoadOp op);
  mlir::LogicalResult storeScalar(mlir::memref::StoreOp op);
  mlir::LogicalResult selectBuffer(tile::SelectBufferOp op);
  /// Makes the views whose sizes are known at the start.
  void makeViews();

  // Products.cpp
  mlir::LogicalResult dot(tile::DotOp op);
  mlir::LogicalResult dotScaled(tile::DotScaledOp op);
  using Parts = llvm::SmallVector<Value, 3>;
  /// bf16 tiles whose sum is the value; one where bf16 holds it.
  Parts bf16Parts(mlir::Value value);
  /// A constant that only products read, and that bf16 holds, is made as bf16
  /// where they read it.
  static bool isOfProducts(mlir::arith::ConstantOp op);
  Value constantBF16(mlir::arith::ConstantOp op);
  /// acc + lhs rhs, all in the shape that the product works on.
  Value product(Value acc, Parts lhs, Parts rhs);
  /// How a block-scaled product is done: by the instruction; by products of
  /// codes whose scales meet the partial sums; by products of bf16, decoded.
  enum class Form { Native, Codes, Decoded };
  Form formOf(tile::DotScaledOp op) const;
  Value nativeProduct(tile::DotScaledOp op, const Value &acc);
  Value codeProduct(tile::DotScaledOp op, const Value &acc);
  Value decodedProduct(tile::DotScaledOp op, const Value &acc);
  Value rowScale(const Value &codes, int64_t m, Shape shape, double unit);
  Value tokenScale(const Value &codes, Shape shape);
  Value codesOfE2M1(const Value &bytes);
  Value shiftedCodesOfE2M1(const Value &bytes, int64_t block);
  Value evenFirst(const Value &x, int64_t block);
  /// Shape of the accumulator that a dot or dot_scaled works on.
  Dims paddedShape(mlir::Operation *product) const;
  /// The operation's accumulator in that shape.
  Value accumulatorOf(mlir::Operation *product, mlir::Value accumulator);
  /// `x` repeated along its dimensions up to `shape`.
  Value repeat(const Value &x, Shape shape);
  Value zeroExtendK(const Value &x, unsigned dim);

  // Shapes.cpp
  std::optional<mlir::LogicalResult> shapes(mlir::Operation *op);
  /// x, which is the operand of `like` or of its shape, broadcast as `like` is.
  Value broadcast(const Value &x, tile::BroadcastOp like);
  Value integerSum(const Value &x, uint32_t dim, cudatile::Scalar integer);
  Value sumOf(const Value &x, uint32_t dim);
  Value sumOfShares(const Value &x, uint32_t dim);
  Value sumOfRows(const Value &x);
  mlir::LogicalResult reduce(tile::ReduceOp op);
  mlir::LogicalResult scan(tile::ScanOp op);
  mlir::LogicalResult deinterleave(tile::DeinterleaveOp op);
  mlir::LogicalResult extractElement(mlir::tensor::ExtractOp op);
  struct Slice {
    unsigned dim;
    Value number;
  };
  mlir::FailureOr<Slice> sliceOf(mlir::OffsetSizeAndStrideOpInterface op,
                                 Shape whole, Shape part);
  mlir::LogicalResult extractSlice(mlir::tensor::ExtractSliceOp op);
  mlir::LogicalResult insertSlice(mlir::tensor::InsertSliceOp op);
  /// A piece of a tile, from this place on.
  struct Part {
    Value value;
    int64_t from;
  };
  Value assembled(llvm::ArrayRef<Part> parts, const Value &base, unsigned dim,
                  int64_t from, int64_t to);
  std::pair<Value, Value> evenOdd(const Value &x);
  Value interleave(const Value &even, const Value &odd);

  // Control.cpp
  mlir::LogicalResult loop(mlir::scf::ForOp op);
  Value endOf(mlir::scf::ForOp op);
  mlir::LogicalResult branch(mlir::scf::IfOp op);
  /// Buffers that operations inside write, in the order of the arguments.
  llvm::SmallVector<mlir::Value> writtenIn(mlir::Operation *op);
  static mlir::Value rootOf(mlir::Value memref);

  // Small helpers on entry values.
  Value splatLike(const Value &x, int64_t value) {
    return f.splatInt(x.type.element.scalar, value, x.type.shape);
  }
  Value shifted(cudatile::Op op, const Value &x, int64_t by);
  Value masked(const Value &x, int64_t mask);

  tile::KernelOp kernel;
  const Target &target;
  cudatile::Function &f;
  llvm::DenseMap<mlir::Value, Value> values;
  llvm::DenseMap<mlir::Value, Value> tokens; // by root, of those written
  llvm::DenseMap<mlir::Operation *, Value> views;
  cudatile::ValueList programIds;
};

} // namespace fathom::nvidia
