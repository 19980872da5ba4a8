// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Hyper-connections.
#include "dialects/DSV4/Reference/Evaluation.h"
#include "dialects/DSV4/Reference/Kernels/Elementwise.h"
#include "dialects/DSV4/Reference/Kernels/HyperConnection.h"

using namespace fathom;
using namespace mlir;
using llvm::Error;

static Error expand(dsv4::HCExpandOp op, EvaluationContext &context) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  return context.set(op.getResult(),
                     ref::hcExpand(context.get(op.getX()), type.getDimSize(1),
                                   carrierOf(op.getResult())));
}

static Error pre(dsv4::HCPreOp op, EvaluationContext &context) {
  ref::HCPreResult mix = ref::hcPre(
      context.get(op.getH()), context.get(op.getFn()),
      context.get(op.getBase()), context.get(op.getScale()),
      op.getHcEps().convertToDouble(), op.getNormEps().convertToDouble(),
      op.getIterations(), carrierOf(op.getX()));
  if (Error error = context.set(op.getX(), std::move(mix.x)))
    return error;
  if (Error error = context.set(op.getPost(), std::move(mix.post)))
    return error;
  return context.set(op.getComb(), std::move(mix.comb));
}

static Error post(dsv4::HCPostOp op, EvaluationContext &context) {
  return context.set(op.getResult(),
                     ref::hcPost(context.get(op.getY()), context.get(op.getH()),
                                 context.get(op.getPost()),
                                 context.get(op.getComb()),
                                 carrierOf(op.getResult())));
}

static Error head(dsv4::HCHeadOp op, EvaluationContext &context) {
  return context.set(
      op.getResult(),
      ref::hcHead(context.get(op.getH()), context.get(op.getFn()),
                  context.get(op.getBase()), context.get(op.getScale()),
                  op.getHcEps().convertToDouble(),
                  op.getNormEps().convertToDouble(),
                  carrierOf(op.getResult())));
}

static Error addStreams(dsv4::AddStreamsOp op, EvaluationContext &context) {
  return context.set(op.getResult(),
                     ref::addStreams(context.get(op.getE()),
                                     context.get(op.getH()),
                                     carrierOf(op.getResult())));
}

void fathom::attachStreamModels(MLIRContext &context) {
  using namespace dsv4;
  HCExpandOp::attachInterface<ReferenceModel<HCExpandOp, expand>>(context);
  HCPreOp::attachInterface<ReferenceModel<HCPreOp, pre>>(context);
  HCPostOp::attachInterface<ReferenceModel<HCPostOp, post>>(context);
  HCHeadOp::attachInterface<ReferenceModel<HCHeadOp, head>>(context);
  AddStreamsOp::attachInterface<ReferenceModel<AddStreamsOp, addStreams>>(
      context);
}
