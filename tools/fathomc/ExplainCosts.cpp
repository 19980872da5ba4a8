// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc explain: arithmetic, bytes and predicted time of decode and prefill,
// and where each tensor went.
#include "tools/fathomc/Explain.h"

#include "codegen/Common/StepSchedule.h"

#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>

using namespace llvm;

namespace fathom {

Bound CostGroup::bound() const {
  return static_cast<Bound>(std::max_element(boundSeconds, boundSeconds + 3) -
                            boundSeconds);
}

void CostGroup::add(const OperationCost &one, double steps,
                    const Prediction &time) {
  ++operations;
  kernels += one.kernels * steps;
  cost += one.cost;
  seconds += time.seconds();
  boundSeconds[static_cast<int>(time.bound())] += time.seconds();
}

static CostGroup &groupOf(std::vector<CostGroup> &groups, StringRef name) {
  for (CostGroup &group : groups)
    if (group.name == name)
      return group;
  groups.emplace_back();
  groups.back().name = name.str();
  return groups.back();
}

static PhaseCost phaseOf(StringRef name, const Workload &workload,
                         mlir::ModuleOp fused,
                         const StringMap<int64_t> &kernelsAt,
                         const Explanation &what) {
  PhaseCost phase;
  phase.name = name.str();
  phase.workload = workload;
  phase.operations = operationCosts(fused, workload, kernelsAt);
  phase.total.name = "all";
  auto model = fused->getAttrOfType<dsv4::ModelAttr>(dsv4::kModelAttrName);
  double steps = double(workload.steps);
  for (const OperationCost &one : phase.operations) {
    Prediction time =
        predict(one.cost, one.kernels * steps, what.device, what.published);
    std::string kind = one.layer < 0
                           ? "outside of layers"
                           : kindOfRatio(model.getRatios()[one.layer]);
    groupOf(phase.byName, one.name).add(one, steps, time);
    groupOf(phase.byLayer, kind).add(one, steps, time);
    phase.total.add(one, steps, time);
  }
  llvm::sort(phase.byName, [](const CostGroup &a, const CostGroup &b) {
    return a.seconds != b.seconds ? a.seconds > b.seconds : a.name < b.name;
  });
  return phase;
}

void explainCosts(mlir::ModuleOp fused, const StringMap<int64_t> &kernelsAt,
                  Explanation &out) {
  auto model = fused->getAttrOfType<dsv4::ModelAttr>(dsv4::kModelAttrName);
  out.phases.push_back(phaseOf("decode",
                               Workload::decode(out.context, out.batch), fused,
                               kernelsAt, out));
  out.phases.push_back(phaseOf(
      "prefill",
      Workload::prefill(out.context, out.batch, model.getMaxStepTokens()),
      fused, kernelsAt, out));
}

//===-- Tensors -----------------------------------------------------------===//

/// "layers.3.ffn.experts.17.w1.weight" -> "layers.*.ffn.experts.*.w1.weight"
static std::string patternOf(StringRef name) {
  std::string pattern;
  for (StringRef part : split(name, '.'))
    pattern += (pattern.empty() ? "" : ".") +
               (part.find_first_not_of("0123456789") == StringRef::npos
                    ? "*"
                    : part.str());
  return pattern;
}

static std::string typeOf(const TensorInfo &tensor) {
  std::string text = dtypeName(tensor.dtype).str() + " [";
  raw_string_ostream os(text);
  interleaveComma(tensor.shape, os);
  os << ']';
  return text;
}

bool explainTensors(mlir::ModuleOp planned, Compilation &run,
                    Explanation &out) {
  DiagnosticReport report(run.context);
  format::Manifest manifest = run.manifest;
  if (mlir::failed(scheduleEntries(planned, *run.checkpoint, manifest))) {
    run.code = report.finish("plan");
    return false;
  }
  // The kernels that read each weight.
  std::vector<SetVector<StringRef>> readers(manifest.weights.size());
  for (const format::Entry &entry : manifest.entries)
    for (const format::Specialisation &s : entry.specialisations)
      for (const format::Launch &launch : s.launches)
        for (const format::Arg &arg : launch.args) {
          if (arg.kind == format::Arg::Kind::Weight)
            readers[arg.index].insert(launch.kernel);
          if (arg.kind == format::Arg::Kind::Table)
            for (uint32_t weight : manifest.tables[arg.index].weights)
              readers[weight].insert(launch.kernel);
        }
  StringMap<uint32_t> numbers;
  for (auto [number, weight] : enumerate(manifest.weights))
    numbers[weight.name] = number;

  StringMap<size_t> places[2]; // of patterns: left out, in use
  for (const TensorInfo &tensor : run.checkpoint->tensors()) {
    auto number = numbers.find(tensor.name);
    bool isUsed = number != numbers.end();
    std::string pattern = patternOf(tensor.name);
    std::vector<TensorGroup> &groups = isUsed ? out.tensors : out.leftOut;
    auto [place, isNew] =
        places[isUsed].try_emplace(pattern, groups.size());
    if (isNew)
      groups.push_back({pattern, typeOf(tensor), 0, 0, {}});
    TensorGroup &group = groups[place->second];
    ++group.count;
    group.bytes += tensor.bytes;
    if (isUsed)
      for (StringRef kernel : readers[number->second])
        if (!is_contained(group.kernels, kernel))
          group.kernels.push_back(kernel.str());
  }
  return true;
}

} // namespace fathom
