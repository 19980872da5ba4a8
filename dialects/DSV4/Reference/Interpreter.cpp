// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/Interpreter.h"
#include "dialects/DSV4/Reference/Evaluation.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/raw_ostream.h"

#include <variant>

using namespace fathom;
using namespace mlir;
using fathom::ref::HostTensor;

namespace {
using TensorRef = std::shared_ptr<const HostTensor>;

struct CacheObject {
  dsv4::CacheType type;
  std::variant<ref::RowCache, ref::StateCache> storage;
};
} // namespace

static llvm::Error makeError(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), "%s",
                                 message.str().c_str());
}

static std::string print(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

ParameterSource::~ParameterSource() = default;

llvm::Expected<HostTensor> NoParameters::load(StringRef name) {
  return makeError("the module refers to the tensor '" + name +
                   "', but no checkpoint was given; name its directory");
}

void fathom::attachReferenceModels(MLIRContext &context) {
  DialectRegistry registry;
  registry.addExtension(+[](MLIRContext *context, dsv4::DSV4Dialect *) {
    attachTensorModels(*context);
    attachStreamModels(*context);
    attachAttentionModels(*context);
    attachMoEModels(*context);
  });
  context.appendDialectRegistry(registry);
  context.loadDialect<dsv4::DSV4Dialect>();
}

static std::variant<ref::RowCache, ref::StateCache>
makeStorage(dsv4::CacheType type, int64_t slots) {
  if (type.getKind() == dsv4::CacheKind::State)
    return ref::StateCache(slots, type.getRows(), type.getWidth());
  ref::CacheFormat format = ref::CacheFormat::F32;
  if (type.getFormat() == dsv4::CacheFormat::FP8)
    format = ref::CacheFormat::FP8;
  else if (type.getFormat() == dsv4::CacheFormat::FP4)
    format = ref::CacheFormat::FP4;
  return ref::RowCache(format, slots, type.getRows(), type.getWidth(),
                       type.getRope());
}

struct Interpreter::State {
  ModuleOp module;
  ParameterSource &parameters;
  int64_t slots;
  Probe probe;
  llvm::StringMap<std::unique_ptr<CacheObject>> caches;
  /// By name (with "{}" for stacks): a tensor is read once.
  llvm::StringMap<TensorRef> loaded;

  llvm::Expected<TensorRef> parameter(StringRef name, RankedTensorType type,
                                      bool stacked);
  llvm::Expected<CacheObject *> cache(func::FuncOp function, unsigned index);
};

/// Fails unless the tensor has the type's element format and static
/// dimensions.
static llvm::Error checkType(const HostTensor &tensor, Type type,
                             const llvm::Twine &what) {
  auto expected = dyn_cast<RankedTensorType>(type);
  if (!expected)
    return makeError(what + ": the interpreter has no values of type " +
                     print(type));
  llvm::Expected<ref::DType> dtype = dtypeOf(expected.getElementType());
  if (!dtype)
    return dtype.takeError();
  bool same = tensor.dtype == *dtype && tensor.rank() == expected.getRank();
  for (int64_t i = 0; same && i < expected.getRank(); ++i)
    same = expected.isDynamicDim(i) || expected.getDimSize(i) == tensor.dim(i);
  if (same)
    return llvm::Error::success();
  return makeError(what + ": expected " + print(type) + ", found " +
                   ref::describe(tensor));
}

llvm::Expected<TensorRef> Interpreter::State::parameter(StringRef name,
                                                        RankedTensorType type,
                                                        bool stacked) {
  TensorRef &entry = loaded[name];
  if (entry) {
    if (llvm::Error error = checkType(*entry, type, "parameter '" + name + "'"))
      return std::move(error);
    return entry;
  }
  RankedTensorType single =
      stacked ? RankedTensorType::get(type.getShape().drop_front(),
                                      type.getElementType())
              : type;
  int64_t count = stacked ? type.getDimSize(0) : 1;
  size_t hole = name.find("{}");
  if (stacked && hole == StringRef::npos)
    return makeError("the name of a stacked parameter, '" + name +
                     "', has no {} for the number");
  auto result = std::make_shared<HostTensor>();
  for (int64_t e = 0; e < count; ++e) {
    std::string one = stacked ? (name.take_front(hole) + llvm::Twine(e) +
                                 name.drop_front(hole + 2))
                                    .str()
                              : name.str();
    llvm::Expected<HostTensor> tensor = parameters.load(one);
    if (!tensor)
      return tensor.takeError();
    if (llvm::Error error =
            checkType(*tensor, single, "parameter '" + one + "'"))
      return std::move(error);
    if (!stacked) {
      *result = std::move(*tensor);
      break;
    }
    result->dtype = tensor->dtype;
    result->bytes.reserve(tensor->bytes.size() * count);
    llvm::append_range(result->bytes, tensor->bytes);
  }
  if (stacked)
    result->shape.assign(type.getShape().begin(), type.getShape().end());
  entry = result;
  return entry;
}

llvm::Expected<CacheObject *> Interpreter::State::cache(func::FuncOp function,
                                                        unsigned index) {
  auto type = cast<dsv4::CacheType>(function.getArgument(index).getType());
  auto name =
      function.getArgAttrOfType<StringAttr>(index, dsv4::kCacheNameAttr);
  if (!name)
    return makeError("argument " + llvm::Twine(index) + " of @" +
                     function.getName() + " is a cache without " +
                     dsv4::kCacheNameAttr + "; it cannot be bound");
  std::unique_ptr<CacheObject> &entry = caches[name.getValue()];
  if (!entry)
    entry.reset(new CacheObject{type, makeStorage(type, slots)});
  if (entry->type != type)
    return makeError("the cache '" + name.getValue() + "' is " +
                     print(entry->type) + " in one function and " +
                     print(type) + " in @" + function.getName());
  return entry.get();
}

namespace {
/// The values of one call.
class Frame final : public EvaluationContext {
public:
  using ParameterLookup = std::function<llvm::Expected<TensorRef>(
      StringRef, RankedTensorType, bool)>;
  Frame(int64_t slots, ParameterLookup lookup)
      : slotCount(slots), lookup(std::move(lookup)) {}

  void bind(Value value, TensorRef tensor) {
    tensors[value] = std::move(tensor);
  }
  void alias(Value value, Value other) { bind(value, tensors.at(other)); }
  void bindCache(Value value, CacheObject *cache) { caches[value] = cache; }
  bool isBound(Value value) const {
    return tensors.contains(value) || caches.contains(value);
  }
  /// Forgets a value; long prompts would otherwise keep every intermediate.
  void drop(Value value) { tensors.erase(value); }

  const HostTensor *find(Value value) override {
    return value ? tensors.find(value)->second.get() : nullptr;
  }
  ref::RowCache &rowCache(Value value) override {
    return std::get<ref::RowCache>(caches.find(value)->second->storage);
  }
  ref::StateCache &stateCache(Value value) override {
    return std::get<ref::StateCache>(caches.find(value)->second->storage);
  }
  int64_t slots() const override { return slotCount; }

  llvm::Error set(Value result, HostTensor tensor) override {
    Operation *op = result.getDefiningOp();
    if (llvm::Error error =
            checkType(tensor, result.getType(),
                      "result of " + op->getName().getStringRef()))
      return evaluationError(op, llvm::toString(std::move(error)));
    bind(result, std::make_shared<const HostTensor>(std::move(tensor)));
    return llvm::Error::success();
  }
  llvm::Error setParameter(Value result, StringRef name,
                           bool stacked) override {
    llvm::Expected<TensorRef> tensor =
        lookup(name, cast<RankedTensorType>(result.getType()), stacked);
    if (!tensor)
      return tensor.takeError();
    bind(result, *tensor);
    return llvm::Error::success();
  }

private:
  int64_t slotCount;
  ParameterLookup lookup;
  llvm::DenseMap<Value, TensorRef> tensors;
  llvm::DenseMap<Value, CacheObject *> caches;
};
} // namespace

Interpreter::Interpreter(ModuleOp module, ParameterSource &parameters,
                         int64_t slots)
    : state(new State{module, parameters, slots, {}, {}, {}}) {
  attachReferenceModels(*module.getContext());
  auto model = module->getAttrOfType<dsv4::ModelAttr>(dsv4::kModelAttrName);
  if (state->slots == 0)
    state->slots = model ? model.getMaxSequences() : 1;
}

Interpreter::~Interpreter() = default;

int64_t Interpreter::slots() const { return state->slots; }
void Interpreter::resetCaches() { state->caches.clear(); }
void Interpreter::setProbe(Probe probe) { state->probe = std::move(probe); }

/// Binds the arguments of `function`: caches by name, the others in order.
static llvm::Error bindArguments(
    func::FuncOp function, ArrayRef<HostTensor> inputs, Frame &frame,
    llvm::function_ref<llvm::Expected<CacheObject *>(unsigned)> cacheOf) {
  size_t next = 0;
  for (BlockArgument argument : function.getArguments()) {
    unsigned index = argument.getArgNumber();
    if (isa<dsv4::CacheType>(argument.getType())) {
      llvm::Expected<CacheObject *> cache = cacheOf(index);
      if (!cache)
        return cache.takeError();
      frame.bindCache(argument, *cache);
      continue;
    }
    if (next == inputs.size())
      return makeError("argument " + llvm::Twine(index) + " of @" +
                       function.getName() + ", " + print(argument.getType()) +
                       ", is not bound: only " + llvm::Twine(inputs.size()) +
                       " inputs were given");
    if (llvm::Error error = checkType(inputs[next], argument.getType(),
                                      "input " + llvm::Twine(next) + " of @" +
                                          function.getName()))
      return error;
    frame.bind(argument, std::make_shared<const HostTensor>(inputs[next++]));
  }
  if (next != inputs.size())
    return makeError("@" + function.getName() + " takes " + llvm::Twine(next) +
                     " inputs besides its caches, but " +
                     llvm::Twine(inputs.size()) + " were given");
  return llvm::Error::success();
}

/// Evaluates one operation whose operands are bound.
static llvm::Error evaluate(Operation &op, Frame &frame) {
  for (auto [index, operand] : llvm::enumerate(op.getOperands()))
    if (!frame.isBound(operand))
      return evaluationError(&op,
                             "operand " + llvm::Twine(index) + " is not bound");
  auto reference = dyn_cast<ReferenceOpInterface>(&op);
  if (!reference)
    return evaluationError(
        &op, "the operation has no reference meaning; the interpreter runs "
             "dsv4 operations only");
  if (llvm::Error error = reference.evaluate(frame))
    return error;
  for (OpResult result : op.getResults())
    if (!frame.isBound(result))
      return evaluationError(&op, "its evaluation left a result without value");
  return llvm::Error::success();
}

namespace {
/// Runs straight lines of operations; the members of a group like those around
/// it.
struct BlockRun {
  Frame &frame;
  const Interpreter::Probe &probe;
  /// Uses still to come, of live results.
  llvm::DenseMap<Value, int64_t> uses = llvm::DenseMap<Value, int64_t>();

  llvm::Error
  operator()(Block &block,
             std::optional<llvm::SmallVector<HostTensor>> &returned);
  void release(Operation &op) {
    for (Value operand : op.getOperands())
      if (auto it = uses.find(operand); it != uses.end() && --it->second == 0)
        frame.drop(operand);
  }
  void computed(OpResult result) {
    uses[result] = std::distance(result.use_begin(), result.use_end());
    if (uses[result] == 0)
      frame.drop(result);
  }
};
} // namespace

llvm::Error
BlockRun::operator()(Block &block,
                     std::optional<llvm::SmallVector<HostTensor>> &returned) {
  for (Operation &op : block) {
    if (isa<dsv4::YieldOp>(op))
      return llvm::Error::success(); // the group takes them
    if (auto ret = dyn_cast<func::ReturnOp>(op)) {
      returned.emplace();
      for (Value value : ret.getOperands()) {
        if (isa<dsv4::CacheType>(value.getType()) || !frame.isBound(value))
          return evaluationError(&op, "a returned value is not a tensor");
        returned->push_back(frame.get(value));
      }
      return llvm::Error::success();
    }
    if (auto group = dyn_cast<dsv4::FusedOp>(op)) {
      if (llvm::Error error = (*this)(group.getBody().front(), returned))
        return error;
      for (auto [value, result] :
           llvm::zip(group.yielded(), group->getResults()))
        frame.alias(result, value);
      release(*group.getBody().front().getTerminator());
    } else {
      if (llvm::Error error = evaluate(op, frame))
        return error;
      if (probe)
        for (OpResult result : op.getResults())
          probe(result, frame.get(result));
      release(op);
    }
    for (OpResult result : op.getResults())
      computed(result);
  }
  return llvm::Error::success();
}

llvm::Expected<llvm::SmallVector<HostTensor>>
Interpreter::call(StringRef name, ArrayRef<HostTensor> inputs) {
  auto function = state->module.lookupSymbol<func::FuncOp>(name);
  if (!function)
    return makeError("the module has no function @" + name);
  if (!llvm::hasSingleElement(function.getBody()))
    return makeError("@" + name +
                     " has no body of one block; the interpreter "
                     "runs straight-line functions");
  Frame frame(state->slots,
              [&](StringRef parameter, RankedTensorType type, bool stacked) {
                return state->parameter(parameter, type, stacked);
              });
  if (llvm::Error error =
          bindArguments(function, inputs, frame, [&](unsigned index) {
            return state->cache(function, index);
          }))
    return std::move(error);

  std::optional<llvm::SmallVector<HostTensor>> results;
  BlockRun run{frame, state->probe};
  if (llvm::Error error = run(function.getBody().front(), results))
    return std::move(error);
  if (!results)
    return makeError("@" + name + " does not end in func.return");
  return std::move(*results);
}
