// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/Translator.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace fathom::nvidia {

using namespace cudatile;
using cudatile::Type;
using S = Scalar;

//===-- Types ------------------------------------------------------------===//

FailureOr<Scalar> Translator::scalarOf(mlir::Type type) const {
  if (isa<IndexType>(type))
    return S::I32;
  if (auto integer = dyn_cast<IntegerType>(type))
    switch (integer.getWidth()) {
    case 1:
      return S::I1;
    case 8:
      return S::I8;
    case 16:
      return S::I16;
    case 32:
      return S::I32;
    case 64:
      return S::I64;
    default:
      return failure();
    }
  if (type.isF32() || isa<Float4E2M1FNType>(type))
    return S::F32;
  if (type.isF64())
    return S::F64;
  if (type.isBF16())
    return S::BF16;
  if (type.isF16())
    return S::F16;
  if (isa<Float8E4M3FNType>(type))
    return target.hasE4M3 ? S::F8E4M3FN : S::I8;
  if (isa<Float8E8M0FNUType>(type))
    return S::I8;
  return failure();
}

Type Translator::tileOf(mlir::Type type) const {
  Scalar scalar = *scalarOf(getElementTypeOrSelf(type));
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    return Type::tile(scalar, tensor.getShape());
  return Type::tile(scalar);
}

/// Whether all operands and results that are no buffers have a type here.
bool Translator::checkTypes(Operation *op) {
  auto known = [&](mlir::Type type) {
    if (isa<MemRefType, tile::TableType>(type))
      return true;
    auto tensor = dyn_cast<RankedTensorType>(type);
    return (!tensor || tensor.hasStaticShape()) &&
           succeeded(scalarOf(getElementTypeOrSelf(type)));
  };
  return llvm::all_of(op->getOperandTypes(), known) &&
         llvm::all_of(op->getResultTypes(), known);
}

//===-- Values -----------------------------------------------------------===//

Value Translator::get(mlir::Value value) {
  Value is = values.lookup(value);
  if (!is) {
    f.fail("a value that was not translated");
    return is;
  }
  // Accumulators of products may be larger than they look.
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  if (!tensor || ArrayRef<int64_t>(is.type.shape) == tensor.getShape())
    return is;
  return f.extract(is, ArrayRef<int64_t>(Dims(tensor.getRank(), 0)),
                   tensor.getShape());
}

Value Translator::shifted(Op op, const Value &x, int64_t by) {
  Attributes a;
  a.sign = Signedness::Unsigned;
  return f.binary(op, x, splatLike(x, by), a);
}

Value Translator::masked(const Value &x, int64_t mask) {
  return f.binary(Op::AndI, x, splatLike(x, mask));
}

LogicalResult Translator::refuse(Operation *op, const Twine &why) {
  return op->emitError() << "unsupported on " << target.name << ": "
                         << op->getName() << ": " << why;
}

//===-- The kernel -------------------------------------------------------===//

static Hints hintsOf(const Configuration &c) {
  std::map<std::string, HintValue> values;
  if (c.workerWarps)
    values["num_worker_warps_per_cta"] = {c.workerWarps, false};
  if (c.ctas)
    values["num_cta_in_cga"] = {c.ctas, false};
  if (c.occupancy)
    values["occupancy"] = {c.occupancy, false};
  Hints hints;
  if (!values.empty())
    hints["default"] = values;
  return hints;
}

static std::vector<Type> argumentTypes(tile::KernelOp kernel,
                                       const Target &target) {
  std::vector<Type> types;
  for (mlir::Type type : kernel.getArgumentTypes()) {
    Scalar pointee = S::I32; // a count
    if (isa<tile::TableType>(type))
      pointee = S::I64;
    if (auto buffer = dyn_cast<MemRefType>(type)) {
      mlir::Type element = buffer.getElementType();
      pointee = element.isF32()                         ? S::F32
                : element.isBF16()                      ? S::BF16
                : element.isF16()                       ? S::F16
                : element.isF64()                       ? S::F64
                : element.isIndex()                     ? S::I64
                : element.getIntOrFloatBitWidth() == 64 ? S::I64
                : element.getIntOrFloatBitWidth() == 32 ? S::I32
                : element.getIntOrFloatBitWidth() == 16 ? S::I16
                                                        : S::I8;
      if (isa<Float8E4M3FNType>(element) && target.hasE4M3)
        pointee = S::F8E4M3FN;
    }
    types.push_back(Type::tile(pointerTo(pointee)));
  }
  return types;
}

Translator::Translator(tile::KernelOp kernel, const Target &target,
                       Module &module, const Configuration &configuration)
    : kernel(kernel), target(target),
      f(module.entry(kernel.getSymName().str(), argumentTypes(kernel, target),
                     hintsOf(configuration))) {}

LogicalResult Translator::run() {
  Block &body = kernel.getBody().front();
  for (BlockArgument argument : body.getArguments()) {
    Value pointer =
        f.assumeDivBy(f.argument(argument.getArgNumber()), kPointerAlignment);
    if (!isa<IndexType>(argument.getType())) {
      set(argument, pointer);
      continue;
    }
    set(argument, f.assumeBounded(f.loadPtr(pointer).first, 0,
                                  std::numeric_limits<int32_t>::max()));
  }
  programIds = f.blockIds();
  for (mlir::Value root : writtenIn(kernel))
    tokens[root] = f.makeToken();
  makeViews();
  if (failed(block(body)))
    return failure();
  f.ret();
  return success();
}

LogicalResult Translator::block(Block &block) {
  for (Operation &op : block.without_terminator())
    if (failed(operation(&op)))
      return failure();
  return success();
}

LogicalResult Translator::operation(Operation *op) {
  if (!checkTypes(op))
    return refuse(op, "a type that has no translation");
  if (auto result = elementwise(op))
    return *result;
  if (auto result = math(op))
    return *result;
  if (auto result = shapes(op))
    return *result;
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](tile::ProgramIdOp id) {
        set(id, programIds[id.getAxis()]);
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

FailureOr<std::string> translateToCudaTile(ArrayRef<tile::KernelOp> kernels,
                                           const Target &target,
                                           const Configuration &configuration) {
  Module module("fathom");
  for (tile::KernelOp kernel : kernels)
    if (failed(Translator(kernel, target, module, configuration).run()))
      return failure();
  llvm::Expected<std::string> bytes = module.finish();
  if (bytes)
    return std::move(*bytes);
  std::string why = llvm::toString(bytes.takeError());
  if (kernels.empty())
    return failure();
  tile::KernelOp where = kernels.front();
  where.emitError() << "unsupported on " << target.name << ": " << why;
  return failure();
}

} // namespace fathom::nvidia
