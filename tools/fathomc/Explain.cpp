// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc explain: what a model becomes, and what that costs.
#include "tools/fathomc/Explain.h"

#include "tools/fathomc/Commands.h"

#include "dialects/Tile/IR/TileRules.h"
#include "frontends/Support/FrontendError.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

using namespace llvm;

namespace fathom {

/// The work of one token of entry `step`, by layer; -1: outside of layers.
using WorkByLayer = std::map<int64_t, Work>;

/// The buffer that a view is of.
static mlir::Value rootOf(mlir::Value buffer) {
  while (mlir::Operation *op = buffer.getDefiningOp()) {
    if (!isa<mlir::memref::CollapseShapeOp, mlir::memref::ExpandShapeOp>(op))
      break;
    buffer = op->getOperand(0);
  }
  return buffer;
}

/// Bytes of a buffer that a step of one token writes: a row of a cache, all of
/// a buffer of the step.
static int64_t bytesOf(mlir::Value buffer) {
  auto type = cast<mlir::MemRefType>(buffer.getType());
  int64_t elements = 1;
  for (int64_t i = 0; i < type.getRank(); ++i)
    if (!type.isDynamicDim(i))
      elements *= type.getDimSize(i);
  if (auto alloc = buffer.getDefiningOp<mlir::memref::AllocOp>())
    for (mlir::Value size : alloc.getDynamicSizes())
      if (auto times = size.getDefiningOp<mlir::arith::MulIOp>())
        for (mlir::Value factor : times->getOperands())
          if (auto constant =
                  factor.getDefiningOp<mlir::arith::ConstantIndexOp>())
            elements *= constant.value();
  return elements * int64_t(type.getElementTypeBitWidth()) / 8;
}

static WorkByLayer workOf(mlir::ModuleOp tiles) {
  WorkByLayer work;
  for (auto schedule : tiles.getOps<mlir::func::FuncOp>()) {
    auto entry = schedule->getAttrOfType<mlir::StringAttr>(tile::kEntryAttr);
    if (!entry || entry.getValue() != "step")
      continue;
    schedule.walk([&](tile::LaunchOp launch) {
      Work &here = work[layerOf(placeOf(launch.getLoc()))];
      ++here.kernels;
      auto kernel = tiles.lookupSymbol<tile::KernelOp>(launch.getKernel());
      SetVector<mlir::Value> buffers;
      const tile::ArgumentUse use = tile::argumentUse(kernel);
      for (auto [i, writer] : enumerate(use.writer))
        if (writer)
          buffers.insert(rootOf(launch.getOperands()[i]));
      for (mlir::Value buffer : buffers)
        here.bytes += bytesOf(buffer);
    });
  }
  return work;
}

/// A copy of the module, lowered for steps of one token without the fusions
/// named. `fused`: takes a copy of what fusion makes of it.
static mlir::OwningOpRef<mlir::ModuleOp>
lowered(Compilation &run, ArrayRef<std::string> disabled,
        mlir::OwningOpRef<mlir::ModuleOp> *fused = nullptr) {
  mlir::OwningOpRef<mlir::ModuleOp> copy = run.module->clone();
  mlir::PassManager fusing(copy->getContext()), passes(copy->getContext());
  addFusionPasses(fusing, disabled);
  DSV4ToTilePassOptions options;
  options.buckets = {1};
  options.target = run.target->tileShapes(run.targetOptions).str();
  passes.addPass(createDSV4ToTilePass(options));
  std::vector<std::string> left(disabled.begin(), disabled.end());
  if (!run.target->mergesLaunches())
    left.push_back(kMergeLaunches.str());
  addLaunchPasses(passes, run.target->callsKernels(), left);
  passes.addPass(createPlanMemoryPass());
  if (mlir::failed(fusing.run(*copy)))
    return {};
  if (fused)
    *fused = copy->clone();
  if (mlir::failed(passes.run(*copy)))
    return {};
  return copy;
}

/// Launches of a decoded token by the operation that they are for.
static StringMap<int64_t> kernelsByPlace(mlir::ModuleOp tiles) {
  StringMap<int64_t> kernels;
  for (auto schedule : tiles.getOps<mlir::func::FuncOp>()) {
    auto entry = schedule->getAttrOfType<mlir::StringAttr>(tile::kEntryAttr);
    if (entry && entry.getValue() == "step")
      schedule.walk(
          [&](tile::LaunchOp launch) { ++kernels[placeOf(launch.getLoc())]; });
  }
  return kernels;
}

static Work total(const WorkByLayer &work) {
  Work sum;
  for (const auto &[layer, here] : work)
    sum += here;
  return sum;
}

std::string kindOfRatio(int64_t ratio) {
  switch (ratio) {
  case 0:
    return "window (ratio 0)";
  case 4:
    return "compressed, sparse (ratio 4)";
  default:
    return formatv("compressed (ratio {0})", ratio).str();
  }
}

static std::vector<KindRow> rowsOf(ArrayRef<int64_t> ratios,
                                   const WorkByLayer &before,
                                   const WorkByLayer &after) {
  std::map<int64_t, KindRow> byRatio;
  auto at = [](const WorkByLayer &work, int64_t layer) {
    auto it = work.find(layer);
    return it == work.end() ? Work() : it->second;
  };
  auto most = [](Work &best, const Work &here) {
    if (here.kernels > best.kernels)
      best = here;
  };
  for (const auto &[layer, work] : before) {
    if (layer < 0 || layer >= int64_t(ratios.size()))
      continue;
    KindRow &row = byRatio[ratios[layer]];
    row.kind = kindOfRatio(ratios[layer]);
    ++row.layers;
    most(row.before, work);
    most(row.after, at(after, layer));
  }
  std::vector<KindRow> rows;
  for (auto &[ratio, row] : byRatio)
    rows.push_back(row);
  rows.push_back({"outside of layers", 1, at(before, -1), at(after, -1)});
  return rows;
}

/// Kernels before and after fusion, and each fusion alone.
static bool explainKernels(Compilation &run, mlir::ModuleOp tiles,
                           const WorkByLayer &before, Explanation &out) {
  auto model = run.module->getOperation()->getAttrOfType<dsv4::ModelAttr>(
      dsv4::kModelAttrName);
  WorkByLayer after = workOf(tiles);
  out.before = total(before);
  out.after = total(after);
  out.kinds = rowsOf(model.getRatios(), before, after);
  for (const Fusion &fusion : fusions())
    out.fusions.push_back(
        {fusion.name.str(), fusion.summary.str(), fusion.keepsSums, {}});
  out.fusions.push_back({kMergeLaunches.str(),
                         "independent launches as one",
                         /*keepsSums=*/true,
                         {}});
  for (FusionSaving &fusion : out.fusions) {
    std::vector<std::string> others;
    for (const FusionSaving &other : out.fusions)
      if (other.name != fusion.name)
        others.push_back(other.name);
    mlir::OwningOpRef<mlir::ModuleOp> alone = lowered(run, others);
    if (!alone)
      return false;
    Work rest = total(workOf(*alone));
    fusion.saved = {out.before.kernels - rest.kernels,
                    out.before.bytes - rest.bytes};
  }
  return true;
}

static bool writePage(Compilation &run, const Explanation &what) {
  std::error_code error;
  raw_fd_ostream os(run.options.htmlPath, error);
  if (!error) {
    os << explanationPage(what);
    os.flush();
    error = os.error();
    os.clear_error();
  }
  if (!error)
    return true;
  return run.fail(makeError(FailureKind::Resources, "cannot write the page",
                            quoted(run.options.htmlPath), error.message(),
                            "choose another place with --html"));
}

static bool chooseDevice(Compilation &run, Explanation &what) {
  const std::string &name = run.options.device;
  std::optional<Device> device =
      name.empty() ? deviceFor(run.target->name(), run.targetOptions.levels)
                   : findDevice(name);
  if (!device)
    return run.fail(
        makeError(FailureKind::Unsupported, "unknown device " + quoted(name),
                  "--device", "known are " + deviceNames(),
                  "name one of these, or a size of memory such as 96GB"));
  what.device = *device;
  if (what.device.target.empty())
    what.device.target = "cpu"; // times are those of a processor
  return true;
}

int explainCheckpoint(Compilation &run) {
  Explanation what;
  if (!chooseDevice(run, what) || !run.import())
    return run.code;
  run.noticeOtherDevice(what.device);
  const CompileOptions &options = run.options;
  what.model =
      options.preset.empty() ? options.checkpoint : "preset " + options.preset;
  what.numerics = options.numerics;
  what.target = run.target->name().str();
  what.notices = run.notices;
  what.published = options.numerics == "published";
  what.context = run.manifest.limits.maxContext;
  what.batch = options.maxSequences.value_or(1);

  mlir::OwningOpRef<mlir::ModuleOp> fused;
  mlir::OwningOpRef<mlir::ModuleOp> plain = lowered(run, {"all"});
  if (!plain)
    return 1;
  WorkByLayer before = workOf(*plain);
  plain = {};
  mlir::OwningOpRef<mlir::ModuleOp> tiles =
      lowered(run, options.disabledFusions, &fused);
  if (!tiles || !explainKernels(run, *tiles, before, what))
    return 1;
  if (options.fusionTable) {
    printFusionTable(what, outs());
    return 0;
  }
  explainCosts(*fused, kernelsByPlace(*tiles), what);
  if (!explainTensors(*tiles, run, what))
    return run.code;
  if (!options.htmlPath.empty() && !writePage(run, what))
    return run.code;
  if (options.json)
    printExplanationJson(what, outs());
  else
    printExplanation(what, outs());
  return 0;
}

} // namespace fathom
