// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parameters, rows, norms, rotation, transforms. Linears are in LinearOps.cpp.
// Tags refer to ../docs/Spec.md.
#include "dialects/DSV4/IR/ShapeRules.h"

#include "mlir/IR/Builders.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fathom::dsv4;

constexpr int64_t kAnyRank = std::numeric_limits<int64_t>::max();

/// Element types that a checkpoint stores.
static LogicalResult verifyStored(Operation *op, Type type) {
  Type element = cast<ShapedType>(type).getElementType();
  if (element.isF32() || element.isBF16() ||
      isa<Float8E4M3FNType, Float8E8M0FNUType>(element) ||
      element.isSignlessInteger(8) || element.isSignlessInteger(32) ||
      element.isSignlessInteger(64))
    return success();
  return op->emitOpError()
         << "result must have an element type that checkpoints store (f32, "
            "bf16, f8E4M3FN, f8E8M0FNU, i8, i32, i64), found "
         << element;
}

LogicalResult ParameterOp::verify() {
  // parameter_c1
  if (getName().empty())
    return emitOpError() << "attribute 'name' must not be empty";
  // parameter_c2
  return verifyStored(*this, getResult().getType());
}

LogicalResult StackedParameterOp::verify() {
  // stacked_parameter_c1
  if (getName().count("{}") != 1)
    return emitOpError() << "attribute 'name' must have one '{}', found \""
                         << getName() << "\"";
  // stacked_parameter_c2
  if (failed(requireRank(*this, "result", getResult(), 2, kAnyRank)))
    return failure();
  // stacked_parameter_c3
  return verifyStored(*this, getResult().getType());
}

LogicalResult EmbedOp::verify() {
  // embed_c1
  if (failed(requireRank(*this, "table", getTable(), 2, 2)))
    return failure();
  // embed_c2
  return requireShape(*this, "result", getResult(),
                      {dimOf(getIds(), 0), dimOf(getTable(), 1)}, "T x D");
}

LogicalResult SelectRowsOp::inferReturnTypes(MLIRContext *,
                                             std::optional<Location> location,
                                             Adaptor adaptor,
                                             SmallVectorImpl<Type> &types) {
  // select_rows_c1
  auto x =
      rankedOperand(location, "select_rows", "x", adaptor.getX(), 1, kAnyRank);
  auto rows =
      rankedOperand(location, "select_rows", "rows", adaptor.getRows(), 1, 1);
  if (failed(x) || failed(rows))
    return failure();
  // select_rows_c2
  SmallVector<int64_t> shape(x->getShape());
  shape.front() = rows->getDimSize(0);
  types.push_back(x->clone(shape));
  return success();
}

LogicalResult SelectRowsOp::verify() {
  // select_rows_c1
  if (failed(requireRank(*this, "x", getX(), 1, kAnyRank)))
    return failure();
  return success();
}

LogicalResult RMSNormOp::verify() {
  // rms_norm_c1
  if (failed(requireRank(*this, "x", getX(), 1, kAnyRank)))
    return failure();
  // rms_norm_c2
  if (failed(
          requireShape(*this, "weight", getWeight(), lastDimOf(getX()), "D")))
    return failure();
  // rms_norm_c3
  if (failed(requireShape(*this, "result", getResult(),
                          tensorOf(getX()).getShape(), "as 'x'")))
    return failure();
  // rms_norm_c4
  return requireNumber(*this, "eps", getEps(), /*positive=*/true);
}

LogicalResult HeadNormOp::inferReturnTypes(MLIRContext *,
                                           std::optional<Location> location,
                                           Adaptor adaptor,
                                           SmallVectorImpl<Type> &types) {
  // head_norm_c1
  auto x = rankedOperand(location, "head_norm", "x", adaptor.getX(), 3, 3);
  if (failed(x))
    return failure();
  types.push_back(*x);
  return success();
}

LogicalResult HeadNormOp::verify() {
  // head_norm_c1
  if (failed(requireRank(*this, "x", getX(), 3, 3)))
    return failure();
  // head_norm_c2
  return requireNumber(*this, "eps", getEps(), /*positive=*/true);
}

LogicalResult ScaleOp::inferReturnTypes(MLIRContext *,
                                        std::optional<Location> location,
                                        Adaptor adaptor,
                                        SmallVectorImpl<Type> &types) {
  auto x = rankedOperand(location, "scale", "x", adaptor.getX(), 0, kAnyRank);
  if (failed(x))
    return failure();
  types.push_back(*x);
  return success();
}

LogicalResult ScaleOp::verify() {
  // scale_c1
  return requireNumber(*this, "factor", getFactor(), /*positive=*/false);
}

LogicalResult RopeTableOp::inferReturnTypes(MLIRContext *context,
                                            std::optional<Location> location,
                                            Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  auto positions = rankedOperand(location, "rope_table", "positions",
                                 adaptor.getPositions(), 1, 1);
  if (failed(positions))
    return failure();
  // rope_table_c2
  types.assign(2, RankedTensorType::get({positions->getDimSize(0),
                                         adaptor.getRope().getWidth() / 2},
                                        Float32Type::get(context)));
  return success();
}

LogicalResult RopeTableOp::verify() {
  // rope_table_c1
  return requireAtLeast(*this, "block", getBlock(), 1);
}

LogicalResult RopeOp::inferReturnTypes(MLIRContext *,
                                       std::optional<Location> location,
                                       Adaptor adaptor,
                                       SmallVectorImpl<Type> &types) {
  // rope_c1
  auto x = rankedOperand(location, "rope", "x", adaptor.getX(), 2, 3);
  if (failed(x))
    return failure();
  types.push_back(*x);
  return success();
}

LogicalResult RopeOp::verify() {
  // rope_c1
  if (failed(requireRank(*this, "x", getX(), 2, 3)))
    return failure();
  // rope_c2
  if (failed(requireRank(*this, "cos", getCos(), 2, 2)) ||
      failed(requireShape(*this, "cos", getCos(),
                          {dimOf(getX(), 0), dimOf(getCos(), 1)},
                          "T x rd/2")) ||
      failed(requireShape(*this, "sin", getSin(), tensorOf(getCos()).getShape(),
                          "T x rd/2, as 'cos'")))
    return failure();
  // rope_c3
  int64_t pairs = dimOf(getCos(), 1), width = lastDimOf(getX());
  if (pairs != kUnknown && width != kUnknown && 2 * pairs > width)
    return emitOpError() << "operand 'x' must have at least " << 2 * pairs
                         << " channels (rd), found " << width;
  return success();
}

LogicalResult HadamardOp::inferReturnTypes(MLIRContext *,
                                           std::optional<Location> location,
                                           Adaptor adaptor,
                                           SmallVectorImpl<Type> &types) {
  auto x =
      rankedOperand(location, "hadamard", "x", adaptor.getX(), 1, kAnyRank);
  if (failed(x))
    return failure();
  types.push_back(*x);
  return success();
}

LogicalResult HadamardOp::verify() {
  // hadamard_c1
  if (failed(requireRank(*this, "x", getX(), 1, kAnyRank)))
    return failure();
  // hadamard_c1
  int64_t width = lastDimOf(getX());
  if (width != kUnknown && llvm::isPowerOf2_64(width))
    return success();
  return emitOpError() << "operand 'x' must have a power of two as its last "
                          "dimension, found "
                       << shapeText(width);
}

LogicalResult FakeQuantizeOp::inferReturnTypes(MLIRContext *,
                                               std::optional<Location> location,
                                               Adaptor adaptor,
                                               SmallVectorImpl<Type> &types) {
  auto x = rankedOperand(location, "fake_quantize", "x", adaptor.getX(), 1,
                         kAnyRank);
  if (failed(x))
    return failure();
  types.push_back(*x);
  return success();
}

LogicalResult FakeQuantizeOp::verify() {
  // fake_quantize_c1
  if (failed(requireRank(*this, "x", getX(), 1, kAnyRank)))
    return failure();
  // fake_quantize_c2
  if (failed(requireBlock(*this, "block", getBlock())) ||
      failed(requireAtLeast(*this, "channels", getChannels(), 0)))
    return failure();
  // fake_quantize_c3
  int64_t block = getBlock(), channels = getChannels();
  if (channels % block != 0)
    return emitOpError() << "attribute 'channels' must be a multiple of "
                            "'block' ("
                         << block << "), found " << channels;
  // fake_quantize_c4
  int64_t width = lastDimOf(getX());
  if (width != kUnknown && channels > width)
    return emitOpError() << "attribute 'channels' must be at most the last "
                            "dimension of 'x' ("
                         << width << "), found " << channels;
  return success();
}
