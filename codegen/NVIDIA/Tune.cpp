// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/Tune.h"

#include "codegen/NVIDIA/TileToCudaTile.h"

#include "llvm/Support/FormatVariadic.h"

#include <atomic>
#include <mutex>
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
  score.wideLoads = hasProducts && target.hasTMA ? r.wideLoads : 0;
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

/// The classes that are wanted and not known yet.
static std::vector<Search> searchesOf(mlir::ModuleOp module,
                                      const CUDAOptions &options,
                                      const TuneOptions &tune) {
  std::vector<Search> all;
  std::set<std::pair<std::string, std::string>> seen;
  for (const std::string &name : options.architectures)
    for (auto kernel : module.getOps<tile::KernelOp>()) {
      if (tune.wants && !tune.wants(kernel.getSymName()))
        continue;
      std::string kind = kernelClass(kernel);
      if (tune.known.find(kind, name) || !seen.insert({name, kind}).second)
        continue;
      Search &one = all.emplace_back();
      one.kernel = kernel;
      one.kind = kind;
      one.target = findTarget(name);
      one.space = configurationSpace(*one.target, readsTables(kernel));
      one.hasProducts = hasProducts(kernel);
    }
  return all;
}

static std::string lineOf(Search &search) {
  const Configuration &c = search.space[search.best];
  const StaticScore &s = search.score;
  std::string faults;
  if (s.refused)
    faults = ": refused in every way";
  else if (!s.clean())
    faults = formatv(": slow products {0}, spills {1} ({2} in the loop), stack "
                     "{3}, operands without TMA {4}{5}",
                     s.slowProducts, s.spills, s.loopSpills, s.stackBytes,
                     s.wideLoads, s.withoutTMA ? ", no TMA" : "");
  return formatv("{0} {1}: warps {2}, CTAs {3}, occupancy {4}{5}",
                 search.target->name, search.kernel.getSymName(), c.workerWarps,
                 c.ctas, c.occupancy, faults);
}

/// Tries the space of one search; translations by one thread at a time, since
/// they may complain.
static Error searchThrough(Search &search, const CUDAOptions &options,
                           bool exhaustive, std::mutex &translating) {
  AssemblyOptions alone = options.assembly;
  alone.parallel = 1;
  alone.progress = {};
  for (size_t way = 0; way < search.space.size(); ++way) {
    Assembly one;
    one.name = search.kernel.getSymName().str();
    one.target = search.target->name;
    {
      std::lock_guard<std::mutex> lock(translating);
      mlir::FailureOr<std::string> bytecode = translateToCudaTile(
          {search.kernel}, *search.target, search.space[way]);
      if (mlir::failed(bytecode))
        return createStringError("the translation to Tile IR failed");
      one.bytecode = std::move(*bytecode);
    }
    if (Error error = assemble(one, options.toolchain, alone))
      return error;
    StaticScore score =
        scoreOf(one, *search.target, search.space[way], search.hasProducts);
    if (way == 0 || score < search.score) {
      search.score = score;
      search.best = way;
    }
    if (search.score.clean() && !exhaustive)
      break;
  }
  return Error::success();
}

Expected<Configurations> tuneStatically(mlir::ModuleOp module,
                                        const CUDAOptions &options,
                                        const TuneOptions &tune) {
  std::vector<Search> searches = searchesOf(module, options, tune);
  Configurations chosen = tune.known;
  std::mutex translating, choosing;
  Error first = Error::success();
  std::atomic<bool> failed{false};
  auto search = [&](size_t i, const std::string &) {
    if (failed)
      return true;
    Search &one = searches[i];
    Error error = searchThrough(one, options, tune.exhaustive, translating);
    std::lock_guard<std::mutex> lock(choosing);
    if (!error && !one.score.refused)
      chosen.set(one.kind, one.kernel.getSymName().str(), one.target->name,
                 one.space[one.best]);
    if (!error && tune.told)
      error = tune.told(chosen, lineOf(one));
    if (error) {
      failed = true;
      first = joinErrors(std::move(first), std::move(error));
    }
    return true;
  };
  Error machine = runJobs(searches.size(), options.assembly.parallel,
                          options.assembly.progress, search);
  if (Error all = joinErrors(std::move(machine), std::move(first)))
    return std::move(all);
  return chosen;
}

} // namespace fathom::nvidia
