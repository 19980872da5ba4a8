// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/Tune.h"

#include "codegen/NVIDIA/TileToCudaTile.h"
#include "frontends/Support/FrontendError.h"

#include "llvm/Support/FormatVariadic.h"

#include <map>
#include <mutex>
#include <optional>

using namespace llvm;

namespace fathom::nvidia {

static Products productsOf(tile::KernelOp kernel) {
  if (!hasProducts(kernel))
    return Products::None;
  // Both kinds may multiply a rectangle by gathered rows, so the name tells.
  StringRef name = kernel.getSymName();
  return name.contains("attention") || name.contains("index_")
             ? Products::OfCachedRows
             : Products::OfWeights;
}

/// The gates of spills: none where weights are multiplied, few elsewhere if
/// they are outside the loops, and no stack but theirs.
static bool spillsLittle(const StaticScore &s, Products products) {
  constexpr uint64_t kSpills = 64, kBytesOfASpill = 16;
  return !s.loopSpills &&
         s.spills <= (products == Products::OfWeights ? 0 : kSpills) &&
         s.stackBytes <= kBytesOfASpill * s.spills;
}

StaticScore scoreOf(const Assembly &result, const Target &target,
                    const Configuration &configuration, Products products) {
  const bool hasProducts = products != Products::None;
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
  score.accepted = !score.slowProducts && !score.withoutTMA &&
                   !score.wideLoads && spillsLittle(score, products);
  // Without a hint there are 4 warps.
  score.work =
      r.instructions *
      uint64_t(configuration.workerWarps ? configuration.workerWarps : 4);
  return score;
}

namespace {
/// One class of kernels on one architecture: all of them must fit the choice.
struct Search {
  std::string kind;
  const Target *target;
  std::vector<tile::KernelOp> kernels;
  std::optional<Configuration> known;
  SmallVector<Configuration, 0> space;
  size_t best = 0;
  StaticScore score; // of the kernel that it fits least

  std::string example() const {
    tile::KernelOp first = kernels.front();
    return first.getSymName().str();
  }
};
} // namespace

/// What comes behind the choice that is known; all if it is not of the space.
static void startAt(const Configuration &known,
                    SmallVector<Configuration, 0> &space) {
  auto at = find(space, known);
  if (at != space.end())
    space.erase(space.begin(), at);
  else
    space.insert(space.begin(), known);
}

/// The classes that are wanted and not known yet, or not known for sure.
static std::vector<Search> searchesOf(mlir::ModuleOp module,
                                      const CUDAOptions &options,
                                      const TuneOptions &tune) {
  std::vector<Search> all;
  std::map<std::pair<std::string, std::string>, size_t> seen;
  for (const std::string &name : options.architectures)
    for (auto kernel : module.getOps<tile::KernelOp>()) {
      if (tune.wants && !tune.wants(kernel.getSymName()))
        continue;
      std::string kind = kernelClass(kernel);
      if (tune.known.find(kind, name) && !tune.verify)
        continue;
      auto [at, isNew] = seen.insert({{name, kind}, all.size()});
      if (isNew) {
        Search &one = all.emplace_back();
        one.kind = kind;
        one.target = findTarget(name);
      }
      all[at->second].kernels.push_back(kernel);
    }
  for (Search &one : all) {
    one.space =
        configurationSpace(*one.target, any_of(one.kernels, readsTables));
    const Configuration *known = tune.known.find(one.kind, one.target->name);
    if (known && all_of(one.kernels, [&](tile::KernelOp kernel) {
          return suits(kernel, *known);
        })) {
      one.known = *known;
      startAt(*known, one.space);
    }
  }
  return all;
}

static std::string lineOf(const Search &search) {
  const Configuration &c = search.space[search.best];
  const StaticScore &s = search.score;
  std::string faults;
  if (s.refused)
    faults = ": refused in every way";
  else if (!s.accepted || s.spills)
    faults = formatv(": slow products {0}, spills {1} ({2} in the loop), stack "
                     "{3}, operands without TMA {4}{5}",
                     s.slowProducts, s.spills, s.loopSpills, s.stackBytes,
                     s.wideLoads, s.withoutTMA ? ", no TMA" : "");
  return formatv("{0} {1}: {2}{3}", search.target->name, search.example(),
                 textOf(c), faults);
}

/// Translations are by one thread at a time, since they may complain.
static Expected<StaticScore> tryOne(tile::KernelOp kernel, const Target &target,
                                    const Configuration &way,
                                    const CUDAOptions &options,
                                    std::mutex &translating) {
  AssemblyOptions alone = options.assembly;
  alone.parallel = 1;
  alone.progress = {};
  Assembly one;
  one.name = kernel.getSymName().str();
  one.target = target.name;
  {
    std::lock_guard<std::mutex> lock(translating);
    mlir::FailureOr<std::string> bytecode =
        translateToCudaTile({kernel}, target, way);
    if (mlir::failed(bytecode))
      return createStringError("the translation to Tile IR failed");
    one.bytecode = std::move(*bytecode);
  }
  if (Error error = assemble(one, options.toolchain, alone))
    return std::move(error);
  return scoreOf(one, target, way, productsOf(kernel));
}

/// Tries the space of one search.
static Error searchThrough(Search &search, const CUDAOptions &options,
                           bool exhaustive, std::mutex &translating) {
  for (size_t way = 0; way < search.space.size(); ++way) {
    std::optional<StaticScore> worst;
    for (tile::KernelOp kernel : search.kernels) {
      Expected<StaticScore> score = tryOne(
          kernel, *search.target, search.space[way], options, translating);
      if (!score)
        return score.takeError();
      if (!worst || *worst < *score)
        worst = *score;
      if (way && !(*worst < search.score))
        break; // it can only get worse
    }
    // A choice that is known stands unless another one is accepted, or it is
    // refused itself.
    bool mayMove = worst->accepted || !search.known || search.score.refused;
    if (way == 0 || (*worst < search.score && mayMove)) {
      search.score = *worst;
      search.best = way;
    }
    if (search.score.accepted && !exhaustive)
      break;
  }
  return Error::success();
}

/// A file without a choice for them would do worse than the one before it.
static Error noWay(ArrayRef<Search> searches) {
  std::vector<std::string> names;
  for (const Search &one : searches)
    if (one.score.refused)
      names.push_back(one.example() + " (class " + one.kind + ") for " +
                      one.target->name);
  if (names.empty())
    return Error::success();
  const size_t count = names.size();
  names.resize(std::min<size_t>(count, 10));
  return makeError(
      FailureKind::Unsupported,
      "unsupported: no way of the space makes code of " +
          countedList(count, names, "kernel") + " and their classes",
      "tune --static",
      "tileiras refuses each, or what it makes cannot be looked at",
      "what was found for others is in the file; fathomc compile "
      "says why one is refused");
}

Expected<Configurations> tuneStatically(mlir::ModuleOp module,
                                        const CUDAOptions &options,
                                        const TuneOptions &tune) {
  std::vector<Search> searches = searchesOf(module, options, tune);
  Configurations chosen = tune.known;
  std::mutex translating, choosing;
  auto search = [&](size_t i, const std::string &) -> Error {
    Search &one = searches[i];
    if (Error error = searchThrough(one, options, tune.exhaustive, translating))
      return error;
    std::lock_guard<std::mutex> lock(choosing);
    bool stands = one.known && one.best == 0;
    if (!one.score.refused && !stands)
      chosen.set(one.kind, one.example(), one.target->name,
                 one.space[one.best]);
    return tune.told ? tune.told(chosen, lineOf(one)) : Error::success();
  };
  if (Error error = runJobs(searches.size(), options.assembly.parallel,
                            options.assembly.progress, search))
    return std::move(error);
  if (Error error = noWay(searches))
    return std::move(error);
  return chosen;
}

} // namespace fathom::nvidia
