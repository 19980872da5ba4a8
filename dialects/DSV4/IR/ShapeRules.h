// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Checks of shapes, shared by verifiers and type inference. Every failure is
// a diagnostic that names the operand, what was expected and what was found.
// Dimensions are element counts; an unknown one (kDynamic) agrees with all.
#pragma once

#include "dialects/DSV4/IR/DSV4.h"

#include <optional>
#include <string>

namespace fathom::dsv4 {

constexpr int64_t kUnknown = mlir::ShapedType::kDynamic;

/// Equal, or one of them unknown.
bool agreeDim(int64_t left, int64_t right);
/// "?x4x128"; "scalar" for rank 0.
std::string shapeText(llvm::ArrayRef<int64_t> shape);
/// The product, unknown if a factor is unknown or it leaves 63 bits.
int64_t product(llvm::ArrayRef<int64_t> factors);
/// The type of a value that is a ranked tensor by its operation's definition.
mlir::RankedTensorType tensorOf(mlir::Value value);
int64_t dimOf(mlir::Value value, unsigned index);
int64_t lastDimOf(mlir::Value value);

/// Rank of an operand between `least` and `most`; `name` as in the definition.
llvm::LogicalResult requireRank(mlir::Operation *op, llvm::StringRef name,
                                mlir::Value value, int64_t least, int64_t most);
/// Shape of an operand or result, with the rule in letters: "N x ceil(K/32)".
llvm::LogicalResult requireShape(mlir::Operation *op, llvm::StringRef name,
                                 mlir::Value value,
                                 llvm::ArrayRef<int64_t> expected,
                                 llvm::StringRef rule);
/// A value of an attribute that must be at least `least`.
llvm::LogicalResult requireAtLeast(mlir::Operation *op, llvm::StringRef name,
                                   int64_t value, int64_t least);
/// Channels that share a scale: a power of two, as the tiles of kernels are.
llvm::LogicalResult requireBlock(mlir::Operation *op, llvm::StringRef name,
                                 int64_t value);
/// A finite real number; above 0 if `positive`.
llvm::LogicalResult requireNumber(mlir::Operation *op, llvm::StringRef name,
                                  const llvm::APFloat &value, bool positive);
/// A cache operand of one of the kinds and, unless unknown, of that width.
llvm::LogicalResult requireCache(mlir::Operation *op, llvm::StringRef name,
                                 mlir::Value cache,
                                 llvm::ArrayRef<CacheKind> kinds,
                                 int64_t width);
/// `positions` and `slots` have one entry per token.
llvm::LogicalResult requireTokens(mlir::Operation *op, int64_t tokens,
                                  mlir::Value positions, mlir::Value slots);

/// The weight of a linear, NxK, in one of the formats of `dsv4.linear`, with
/// `leading` 0 or 1 dimensions in front (the stack of experts). `n`, `k` are
/// what the other operands imply, or unknown.
llvm::LogicalResult requireWeight(mlir::Operation *op, llvm::StringRef name,
                                  mlir::Value weight, int64_t stack, int64_t n,
                                  int64_t k, llvm::StringRef scaleName,
                                  mlir::Value scale);
/// The N of a weight without or behind a stack dimension.
int64_t outputsOf(mlir::Value weight);
/// The K of a weight: elements, not bytes.
int64_t inputsOf(mlir::Value weight);

/// For inference, where operands are unverified and a location may be missing:
/// the type as a ranked tensor with a rank within the bounds.
llvm::FailureOr<mlir::RankedTensorType>
rankedOperand(std::optional<mlir::Location> location, llvm::StringRef op,
              llvm::StringRef name, mlir::Value value, int64_t least,
              int64_t most);

} // namespace fathom::dsv4
