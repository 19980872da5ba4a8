// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/Tune.h"

#include "codegen/NVIDIA/TileToCudaTile.h"

#include "llvm/Support/FormatVariadic.h"

#include <set>

using namespace llvm;

namespace fathom::nvidia {

StaticScore scoreOf(const Assembly &result, const Target &target,
                    const Configuration &configuration, bool hasProducts) {
  StaticScore score;
  if (result.cubin.empty() || !result.report)
    return score;
  const format::KernelReport &r = *result.report;
  score.refused = false;
  uint64_t good = 0;
  for (const auto &[name, count] : r.tensorInstructions) {
    bool best = false;
    for (const char *wanted : target.tensorInstructions)
      best |= wanted && name == wanted;
    (best ? good : score.slowProducts) += count;
  }
  for (const Remark &remark : result.remarks)
    score.slowProducts += remark.name == "RemarkTensorCoreMMA" &&
                          StringRef(remark.arg("Instruction")).contains("FMA");
  if (hasProducts && !good)
    ++score.slowProducts;
  score.withoutTMA = hasProducts && target.hasTMA && !r.tmaInstructions;
  score.loopSpills = r.loopSpillStores;
  score.spills = r.spillStores;
  score.stackBytes = r.stackBytes;
  // Without a hint there are 4 warps.
  score.work =
      r.instructions *
      uint64_t(configuration.workerWarps ? configuration.workerWarps : 4);
  return score;
}

namespace {
/// One class of kernels on one architecture.
struct Search {
  tile::KernelOp kernel;
  std::string kind;
  const Target *target;
  SmallVector<Configuration, 0> space;
  bool hasProducts = false;
  size_t best = 0;
  StaticScore score;
};
} // namespace

static std::vector<Search> searchesOf(mlir::ModuleOp module,
                                      const CUDAOptions &options) {
  std::vector<Search> all;
  std::set<std::pair<std::string, std::string>> seen;
  for (const std::string &name : options.architectures)
    for (auto kernel : module.getOps<tile::KernelOp>()) {
      std::string kind = kernelClass(kernel);
      if (!seen.insert({name, kind}).second)
        continue;
      Search &one = all.emplace_back();
      one.kernel = kernel;
      one.kind = kind;
      one.target = findTarget(name);
      one.space = configurationSpace(*one.target);
      one.hasProducts = hasProducts(kernel);
    }
  return all;
}

static std::string lineOf(Search &search) {
  const Configuration &c = search.space[search.best];
  const StaticScore &s = search.score;
  return formatv("{0} {1}: warps {2}, CTAs {3}, occupancy {4}{5}",
                 search.target->name, search.kernel.getSymName(), c.workerWarps,
                 c.ctas, c.occupancy,
                 s.refused ? ": refused in every way"
                 : s.clean()
                     ? ""
                     : formatv(": slow products {0}, spills {1} ({2} in "
                               "the loop), stack {3}{4}",
                               s.slowProducts, s.spills, s.loopSpills,
                               s.stackBytes, s.withoutTMA ? ", no TMA" : "")
                           .str())
      .str();
}

Expected<Configurations> tuneStatically(mlir::ModuleOp module,
                                        const CUDAOptions &options,
                                        const TuneOptions &tune) {
  std::vector<Search> searches = searchesOf(module, options);
  std::vector<Search *> open;
  for (Search &search : searches)
    open.push_back(&search);
  // A round tries the next way of every search that is still open.
  for (size_t way = 0; !open.empty(); ++way) {
    std::vector<Assembly> batch;
    for (Search *search : open) {
      mlir::FailureOr<std::string> bytecode = translateToCudaTile(
          {search->kernel}, *search->target, search->space[way]);
      if (mlir::failed(bytecode))
        return createStringError("the translation to Tile IR failed");
      Assembly &one = batch.emplace_back();
      one.name = search->kernel.getSymName().str();
      one.target = search->target->name;
      one.bytecode = std::move(*bytecode);
    }
    if (Error error = assemble(batch, options.toolchain, options.assembly))
      return std::move(error);
    std::vector<Search *> next;
    for (auto [search, result] : zip(open, batch)) {
      StaticScore score = scoreOf(result, *search->target, search->space[way],
                                  search->hasProducts);
      if (way == 0 || score < search->score) {
        search->score = score;
        search->best = way;
      }
      if (way + 1 < search->space.size() &&
          (tune.exhaustive || !search->score.clean()))
        next.push_back(search);
    }
    open = std::move(next);
  }
  Configurations chosen;
  for (Search &search : searches) {
    if (!search.score.refused)
      chosen.set(search.kind, search.kernel.getSymName().str(),
                 search.target->name, search.space[search.best]);
    if (tune.told)
      tune.told(lineOf(search));
  }
  return chosen;
}

} // namespace fathom::nvidia
