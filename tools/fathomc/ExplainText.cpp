// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc explain as text and as JSON.
#include "tools/fathomc/Explain.h"

#include "frontends/Support/FrontendError.h"
#include "runtime/format/MemoryPlan.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace fathom {

static std::string inUnits(double bytes) {
  return format::sizeText(static_cast<uint64_t>(bytes));
}

static void printKernels(const Explanation &what, raw_ostream &os) {
  os << "Kernels of one decoded token, and the bytes that they write\n\n"
     << "kind of layer                  layers   unfused             fused\n";
  auto row = [&](StringRef kind, const std::string &layers, const Work &before,
                 const Work &after) {
    os << formatv("{0,-30} {1,6}   {2,7} {3,9} B  {4,7} {5,9} B\n", kind,
                  layers, before.kernels, before.bytes, after.kernels,
                  after.bytes);
  };
  for (const KindRow &kind : what.kinds)
    row(kind.kind, std::to_string(kind.layers), kind.before, kind.after);
  row("a token in all", "", what.before, what.after);
  os << "\nWhat each fusion saves by itself, per token\n\n";
  for (const FusionSaving &fusion : what.fusions)
    os << formatv("{0,-22} {1,6} kernels {2,9} B   {3}\n", fusion.name,
                  fusion.saved.kernels, fusion.saved.bytes, fusion.summary);
}

void printFusionTable(const Explanation &what, raw_ostream &os) {
  os << "| fusion | what becomes one | kernels saved | bytes written saved | "
        "order of sums |\n|---|---|---|---|---|\n";
  for (const FusionSaving &fusion : what.fusions)
    os << formatv("| `{0}` | {1} | {2} | {3} | {4} |\n", fusion.name,
                  fusion.summary, fusion.saved.kernels, fusion.saved.bytes,
                  fusion.keepsSums ? "kept" : "changed");
  os << formatv("| all | | {0} of {1} | {2} of {3} | |\n",
                what.before.kernels - what.after.kernels, what.before.kernels,
                what.before.bytes - what.after.bytes, what.before.bytes);
}

static void printPhase(const PhaseCost &phase, raw_ostream &os) {
  const Workload &w = phase.workload;
  double tokens = double(w.count) * double(w.sequences);
  os << formatv("\n{0}: {1} sequences, {2} tokens each at positions {3} to "
                "{4}, in {5} steps\n\n",
                phase.name, w.sequences, w.count, w.first,
                w.first + w.count - 1, w.steps)
     << formatv("{0,-28} {1,6} {2,8} {3,12} {4,10} {5,12} {6,7}  {7}\n",
                "operation", "number", "kernels", "GFLOP", "bytes", "ms",
                "share", "bound");
  auto row = [&](const CostGroup &group) {
    os << formatv(
        "{0,-28} {1,6} {2,8:F0} {3,12:F3} {4,10} {5,12:F4} {6,6:F1}%  {7}\n",
        group.name, group.operations, group.kernels, group.cost.flops() / 1e9,
        inUnits(group.cost.bytes()), group.seconds * 1e3,
        100 * group.seconds / phase.total.seconds, boundName(group.bound()));
  };
  for (const CostGroup &group : phase.byName)
    row(group);
  row(phase.total);
  os << formatv("{0:F1} tokens a second; {1} of weights, {2} of caches read, "
                "{3} of activations\n",
                tokens / phase.total.seconds,
                inUnits(phase.total.cost.weightBytes),
                inUnits(phase.total.cost.cacheReadBytes),
                inUnits(phase.total.cost.activationBytes));
}

static std::string joined(ArrayRef<std::string> names, size_t most) {
  std::string text;
  for (const std::string &name : names.take_front(most))
    text += (text.empty() ? "" : ", ") + name;
  if (names.size() > most)
    text += formatv(" and {0} more", names.size() - most).str();
  return text;
}

static void printTensors(const Explanation &what, raw_ostream &os) {
  os << "\nWhere each tensor went: kernels of a decoded token or of MTP that "
        "read it\n\n";
  for (const TensorGroup &group : what.tensors)
    os << formatv("{0,-46} {1,6} x {2,-26} {3,9}  {4}\n",
                  escaped(group.pattern), group.count, group.type,
                  inUnits(group.bytes), joined(group.kernels, 1));
  if (what.leftOut.empty())
    return;
  os << "\nLeft out\n\n";
  for (const TensorGroup &group : what.leftOut)
    os << formatv("{0,-46} {1,6} x {2,-26} {3,9}\n", escaped(group.pattern),
                  group.count, group.type, inUnits(group.bytes));
}

void printExplanation(const Explanation &what, raw_ostream &os) {
  for (const std::string &notice : what.notices)
    os << "note: " << notice << "\n";
  printKernels(what, os);
  os << formatv("\nPredicted for {0} ({1}), context {2}, numerics {3}: an "
                "operation takes as long as its arithmetic,\nits bytes or its "
                "launches take at the device's published rates, whichever is "
                "longest\n",
                what.device.name, what.device.description, what.context,
                what.numerics);
  for (const PhaseCost &phase : what.phases)
    printPhase(phase, os);
  printTensors(what, os);
}

static json::Object costJson(const Cost &cost) {
  return json::Object{{"flops", cost.flops()},
                      {"weight_flops", cost.weightFlops},
                      {"attention_flops", cost.attentionFlops},
                      {"index_flops", cost.indexFlops},
                      {"other_flops", cost.otherFlops},
                      {"bytes", cost.bytes()},
                      {"weight_bytes", cost.weightBytes},
                      {"cache_read_bytes", cost.cacheReadBytes},
                      {"cache_written_bytes", cost.cacheWrittenBytes},
                      {"activation_bytes", cost.activationBytes}};
}

static json::Object groupJson(const CostGroup &group) {
  json::Object out = costJson(group.cost);
  out["name"] = group.name;
  out["operations"] = group.operations;
  out["kernels"] = group.kernels;
  out["seconds"] = group.seconds;
  out["bound"] = boundName(group.bound());
  return out;
}

static json::Object phaseJson(const PhaseCost &phase, const Explanation &what) {
  json::Array operations, groups, kinds;
  for (const OperationCost &one : phase.operations) {
    double kernels = one.kernels * double(phase.workload.steps);
    Prediction time = predict(one.cost, kernels, what.device, what.published);
    json::Object out = costJson(one.cost);
    out["operation"] = one.name;
    out["place"] = one.place;
    out["kernels"] = kernels;
    out["seconds"] = time.seconds();
    out["bound"] = boundName(time.bound());
    operations.push_back(std::move(out));
  }
  for (const CostGroup &group : phase.byName)
    groups.push_back(groupJson(group));
  for (const CostGroup &group : phase.byLayer)
    kinds.push_back(groupJson(group));
  return json::Object{{"sequences", phase.workload.sequences},
                      {"first_position", phase.workload.first},
                      {"tokens_per_sequence", phase.workload.count},
                      {"steps", phase.workload.steps},
                      {"total", groupJson(phase.total)},
                      {"by_operation", std::move(groups)},
                      {"by_kind_of_layer", std::move(kinds)},
                      {"operations", std::move(operations)}};
}

static json::Array tensorsJson(ArrayRef<TensorGroup> groups) {
  json::Array out;
  for (const TensorGroup &group : groups)
    out.push_back(json::Object{{"tensors", group.pattern},
                               {"count", group.count},
                               {"type", group.type},
                               {"bytes", int64_t(group.bytes)},
                               {"kernels", json::Array(group.kernels)}});
  return out;
}

void printExplanationJson(const Explanation &what, raw_ostream &os) {
  json::Array kinds, fusions;
  for (const KindRow &row : what.kinds)
    kinds.push_back(json::Object{{"kind", row.kind},
                                 {"layers", row.layers},
                                 {"kernels_unfused", row.before.kernels},
                                 {"kernels", row.after.kernels},
                                 {"bytes_written_unfused", row.before.bytes},
                                 {"bytes_written", row.after.bytes}});
  for (const FusionSaving &fusion : what.fusions)
    fusions.push_back(json::Object{{"fusion", fusion.name},
                                   {"summary", fusion.summary},
                                   {"keeps_sums", fusion.keepsSums},
                                   {"kernels_saved", fusion.saved.kernels},
                                   {"bytes_written_saved", fusion.saved.bytes}});
  json::Object costs;
  for (const PhaseCost &phase : what.phases)
    costs[phase.name] = phaseJson(phase, what);
  os << formatv(
      "{0:2}\n",
      json::Value(json::Object{
          {"schema_version", 1},
          {"model", what.model},
          {"notices", json::Array(what.notices)},
          {"numerics", what.numerics},
          {"target", what.target},
          {"context", what.context},
          {"batch", what.batch},
          {"device", what.device.name},
          {"kernels_per_token_unfused", what.before.kernels},
          {"kernels_per_token", what.after.kernels},
          {"bytes_written_per_token_unfused", what.before.bytes},
          {"bytes_written_per_token", what.after.bytes},
          {"layers", std::move(kinds)},
          {"fusions", std::move(fusions)},
          {"costs", std::move(costs)},
          {"tensors", tensorsJson(what.tensors)},
          {"tensors_left_out", tensorsJson(what.leftOut)}}));
}

} // namespace fathom
