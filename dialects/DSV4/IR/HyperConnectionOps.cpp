// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Streams and their mixing. Tags refer to ../docs/Spec.md.
#include "dialects/DSV4/IR/ShapeRules.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace fathom::dsv4;

/// (2+n)n: how many numbers mix n streams.
static int64_t mixSize(int64_t n) {
  return n == kUnknown ? kUnknown : product({2 + n, n});
}

/// hc_eps and norm_eps.
static LogicalResult requireEps(Operation *op, const APFloat &hcEps,
                                const APFloat &normEps) {
  if (failed(requireNumber(op, "hc_eps", hcEps, /*positive=*/true)))
    return failure();
  return requireNumber(op, "norm_eps", normEps, /*positive=*/true);
}

LogicalResult HCExpandOp::verify() {
  // hc_expand_c1
  if (failed(requireRank(*this, "x", getX(), 2, 2)))
    return failure();
  // hc_expand_c2
  if (failed(requireRank(*this, "result", getResult(), 3, 3)))
    return failure();
  return requireShape(
      *this, "result", getResult(),
      {dimOf(getX(), 0), dimOf(getResult(), 1), dimOf(getX(), 1)}, "T x n x D");
}

LogicalResult HCPreOp::inferReturnTypes(MLIRContext *context,
                                        std::optional<Location> location,
                                        Adaptor adaptor,
                                        SmallVectorImpl<Type> &types) {
  // hc_pre_c1
  auto h = rankedOperand(location, "hc_pre", "h", adaptor.getH(), 3, 3);
  if (failed(h))
    return failure();
  int64_t tokens = h->getDimSize(0), n = h->getDimSize(1);
  Type f32 = Float32Type::get(context);
  types.push_back(h->clone({tokens, h->getDimSize(2)}));
  types.push_back(RankedTensorType::get({tokens, n}, f32));
  types.push_back(RankedTensorType::get({tokens, n, n}, f32));
  return success();
}

LogicalResult HCPreOp::verify() {
  // hc_pre_c1
  if (failed(requireRank(*this, "h", getH(), 3, 3)))
    return failure();
  int64_t n = dimOf(getH(), 1), width = dimOf(getH(), 2);
  // hc_pre_c2
  if (failed(requireShape(*this, "fn", getFn(),
                          {mixSize(n), product({n, width})}, "(2+n)n x nD")))
    return failure();
  // hc_pre_c3
  if (failed(requireShape(*this, "base", getBase(), mixSize(n), "(2+n)n")) ||
      failed(requireShape(*this, "scale", getScale(), 3, "pre, post, comb")))
    return failure();
  // hc_pre_c4
  if (failed(requireEps(*this, getHcEps(), getNormEps())))
    return failure();
  return requireAtLeast(*this, "iterations", getIterations(), 1);
}

LogicalResult HCPostOp::inferReturnTypes(MLIRContext *,
                                         std::optional<Location> location,
                                         Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  // hc_post_c1
  auto h = rankedOperand(location, "hc_post", "h", adaptor.getH(), 3, 3);
  if (failed(h))
    return failure();
  types.push_back(*h);
  return success();
}

LogicalResult HCPostOp::verify() {
  // hc_post_c1
  if (failed(requireRank(*this, "h", getH(), 3, 3)))
    return failure();
  int64_t tokens = dimOf(getH(), 0), n = dimOf(getH(), 1);
  // hc_post_c2
  if (failed(requireShape(*this, "y", getY(), {tokens, dimOf(getH(), 2)},
                          "T x D")))
    return failure();
  // hc_post_c3
  if (failed(requireShape(*this, "post", getPost(), {tokens, n}, "T x n")))
    return failure();
  return requireShape(*this, "comb", getComb(), {tokens, n, n}, "T x n x n");
}

LogicalResult HCHeadOp::inferReturnTypes(MLIRContext *,
                                         std::optional<Location> location,
                                         Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  // hc_head_c1
  auto h = rankedOperand(location, "hc_head", "h", adaptor.getH(), 3, 3);
  if (failed(h))
    return failure();
  types.push_back(h->clone({h->getDimSize(0), h->getDimSize(2)}));
  return success();
}

LogicalResult HCHeadOp::verify() {
  // hc_head_c1
  if (failed(requireRank(*this, "h", getH(), 3, 3)))
    return failure();
  int64_t n = dimOf(getH(), 1);
  // hc_head_c2
  if (failed(requireShape(*this, "fn", getFn(),
                          {n, product({n, dimOf(getH(), 2)})}, "n x nD")))
    return failure();
  // hc_head_c3
  if (failed(requireShape(*this, "base", getBase(), n, "n")) ||
      failed(requireShape(*this, "scale", getScale(), 1, "one number")))
    return failure();
  // hc_head_c4
  return requireEps(*this, getHcEps(), getNormEps());
}

LogicalResult AddStreamsOp::inferReturnTypes(MLIRContext *,
                                             std::optional<Location> location,
                                             Adaptor adaptor,
                                             SmallVectorImpl<Type> &types) {
  // add_streams_c1
  auto h = rankedOperand(location, "add_streams", "h", adaptor.getH(), 3, 3);
  if (failed(h))
    return failure();
  types.push_back(*h);
  return success();
}

LogicalResult AddStreamsOp::verify() {
  // add_streams_c1
  if (failed(requireRank(*this, "h", getH(), 3, 3)))
    return failure();
  // add_streams_c2
  return requireShape(*this, "e", getE(), {dimOf(getH(), 0), dimOf(getH(), 2)},
                      "T x D");
}
