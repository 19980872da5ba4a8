// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/LaunchGraph.h"

#include "dialects/Tile/IR/TileRules.h"

using namespace mlir;

namespace fathom {

namespace {

/// The highest level at which memory was written and read; -1: never.
struct Touched {
  int64_t written = -1, read = -1;
};

/// Memory that launches may share, by name.
class Memory {
public:
  /// Null for what no kernel writes.
  Touched *of(Value operand);
  /// A view with another start may be of any memory.
  Touched anywhere;

private:
  llvm::DenseMap<Value, Touched> buffers;
  llvm::DenseMap<std::pair<StringAttr, StringAttr>, Touched> caches;
};

} // namespace

Touched *Memory::of(Value operand) {
  if (!isa<MemRefType>(operand.getType()))
    return nullptr;
  Value base = tile::viewBase(operand);
  if (!base)
    return &anywhere;
  if (base.getDefiningOp<tile::WeightOp>())
    return nullptr;
  if (auto cache = base.getDefiningOp<tile::CacheOp>())
    return &caches[{cache.getNameAttr(), cache.getComponentAttr()}];
  return &buffers[base];
}

SmallVector<SmallVector<tile::LaunchOp>> launchLevels(func::FuncOp schedule) {
  SmallVector<SmallVector<tile::LaunchOp>> levels;
  SymbolTableCollection symbols;
  llvm::DenseMap<Operation *, tile::ArgumentUse> uses;
  Memory memory;
  int64_t floor = 0; // behind the last launch of unknown effect
  for (auto launch : schedule.front().getOps<tile::LaunchOp>()) {
    auto kernel = symbols.lookupNearestSymbolFrom<tile::KernelOp>(
        launch, launch.getKernelAttr());
    auto [use, isNew] = uses.try_emplace(kernel);
    if (isNew)
      use->second = tile::argumentUse(kernel);
    int64_t level = floor;
    bool unknown = false;
    for (auto [i, operand] : llvm::enumerate(launch.getOperands())) {
      const Touched *touched = memory.of(operand);
      bool reads = use->second.reader[i], writes = use->second.writer[i];
      if (!touched || !(reads || writes))
        continue;
      unknown |= touched == &memory.anywhere;
      level = std::max(level, touched->written + 1);
      if (writes)
        level = std::max(level, touched->read + 1);
    }
    if (unknown) {
      level = levels.size();
      floor = level + 1;
    }
    for (auto [i, operand] : llvm::enumerate(launch.getOperands())) {
      Touched *touched = memory.of(operand);
      if (touched && use->second.reader[i])
        touched->read = std::max(touched->read, level);
      if (touched && use->second.writer[i])
        touched->written = std::max(touched->written, level);
    }
    if (levels.size() <= static_cast<size_t>(level))
      levels.resize(level + 1);
    levels[level].push_back(launch);
  }
  return levels;
}

} // namespace fathom
