// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/DSV4ToTile/Greedy.h"
#include "passes/PassCounts.h"

namespace fathom {
#define GEN_PASS_DEF_DSV4TOTILEPASS
#include "passes/Passes.h.inc"
} // namespace fathom

using namespace mlir;
using namespace fathom;

namespace {

/// The signature of an entry is fixed (docs/Spec.md): tensors in this order,
/// with the streams first where an entry takes them, caches anywhere. Further
/// results are the streams after layers 0, 1, ...
constexpr StringLiteral kInputs[] = {"ids", "positions", "slots", "rows"};
constexpr StringLiteral kOutputs[] = {"logits", "streams"};

class DSV4ToTile : public fathom::impl::DSV4ToTilePassBase<DSV4ToTile> {
public:
  using DSV4ToTilePassBase::DSV4ToTilePassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    shapes = TileShapes::find(target);
    launches = 0;
    if (!shapes) {
      module.emitError() << "unknown target '" << target
                         << "' for tile shapes: there are "
                         << TileShapes::names();
      return signalPassFailure();
    }
    SmallVector<func::FuncOp> functions;
    for (auto func : module.getOps<func::FuncOp>())
      if (!func->hasAttr(tile::kEntryAttr) && !func.isDeclaration())
        functions.push_back(func);
    if (functions.empty())
      return;
    SmallVector<int64_t> sizes(buckets.begin(), buckets.end());
    if (sizes.empty())
      sizes = defaultBuckets(module);
    KernelCache kernels(module, checkKernels);
    for (func::FuncOp func : functions) {
      for (int64_t size : sizes)
        if (failed(specialise(func, size, kernels)))
          return signalPassFailure();
    }
    if (auto step = module.lookupSymbol<func::FuncOp>("step"))
      addGreedy(step, sizes.back(), kernels);
    if (!kernels.consistent())
      return signalPassFailure();
    for (func::FuncOp func : functions)
      func.erase();
    addCount(*this, "kernels", kernels.size());
    addCount(*this, "launches", launches);
  }

private:
  const TileShapes *shapes = nullptr;
  uint64_t launches = 0;

  /// After the entry whose logits it reads.
  void addGreedy(func::FuncOp step, int64_t maxTokens, KernelCache &kernels) {
    if (step.getNumResults() == 0)
      return;
    auto logits = dyn_cast<RankedTensorType>(step.getResultTypes().front());
    if (!logits || logits.getRank() != 2)
      return;
    OpBuilder b(&getContext());
    b.setInsertionPoint(step);
    Location loc = NameLoc::get(b.getStringAttr("greedy"));
    addGreedySchedule(b, loc, kernels, *shapes, logits.getDimSize(1),
                      maxTokens);
  }

  SmallVector<int64_t> defaultBuckets(ModuleOp module) {
    int64_t limit = 512;
    if (auto model =
            module->getAttrOfType<dsv4::ModelAttr>(dsv4::kModelAttrName))
      limit = model.getMaxStepTokens();
    // Of a tile of 16 tokens half would be made for nothing where streams are
    // taken in eights and a step has no more.
    SmallVector<int64_t> sizes;
    for (int64_t size : {int64_t(1), shapes->streamTokens, int64_t(16)})
      if (size < limit && size <= 16 && !llvm::is_contained(sizes, size))
        sizes.push_back(size);
    sizes.push_back(limit);
    return sizes;
  }

  LogicalResult specialise(func::FuncOp func, int64_t maxTokens,
                           KernelCache &kernels) {
    MLIRContext *ctx = &getContext();
    OpBuilder b(ctx);
    b.setInsertionPoint(func);
    auto memrefOf = [](Type t) -> Type {
      auto tensor = cast<RankedTensorType>(t);
      return MemRefType::get(tensor.getShape(), tensor.getElementType());
    };
    auto ret = dyn_cast<func::ReturnOp>(func.getBody().front().getTerminator());
    if (!ret || !func.getBody().hasOneBlock())
      return func.emitError("is not a straight line of operations");

    // Arguments: both counts, the inputs that are tensors, the outputs.
    SmallVector<Type> types(2, b.getIndexType());
    SmallVector<BlockArgument> inputs;
    for (BlockArgument arg : func.getArguments())
      if (isa<RankedTensorType>(arg.getType())) {
        inputs.push_back(arg);
        types.push_back(memrefOf(arg.getType()));
      }
    for (Value v : ret.getOperands())
      types.push_back(memrefOf(v.getType()));

    std::string name = (func.getName() + "__t" + Twine(maxTokens)).str();
    auto schedule = func::FuncOp::create(b, func.getLoc(), name,
                                         b.getFunctionType(types, {}));
    // "mtp_0" is entry "mtp.0".
    std::string entry = func.getName().str();
    std::replace(entry.begin(), entry.end(), '_', '.');
    schedule->setAttr(tile::kEntryAttr, b.getStringAttr(entry));
    schedule->setAttr(tile::kMaxTokensAttr, b.getI64IntegerAttr(maxTokens));
    Block *body = schedule.addEntryBlock();
    b.setInsertionPointToStart(body);
    auto port = [&](unsigned i, StringRef name) {
      schedule.setArgAttr(i, tile::kPortAttr, b.getStringAttr(name));
    };
    port(0, "count.tokens");
    port(1, "count.rows");

    TileShapes own = *shapes;
    if (maxTokens <= own.streamTokens)
      own.fewTokens = std::min(own.fewTokens, own.streamTokens);
    Lowering lowering(kernels, b, own, maxTokens);
    lowering.bindCount(body->getArgument(0), body->getArgument(1));
    unsigned next = 2;
    bool takesStreams = inputs.size() == std::size(kInputs) + 1;
    if ((!takesStreams && inputs.size() != std::size(kInputs)) ||
        ret.getNumOperands() < std::size(kOutputs))
      return func.emitError(
          "has not the signature of an entry: ([streams,] ids, "
          "positions, slots, rows) -> (logits, streams, ...)");
    for (auto [i, arg] : llvm::enumerate(inputs)) {
      StringRef name = "streams";
      if (!takesStreams || i > 0)
        name = kInputs[i - takesStreams];
      port(next, name);
      lowering.bind(arg, body->getArgument(next++), name == "rows");
    }
    for (auto [i, v] : llvm::enumerate(ret.getOperands())) {
      std::string name =
          i < std::size(kOutputs)
              ? kOutputs[i].str()
              : "layers." + std::to_string(i - std::size(kOutputs));
      port(next, name);
      schedule.setArgAttr(next, tile::kOutputAttr, b.getUnitAttr());
      if (!v.getDefiningOp())
        return func.emitError("returns an argument as it is");
      lowering.bind(v, body->getArgument(next++), name == "logits");
    }

    for (Operation &op : func.getBody().front().without_terminator())
      if (failed(lowering.lower(&op)))
        return failure();
    func::ReturnOp::create(b, func.getLoc());
    launches += lowering.launches;
    return success();
  }
};

} // namespace
