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

/// What kernels compute on. Buffers are made for a count of tokens or rows, and
/// tiles for what is known and not empty.
constexpr StringLiteral kRows = "a tensor of tokens or logits rows whose other "
                                "dimensions are known and not 0";
bool isRows(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() > 0 && tensor.isDynamicDim(0) &&
         llvm::all_of(tensor.getShape().drop_front(),
                      [](int64_t size) { return size > 0; });
}

LogicalResult checkArguments(func::FuncOp func) {
  unsigned tensors = 0;
  for (auto [i, type] : llvm::enumerate(func.getArgumentTypes())) {
    if (isa<dsv4::CacheType>(type)) {
      if (!func.getArgAttr(i, dsv4::kCacheNameAttr))
        return func.emitError() << "argument " << i << " is a cache without '"
                                << dsv4::kCacheNameAttr << "'";
      continue;
    }
    if (!isRows(type))
      return func.emitError() << "argument " << i << " must be a cache or "
                              << kRows << ", found " << type;
    ++tensors;
  }
  if ((tensors != std::size(kInputs) && tensors != std::size(kInputs) + 1) ||
      func.getNumResults() < std::size(kOutputs))
    return func.emitError("has not the signature of an entry: ([streams,] ids, "
                          "positions, slots, rows) -> (logits, streams, ...)");
  return success();
}

/// The value that a group gives as `value`.
Value insideGroup(Value value) {
  while (auto group = value.getDefiningOp<dsv4::FusedOp>())
    value = group.yielded()[cast<OpResult>(value).getResultNumber()];
  return value;
}

/// An operation writes its result once, into one buffer: that of an output, if
/// it is one.
LogicalResult checkReturned(func::FuncOp func, func::ReturnOp ret) {
  llvm::SmallDenseMap<Value, unsigned> numbers;
  for (auto [i, value] : llvm::enumerate(ret.getOperands())) {
    if (!isRows(value.getType()))
      return func.emitError() << "result " << i << " must be " << kRows
                              << ", found " << value.getType();
    Value made = insideGroup(value);
    if (!made.getDefiningOp())
      return func.emitError("returns an argument as it is");
    auto [first, isNew] = numbers.try_emplace(made, i);
    if (!isNew)
      return func.emitError() << "returns one value as results "
                              << first->second << " and " << i;
  }
  return success();
}

LogicalResult checkOperation(Operation *op) {
  if (!isa_and_nonnull<dsv4::DSV4Dialect>(op->getDialect()))
    return success();
  bool parameter = isa<dsv4::ParameterOp, dsv4::StackedParameterOp>(op);
  for (Type type : op->getResultTypes()) {
    if (parameter && cast<RankedTensorType>(type).getNumElements() == 0)
      return op->emitError() << "has no elements";
    if (!parameter && !isRows(type))
      return op->emitError()
             << "result must be " << kRows << ", found " << type;
  }
  return success();
}

/// What lowering relies on and verifiers do not say.
LogicalResult check(func::FuncOp func) {
  auto ret = dyn_cast<func::ReturnOp>(func.getBody().front().getTerminator());
  if (!ret || !func.getBody().hasOneBlock())
    return func.emitError("is not a straight line of operations");
  if (failed(checkArguments(func)) || failed(checkReturned(func, ret)))
    return failure();
  return failure(func.walk([](Operation *op) {
                       return failed(checkOperation(op))
                                  ? WalkResult::interrupt()
                                  : WalkResult::advance();
                     })
                     .wasInterrupted());
}

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
    SmallVector<int64_t> sizes(buckets.begin(), buckets.end());
    for (auto [i, size] : llvm::enumerate(sizes))
      if (size <= (i > 0 ? sizes[i - 1] : 0)) {
        module.emitError() << "buckets must be positive and ascending, found "
                           << size << " at place " << i;
        return signalPassFailure();
      }
    if (functions.empty())
      return;
    if (sizes.empty())
      sizes = defaultBuckets(module);
    for (func::FuncOp func : functions)
      if (failed(check(func)))
        return signalPassFailure();
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
    auto ret = cast<func::ReturnOp>(func.getBody().front().getTerminator());
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
