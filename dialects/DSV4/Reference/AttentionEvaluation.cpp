// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Caches, compressor, indexer and attention.
#include "dialects/DSV4/Reference/Evaluation.h"
#include "dialects/DSV4/Reference/Kernels/Attention.h"

using namespace fathom;
using namespace mlir;
using llvm::Error;

static Error windowInsert(dsv4::WindowInsertOp op, EvaluationContext &context) {
  if (Error error = checkStep(op, context, op.getPositions(), op.getSlots()))
    return error;
  ref::windowInsert(context.rowCache(op.getCache()), context.get(op.getKv()),
                    context.get(op.getPositions()), context.get(op.getSlots()));
  return Error::success();
}

static Error compressedInsert(dsv4::CompressedInsertOp op,
                              EvaluationContext &context) {
  if (Error error = checkStep(op, context, op.getPositions(), op.getSlots()))
    return error;
  ref::RowCache &cache = context.rowCache(op.getCache());
  int64_t ratio = op.getRatio();
  for (int32_t position : context.get(op.getPositions()).ints())
    if ((position + 1) % ratio == 0 && position / ratio >= cache.rows())
      return evaluationError(op, "position " + llvm::Twine(position) +
                                     " is beyond the " +
                                     llvm::Twine(cache.rows()) +
                                     " blocks of the cache: the context limit "
                                     "of the module is exceeded");
  ref::compressedInsert(cache, context.get(op.getX()),
                        context.get(op.getPositions()),
                        context.get(op.getSlots()), ratio);
  return Error::success();
}

static Error compressPool(dsv4::CompressPoolOp op, EvaluationContext &context) {
  if (Error error = checkStep(op, context, op.getPositions(), op.getSlots()))
    return error;
  return context.set(
      op.getResult(),
      ref::compressPool(
          context.get(op.getKv()), context.get(op.getGate()),
          context.get(op.getApe()), context.stateCache(op.getState()),
          context.get(op.getPositions()), context.get(op.getSlots()),
          op.getRatio(), op.getOverlap(), carrierOf(op.getResult())));
}

static Error stateUpdate(dsv4::StateUpdateOp op, EvaluationContext &context) {
  if (Error error = checkStep(op, context, op.getPositions(), op.getSlots()))
    return error;
  ref::stateUpdate(context.stateCache(op.getState()), context.get(op.getKv()),
                   context.get(op.getGate()), context.get(op.getPositions()),
                   context.get(op.getSlots()));
  return Error::success();
}

static Error indexScores(dsv4::IndexScoresOp op, EvaluationContext &context) {
  if (Error error = checkStep(op, context, op.getPositions(), op.getSlots()))
    return error;
  return context.set(
      op.getScores(),
      ref::indexScores(context.get(op.getQ()), context.get(op.getW()),
                       context.rowCache(op.getCache()),
                       context.get(op.getPositions()),
                       context.get(op.getSlots()), op.getRatio()));
}

static Error selectTopK(dsv4::SelectTopKOp op, EvaluationContext &context) {
  return context.set(op.getIndices(),
                     ref::selectTopK(context.get(op.getScores()),
                                     context.get(op.getPositions()), op.getK(),
                                     op.getRatio()));
}

static Error attention(dsv4::AttentionOp op, EvaluationContext &context) {
  if (Error error = checkStep(op, context, op.getPositions(), op.getSlots()))
    return error;
  ref::RowCache *compressed =
      op.getCompressed() ? &context.rowCache(op.getCompressed()) : nullptr;
  const ref::HostTensor *indices = context.find(op.getIndices());
  if (compressed && indices)
    for (int64_t i = 0, e = indices->numElements(); i < e; ++i)
      if (indices->loadInt(i) >= compressed->rows())
        return evaluationError(op, "block " + llvm::Twine(indices->loadInt(i)) +
                                       " is beyond the " +
                                       llvm::Twine(compressed->rows()) +
                                       " blocks of the cache");
  return context.set(
      op.getResult(),
      ref::attention(context.get(op.getQ()),
                     context.rowCache(op.getWindowCache()), compressed, indices,
                     context.get(op.getSink()), context.get(op.getPositions()),
                     context.get(op.getSlots()), op.getWindow(), op.getRatio(),
                     op.getScale().convertToDouble(),
                     carrierOf(op.getResult())));
}

void fathom::attachAttentionModels(MLIRContext &context) {
  using namespace dsv4;
  WindowInsertOp::attachInterface<ReferenceModel<WindowInsertOp, windowInsert>>(
      context);
  CompressedInsertOp::attachInterface<
      ReferenceModel<CompressedInsertOp, compressedInsert>>(context);
  CompressPoolOp::attachInterface<ReferenceModel<CompressPoolOp, compressPool>>(
      context);
  StateUpdateOp::attachInterface<ReferenceModel<StateUpdateOp, stateUpdate>>(
      context);
  IndexScoresOp::attachInterface<ReferenceModel<IndexScoresOp, indexScores>>(
      context);
  SelectTopKOp::attachInterface<ReferenceModel<SelectTopKOp, selectTopK>>(
      context);
  AttentionOp::attachInterface<ReferenceModel<AttentionOp, attention>>(context);
}
