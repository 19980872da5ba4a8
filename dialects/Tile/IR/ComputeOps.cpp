// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What computes on tiles. Tags refer to ../docs/Rationale.md's table of rules.
#include "dialects/Tile/IR/TileRules.h"

using namespace mlir;
using namespace fathom::tile;

//===-- Products ---------------------------------------------------------===//

static LogicalResult requireMatrix(Operation *op, StringRef name, Value tile) {
  if (tileOf(tile).getRank() == 2)
    return success();
  return op->emitOpError() << "operand '" << name
                           << "' must have rank 2, found " << tile.getType();
}

static LogicalResult requireFloat(Operation *op, StringRef name, Value tile) {
  Type element = tileOf(tile).getElementType();
  if (element.isF32() || element.isBF16())
    return success();
  return op->emitOpError() << "operand '" << name
                           << "' must be of f32 or bf16, found " << element;
}

LogicalResult DotOp::verify() {
  // dot_c1
  if (failed(verifyTiles(*this)) ||
      failed(requireMatrix(*this, "lhs", getLhs())) ||
      failed(requireMatrix(*this, "rhs", getRhs())))
    return failure();
  // dot_c2
  if (failed(requireFloat(*this, "lhs", getLhs())) ||
      failed(requireFloat(*this, "rhs", getRhs())))
    return failure();
  bool lhsTransposed = getForm() == DotForm::TN;
  bool rhsTransposed = getForm() == DotForm::NT;
  ArrayRef<int64_t> lhs = tileOf(getLhs()).getShape();
  ArrayRef<int64_t> rhs = tileOf(getRhs()).getShape();
  int64_t m = lhs[lhsTransposed], k = lhs[!lhsTransposed];
  int64_t n = rhs[!rhsTransposed];
  // dot_c3
  if (rhs[rhsTransposed] != k)
    return emitOpError() << "operands 'lhs' and 'rhs' must agree in K in form "
                         << stringifyDotForm(getForm()) << ", found " << k
                         << " and " << rhs[rhsTransposed];
  // dot_c4
  return requireShape(*this, "acc", getAcc(), {m, n}, "M x N");
}

LogicalResult DotScaledOp::verify() {
  // dot_scaled_c1
  if (failed(verifyTiles(*this)) ||
      failed(requireMatrix(*this, "weight", getWeight())) ||
      failed(requireMatrix(*this, "scale", getScale())) ||
      failed(requireMatrix(*this, "x", getX())))
    return failure();
  // dot_scaled_c2
  auto weight = tileOf(getWeight());
  bool packed = weight.getElementType().isInteger(8);
  if (!packed && !isa<Float8E4M3FNType>(weight.getElementType()))
    return emitOpError() << "operand 'weight' must be of f8E4M3FN or i8, found "
                         << weight.getElementType();
  bool coded = isa<Float8E4M3FNType>(tileOf(getX()).getElementType());
  if (!coded && failed(requireFloat(*this, "x", getX())))
    return failure();
  // dot_scaled_c6
  if (coded != bool(getXScale()))
    return emitOpError() << "operand 'x_scale' must be there if 'x' is of "
                            "f8E4M3FN, and only then";
  // dot_scaled_c3
  int64_t m = weight.getDimSize(0), k = weight.getDimSize(1) * (packed ? 2 : 1);
  auto x = tileOf(getX());
  if (failed(requireShape(*this, "x", getX(), {x.getDimSize(0), k}, "N x K")))
    return failure();
  // dot_scaled_c4
  auto scale = tileOf(getScale());
  if (m % scale.getDimSize(0) != 0 || k % scale.getDimSize(1) != 0)
    return emitOpError() << "dimensions of operand 'scale' must divide "
                         << shapeText({m, k}) << " (M x K), found "
                         << shapeText(scale.getShape());
  // dot_scaled_c7
  if (coded) {
    auto xScale = tileOf(getXScale());
    if (xScale.getRank() != 2 || xScale.getDimSize(0) != x.getDimSize(0) ||
        k % xScale.getDimSize(1) != 0)
      return emitOpError() << "operand 'x_scale' must have as many rows as 'x' "
                              "and columns that divide K (x is "
                           << shapeText({x.getDimSize(0), k}) << "), found "
                           << shapeText(xScale.getShape());
  }
  // dot_scaled_c5
  return requireShape(*this, "acc", getAcc(), {m, x.getDimSize(0)}, "M x N");
}

//===-- Reductions -------------------------------------------------------===//

LogicalResult ReduceOp::inferReturnTypes(MLIRContext *,
                                         std::optional<Location> location,
                                         Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  auto type = dyn_cast<RankedTensorType>(adaptor.getX().getType());
  // While an operation is parsed, its attributes are no properties yet.
  IntegerAttr number = adaptor.getProperties().dim;
  if (!number && adaptor.getAttributes())
    number = adaptor.getAttributes().getAs<IntegerAttr>("dim");
  if (!number)
    return emitOptionalError(location,
                             "'tile.reduce' op needs the attribute 'dim'");
  int64_t dim = number.getInt();
  // reduce_c1
  if (!type || dim < 0 || dim >= type.getRank())
    return emitOptionalError(location,
                             "'tile.reduce' op attribute 'dim' must "
                             "be a dimension of 'x', found ",
                             dim, " for ", adaptor.getX().getType());
  SmallVector<int64_t> shape(type.getShape());
  shape.erase(shape.begin() + dim);
  types.push_back(type.clone(shape));
  return success();
}

LogicalResult ReduceOp::verify() { return verifyTiles(*this); }

LogicalResult ScanOp::verify() {
  // scan_c1
  if (failed(verifyTiles(*this)))
    return failure();
  return requireDim(*this, getDim(), tileOf(getX()).getRank());
}

//===-- Shapes -----------------------------------------------------------===//

LogicalResult BroadcastOp::verify() {
  auto from = tileOf(getX()), to = tileOf(getResult());
  // broadcast_c1
  if (failed(verifyTiles(*this)) ||
      failed(requireElement(*this, "result", to.getElementType(),
                            from.getElementType(), "the operand's")))
    return failure();
  // broadcast_c2
  int64_t previous = -1;
  for (int64_t dim : getDims()) {
    if (dim <= previous || dim >= to.getRank())
      return emitOpError() << "attribute 'dims' must be ascending dimensions "
                              "of the result (rank "
                           << to.getRank() << "), found " << getDims();
    previous = dim;
  }
  // broadcast_c3
  SmallVector<int64_t> kept;
  for (auto [i, size] : llvm::enumerate(to.getShape()))
    if (!llvm::is_contained(getDims(), static_cast<int64_t>(i)))
      kept.push_back(size);
  return requireShape(*this, "x", getX(), kept, "the result without 'dims'");
}

LogicalResult ReshapeOp::verify() {
  auto from = tileOf(getX()), to = tileOf(getResult());
  // reshape_c1
  if (failed(verifyTiles(*this)) ||
      failed(requireElement(*this, "result", to.getElementType(),
                            from.getElementType(), "the operand's")))
    return failure();
  // reshape_c2
  if (from.getNumElements() == to.getNumElements())
    return success();
  return emitOpError() << "result must have as many elements as 'x' ("
                       << from.getNumElements() << "), found "
                       << to.getNumElements();
}

/// Whether every number below the size occurs once.
static bool isPermutation(ArrayRef<int64_t> numbers) {
  SmallVector<bool> seen(numbers.size(), false);
  for (int64_t number : numbers) {
    if (number < 0 || number >= static_cast<int64_t>(numbers.size()) ||
        seen[number])
      return false;
    seen[number] = true;
  }
  return true;
}

LogicalResult TransposeOp::inferReturnTypes(MLIRContext *,
                                            std::optional<Location> location,
                                            Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  auto type = dyn_cast<RankedTensorType>(adaptor.getX().getType());
  ArrayRef<int64_t> permutation = adaptor.getPermutation();
  // transpose_c1
  if (!type || !isPermutation(permutation) ||
      static_cast<int64_t>(permutation.size()) != type.getRank())
    return emitOptionalError(location,
                             "'tile.transpose' op attribute 'permutation' must "
                             "permute the dimensions of 'x', found [",
                             permutation, "] for ", adaptor.getX().getType());
  SmallVector<int64_t> shape;
  for (int64_t dim : permutation)
    shape.push_back(type.getDimSize(dim));
  types.push_back(type.clone(shape));
  return success();
}

LogicalResult TransposeOp::verify() { return verifyTiles(*this); }

LogicalResult IotaOp::verify() {
  // iota_c1
  if (failed(verifyTiles(*this)))
    return failure();
  if (cast<TensorType>(getResult().getType()).getRank() == 1)
    return success();
  return emitOpError() << "result must have rank 1, found "
                       << getResult().getType();
}

LogicalResult DeinterleaveOp::inferReturnTypes(MLIRContext *,
                                               std::optional<Location> location,
                                               Adaptor adaptor,
                                               SmallVectorImpl<Type> &types) {
  auto type = dyn_cast<RankedTensorType>(adaptor.getX().getType());
  // deinterleave_c1
  if (!type || type.getRank() < 1 || type.getShape().back() % 2 != 0)
    return emitOptionalError(location,
                             "'tile.deinterleave' op operand 'x' must have an "
                             "even last dimension, found ",
                             adaptor.getX().getType());
  SmallVector<int64_t> shape(type.getShape());
  shape.back() /= 2;
  types.assign(2, type.clone(shape));
  return success();
}

LogicalResult DeinterleaveOp::verify() { return verifyTiles(*this); }

LogicalResult InterleaveOp::inferReturnTypes(MLIRContext *,
                                             std::optional<Location> location,
                                             Adaptor adaptor,
                                             SmallVectorImpl<Type> &types) {
  auto type = dyn_cast<RankedTensorType>(adaptor.getEven().getType());
  // interleave_c1
  if (!type || type.getRank() < 1)
    return emitOptionalError(location,
                             "'tile.interleave' op operand 'even' must have "
                             "rank at least 1, found ",
                             adaptor.getEven().getType());
  SmallVector<int64_t> shape(type.getShape());
  shape.back() *= 2;
  types.push_back(type.clone(shape));
  return success();
}

LogicalResult InterleaveOp::verify() { return verifyTiles(*this); }

//===-- Packed formats ---------------------------------------------------===//

/// `values` has twice as many elements in its last dimension as `codes`.
static LogicalResult verifyPacked(Operation *op, StringRef codesName,
                                  Value codes, StringRef valuesName,
                                  Value values) {
  if (failed(verifyTiles(op)) || failed(requireRank(op, codesName, codes, 1)))
    return failure();
  SmallVector<int64_t> shape(tileOf(codes).getShape());
  shape.back() *= 2;
  return requireShape(op, valuesName, values, shape, "two values a byte");
}

LogicalResult UnpackFP4Op::verify() {
  // unpack_fp4_c1
  return verifyPacked(*this, "x", getX(), "result", getResult());
}

LogicalResult PackFP4Op::verify() {
  // pack_fp4_c1
  return verifyPacked(*this, "result", getResult(), "x", getX());
}
