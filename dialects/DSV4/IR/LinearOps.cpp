// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Matrix products with plain and block-scaled weights. Tags refer to
// ../docs/Spec.md.
#include "dialects/DSV4/IR/ShapeRules.h"

using namespace mlir;
using namespace fathom::dsv4;

/// Whether `result` has the leading dimensions of `x` and then dimensions that
/// multiply to `outputs`.
static bool isProductShape(ArrayRef<int64_t> result, ArrayRef<int64_t> leading,
                           int64_t outputs) {
  if (result.size() <= leading.size())
    return false;
  for (auto [found, expected] : llvm::zip(result, leading))
    if (!agreeDim(found, expected))
      return false;
  return agreeDim(product(result.drop_front(leading.size())), outputs);
}

LogicalResult LinearOp::verify() {
  // linear_c1
  if (failed(requireRank(*this, "x", getX(), 2,
                         std::numeric_limits<int64_t>::max())))
    return failure();
  // linear_c2, linear_c3, linear_c4
  if (failed(requireRank(*this, "weight", getWeight(), 2, 2)) ||
      failed(requireWeight(*this, "weight", getWeight(), /*stack=*/0,
                           outputsOf(getWeight()), lastDimOf(getX()), "scale",
                           getScale())))
    return failure();
  // linear_c5
  ArrayRef<int64_t> leading = tensorOf(getX()).getShape().drop_back();
  int64_t outputs = outputsOf(getWeight());
  ArrayRef<int64_t> found = tensorOf(getResult()).getShape();
  if (isProductShape(found, leading, outputs))
    return success();
  return emitOpError() << "result 'result' must be " << shapeText(leading)
                       << " followed by dimensions that multiply to "
                       << shapeText(outputs) << " (N), found "
                       << shapeText(found);
}

LogicalResult GroupedLinearOp::verify() {
  // grouped_linear_c1
  if (failed(requireRank(*this, "x", getX(), 3, 3)))
    return failure();
  // grouped_linear_c2
  int64_t groups = getGroups(), heads = dimOf(getX(), 1);
  if (failed(requireAtLeast(*this, "groups", groups, 1)))
    return failure();
  if (heads != kUnknown && heads % groups != 0)
    return emitOpError() << "attribute 'groups' must divide the number of "
                            "heads ("
                         << heads << "), found " << groups;
  // grouped_linear_c3, grouped_linear_c4
  int64_t width = product({heads, dimOf(getX(), 2)});
  int64_t inputs = width == kUnknown ? kUnknown : width / groups;
  if (failed(requireRank(*this, "weight", getWeight(), 2, 2)))
    return failure();
  int64_t outputs = outputsOf(getWeight());
  if (failed(requireWeight(*this, "weight", getWeight(), /*stack=*/0, outputs,
                           inputs, "scale", getScale())))
    return failure();
  if (outputs != kUnknown && outputs % groups != 0)
    return emitOpError()
           << "operand 'weight' must have a multiple of 'groups' (" << groups
           << ") rows, found " << outputs;
  // grouped_linear_c5
  return requireShape(*this, "result", getResult(), {dimOf(getX(), 0), outputs},
                      "T x groups*Lo");
}
