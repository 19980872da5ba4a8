// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Indexer, selection, attention. Tags refer to ../docs/Spec.md.
#include "dialects/DSV4/IR/ShapeRules.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace fathom::dsv4;

LogicalResult IndexScoresOp::inferReturnTypes(MLIRContext *context,
                                              std::optional<Location> location,
                                              Adaptor adaptor,
                                              SmallVectorImpl<Type> &types) {
  // index_scores_c1
  auto q = rankedOperand(location, "index_scores", "q", adaptor.getQ(), 3, 3);
  auto cache = dyn_cast<CacheType>(adaptor.getCache().getType());
  if (failed(q))
    return failure();
  if (!cache)
    return emitOptionalError(
        location, "'dsv4.index_scores' op operand 'cache' must be a cache");
  // index_scores_c5
  types.push_back(RankedTensorType::get({q->getDimSize(0), cache.getRows()},
                                        Float32Type::get(context)));
  return success();
}

LogicalResult IndexScoresOp::verify() {
  // index_scores_c1
  if (failed(requireRank(*this, "q", getQ(), 3, 3)))
    return failure();
  // index_scores_c2
  if (failed(requireCache(*this, "cache", getCache(), CacheKind::Index,
                          dimOf(getQ(), 2))))
    return failure();
  // index_scores_c3
  int64_t tokens = dimOf(getQ(), 0);
  if (failed(requireShape(*this, "w", getW(), {tokens, dimOf(getQ(), 1)},
                          "T x Hi")))
    return failure();
  // index_scores_c4
  if (failed(requireTokens(*this, tokens, getPositions(), getSlots())))
    return failure();
  return requireAtLeast(*this, "ratio", getRatio(), 1);
}

LogicalResult SelectTopKOp::inferReturnTypes(MLIRContext *context,
                                             std::optional<Location> location,
                                             Adaptor adaptor,
                                             SmallVectorImpl<Type> &types) {
  // select_topk_c1
  auto scores = rankedOperand(location, "select_topk", "scores",
                              adaptor.getScores(), 2, 2);
  if (failed(scores))
    return failure();
  // select_topk_c2
  int64_t k = adaptor.getK();
  if (k < 1)
    return emitOptionalError(location,
                             "'dsv4.select_topk' op attribute 'k' "
                             "must be at least 1, found ",
                             k);
  types.push_back(RankedTensorType::get({scores->getDimSize(0), k},
                                        IntegerType::get(context, 32)));
  return success();
}

LogicalResult SelectTopKOp::verify() {
  // select_topk_c1
  if (failed(requireRank(*this, "scores", getScores(), 2, 2)))
    return failure();
  // select_topk_c2
  if (failed(requireAtLeast(*this, "k", getK(), 1)))
    return failure();
  // select_topk_c3
  if (failed(requireShape(*this, "positions", getPositions(),
                          dimOf(getScores(), 0), "T")))
    return failure();
  // select_topk_c4
  return requireAtLeast(*this, "ratio", getRatio(), 1);
}

/// The operands that only layers with compressed blocks have.
static LogicalResult verifyCompressed(AttentionOp op) {
  // attention_c3
  bool has = op.getCompressed() != Value();
  if (has != (op.getRatio() != 0))
    return op.emitOpError()
           << "operand 'compressed' must be present exactly "
              "when 'ratio' is not 0, found it "
           << (has ? "present" : "absent") << " with ratio " << op.getRatio();
  if (has && failed(requireCache(op, "compressed", op.getCompressed(),
                                 CacheKind::Compressed, dimOf(op.getQ(), 2))))
    return failure();
  // attention_c4
  if (!op.getIndices())
    return success();
  if (!has)
    return op.emitOpError()
           << "operand 'indices' must be absent without 'compressed'";
  if (failed(requireRank(op, "indices", op.getIndices(), 2, 2)))
    return failure();
  return requireShape(op, "indices", op.getIndices(),
                      {dimOf(op.getQ(), 0), kUnknown}, "T x k");
}

LogicalResult AttentionOp::verify() {
  // attention_c1
  if (failed(requireRank(*this, "q", getQ(), 3, 3)))
    return failure();
  int64_t tokens = dimOf(getQ(), 0), width = dimOf(getQ(), 2);
  // attention_c2
  if (failed(requireCache(*this, "windowCache", getWindowCache(),
                          CacheKind::Window, width)))
    return failure();
  if (failed(requireAtLeast(*this, "ratio", getRatio(), 0)) ||
      failed(verifyCompressed(*this)))
    return failure();
  // attention_c5
  if (failed(requireShape(*this, "sink", getSink(), dimOf(getQ(), 1), "H")))
    return failure();
  // attention_c6
  if (failed(requireTokens(*this, tokens, getPositions(), getSlots())))
    return failure();
  // attention_c7
  int64_t rows = cast<CacheType>(getWindowCache().getType()).getRows();
  if (failed(requireAtLeast(*this, "window", getWindow(), 1)))
    return failure();
  if (static_cast<int64_t>(getWindow()) > rows)
    return emitOpError() << "attribute 'window' must be at most the rows of "
                            "'windowCache' ("
                         << rows << "), found " << getWindow();
  if (failed(requireNumber(*this, "scale", getScale(), /*positive=*/true)))
    return failure();
  // attention_c8
  return requireShape(*this, "result", getResult(), tensorOf(getQ()).getShape(),
                      "T x H x d, as 'q'");
}
