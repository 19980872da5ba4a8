// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathomc/StepCost.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace llvm;

namespace fathom {

StringRef boundName(Bound bound) {
  switch (bound) {
  case Bound::Compute:
    return "compute";
  case Bound::Memory:
    return "memory";
  case Bound::Launch:
    return "launch";
  }
  return "";
}

std::string placeOf(mlir::Location location) {
  std::string place;
  location->walk([&](mlir::Location part) {
    auto name = mlir::dyn_cast<mlir::NameLoc>(part);
    if (!name)
      return mlir::WalkResult::advance();
    place = name.getName().str();
    return mlir::WalkResult::interrupt();
  });
  return place;
}

int64_t layerOf(StringRef place) {
  int64_t layer = -1;
  if (place.consume_front("layers.") && !place.consumeInteger(10, layer))
    return layer;
  return -1;
}

static mlir::func::FuncOp stepOf(mlir::ModuleOp module) {
  return module.lookupSymbol<mlir::func::FuncOp>("step");
}

static std::string nameOf(mlir::Operation &op) {
  if (auto group = dyn_cast<dsv4::FusedOp>(op))
    return "fused " + dsv4::stringifyFusionKind(group.getKind()).str();
  return op.getName().stripDialect().str();
}

std::vector<OperationCost>
operationCosts(mlir::ModuleOp module, const Workload &workload,
               const StringMap<int64_t> &kernelsAt) {
  std::vector<OperationCost> costs;
  mlir::func::FuncOp step = stepOf(module);
  if (!step)
    return costs;
  CostContext context(step, workload);
  // Launches carry the place of what they are for: an operation, or any member
  // of a group.
  std::vector<StringSet<>> places;
  StringMap<int64_t> operationsAt;
  for (mlir::Operation &op : step.getBody().front()) {
    auto known = dyn_cast<CostOpInterface>(op);
    if (!known || isa<dsv4::ParameterOp, dsv4::StackedParameterOp>(op))
      continue;
    OperationCost one;
    one.name = nameOf(op);
    one.place = placeOf(op.getLoc());
    one.layer = layerOf(one.place);
    one.cost = known.cost(context);
    places.emplace_back();
    op.walk([&](mlir::Operation *part) {
      places.back().insert(placeOf(part->getLoc()));
    });
    for (const auto &place : places.back())
      ++operationsAt[place.getKey()];
    costs.push_back(std::move(one));
  }
  for (auto [one, at] : zip(costs, places))
    for (const auto &place : at)
      one.kernels += double(kernelsAt.lookup(place.getKey())) /
                     double(operationsAt.lookup(place.getKey()));
  return costs;
}

Cost totalCost(mlir::ModuleOp module, const Workload &workload) {
  Cost total;
  for (const OperationCost &one : operationCosts(module, workload, {}))
    total += one.cost;
  return total;
}

Bound Prediction::bound() const {
  if (launch > compute && launch > memory)
    return Bound::Launch;
  return compute > memory ? Bound::Compute : Bound::Memory;
}

Prediction predict(const Cost &cost, double launches, const Device &device,
                   bool published) {
  Prediction p;
  p.compute = cost.weightFlops / (published ? device.fp8 : device.bf16) +
              cost.attentionFlops / device.bf16 +
              cost.indexFlops / (published ? device.fp4 : device.bf16) +
              cost.otherFlops / device.vector;
  p.memory = cost.bytes() / device.bandwidth;
  p.launch = launches * device.launchSeconds;
  return p;
}

} // namespace fathom
