// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Independent launches of a step schedule become one launch of a kernel whose
// programs are those of all, one kernel's after the other's: it calls them, or
// has a copy of each.
#include "passes/LaunchGraph.h"

#include "dialects/Tile/IR/Grid.h"
#include "passes/PassCounts.h"
#include "passes/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

namespace fathom {
#define GEN_PASS_DEF_MERGELAUNCHESPASS
#include "passes/Passes.h.inc"
} // namespace fathom

using namespace mlir;
using namespace fathom;

namespace {

/// Operations of one merged kernel, and what the merged kernels of a module may
/// add to what the kernels have without them: beyond, copies cost more than the
/// launches that they save.
constexpr int64_t kMostOperations = 8000;
constexpr int64_t kMostGrowth = 4;

/// One launch of a group. At most one axis of its grid depends on a count.
struct Part {
  tile::LaunchOp launch;
  tile::KernelOp kernel;
  tile::GridTerm axes[3];
  int64_t operations = 0;
  double bytesPerProgram = 0;

  tile::GridTerm programs() const {
    tile::GridTerm all;
    for (const tile::GridTerm &axis : axes) {
      all.multiply *= axis.multiply;
      if (axis.dim >= 0) {
        all.dim = axis.dim;
        all.divide = axis.divide;
      }
    }
    return all;
  }
};

/// Writes the kernel of a group.
class MergedKernel {
public:
  MergedKernel(ArrayRef<Part> parts, ValueRange counts, bool calls);

  SmallVector<Value> operands; // of the launch, in the order of arguments
  tile::KernelOp create(ModuleOp module, StringRef name);
  /// Equal texts, equal kernels.
  std::string key();
  std::string base();

private:
  unsigned argument(Value operand);
  Value programs(OpBuilder &b, Location loc, const tile::GridTerm &term,
                 Block &entry);
  void addPart(OpBuilder &b, unsigned i, Value program, Block &entry);
  void copy(OpBuilder &b, tile::KernelOp kernel, ValueRange given,
            ArrayRef<Value> place);

  ArrayRef<Part> parts;
  bool calls;
  llvm::SmallDenseMap<Value, unsigned> numbers;
  /// Arguments of each part, and of the counts that grids depend on.
  SmallVector<SmallVector<unsigned>> arguments;
  unsigned countArgument[2] = {~0u, ~0u};
};

} // namespace

unsigned MergedKernel::argument(Value operand) {
  auto [found, isNew] = numbers.try_emplace(operand, operands.size());
  if (isNew)
    operands.push_back(operand);
  return found->second;
}

MergedKernel::MergedKernel(ArrayRef<Part> parts, ValueRange counts, bool calls)
    : parts(parts), calls(calls) {
  for (Part part : parts) {
    SmallVector<unsigned> &own = arguments.emplace_back();
    for (Value operand : part.launch.getOperands())
      own.push_back(argument(operand));
  }
  for (const Part &part : parts)
    if (int dim = part.programs().dim; dim >= 0)
      countArgument[dim] = argument(counts[dim]);
}

std::string MergedKernel::key() {
  std::string text;
  llvm::raw_string_ostream os(text);
  for (auto [part, own] : llvm::zip(parts, arguments)) {
    tile::KernelOp kernel = part.kernel;
    os << kernel.getSymName();
    for (const tile::GridTerm &axis : part.axes)
      os << ' ' << axis.dim << '/' << axis.divide << '*' << axis.multiply;
    for (unsigned argument : own)
      os << ',' << argument;
    os << ';';
  }
  for (unsigned argument : countArgument)
    os << argument << ';';
  return text;
}

/// The parts' names without their parameters: "rms_norm_4517_v1" says
/// rms_norm. A part that repeats is named once.
std::string MergedKernel::base() {
  llvm::SmallSetVector<StringRef, 4> names;
  for (const Part &part : parts) {
    tile::KernelOp kernel = part.kernel;
    StringRef name = kernel.getSymName();
    for (size_t at = 0; (at = name.find('_', at)) != StringRef::npos; ++at) {
      StringRef rest = name.substr(at + 1);
      if (rest.consume_front("t"), !rest.empty() && llvm::isDigit(rest[0])) {
        name = name.take_front(at);
        break;
      }
    }
    names.insert(name);
  }
  return "merged_" + llvm::join(names, "_and_");
}

Value MergedKernel::programs(OpBuilder &b, Location loc,
                             const tile::GridTerm &term, Block &entry) {
  auto constant = [&](int64_t v) {
    return arith::ConstantIndexOp::create(b, loc, v);
  };
  if (term.dim < 0)
    return constant(term.multiply);
  Value n = entry.getArgument(countArgument[term.dim]);
  if (term.divide != 1) {
    n = arith::AddIOp::create(b, loc, n, constant(term.divide - 1));
    n = arith::DivUIOp::create(b, loc, n, constant(term.divide));
  }
  if (term.multiply != 1)
    n = arith::MulIOp::create(b, loc, n, constant(term.multiply));
  return n;
}

/// The body of a kernel on arguments that are given, at a place in its grid.
void MergedKernel::copy(OpBuilder &b, tile::KernelOp kernel, ValueRange given,
                        ArrayRef<Value> place) {
  IRMapping mapping;
  mapping.map(kernel.getBody().getArguments(), given);
  kernel.getBody().walk([&](tile::ProgramIdOp id) {
    mapping.map(id.getResult(), place[id.getAxis()]);
  });
  SmallVector<Operation *> ids;
  for (Operation &op : kernel.getBody().front().without_terminator())
    if (!isa<tile::ProgramIdOp>(op))
      b.clone(op, mapping)->walk([&](tile::ProgramIdOp id) {
        id.getResult().replaceAllUsesWith(place[id.getAxis()]);
        ids.push_back(id);
      });
  for (Operation *id : ids)
    id->erase();
}

/// Part `i` at its program number `program`. The first axis runs fastest, as in
/// a launch.
void MergedKernel::addPart(OpBuilder &b, unsigned i, Value program,
                           Block &entry) {
  const Part &part = parts[i];
  tile::KernelOp kernel = part.kernel;
  Location loc = kernel.getLoc();
  int last = 2;
  while (last > 0 && part.axes[last].dim < 0 && part.axes[last].multiply == 1)
    --last;
  Value place[3];
  for (int axis = 0; axis < 3; ++axis) {
    const tile::GridTerm &extent = part.axes[axis];
    if (axis > last || (extent.dim < 0 && extent.multiply == 1)) {
      place[axis] = arith::ConstantIndexOp::create(b, loc, 0);
    } else if (axis == last) {
      place[axis] = program;
    } else {
      Value n = programs(b, loc, extent, entry);
      place[axis] = arith::RemUIOp::create(b, loc, program, n);
      program = arith::DivUIOp::create(b, loc, program, n);
    }
  }
  SmallVector<Value> given;
  for (unsigned number : arguments[i])
    given.push_back(entry.getArgument(number));
  if (calls)
    tile::CallOp::create(b, loc, kernel.getSymName(), place[0], place[1],
                         place[2], given);
  else
    copy(b, kernel, given, place);
}

tile::KernelOp MergedKernel::create(ModuleOp module, StringRef name) {
  auto b = OpBuilder::atBlockBegin(module.getBody());
  Location loc = module.getLoc();
  auto kernel = tile::KernelOp::create(
      b, loc, name,
      b.getFunctionType(ValueRange(operands).getTypes(), TypeRange()));
  Block &entry = kernel.getBody().front();
  b.setInsertionPointToStart(&entry);
  Value program = tile::ProgramIdOp::create(b, loc, b.getIndexType(), 0);
  for (unsigned i = 0; i < parts.size(); ++i) {
    if (i + 1 == parts.size()) {
      addPart(b, i, program, entry);
      break;
    }
    // if (program < n) this part else { program -= n; the others }
    Value n = programs(b, loc, parts[i].programs(), entry);
    Value here =
        arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, program, n);
    auto choice = scf::IfOp::create(b, loc, here, /*withElseRegion=*/true);
    OpBuilder then = choice.getThenBodyBuilder();
    addPart(then, i, program, entry);
    b = choice.getElseBodyBuilder();
    program = arith::SubIOp::create(b, loc, program, n);
  }
  b.setInsertionPointToEnd(&entry);
  tile::ReturnOp::create(b, loc);
  return kernel;
}

//===-- Which launches ---------------------------------------------------===//

namespace {

class Merger {
public:
  Merger(ModuleOp module, bool calls);
  void run(func::FuncOp schedule);
  void eraseUnused();

  unsigned merged = 0, saved = 0;

private:
  std::optional<Part> part(tile::LaunchOp launch);
  SmallVector<SmallVector<Part>> split(ArrayRef<tile::LaunchOp> level);
  void emit(OpBuilder &b, SmallVector<Part> parts, ValueRange counts);

  ModuleOp module;
  bool calls;
  SymbolTable symbols;
  llvm::DenseMap<Operation *, int64_t> sizes;
  llvm::StringMap<tile::KernelOp> kernels;
  llvm::SmallPtrSet<Operation *, 16> replaced;
  int64_t budget = 0;
};

} // namespace

Merger::Merger(ModuleOp module, bool calls)
    : module(module), calls(calls), symbols(module) {
  for (auto kernel : module.getOps<tile::KernelOp>()) {
    int64_t size = 0;
    kernel.getBody().walk([&](Operation *) { ++size; });
    sizes[kernel] = size;
    budget += kMostGrowth * size;
  }
}

/// Bytes of the weight buffers of a launch: what makes its programs long.
static double weightBytes(tile::LaunchOp launch) {
  double bytes = 0;
  for (Value operand : launch.getOperands()) {
    auto type = dyn_cast<MemRefType>(operand.getType());
    Value base = type ? tile::viewBase(operand) : Value();
    if (base && base.getDefiningOp<tile::WeightOp>() && type.hasStaticShape())
      bytes += double(type.getNumElements()) *
               type.getElementType().getIntOrFloatBitWidth() / 8;
  }
  return bytes;
}

std::optional<Part> Merger::part(tile::LaunchOp launch) {
  Part part;
  part.launch = launch;
  part.kernel = symbols.lookup<tile::KernelOp>(launch.getKernel());
  int counted = 0;
  int64_t fixed = 1;
  for (auto [i, expr] : llvm::enumerate(launch.getGrid().getResults())) {
    auto terms = tile::gridTerms(expr);
    if (!terms || terms->size() != 1)
      return std::nullopt;
    part.axes[i] = terms->front();
    counted += part.axes[i].dim >= 0;
    fixed *= part.axes[i].multiply;
  }
  if (counted > 1)
    return std::nullopt;
  part.operations = sizes.lookup(part.kernel);
  part.bytesPerProgram = weightBytes(launch) / double(fixed);
  return part;
}

/// The launches of a level in groups, each to become one launch.
SmallVector<SmallVector<Part>> Merger::split(ArrayRef<tile::LaunchOp> level) {
  SmallVector<SmallVector<Part>> groups;
  SmallVector<int64_t> sums;
  SmallVector<Part> alone;
  for (tile::LaunchOp launch : level) {
    std::optional<Part> next = part(launch);
    if (!next) {
      Part whole;
      whole.launch = launch;
      alone.push_back(whole);
      continue;
    }
    auto place = llvm::find_if(sums, [&](int64_t sum) {
      return calls || sum + next->operations <= kMostOperations;
    });
    size_t group = place - sums.begin();
    if (place == sums.end()) {
      groups.emplace_back();
      sums.push_back(0);
    }
    groups[group].push_back(*next);
    sums[group] += next->operations;
  }
  // Long programs first: short ones even out what the threads have left.
  for (SmallVector<Part> &group : groups)
    llvm::stable_sort(group, [](const Part &a, const Part &b) {
      if (a.bytesPerProgram != b.bytesPerProgram)
        return a.bytesPerProgram > b.bytesPerProgram;
      return a.operations > b.operations;
    });
  for (const Part &part : alone)
    groups.push_back({part});
  return groups;
}

void Merger::emit(OpBuilder &b, SmallVector<Part> parts, ValueRange counts) {
  bool known = llvm::all_of(parts, [&](const Part &part) {
    return part.programs().dim < 0 || counts[part.programs().dim];
  });
  if (parts.size() > 1 && known) {
    MergedKernel merge(parts, counts, calls);
    tile::KernelOp &kernel = kernels[merge.key()];
    int64_t size = 0;
    for (const Part &part : parts)
      size += part.operations;
    if (!kernel && (calls || size <= budget)) {
      budget -= size;
      kernel = merge.create(module, merge.base());
      symbols.insert(kernel); // makes the name unique
    }
    if (kernel) {
      AffineExpr sum = b.getAffineConstantExpr(0);
      for (const Part &part : parts) {
        tile::GridTerm term = part.programs();
        AffineExpr programs =
            term.dim < 0 ? b.getAffineConstantExpr(1)
                         : b.getAffineDimExpr(term.dim).ceilDiv(term.divide);
        sum = sum + programs * term.multiply;
      }
      SmallVector<Location> places;
      for (Part &part : parts)
        places.push_back(part.launch.getLoc());
      tile::LaunchOp::create(b, b.getFusedLoc(places), kernel.getSymName(),
                             AffineMap::get(2, 0, {sum}, b.getContext()),
                             merge.operands);
      for (Part &part : parts) {
        replaced.insert(part.kernel);
        part.launch.erase();
      }
      ++merged;
      saved += parts.size() - 1;
      return;
    }
  }
  for (Part &part : parts)
    part.launch->moveBefore(b.getInsertionBlock(), b.getInsertionPoint());
}

void Merger::run(func::FuncOp schedule) {
  SmallVector<SmallVector<tile::LaunchOp>> levels = launchLevels(schedule);
  if (llvm::all_of(levels, [](const auto &level) { return level.size() < 2; }))
    return;
  SmallVector<Value> counts(2);
  for (BlockArgument argument : schedule.getArguments()) {
    auto port = schedule.getArgAttrOfType<StringAttr>(argument.getArgNumber(),
                                                      tile::kPortAttr);
    if (port && port == "count.tokens")
      counts[0] = argument;
    else if (port && port == "count.rows")
      counts[1] = argument;
  }
  // Behind everything that they use, in their new order.
  OpBuilder b(schedule.front().getTerminator());
  for (ArrayRef<tile::LaunchOp> level : levels)
    for (SmallVector<Part> &group : split(level))
      emit(b, group, counts);
}

/// Kernels that only merged launches used.
void Merger::eraseUnused() {
  llvm::StringSet<> used;
  module.walk([&](tile::LaunchOp launch) { used.insert(launch.getKernel()); });
  module.walk([&](tile::CallOp call) { used.insert(call.getKernel()); });
  for (Operation *kernel : replaced)
    if (!used.contains(cast<tile::KernelOp>(kernel).getSymName()))
      symbols.erase(kernel);
}

/// Whether launches may move to the end of the schedule: nothing else that
/// stands there does something at its place.
static bool onlyLaunches(func::FuncOp schedule) {
  return schedule.getBody().hasOneBlock() &&
         llvm::all_of(schedule.front(), [](Operation &op) {
           return isa<tile::LaunchOp, memref::AllocOp>(op) ||
                  isMemoryEffectFree(&op);
         });
}

namespace {
struct MergeLaunches : fathom::impl::MergeLaunchesPassBase<MergeLaunches> {
  using MergeLaunchesPassBase::MergeLaunchesPassBase;
  void runOnOperation() override {
    Merger merger(getOperation(), calls);
    for (auto schedule : getOperation().getOps<func::FuncOp>())
      if (schedule->hasAttr(tile::kEntryAttr) && onlyLaunches(schedule))
        merger.run(schedule);
    merger.eraseUnused();
    addCount(*this, "merged", merger.merged);
    addCount(*this, "saved", merger.saved);
  }
};
} // namespace
