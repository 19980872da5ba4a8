// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc plan: the memory that a session will allocate, before there is one.
#include "tools/fathomc/Commands.h"
#include "tools/fathomc/StepCost.h"

#include "frontends/Support/FrontendError.h"
#include "runtime/format/MemoryPlan.h"
#include "runtime/src/Limits.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>

using namespace llvm;

namespace fathom {

namespace {

struct Fit {
  Device device;
  std::string why; // empty: it fits
  format::Remedy remedy;
};

/// Everything that a plan says.
struct ModelPlan {
  format::SessionSizes sizes;
  format::MemoryPlan memory;
  int threads = 1, devices = 1;
  Cost token; // a decoded token at the full context
  uint64_t expertBytes = 0;
  std::vector<Fit> fits;
  std::optional<Fit> judged; // on --device, or on this machine if it may run

  double flopsPercent(int64_t context) const {
    return 100 * fp8EquivalentFlops(token) / v32Flops(double(context));
  }
  double cachePercent() const {
    return 100 * token.cacheGrowthBytes / kV32CacheBytesPerToken;
  }
};

} // namespace

/// What each of several devices would hold: a part of the routed experts and
/// of the sequences, and everything else. Not built; the plan says so.
static void divide(ModelPlan &plan, int64_t devices) {
  auto share = [&](uint64_t bytes) {
    return (bytes + uint64_t(devices) - 1) / uint64_t(devices);
  };
  plan.devices = int(devices);
  plan.memory.weightBytes -= plan.expertBytes - share(plan.expertBytes);
  plan.sizes.sequences = (plan.sizes.sequences + devices - 1) / devices;
  plan.memory.cacheBytes =
      plan.memory.cacheBytesPerSequence * uint64_t(plan.sizes.sequences);
}

static constexpr StringLiteral kDivisionNote =
    "no partition over devices is built yet: this build's packages run on one "
    "device. The figures per device assume that routed experts and sequences "
    "are divided evenly, that each device holds everything else whole, and "
    "that exchange buffers take nothing";

static Fit fitInto(const Device &device, const ModelPlan &plan,
                   const Compilation &run) {
  Fit fit = {
      device,
      format::whyNot(run.manifest, plan.sizes, plan.memory, device.memory),
      format::remedyFor(run.manifest, plan.sizes, plan.memory, device.memory)};
  // More than a package can be compiled for is no use.
  fit.remedy.sequences = std::min(fit.remedy.sequences, kMostSequences);
  fit.remedy.context = std::min(fit.remedy.context, mostContext(*run.config));
  return fit;
}

/// As the runtime measures it.
static Device thisMachine() {
  Device device = *findDevice("1gb");
  device.name = "this machine";
  device.description = "memory that this process may use, as its control "
                       "groups allow";
  device.memory = rt::availableMemory();
  return device;
}

static json::Object fitJson(const Fit &fit) {
  return json::Object{{"name", fit.device.name},
                      {"description", fit.device.description},
                      {"memory_bytes", int64_t(fit.device.memory)},
                      {"fits", fit.why.empty()},
                      {"why_not", fit.why},
                      {"sequences_that_fit", fit.remedy.sequences},
                      {"context_that_fits", fit.remedy.context}};
}

static void printJson(const Compilation &run, const ModelPlan &plan) {
  const format::MemoryPlan &m = plan.memory;
  json::Array devices;
  for (const Fit &fit : plan.fits)
    devices.push_back(fitJson(fit));
  int64_t context = run.manifest.limits.maxContext;
  json::Object out{
      {"schema_version", 1},
      {"model", run.options.preset.empty() ? run.options.checkpoint
                                           : "preset " + run.options.preset},
      {"notices", json::Array(run.notices)},
      {"target", run.options.target},
      {"numerics", run.options.numerics},
      {"context", context},
      {"sequences", run.manifest.limits.maxSequences},
      {"step_tokens", run.manifest.limits.maxStepTokens},
      {"logit_rows", plan.sizes.logitRows},
      {"threads", plan.threads},
      {"devices", plan.devices},
      {"weight_bytes", int64_t(m.weightBytes)},
      {"cache_bytes_per_token", std::llround(plan.token.cacheGrowthBytes)},
      {"cache_bytes_per_sequence", int64_t(m.cacheBytesPerSequence)},
      {"cache_bytes", int64_t(m.cacheBytes)},
      {"activation_bytes", int64_t(m.logitsBytes + m.streamsBytes)},
      {"workspace_bytes", int64_t(m.workspaceBytes)},
      {"staging_bytes", int64_t(m.stagingBytes)},
      {"scratch_bytes", int64_t(m.scratchBytes)},
      {"session_bytes", int64_t(m.sessionBytes() + m.scratchBytes)},
      {"peak_bytes", int64_t(m.peakBytes())},
      {"fits", plan.judged ? json::Value(plan.judged->why.empty())
                           : json::Value(nullptr)},
      {"fits_on", plan.judged ? json::Value(plan.judged->device.name)
                              : json::Value(nullptr)},
      {"fit", std::move(devices)},
      {"flops_per_token", plan.token.flops()},
      {"flops_percent_of_v3_2", plan.flopsPercent(context)},
      {"cache_percent_of_v3_2", plan.cachePercent()}};
  if (plan.devices > 1)
    out["assumes"] = kDivisionNote.str();
  outs() << formatv("{0:2}\n", json::Value(std::move(out)));
}

static void printText(const Compilation &run, const ModelPlan &plan) {
  const format::MemoryPlan &m = plan.memory;
  const format::Limits &limits = run.manifest.limits;
  auto size = [](uint64_t bytes) { return format::sizeText(bytes); };
  raw_ostream &os = outs();
  os << formatv("{0}: {1} sequences of {2} tokens, {3} tokens a step, numerics "
                "{4}, target {5}\n",
                run.options.preset.empty() ? run.options.checkpoint
                                           : run.options.preset,
                limits.maxSequences, limits.maxContext, limits.maxStepTokens,
                run.options.numerics, run.options.target);
  for (const std::string &notice : run.notices)
    os << "note: " << notice << "\n";
  if (plan.devices > 1)
    os << "note: " << kDivisionNote << "\n";
  auto line = [&](StringRef what, uint64_t bytes, const std::string &detail) {
    os << formatv("  {0,-12} {1,9} {2,18} B   {3}\n", what, size(bytes), bytes,
                  detail);
  };
  os << "\nmemory" << (plan.devices > 1 ? " of one device" : "") << "\n";
  line("weights", m.weightBytes,
       formatv("{0} of them routed experts", size(plan.expertBytes)));
  line("caches", m.cacheBytes,
       formatv("{0} a sequence; a token adds {1:F0} B",
               size(m.cacheBytesPerSequence), plan.token.cacheGrowthBytes));
  line("activations", m.logitsBytes + m.streamsBytes,
       "logits and final streams of a call");
  line("workspace", m.workspaceBytes, "intermediates of a step");
  line("staging", m.stagingBytes, "what a step is handed");
  line("scratch", m.scratchBytes, formatv("of {0} threads", plan.threads));
  line("peak", m.peakBytes(), "");
  os << formatv("\na token at {0} tokens of context: {1:F1} GFLOP, {2:F1} % of "
                "V3.2's (in FP8 equivalents); caches {3:F1} %\n",
                limits.maxContext, plan.token.flops() / 1e9,
                plan.flopsPercent(limits.maxContext), plan.cachePercent());
  os << formatv("\n{0,-14} {1,8}  {2}\n", "device", "memory", "fits");
  for (const Fit &fit : plan.fits) {
    std::string verdict = "yes";
    // Sizes are in the table already.
    StringRef why = StringRef(fit.why).split(" and there are ").second;
    if (!why.empty())
      verdict = "no: " + why.substr(why.find_first_of(":;") + 2).str();
    os << formatv("{0,-14} {1,8}  {2}\n", fit.device.name,
                  size(fit.device.memory), verdict);
  }
  os << "\nOne device each, whether packages of this target run on it or not. "
        "Longer context and more sequences\ncost cache, a larger "
        "--max-step-tokens costs workspace and activations.\n";
}

int planCheckpoint(Compilation &run) {
  std::optional<Device> wanted;
  if (!run.options.device.empty()) {
    wanted = findDevice(run.options.device);
    if (!wanted)
      return run.fail(makeError(
                 FailureKind::Unsupported,
                 "unknown device " + quoted(run.options.device), "--device",
                 "known are " + deviceNames(),
                 "name one of these, or a size of memory such as 96GB")),
             run.code;
  }
  if (!run.import())
    return run.code;
  if (wanted)
    run.noticeOtherDevice(*wanted);
  ModelPlan plan;
  plan.token = totalCost(
      *run.module, Workload::decode(run.manifest.limits.maxContext, 1));
  uint64_t scratch = 0;
  if (!run.fuse() || !run.lower() || !run.measureScratch(scratch))
    return run.code;
  const format::Manifest &manifest = run.manifest;
  plan.threads =
      run.options.threads ? int(run.options.threads) : rt::availableCpus();
  plan.sizes =
      format::defaultSessionSizes(manifest, manifest.limits.maxSequences);
  if (run.options.logitRows)
    plan.sizes.logitRows = run.options.logitRows;
  if (!format::planMemory(manifest, plan.sizes,
                          scratch * uint64_t(plan.threads),
                          format::allocationRules(run.target->name().str()),
                          plan.memory))
    return run.fail(makeError(
               FailureKind::Resources, "the plan does not fit an address space",
               "fathomc plan", "it is more than 2^46 bytes",
               "ask for fewer --sequences or less --context")),
           run.code;
  for (const format::WeightTable &table : manifest.tables)
    for (uint32_t index : table.weights)
      plan.expertBytes += manifest.weights[index].bytes;
  if (run.options.devices > 1)
    divide(plan, run.options.devices);
  // What a device takes says nothing of this machine's own memory.
  if (!plan.memory.rules.holdsWeights)
    plan.fits.push_back(fitInto(thisMachine(), plan, run));
  for (const Device &device : devices())
    plan.fits.push_back(fitInto(device, plan, run));
  if (wanted)
    plan.judged = fitInto(*wanted, plan, run);
  else if (!plan.memory.rules.holdsWeights)
    plan.judged = plan.fits.front();
  if (StringRef more = run.target->unplannedMemory(); !more.empty())
    run.notices.push_back(more.str());
  if (run.options.json)
    printJson(run, plan);
  else
    printText(run, plan);
  outs().flush();
  if (wanted && !plan.judged->why.empty())
    return run.fail(
               makeError(FailureKind::Resources,
                         "the model does not fit " + quoted(run.options.device),
                         "fathomc plan", plan.judged->why,
                         "take a larger device, or ask for less as it says")),
           run.code;
  return 0;
}

} // namespace fathom
