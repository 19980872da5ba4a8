// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/CUDABackend.h"

#include "codegen/NVIDIA/TileToCudaTile.h"
#include "frontends/Support/FrontendError.h"
#include "runtime/format/Blake3.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/Support/raw_ostream.h"

#include <numeric>

using namespace llvm;

namespace fathom::nvidia {

//===-- Choices ----------------------------------------------------------===//

std::string kernelClass(mlir::Operation *kernel) {
  std::string text;
  raw_string_ostream os(text);
  auto tiles = [&](auto types) {
    bool any = false;
    for (mlir::Type type : types)
      if (mlir::isa<mlir::RankedTensorType>(type)) {
        os << ' ' << type;
        any = true;
      }
    return any;
  };
  kernel->walk<mlir::WalkOrder::PreOrder>([&](mlir::Operation *op) {
    size_t before = text.size();
    os << op->getName() << ':';
    bool any = tiles(op->getOperandTypes());
    os << " ->";
    any |= tiles(op->getResultTypes());
    os << '\n';
    // Arithmetic on places and sizes tells nothing.
    if (!any && !mlir::isa<mlir::scf::ForOp, mlir::scf::IfOp>(op))
      text.resize(before);
  });
  return format::blake3Hex(text.data(), text.size()).substr(0, 16);
}

bool hasProducts(mlir::Operation *kernel) {
  return kernel
      ->walk([](mlir::Operation *op) {
        return mlir::isa<tile::DotOp, tile::DotScaledOp>(op)
                   ? mlir::WalkResult::interrupt()
                   : mlir::WalkResult::advance();
      })
      .wasInterrupted();
}

bool readsTables(mlir::Operation *kernel) {
  return kernel
      ->walk([](tile::SelectBufferOp) { return mlir::WalkResult::interrupt(); })
      .wasInterrupted();
}

bool suits(mlir::Operation *kernel, const Configuration &c) {
  return c.ctas <= 1 || !readsTables(kernel); // see configurationSpace
}

static mlir::DictionaryAttr toAttribute(mlir::Builder &builder,
                                        const Configuration &c) {
  auto number = [&](const char *name, int value) {
    return builder.getNamedAttr(name, builder.getI64IntegerAttr(value));
  };
  return builder.getDictionaryAttr({number("workerWarps", c.workerWarps),
                                    number("ctas", c.ctas),
                                    number("occupancy", c.occupancy)});
}

/// Nothing where the attribute says nothing, or what does not suit.
static std::optional<Configuration> chosen(mlir::Operation *kernel,
                                           StringRef architecture) {
  auto all = kernel->getAttrOfType<mlir::DictionaryAttr>(kConfigurationsAttr);
  auto one = all ? all.getAs<mlir::DictionaryAttr>(architecture) : nullptr;
  if (!one)
    return std::nullopt;
  auto number = [&](const char *name) {
    auto value = one.getAs<mlir::IntegerAttr>(name);
    return value ? int(value.getInt()) : 0;
  };
  const Configuration choice{number("workerWarps"), number("ctas"),
                             number("occupancy")};
  if (!suits(kernel, choice))
    return std::nullopt;
  return choice;
}

void chooseConfigurations(mlir::ModuleOp module,
                          ArrayRef<std::string> architectures,
                          const Configurations &known) {
  mlir::Builder builder(module.getContext());
  for (auto kernel : module.getOps<tile::KernelOp>()) {
    const std::string kind = kernelClass(kernel);
    mlir::NamedAttrList choices(
        kernel->getAttrOfType<mlir::DictionaryAttr>(kConfigurationsAttr));
    for (const std::string &name : architectures) {
      if (choices.get(name))
        continue;
      const Configuration *choice = known.find(kind, name);
      choices.set(
          name, toAttribute(builder,
                            choice && suits(kernel, *choice)
                                ? *choice
                                : configurationSpace(*findTarget(name),
                                                     readsTables(kernel))[0]));
    }
    kernel->setAttr(kConfigurationsAttr,
                    choices.getDictionary(module.getContext()));
  }
}

size_t choicesTaken(mlir::ModuleOp module, ArrayRef<std::string> architectures,
                    const Configurations &given) {
  DenseSet<const Configuration *> taken;
  for (auto kernel : module.getOps<tile::KernelOp>()) {
    const std::string kind = kernelClass(kernel);
    for (const std::string &name : architectures)
      if (const Configuration *choice = given.find(kind, name);
          choice && suits(kernel, *choice))
        taken.insert(choice);
  }
  return taken.size();
}

//===-- Code -------------------------------------------------------------===//

namespace {
/// One kernel for one architecture.
struct Job {
  tile::KernelOp kernel;
  const Target *target;
  /// In the order in which they are tried.
  SmallVector<Configuration, 0> ways;
  size_t way = 0;
  Assembly assembly;
  std::string refusal; // of the first way
};
} // namespace

static std::vector<Job> jobsOf(mlir::ModuleOp module,
                               const CUDAOptions &options) {
  std::vector<Job> jobs;
  for (const std::string &name : options.architectures)
    for (auto kernel : module.getOps<tile::KernelOp>()) {
      Job &job = jobs.emplace_back();
      job.kernel = kernel;
      job.target = findTarget(name);
      job.ways = configurationSpace(*job.target, readsTables(kernel));
      if (std::optional<Configuration> choice = chosen(kernel, name)) {
        erase_if(job.ways,
                 [&](const Configuration &c) { return c == *choice; });
        job.ways.insert(job.ways.begin(), *choice);
      }
    }
  return jobs;
}

static Error refused(MutableArrayRef<Job> jobs) {
  std::vector<std::string> names;
  uint64_t count = 0;
  Job *first = nullptr;
  for (Job &job : jobs) {
    if (!job.assembly.cubin.empty())
      continue;
    first = first ? first : &job;
    if (++count <= 10)
      names.push_back(
          (job.kernel.getSymName() + " for " + job.target->name).str());
  }
  return makeError(FailureKind::Unsupported,
                   "unsupported: tileiras refuses " +
                       countedList(count, names, "kernel"),
                   "codegen", first->assembly.refusal,
                   "leave the architecture out of --target, or report it with "
                   "the output of --dump-ir DIR");
}

Expected<std::vector<CompiledKernel>>
compileKernels(mlir::ModuleOp module, const CUDAOptions &options) {
  std::vector<Job> jobs = jobsOf(module, options);
  // Those that are still to do; a kernel that is refused comes back.
  std::vector<size_t> open(jobs.size());
  std::iota(open.begin(), open.end(), 0);
  while (!open.empty()) {
    std::vector<Assembly> batch;
    for (size_t i : open) {
      Job &job = jobs[i];
      mlir::FailureOr<std::string> bytecode =
          translateToCudaTile({job.kernel}, *job.target, job.ways[job.way]);
      if (mlir::failed(bytecode))
        return createStringError("the translation to Tile IR failed");
      Assembly &one = batch.emplace_back();
      one.name = job.kernel.getSymName().str();
      one.target = job.target->name;
      one.bytecode = std::move(*bytecode);
    }
    // The long ones first, so that none is left over at the end.
    std::vector<size_t> order(batch.size());
    std::iota(order.begin(), order.end(), 0);
    llvm::sort(order, [&](size_t a, size_t b) {
      size_t one = batch[a].bytecode.size(), other = batch[b].bytecode.size();
      return one != other ? one > other : a < b;
    });
    std::vector<Assembly> sorted;
    for (size_t i : order)
      sorted.push_back(std::move(batch[i]));
    if (Error error = assemble(sorted, options.toolchain, options.assembly))
      return std::move(error);
    std::vector<size_t> again;
    for (auto [i, result] : zip(order, sorted)) {
      Job &job = jobs[open[i]];
      job.assembly = std::move(result);
      if (!job.assembly.cubin.empty())
        continue;
      if (job.way == 0)
        job.refusal = textOf(job.ways[0]) + ": " + job.assembly.refusal;
      if (++job.way < job.ways.size())
        again.push_back(open[i]);
    }
    llvm::sort(again);
    open = std::move(again);
  }
  if (any_of(jobs, [](const Job &job) { return job.assembly.cubin.empty(); }))
    return refused(jobs);
  std::vector<CompiledKernel> compiled;
  for (Job &job : jobs) {
    CompiledKernel &one = compiled.emplace_back();
    one.kernel = job.kernel.getSymName().str();
    one.architecture = job.target->name;
    one.cubin = std::move(job.assembly.cubin);
    one.configuration = job.ways[job.way];
    one.refusal = std::move(job.refusal);
    one.report = job.assembly.report;
    if (one.report)
      one.report->notices = notices(job.assembly.remarks, job.target->number);
  }
  return compiled;
}

} // namespace fathom::nvidia
