// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/RowNumbers.h"

#include "dialects/Tile/IR/Tile.h"
#include "passes/PlanMemory.h"

#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/DenseMap.h"

#include <limits>

using namespace mlir;
using namespace fathom::tile;

/// Buffers whose rows `op` takes by number.
static SmallVector<Value, 2> numbered(Operation &op) {
  if (auto gather = dyn_cast<GatherOp>(op))
    return {gather.getBuffer()};
  if (auto gather = dyn_cast<GatherScaledOp>(op))
    return {gather.getCodes(), gather.getScales()};
  if (auto scatter = dyn_cast<ScatterOp>(op))
    return {scatter.getBuffer()};
  return {};
}

namespace {
/// The narrowest rows that a kernel takes by number from each argument, in
/// elements; 0 where it takes none so.
class RowWidths {
public:
  explicit RowWidths(Operation *module) : symbols(module) {}
  ArrayRef<int64_t> of(StringRef kernel);

private:
  void note(Value buffer, int64_t width, SmallVectorImpl<int64_t> &widths);
  SymbolTable symbols;
  llvm::StringMap<SmallVector<int64_t>> known;
};
} // namespace

void RowWidths::note(Value buffer, int64_t width,
                     SmallVectorImpl<int64_t> &widths) {
  auto argument = dyn_cast_or_null<BlockArgument>(viewBase(buffer));
  if (!argument || argument.getArgNumber() >= widths.size() || width <= 0)
    return;
  int64_t &least = widths[argument.getArgNumber()];
  least = least ? std::min(least, width) : width;
}

ArrayRef<int64_t> RowWidths::of(StringRef name) {
  if (auto found = known.find(name); found != known.end())
    return found->second;
  auto kernel = symbols.lookup<KernelOp>(name);
  if (!kernel)
    return {};
  SmallVector<int64_t> widths(kernel.getArgumentTypes().size());
  kernel.walk([&](Operation *op) {
    for (Value buffer : numbered(*op)) {
      auto type = cast<MemRefType>(buffer.getType());
      note(buffer, ShapedType::getNumElements(type.getShape().drop_front()),
           widths);
    }
    if (auto call = dyn_cast<CallOp>(op))
      for (auto [passed, width] :
           llvm::zip(call.getPassed(), of(call.getKernel())))
        note(passed, width, widths);
  });
  return known[name] = std::move(widths);
}

LogicalResult fathom::tile::checkRowNumbers(
    func::FuncOp schedule,
    function_ref<std::optional<int64_t>(Value)> elementsOf) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  RowWidths widths(schedule->getParentOp());
  for (auto launch : schedule.front().getOps<LaunchOp>())
    for (auto [operand, width] :
         llvm::zip(launch.getOperands(), widths.of(launch.getKernel()))) {
      std::optional<int64_t> elements;
      if (width > 0)
        elements = elementsOf(operand);
      if (!elements || *elements / width <= kMost)
        continue;
      InFlightDiagnostic error =
          emitError(launch.getLoc(), "unsupported: a buffer of ");
      error << *elements / width << " rows, which are taken by number, and "
            << kMost << " are the most";
      error.attachNote() << "it grows with the tokens of a step and with the "
                            "context: choose a smaller --max-step-tokens or "
                            "--max-context";
      return error;
    }
  return success();
}
