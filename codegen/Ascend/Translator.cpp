// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Ascend/Translator.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace fathom::ascend {

//===-- Types and values -------------------------------------------------===//

static Type elementOf(Type type) {
  if (isa<Float8E4M3FNType, Float8E8M0FNUType>(type))
    return IntegerType::get(type.getContext(), 8);
  if (isa<Float4E2M1FNType>(type))
    return Float32Type::get(type.getContext());
  return type;
}

Type Translator::converted(Type type) {
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    return tensor.clone(elementOf(tensor.getElementType()));
  return elementOf(type);
}

/// Whether values of this type have a translation.
static bool isKnown(Type type) {
  if (isa<MemRefType, tile::TableType>(type))
    return true;
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (tensor && !tensor.hasStaticShape())
    return false;
  Type element = getElementTypeOrSelf(type);
  if (auto integer = dyn_cast<IntegerType>(element))
    return llvm::is_contained({1u, 8u, 16u, 32u, 64u}, integer.getWidth());
  return isa<Float32Type, Float64Type, BFloat16Type, Float16Type,
             Float8E4M3FNType, Float8E8M0FNUType, Float4E2M1FNType>(element) ||
         (!tensor && isa<IndexType>(element));
}

Value Translator::get(Value value) { return values.lookup(value); }

LogicalResult Translator::refuse(Operation *op, const Twine &why) {
  return op->emitError() << "unsupported on " << target.name << ": "
                         << op->getName() << ": " << why;
}

Value Translator::empty(Shape shape, Type element) {
  return make<tensor::EmptyOp>(shape, element);
}

Value Translator::index(int64_t value) {
  return make<arith::ConstantIndexOp>(value);
}

static TypedAttr repeated(Type type, Attribute element) {
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    return DenseElementsAttr::get(tensor, element);
  return cast<TypedAttr>(element);
}

Value Translator::number(Value like, double value) {
  Type type = like.getType();
  return make<arith::ConstantOp>(
      repeated(type, b.getFloatAttr(getElementTypeOrSelf(type), value)));
}

Value Translator::integer(Value like, int64_t value) {
  Type type = like.getType(), element = getElementTypeOrSelf(type);
  if (element.isIndex())
    return index(value);
  APInt bits(64, value);
  return make<arith::ConstantOp>(repeated(
      type,
      IntegerAttr::get(element, bits.trunc(element.getIntOrFloatBitWidth()))));
}

Type Translator::withElement(Value like, Type element) {
  if (auto tensor = dyn_cast<RankedTensorType>(like.getType()))
    return tensor.clone(element);
  return element;
}

Value Translator::narrowed(Value x) {
  auto extended = x.getDefiningOp<arith::ExtFOp>();
  if (extended && getElementTypeOrSelf(extended.getIn().getType()).isBF16())
    return extended.getIn();
  return x;
}

Value Translator::bits(Value x) {
  unsigned width = getElementTypeOrSelf(x.getType()).getIntOrFloatBitWidth();
  return make<arith::BitcastOp>(withElement(x, b.getIntegerType(width)), x);
}

Value Translator::floats(Value x) {
  bool wide = getElementTypeOrSelf(x.getType()).isInteger(32);
  return make<arith::BitcastOp>(
      withElement(x, wide ? Type(b.getF32Type()) : Type(b.getF16Type())), x);
}

Value Translator::widen(Value x, unsigned width) {
  return make<arith::ExtUIOp>(withElement(x, b.getIntegerType(width)), x);
}

Value Translator::compare(arith::CmpIPredicate p, Value x, int64_t c) {
  return make<arith::CmpIOp>(p, x, integer(x, c));
}

Value Translator::compare(arith::CmpFPredicate p, Value x, double c) {
  return make<arith::CmpFOp>(p, x, number(x, c));
}

//===-- The function -----------------------------------------------------===//

Translator::Translator(tile::KernelOp kernel, const Target &target,
                       ModuleOp module)
    : kernel(kernel), target(target),
      b(ImplicitLocOpBuilder::atBlockEnd(kernel.getLoc(), module.getBody())) {}

bool usesCube(tile::KernelOp kernel) {
  return kernel
      .walk([](Operation *op) {
        return isa<tile::DotOp, tile::DotScaledOp>(op) ? WalkResult::interrupt()
                                                       : WalkResult::advance();
      })
      .wasInterrupted();
}

/// What the hardware's conventions add before and after a kernel's own.
static constexpr unsigned kLeading = 2, kTrailing = 6;

static SmallVector<Type> argumentTypes(tile::KernelOp kernel) {
  OpBuilder b(kernel.getContext());
  auto pointer = [](Type element) -> Type {
    return MemRefType::get({ShapedType::kDynamic}, element);
  };
  SmallVector<Type> types(kLeading, pointer(b.getI8Type()));
  for (Type type : kernel.getArgumentTypes()) {
    if (auto table = dyn_cast<tile::TableType>(type)) {
      types.push_back(pointer(elementOf(table.getBuffer().getElementType())));
      types.push_back(pointer(b.getI64Type()));
    } else if (auto buffer = dyn_cast<MemRefType>(type)) {
      types.push_back(pointer(elementOf(buffer.getElementType())));
    } else {
      types.push_back(pointer(b.getI32Type()));
    }
  }
  types.append(kTrailing, b.getI32Type());
  return types;
}

void Translator::arguments(func::FuncOp function) {
  unsigned at = kLeading;
  for (BlockArgument argument : kernel.getBody().getArguments()) {
    Value pointer = function.getArgument(at++);
    if (isa<tile::TableType>(argument.getType())) {
      tables[argument] = {pointer, function.getArgument(at++)};
    } else if (auto buffer = dyn_cast<MemRefType>(argument.getType())) {
      buffers[argument] = {pointer, Value(), buffer};
    } else {
      Value count = make<memref::LoadOp>(pointer, ValueRange{index(0)});
      set(argument, make<arith::IndexCastOp>(b.getIndexType(), count));
    }
  }
  for (unsigned axis = 0; axis < 3; ++axis)
    places.push_back(make<arith::IndexCastOp>(
        b.getIndexType(),
        function.getArgument(function.getNumArguments() - 3 + axis)));
}

LogicalResult Translator::run() {
  auto function = func::FuncOp::create(
      b, kernel.getSymName(),
      b.getFunctionType(argumentTypes(kernel), TypeRange{}));
  auto number = [&](int64_t n) { return b.getI64IntegerAttr(n); };
  function->setAttr("SyncBlockLockArgIdx", number(0));
  function->setAttr("WorkspaceArgIdx", number(1));
  function->setAttr("global_kernel", b.getStringAttr("local"));
  function->setAttr("mix_mode",
                    b.getStringAttr(usesCube(kernel) ? "mix" : "aiv"));
  function->setAttr("parallel_mode", b.getStringAttr("simd"));
  b.setInsertionPointToStart(function.addEntryBlock());
  arguments(function);
  if (failed(block(kernel.getBody().front())))
    return failure();
  func::ReturnOp::create(b);
  return success();
}

//===-- Control flow -----------------------------------------------------===//

LogicalResult Translator::block(Block &block) {
  for (Operation &op : block.without_terminator())
    if (failed(operation(&op)))
      return failure();
  return success();
}

LogicalResult Translator::loop(scf::ForOp op) {
  SmallVector<Value> init;
  for (Value operand : op.getInitArgs()) {
    if (getElementTypeOrSelf(operand.getType()).isF64())
      return refuse(op, "a loop cannot carry f64");
    init.push_back(get(operand));
  }
  auto made =
      scf::ForOp::create(b, get(op.getLowerBound()), get(op.getUpperBound()),
                         get(op.getStep()), init);
  set(op.getInductionVar(), made.getInductionVar());
  for (auto [from, to] :
       llvm::zip(op.getRegionIterArgs(), made.getRegionIterArgs()))
    set(from, to);
  OpBuilder::InsertionGuard guard(b);
  Block *body = made.getBody();
  if (!body->empty()) // a loop that carries nothing has its end already
    body->back().erase();
  b.setInsertionPointToStart(body);
  if (failed(block(*op.getBody())))
    return failure();
  SmallVector<Value> next;
  for (Value operand : op.getBody()->getTerminator()->getOperands())
    next.push_back(get(operand));
  scf::YieldOp::create(b, next);
  for (auto [from, to] : llvm::zip(op.getResults(), made.getResults()))
    set(from, to);
  return success();
}

LogicalResult Translator::branch(scf::IfOp op) {
  SmallVector<Type> types;
  for (Type type : op.getResultTypes()) {
    if (getElementTypeOrSelf(type).isF64())
      return refuse(op, "a branch cannot give f64");
    types.push_back(converted(type));
  }
  bool hasElse = !op.getElseRegion().empty();
  auto made = scf::IfOp::create(b, types, get(op.getCondition()), hasElse);
  OpBuilder::InsertionGuard guard(b);
  auto arm = [&](Region &from, Region &to) {
    if (!to.front().empty())
      to.front().back().erase();
    b.setInsertionPointToStart(&to.front());
    if (failed(block(from.front())))
      return failure();
    SmallVector<Value> yielded;
    for (Value operand : from.front().getTerminator()->getOperands())
      yielded.push_back(get(operand));
    scf::YieldOp::create(b, yielded);
    return success();
  };
  if (failed(arm(op.getThenRegion(), made.getThenRegion())) ||
      (hasElse && failed(arm(op.getElseRegion(), made.getElseRegion()))))
    return failure();
  for (auto [from, to] : llvm::zip(op.getResults(), made.getResults()))
    set(from, to);
  return success();
}

LogicalResult Translator::operation(Operation *op) {
  if (!llvm::all_of(op->getOperandTypes(), isKnown) ||
      !llvm::all_of(op->getResultTypes(), isKnown))
    return refuse(op, "a type that has no translation");
  if (auto result = doubles(op))
    return *result;
  if (auto result = elementwise(op))
    return *result;
  if (auto result = shapes(op))
    return *result;
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](tile::ProgramIdOp id) {
        set(id, places[id.getAxis()]);
        return success();
      })
      .Case([&](tile::LoadOp o) { return load(o); })
      .Case([&](tile::StoreOp o) { return store(o); })
      .Case([&](tile::GatherOp o) { return gather(o); })
      .Case([&](tile::GatherScaledOp o) { return gatherScaled(o); })
      .Case([&](tile::ScatterOp o) { return scatter(o); })
      .Case([&](tile::SelectBufferOp o) { return selectBuffer(o); })
      .Case([&](memref::LoadOp o) { return loadScalar(o); })
      .Case([&](memref::StoreOp o) { return storeScalar(o); })
      .Case([&](tile::DotOp o) { return dot(o); })
      .Case([&](tile::DotScaledOp o) { return dotScaled(o); })
      .Case([&](scf::ForOp o) { return loop(o); })
      .Case([&](scf::IfOp o) { return branch(o); })
      .Default([&](Operation *o) {
        return refuse(o, "no translation for this operation");
      });
}

//===-- Modules ----------------------------------------------------------===//

FailureOr<OwningOpRef<ModuleOp>> translateToAdapter(tile::KernelOp kernel,
                                                    const Target &target) {
  if (failed(verifyBudget(kernel, target)))
    return failure();
  OwningOpRef<ModuleOp> module = ModuleOp::create(kernel.getLoc());
  if (failed(Translator(kernel, target, *module).run()) ||
      failed(verifyForeign(*module)))
    return failure();
  return std::move(module);
}

std::string printAdapter(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream out(text);
  module->print(out, OpPrintingFlags().printGenericOpForm());
  // The reader's trunci has no properties yet.
  static constexpr llvm::StringLiteral kNone =
      " <{overflowFlags = #arith.overflow<none>}>";
  std::string kept;
  for (llvm::StringRef line : llvm::split(text, '\n')) {
    size_t at = line.contains("\"arith.trunci\"(") ? line.find(kNone)
                                                   : llvm::StringRef::npos;
    kept += line.substr(0, at);
    if (at != llvm::StringRef::npos)
      kept += line.substr(at + kNone.size());
    kept += '\n';
  }
  return kept;
}

void registerAdapterDialects(DialectRegistry &registry) {
  registry
      .insert<arith::ArithDialect, bufferization::BufferizationDialect,
              func::FuncDialect, linalg::LinalgDialect, math::MathDialect,
              memref::MemRefDialect, scf::SCFDialect, tensor::TensorDialect>();
}

} // namespace fathom::ascend
