// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parameters, linears, norms, rope and quantisation points.
#include "dialects/DSV4/Reference/Evaluation.h"
#include "dialects/DSV4/Reference/Kernels/Elementwise.h"
#include "dialects/DSV4/Reference/Kernels/Linear.h"
#include "dialects/DSV4/Reference/Kernels/Quantize.h"
#include "dialects/DSV4/Reference/Kernels/Rope.h"

using namespace fathom;
using namespace mlir;
using llvm::Error;

static Error parameter(dsv4::ParameterOp op, EvaluationContext &context) {
  return context.setParameter(op.getResult(), op.getName(), false);
}

static Error stackedParameter(dsv4::StackedParameterOp op,
                              EvaluationContext &context) {
  return context.setParameter(op.getResult(), op.getName(), true);
}

static Error embed(dsv4::EmbedOp op, EvaluationContext &context) {
  const ref::HostTensor &table = context.get(op.getTable());
  if (Error error =
          checkRange(op, context.get(op.getIds()), table.dim(0), "token id"))
    return error;
  return context.set(op.getResult(), ref::embed(context.get(op.getIds()), table,
                                                carrierOf(op.getResult())));
}

static Error selectRows(dsv4::SelectRowsOp op, EvaluationContext &context) {
  const ref::HostTensor &x = context.get(op.getX());
  const ref::HostTensor &rows = context.get(op.getRows());
  if (Error error = checkRange(op, rows, x.dim(0), "row"))
    return error;
  return context.set(op.getResult(), ref::selectRows(x, rows));
}

static Error rmsNorm(dsv4::RMSNormOp op, EvaluationContext &context) {
  return context.set(op.getResult(), ref::rmsNorm(context.get(op.getX()),
                                                  context.get(op.getWeight()),
                                                  op.getEps().convertToDouble(),
                                                  carrierOf(op.getResult())));
}

static Error headNorm(dsv4::HeadNormOp op, EvaluationContext &context) {
  return context.set(op.getResult(),
                     ref::headNorm(context.get(op.getX()),
                                   op.getEps().convertToDouble(),
                                   carrierOf(op.getResult())));
}

/// A linear may give its N outputs as several dimensions, heads x width.
static void splitOutputs(ref::HostTensor &y, Value result) {
  auto type = cast<RankedTensorType>(result.getType());
  if (type.getRank() <= y.rank())
    return;
  y.shape.pop_back();
  for (int64_t i = y.rank(); i < type.getRank(); ++i)
    y.shape.push_back(type.getDimSize(i));
}

static Error linear(dsv4::LinearOp op, EvaluationContext &context) {
  ref::HostTensor y =
      ref::linear(context.get(op.getX()), context.get(op.getWeight()),
                  context.find(op.getScale()), carrierOf(op.getResult()));
  splitOutputs(y, op.getResult());
  return context.set(op.getResult(), std::move(y));
}

static Error groupedLinear(dsv4::GroupedLinearOp op,
                           EvaluationContext &context) {
  return context.set(
      op.getResult(),
      ref::groupedLinear(context.get(op.getX()), context.get(op.getWeight()),
                         context.find(op.getScale()), op.getGroups(),
                         carrierOf(op.getResult())));
}

static Error scale(dsv4::ScaleOp op, EvaluationContext &context) {
  return context.set(op.getResult(),
                     ref::scale(context.get(op.getX()),
                                op.getFactor().convertToDouble(),
                                carrierOf(op.getResult())));
}

static Error ropeTable(dsv4::RopeTableOp op, EvaluationContext &context) {
  dsv4::RopeAttr rope = op.getRope();
  ref::Yarn yarn{rope.getFactor().getValueAsDouble(), rope.getOriginal(),
                 rope.getBetaFast().getValueAsDouble(),
                 rope.getBetaSlow().getValueAsDouble()};
  ref::RopeTable table = ref::ropeTable(
      context.get(op.getPositions()), rope.getWidth(),
      rope.getTheta().getValueAsDouble(), yarn, op.getBlock());
  if (Error error = context.set(op.getCos(), std::move(table.cos)))
    return error;
  return context.set(op.getSin(), std::move(table.sin));
}

static Error rope(dsv4::RopeOp op, EvaluationContext &context) {
  return context.set(op.getResult(),
                     ref::rope(context.get(op.getX()), context.get(op.getCos()),
                               context.get(op.getSin()), op.getInverse()));
}

static Error hadamard(dsv4::HadamardOp op, EvaluationContext &context) {
  return context.set(op.getResult(), ref::hadamard(context.get(op.getX()),
                                                   carrierOf(op.getResult())));
}

static Error fakeQuantize(dsv4::FakeQuantizeOp op, EvaluationContext &context) {
  auto format = op.getFormat() == dsv4::QuantFormat::E4M3
                    ? ref::QuantFormat::E4M3
                    : ref::QuantFormat::E2M1;
  return context.set(op.getResult(),
                     ref::fakeQuantize(context.get(op.getX()), format,
                                       op.getBlock(), op.getChannels()));
}

void fathom::attachTensorModels(MLIRContext &context) {
  using namespace dsv4;
  ParameterOp::attachInterface<ReferenceModel<ParameterOp, parameter>>(context);
  StackedParameterOp::attachInterface<
      ReferenceModel<StackedParameterOp, stackedParameter>>(context);
  EmbedOp::attachInterface<ReferenceModel<EmbedOp, embed>>(context);
  // The rows wanted are not one for each token.
  SelectRowsOp::attachInterface<
      ReferenceModel<SelectRowsOp, selectRows, /*PerToken=*/false>>(context);
  RMSNormOp::attachInterface<ReferenceModel<RMSNormOp, rmsNorm>>(context);
  HeadNormOp::attachInterface<ReferenceModel<HeadNormOp, headNorm>>(context);
  LinearOp::attachInterface<ReferenceModel<LinearOp, linear>>(context);
  GroupedLinearOp::attachInterface<
      ReferenceModel<GroupedLinearOp, groupedLinear>>(context);
  ScaleOp::attachInterface<ReferenceModel<ScaleOp, scale>>(context);
  RopeTableOp::attachInterface<ReferenceModel<RopeTableOp, ropeTable>>(context);
  RopeOp::attachInterface<ReferenceModel<RopeOp, rope>>(context);
  HadamardOp::attachInterface<ReferenceModel<HadamardOp, hadamard>>(context);
  FakeQuantizeOp::attachInterface<ReferenceModel<FakeQuantizeOp, fakeQuantize>>(
      context);
}
