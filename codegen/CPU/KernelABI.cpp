// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Passes.h"
#include "dialects/Tile/IR/Tile.h"

#include "mlir/Conversion/LLVMCommon/TypeConverter.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_KERNELABIPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;
using namespace fathom;

namespace {
/// Rebuilds a kernel's arguments from the five of CpuKernel.
struct Entry {
  OpBuilder b;
  Location loc;
  LLVMTypeConverter &types;

  Type pointer() { return LLVM::LLVMPointerType::get(b.getContext()); }
  Value constant(int64_t value) {
    return LLVM::ConstantOp::create(b, loc, b.getI64Type(),
                                    b.getI64IntegerAttr(value));
  }
  /// Element `index` (an i64 value or a constant) of an array of 8-byte words.
  Value word(Value array, LLVM::GEPArg index, Type type) {
    Value at = LLVM::GEPOp::create(b, loc, pointer(), b.getI64Type(), array,
                                   ArrayRef<LLVM::GEPArg>{index});
    return LLVM::LoadOp::create(b, loc, type, at);
  }
  /// A memref over a plain pointer. A dynamic leading size is not known here
  /// and never read; strides are static.
  Value buffer(Value base, MemRefType type) {
    auto [strides, offset] = type.getStridesAndOffset();
    Value desc = LLVM::PoisonOp::create(b, loc, types.convertType(type));
    auto set = [&](Value value, ArrayRef<int64_t> at) {
      desc = LLVM::InsertValueOp::create(b, loc, desc, value, at);
    };
    set(base, {0});
    set(base, {1});
    set(constant(0), {2});
    for (int64_t d = 0; d < type.getRank(); ++d) {
      set(constant(type.isDynamicDim(d) ? 0 : type.getDimSize(d)), {3, d});
      set(constant(strides[d]), {4, d});
    }
    return UnrealizedConversionCastOp::create(b, loc, TypeRange{type}, desc)
        .getResult(0);
  }
  Value index(Value i64) {
    return arith::IndexCastOp::create(b, loc, b.getIndexType(), i64);
  }
};
} // namespace

/// Rows are copied as vectors, which have eight bits of i1 in a byte; a buffer
/// has one.
static bool isOfBits(Type type) {
  if (auto table = dyn_cast<tile::TableType>(type))
    type = table.getBuffer();
  auto buffer = dyn_cast<MemRefType>(type);
  return buffer && buffer.getElementType().isInteger(1);
}

static LogicalResult check(func::FuncOp func) {
  WalkResult result = func.walk([](memref::DimOp op) {
    op.emitError("the size of a buffer is not passed to CPU kernels");
    return WalkResult::interrupt();
  });
  for (Type type : func.getArgumentTypes()) {
    if (isOfBits(type))
      return func.emitError("unsupported on the CPU: buffers of i1, as in an "
                            "argument of type ")
             << type;
    auto buffer = dyn_cast<MemRefType>(type);
    if (buffer && buffer.getLayout().isIdentity() &&
        llvm::none_of(buffer.getShape().drop_front(buffer.getRank() ? 1 : 0),
                      ShapedType::isDynamic))
      continue;
    if (!isa<IndexType, tile::TableType>(type))
      return func.emitError(
                 "no place in the kernel ABI for an argument of type ")
             << type;
  }
  return failure(result.wasInterrupted());
}

/// The words that a kernel calls another with are some of its own, `words`, in
/// an array of the call's. `e` is where the kernel begins.
static LogicalResult adoptCall(func::CallOp call, Entry &e, Value words,
                               Value scratch) {
  OpBuilder &b = e.b;
  int64_t given = call.getNumOperands() - 4;
  Value array = LLVM::AllocaOp::create(b, e.loc, e.pointer(), b.getI64Type(),
                                       e.constant(given));
  Entry here{OpBuilder(call), call.getLoc(), e.types};
  for (int64_t i = 0; i < given; ++i) {
    auto argument = dyn_cast<BlockArgument>(call.getOperand(i));
    if (!argument)
      return call.emitError("operand ")
             << i << " must be an argument of the kernel that calls";
    auto from = LLVM::GEPArg(static_cast<int32_t>(argument.getArgNumber()));
    Value to = LLVM::GEPOp::create(
        here.b, here.loc, here.pointer(), b.getI64Type(), array,
        ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(i)});
    LLVM::StoreOp::create(here.b, here.loc,
                          here.word(words, from, b.getI64Type()), to);
  }
  SmallVector<Value> operands{array};
  for (int axis = 0; axis < 3; ++axis)
    operands.push_back(arith::IndexCastOp::create(
        here.b, here.loc, b.getI64Type(), call.getOperand(given + axis)));
  operands.push_back(scratch);
  func::CallOp::create(here.b, here.loc, call.getCallee(), TypeRange(),
                       operands);
  call.erase();
  return success();
}

static LogicalResult adopt(func::FuncOp func, LLVMTypeConverter &types) {
  if (failed(check(func)))
    return failure();
  Entry e{OpBuilder(func), func.getLoc(), types};
  OpBuilder &b = e.b;
  Type i64 = b.getI64Type();
  SmallVector<Type> inputs{e.pointer(), i64, i64, i64, e.pointer()};
  if (func.isExternal()) {
    func.setFunctionType(b.getFunctionType(inputs, {}));
    return success();
  }
  Block &block = func.getBody().front();
  b.setInsertionPointToStart(&block);
  int64_t old = block.getNumArguments();
  for (Type type : inputs)
    block.addArgument(type, func.getLoc());
  auto fresh = [&](int64_t i) { return block.getArgument(old + i); };
  WalkResult walked = func.walk([&](func::CallOp call) {
    return WalkResult(adoptCall(call, e, fresh(0), fresh(4)));
  });
  if (walked.wasInterrupted())
    return failure();
  for (int64_t i = 0; i < old; ++i) {
    BlockArgument argument = block.getArgument(i);
    Value value;
    auto at = LLVM::GEPArg(static_cast<int32_t>(i));
    if (i == old - 1) // scratch
      value = e.buffer(fresh(4), cast<MemRefType>(argument.getType()));
    else if (i >= old - 4) // place in the grid
      value = e.index(fresh(1 + i - (old - 4)));
    else if (auto type = dyn_cast<MemRefType>(argument.getType()))
      value = e.buffer(e.word(fresh(0), at, e.pointer()), type);
    else if (isa<IndexType>(argument.getType()))
      value = e.index(e.word(fresh(0), at, i64));
    else
      value = e.word(fresh(0), at, e.pointer()); // a table
    if (isa<tile::TableType>(argument.getType())) {
      for (Operation *user : llvm::make_early_inc_range(argument.getUsers())) {
        auto select = dyn_cast<tile::SelectBufferOp>(user);
        if (!select)
          return user->emitError("a table is only read by select_buffer");
        Entry at{OpBuilder(select), select.getLoc(), types};
        Value number =
            arith::IndexCastOp::create(at.b, at.loc, i64, select.getIndex());
        Value base = at.word(value, number, at.pointer());
        select.replaceAllUsesWith(
            at.buffer(base, cast<MemRefType>(select.getType())));
        select.erase();
      }
      continue;
    }
    argument.replaceAllUsesWith(value);
  }
  block.eraseArguments(0, old);
  func.setFunctionType(b.getFunctionType(inputs, {}));
  func.removeArgAttrsAttr();
  return success();
}

namespace {
struct KernelABI : cpu::impl::KernelABIPassBase<KernelABI> {
  void runOnOperation() override {
    LLVMTypeConverter types(&getContext());
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (failed(adopt(func, types)))
        return signalPassFailure();
  }
};
} // namespace
