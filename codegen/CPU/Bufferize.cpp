// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One-shot bufferisation of kernels, and what it must know about tile
// operations. A tile operation's `bufferize` writes its loops right away.
#include "codegen/CPU/Emit.h"
#include "codegen/CPU/MicroKernels.h"
#include "dialects/Tile/IR/Tile.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/Transforms/FuncBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/Transforms.h"
#include "mlir/Dialect/Linalg/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_BUFFERIZEPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;
using namespace mlir::bufferization;
using namespace fathom;
using namespace fathom::cpu;

/// The level is an attribute on the module while its kernels are bufferised.
static constexpr StringLiteral kIsaAttr = "fathom.isa";

static Target targetOf(Operation *op) {
  auto isa =
      op->getParentOfType<ModuleOp>()->getAttrOfType<StringAttr>(kIsaAttr);
  Target target;
  if (isa)
    target.level = levelOf(isa.getValue()).value_or(Level::V3);
  return target;
}

namespace {
/// Operands are read, the result is a new buffer (or there is none).
template <typename Model, typename Op>
struct TileModel : BufferizableOpInterface::ExternalModel<Model, Op> {
  bool bufferizesToAllocation(Operation *, Value) const { return true; }
  bool bufferizesToMemoryRead(Operation *, OpOperand &,
                              const AnalysisState &) const {
    return true;
  }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &,
                               const AnalysisState &) const {
    return false;
  }
  AliasingValueList getAliasingValues(Operation *, OpOperand &,
                                      const AnalysisState &) const {
    return {};
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    Emit e{rewriter, op->getLoc()};
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      if (isa<TensorType>(operand.getType())) {
        FailureOr<Value> buffer = getBuffer(rewriter, operand, options, state);
        if (failed(buffer))
          return failure();
        operand = e.withWholeRows(*buffer);
      }
      operands.push_back(operand);
    }
    SmallVector<Value> results;
    for (Type type : op->getResultTypes()) {
      auto tensor = cast<RankedTensorType>(type);
      results.push_back(e.alloc(tensor.getShape(), tensor.getElementType()));
    }
    if (failed(Model::expand(e, cast<Op>(op), operands, results)))
      return failure();
    replaceOpWithBufferizedValues(rewriter, op, results);
    return success();
  }
};

#define FATHOM_TILE_MODEL(OP)                                                  \
  struct OP##Model : TileModel<OP##Model, tile::OP> {                          \
    static LogicalResult expand(Emit &e, tile::OP op,                          \
                                ArrayRef<Value> operands,                      \
                                ArrayRef<Value> results) {                     \
      return expandOp(e, op, operands, results);                               \
    }                                                                          \
  };
FATHOM_TILE_MODEL(StoreOp)
FATHOM_TILE_MODEL(GatherOp)
FATHOM_TILE_MODEL(GatherScaledOp)
FATHOM_TILE_MODEL(ScatterOp)
FATHOM_TILE_MODEL(ReduceOp)
FATHOM_TILE_MODEL(ScanOp)
FATHOM_TILE_MODEL(InterleaveOp)
FATHOM_TILE_MODEL(DeinterleaveOp)
FATHOM_TILE_MODEL(UnpackFP4Op)
FATHOM_TILE_MODEL(PackFP4Op)
#undef FATHOM_TILE_MODEL

static LogicalResult expand(Emit &e, tile::DotOp op, Buffers operands,
                            Value columns) {
  Emit::Part some;
  if (op.getTo()) {
    int64_t rows = cast<MemRefType>(operands[0].getType()).getDimSize(0);
    some = {e.clamp(op.getFrom(), rows), e.clamp(op.getTo(), rows)};
  }
  return expandOp(e, op, targetOf(op), operands, columns, some);
}

static LogicalResult expand(Emit &e, tile::DotScaledOp op, Buffers operands,
                            Value columns) {
  return expandOp(e, op, targetOf(op), operands, columns);
}

/// The accumulator is updated in place.
template <typename Op>
struct DotModel : BufferizableOpInterface::ExternalModel<DotModel<Op>, Op> {
  static bool isAcc(Operation *op, OpOperand &operand) {
    return &operand == &cast<Op>(op).getAccMutable();
  }
  bool bufferizesToMemoryRead(Operation *, OpOperand &,
                              const AnalysisState &) const {
    return true;
  }
  bool bufferizesToMemoryWrite(Operation *op, OpOperand &operand,
                               const AnalysisState &) const {
    return isAcc(op, operand);
  }
  AliasingValueList getAliasingValues(Operation *op, OpOperand &operand,
                                      const AnalysisState &) const {
    if (isAcc(op, operand))
      return {{op->getResult(0), BufferRelation::Equivalent}};
    return {};
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto dot = cast<Op>(op);
    Emit e{rewriter, op->getLoc()};
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      if (!isa<TensorType>(operand.getType())) // how much is asked for
        continue;
      FailureOr<Value> buffer = getBuffer(rewriter, operand, options, state);
      if (failed(buffer))
        return failure();
      operands.push_back(*buffer);
    }
    Value result = operands.back();
    for (Value &operand : operands)
      operand = e.withWholeRows(operand);
    Value acc = operands.back(), columns = dot.getColumns();
    if (columns)
      columns = e.clamp(columns, cast<MemRefType>(acc.getType()).getDimSize(1));
    if (failed(expand(e, dot, operands, columns)))
      return failure();
    if (acc != result) // whose elements lie apart
      memref::CopyOp::create(rewriter, op->getLoc(), acc, result);
    replaceOpWithBufferizedValues(rewriter, op, result);
    return success();
  }
};

/// Without bounds a view of the kernel's argument (never written, since a
/// kernel does not write what it reads); with bounds a zero-padded copy, or
/// where all lies inside a view, too.
struct LoadModel
    : BufferizableOpInterface::ExternalModel<LoadModel, tile::LoadOp> {
  bool bufferizesToAllocation(Operation *op, Value) const {
    return !maybeView(cast<tile::LoadOp>(op));
  }
  bool bufferizesToMemoryRead(Operation *, OpOperand &,
                              const AnalysisState &) const {
    return false;
  }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &,
                               const AnalysisState &) const {
    return false;
  }
  AliasingValueList getAliasingValues(Operation *, OpOperand &,
                                      const AnalysisState &) const {
    return {};
  }
  bool isWritable(Operation *op, Value, const AnalysisState &) const {
    return !maybeView(cast<tile::LoadOp>(op));
  }
  FailureOr<BufferLikeType> getBufferType(Operation *op, Value,
                                          const BufferizationOptions &,
                                          const BufferizationState &,
                                          SmallVector<Value> &) const {
    return cast<BufferLikeType>(Type(viewType(cast<tile::LoadOp>(op))));
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &,
                          BufferizationState &) const {
    auto load = cast<tile::LoadOp>(op);
    Emit e{rewriter, op->getLoc()};
    Value buffer = expandLoad(e, load);
    replaceOpWithBufferizedValues(rewriter, op, buffer);
    return success();
  }
};
} // namespace

void fathom::cpu::registerTileBufferization(DialectRegistry &registry) {
  arith::registerBufferizableOpInterfaceExternalModels(registry);
  func_ext::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerBufferizableOpInterfaceExternalModels(registry);
  scf::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerBufferizableOpInterfaceExternalModels(registry);
  registry.addExtension(+[](MLIRContext *context, tile::TileDialect *) {
    tile::LoadOp::attachInterface<LoadModel>(*context);
    tile::StoreOp::attachInterface<StoreOpModel>(*context);
    tile::GatherOp::attachInterface<GatherOpModel>(*context);
    tile::GatherScaledOp::attachInterface<GatherScaledOpModel>(*context);
    tile::ScatterOp::attachInterface<ScatterOpModel>(*context);
    tile::ReduceOp::attachInterface<ReduceOpModel>(*context);
    tile::ScanOp::attachInterface<ScanOpModel>(*context);
    tile::InterleaveOp::attachInterface<InterleaveOpModel>(*context);
    tile::DeinterleaveOp::attachInterface<DeinterleaveOpModel>(*context);
    tile::UnpackFP4Op::attachInterface<UnpackFP4OpModel>(*context);
    tile::PackFP4Op::attachInterface<PackFP4OpModel>(*context);
    tile::DotOp::attachInterface<DotModel<tile::DotOp>>(*context);
    tile::DotScaledOp::attachInterface<DotModel<tile::DotScaledOp>>(*context);
  });
}

namespace {
struct Bufferize : cpu::impl::BufferizePassBase<Bufferize> {
  using BufferizePassBase::BufferizePassBase;
  void runOnOperation() override {
    ModuleOp module = getOperation();
    module->setAttr(kIsaAttr, StringAttr::get(&getContext(), isa));
    OneShotBufferizationOptions options;
    options.bufferAlignment = 0; // the scratch arena aligns
    BufferizationState state;
    for (auto func : module.getOps<func::FuncOp>())
      if (failed(runOneShotBufferize(func, options, state)))
        return signalPassFailure();
    module->removeAttr(kIsaAttr);
  }
};
} // namespace
