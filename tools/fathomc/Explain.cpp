// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathomc/Explain.h"

#include "passes/Fusion.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

using namespace llvm;

namespace fathom {

namespace {

/// Launches of one decoded token, and the bytes that they write to memory.
struct Work {
  int64_t kernels = 0, bytes = 0;
  void operator+=(const Work &other) {
    kernels += other.kernels;
    bytes += other.bytes;
  }
};

/// The work of one token of entry `step`, by layer; -1: outside of layers.
using WorkByLayer = std::map<int64_t, Work>;

} // namespace

/// The layer that an operation belongs to, from the name that the importer gave
/// it as a location: "layers.3.attn.wkv".
static int64_t layerOf(mlir::Location location) {
  int64_t layer = -1;
  location->walk([&](mlir::Location part) {
    auto name = mlir::dyn_cast<mlir::NameLoc>(part);
    if (!name)
      return mlir::WalkResult::advance();
    StringRef text = name.getName().getValue();
    if (text.consume_front("layers.") && !text.consumeInteger(10, layer))
      return mlir::WalkResult::interrupt();
    return mlir::WalkResult::advance();
  });
  return layer;
}

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
  // Which arguments a kernel writes.
  DenseMap<mlir::Operation *, SmallVector<unsigned>> written;
  auto writtenBy = [&](tile::KernelOp kernel) -> ArrayRef<unsigned> {
    auto [it, fresh] = written.try_emplace(kernel);
    if (!fresh)
      return it->second;
    SetVector<unsigned> numbers;
    auto add = [&](mlir::Value buffer) {
      if (auto argument = dyn_cast<mlir::BlockArgument>(buffer))
        numbers.insert(argument.getArgNumber());
    };
    kernel.walk([&](tile::StoreOp op) { add(op.getBuffer()); });
    kernel.walk([&](tile::ScatterOp op) { add(op.getBuffer()); });
    kernel.walk([&](mlir::memref::StoreOp op) { add(op.getMemref()); });
    it->second = SmallVector<unsigned>(numbers.begin(), numbers.end());
    return it->second;
  };
  WorkByLayer work;
  for (auto schedule : tiles.getOps<mlir::func::FuncOp>()) {
    auto entry = schedule->getAttrOfType<mlir::StringAttr>(tile::kEntryAttr);
    if (!entry || entry.getValue() != "step")
      continue;
    schedule.walk([&](tile::LaunchOp launch) {
      Work &here = work[layerOf(launch.getLoc())];
      ++here.kernels;
      auto kernel = tiles.lookupSymbol<tile::KernelOp>(launch.getKernel());
      SetVector<mlir::Value> buffers;
      for (unsigned number : writtenBy(kernel))
        buffers.insert(rootOf(launch.getOperands()[number]));
      for (mlir::Value buffer : buffers)
        here.bytes += bytesOf(buffer);
    });
  }
  return work;
}

/// Lowers a copy of the module, for steps of one token, without the fusions
/// named.
static mlir::FailureOr<WorkByLayer> lowered(mlir::ModuleOp imported,
                                            ArrayRef<std::string> disabled) {
  mlir::OwningOpRef<mlir::ModuleOp> copy = imported.clone();
  mlir::PassManager passes(copy->getContext());
  addFusionPasses(passes, disabled);
  DSV4ToTilePassOptions options;
  options.buckets = {1};
  passes.addPass(createDSV4ToTilePass(options));
  addLaunchPasses(passes, disabled);
  if (mlir::failed(passes.run(*copy)))
    return mlir::failure();
  return workOf(*copy);
}

static Work total(const WorkByLayer &work) {
  Work sum;
  for (const auto &[layer, here] : work)
    sum += here;
  return sum;
}

namespace {
/// Layers of one compression ratio.
struct Row {
  std::string kind;
  int64_t layers = 0;
  Work before, after; // of the layer with the most kernels
};
} // namespace

static std::string kindOf(int64_t ratio) {
  switch (ratio) {
  case 0:
    return "window (ratio 0)";
  case 4:
    return "compressed, sparse (ratio 4)";
  default:
    return formatv("compressed (ratio {0})", ratio).str();
  }
}

static std::vector<Row> rowsOf(ArrayRef<int64_t> ratios,
                               const WorkByLayer &before,
                               const WorkByLayer &after) {
  std::map<int64_t, Row> byRatio;
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
    Row &row = byRatio[ratios[layer]];
    row.kind = kindOf(ratios[layer]);
    ++row.layers;
    most(row.before, work);
    most(row.after, at(after, layer));
  }
  std::vector<Row> rows;
  for (auto &[ratio, row] : byRatio)
    rows.push_back(row);
  rows.push_back({"outside of layers", 1, at(before, -1), at(after, -1)});
  return rows;
}

bool explainModule(mlir::ModuleOp imported, const CompileOptions &options) {
  auto model = imported->getAttrOfType<dsv4::ModelAttr>(dsv4::kModelAttrName);
  auto before = lowered(imported, {"all"});
  auto after = lowered(imported, options.disabledFusions);
  if (mlir::failed(before) || mlir::failed(after))
    return false;
  std::vector<Row> rows = rowsOf(model.getRatios(), *before, *after);
  // Each fusion alone.
  struct Saving {
    StringRef name, summary;
    bool keepsSums;
    Work work;
  };
  std::vector<Saving> savings;
  for (const Fusion &fusion : fusions())
    savings.push_back({fusion.name, fusion.summary, fusion.keepsSums, {}});
  savings.push_back(
      {kMergeLaunches, "independent launches as one", /*keepsSums=*/true, {}});
  for (Saving &saving : savings) {
    std::vector<std::string> others;
    for (const Saving &other : savings)
      if (other.name != saving.name)
        others.push_back(other.name.str());
    auto alone = lowered(imported, others);
    if (mlir::failed(alone))
      return false;
    Work all = total(*before), rest = total(*alone);
    saving.work = {all.kernels - rest.kernels, all.bytes - rest.bytes};
  }

  if (options.fusionTable) {
    outs() << "| fusion | what becomes one | kernels saved | bytes written "
              "saved | order of sums |\n|---|---|---|---|---|\n";
    for (const Saving &saving : savings)
      outs() << formatv("| `{0}` | {1} | {2} | {3} | {4} |\n", saving.name,
                        saving.summary, saving.work.kernels, saving.work.bytes,
                        saving.keepsSums ? "kept" : "changed");
    outs() << formatv(
        "| all | | {0} of {1} | {2} of {3} | |\n",
        total(*before).kernels - total(*after).kernels, total(*before).kernels,
        total(*before).bytes - total(*after).bytes, total(*before).bytes);
    return true;
  }
  if (options.json) {
    json::Array kinds, each;
    for (const Row &row : rows)
      kinds.push_back(json::Object{{"kind", row.kind},
                                   {"layers", row.layers},
                                   {"kernels_unfused", row.before.kernels},
                                   {"kernels", row.after.kernels},
                                   {"bytes_written_unfused", row.before.bytes},
                                   {"bytes_written", row.after.bytes}});
    for (const Saving &saving : savings)
      each.push_back(json::Object{{"fusion", saving.name},
                                  {"summary", saving.summary},
                                  {"keeps_sums", saving.keepsSums},
                                  {"kernels_saved", saving.work.kernels},
                                  {"bytes_written_saved", saving.work.bytes}});
    outs() << formatv(
        "{0:2}\n",
        json::Value(json::Object{
            {"kernels_per_token_unfused", total(*before).kernels},
            {"kernels_per_token", total(*after).kernels},
            {"bytes_written_per_token_unfused", total(*before).bytes},
            {"bytes_written_per_token", total(*after).bytes},
            {"layers", std::move(kinds)},
            {"fusions", std::move(each)}}));
    return true;
  }
  outs() << "Kernels of one decoded token, and the bytes that they write\n\n"
         << "kind of layer                  layers   unfused             "
            "fused\n";
  for (const Row &row : rows)
    outs() << formatv("{0,-30} {1,6}   {2,7} {3,9} B  {4,7} {5,9} B\n",
                      row.kind, row.layers, row.before.kernels,
                      row.before.bytes, row.after.kernels, row.after.bytes);
  outs() << formatv("{0,-30} {1,6}   {2,7} {3,9} B  {4,7} {5,9} B\n",
                    "a token in all", "", total(*before).kernels,
                    total(*before).bytes, total(*after).kernels,
                    total(*after).bytes)
         << "\nWhat each fusion saves by itself, per token\n\n";
  for (const Saving &saving : savings)
    outs() << formatv("{0,-22} {1,6} kernels {2,9} B   {3}\n", saving.name,
                      saving.work.kernels, saving.work.bytes, saving.summary);
  outs().flush();
  return true;
}

} // namespace fathom
