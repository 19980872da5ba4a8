// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Router and experts.
#include "dialects/DSV4/Reference/Evaluation.h"
#include "dialects/DSV4/Reference/Kernels/Elementwise.h"
#include "dialects/DSV4/Reference/Kernels/MoE.h"

using namespace fathom;
using namespace mlir;
using llvm::Error;

static Error gate(dsv4::GateOp op, EvaluationContext &context) {
  return context.set(op.getScores(), ref::gate(context.get(op.getX()),
                                               context.get(op.getWeight())));
}

static Error routeTopK(dsv4::RouteTopKOp op, EvaluationContext &context) {
  auto type = cast<RankedTensorType>(op.getIds().getType());
  ref::Route route =
      ref::routeTopK(context.get(op.getScores()), context.get(op.getBias()),
                     type.getDimSize(1), op.getFactor().convertToDouble());
  if (Error error = context.set(op.getIds(), std::move(route.ids)))
    return error;
  return context.set(op.getWeights(), std::move(route.weights));
}

static Error routeHash(dsv4::RouteHashOp op, EvaluationContext &context) {
  const ref::HostTensor &scores = context.get(op.getScores());
  const ref::HostTensor &ids = context.get(op.getIds());
  const ref::HostTensor &table = context.get(op.getTable());
  if (Error error = checkRange(op, ids, table.dim(0), "token id"))
    return error;
  // Only the rows in use: a check of the whole table at every step costs more
  // than the step.
  for (int64_t t = 0; t < ids.numElements(); ++t)
    for (int64_t j = 0; j < table.dim(1); ++j) {
      int64_t expert = table.loadInt(ids.loadInt(t) * table.dim(1) + j);
      if (expert < 0 || expert >= scores.dim(1))
        return evaluationError(
            op, "the table names expert " + llvm::Twine(expert) +
                    " for token id " + llvm::Twine(ids.loadInt(t)) +
                    "; there are " + llvm::Twine(scores.dim(1)));
    }
  ref::Route route =
      ref::routeHash(scores, ids, table, op.getFactor().convertToDouble());
  if (Error error = context.set(op.getExpertIds(), std::move(route.ids)))
    return error;
  return context.set(op.getWeights(), std::move(route.weights));
}

static Error experts(dsv4::ExpertsOp op, EvaluationContext &context) {
  const ref::HostTensor &w1 = context.get(op.getW1());
  const ref::HostTensor &ids = context.get(op.getIds());
  if (Error error = checkRange(op, ids, w1.dim(0), "expert id"))
    return error;
  return context.set(
      op.getResult(),
      ref::experts(context.get(op.getX()), ids, context.get(op.getWeights()),
                   {&w1, context.find(op.getS1())},
                   {&context.get(op.getW3()), context.find(op.getS3())},
                   {&context.get(op.getW2()), context.find(op.getS2())},
                   op.getLimit().convertToDouble(),
                   op.getHiddenBlock().value_or(0)));
}

static Error swiglu(dsv4::SwiGLUOp op, EvaluationContext &context) {
  return context.set(op.getResult(),
                     ref::swiglu(context.get(op.getG()), context.get(op.getU()),
                                 op.getLimit().convertToDouble(),
                                 carrierOf(op.getResult())));
}

static Error combine(dsv4::MoECombineOp op, EvaluationContext &context) {
  return context.set(op.getResult(),
                     ref::moeCombine(context.get(op.getRouted()),
                                     context.get(op.getShared()),
                                     carrierOf(op.getResult())));
}

void fathom::attachMoEModels(MLIRContext &context) {
  using namespace dsv4;
  GateOp::attachInterface<ReferenceModel<GateOp, gate>>(context);
  RouteTopKOp::attachInterface<ReferenceModel<RouteTopKOp, routeTopK>>(context);
  RouteHashOp::attachInterface<ReferenceModel<RouteHashOp, routeHash>>(context);
  ExpertsOp::attachInterface<ReferenceModel<ExpertsOp, experts>>(context);
  SwiGLUOp::attachInterface<ReferenceModel<SwiGLUOp, swiglu>>(context);
  MoECombineOp::attachInterface<ReferenceModel<MoECombineOp, combine>>(context);
}
