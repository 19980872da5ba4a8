// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/Passes.h"
#include "dialects/Tile/IR/Tile.h"

#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace fathom::cpu {
#define GEN_PASS_DEF_TILETOLINALGPASS
#include "codegen/CPU/Passes.h.inc"
} // namespace fathom::cpu

using namespace mlir;
using namespace fathom;

static Value empty(OpBuilder &b, Location loc, RankedTensorType type) {
  return tensor::EmptyOp::create(b, loc, type.getShape(),
                                 type.getElementType());
}

/// A generic over the result's shape; `maps` are those of the inputs.
static linalg::GenericOp
generic(OpBuilder &b, Location loc, RankedTensorType type, ValueRange inputs,
        SmallVector<AffineMap> maps,
        function_ref<Value(OpBuilder &, ValueRange)> body) {
  maps.push_back(b.getMultiDimIdentityMap(type.getRank()));
  SmallVector<utils::IteratorType> iterators(type.getRank(),
                                             utils::IteratorType::parallel);
  return linalg::GenericOp::create(
      b, loc, TypeRange{type}, inputs, ValueRange{empty(b, loc, type)}, maps,
      iterators, [&](OpBuilder &inner, Location at, ValueRange args) {
        linalg::YieldOp::create(inner, at, body(inner, args));
      });
}

static Value firstArgument(OpBuilder &, ValueRange args) {
  return args.front();
}

namespace {
struct Broadcast : OpRewritePattern<tile::BroadcastOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tile::BroadcastOp op,
                                PatternRewriter &b) const override {
    auto type = cast<RankedTensorType>(op.getResult().getType());
    SmallVector<AffineExpr> exprs;
    for (int64_t d = 0; d < type.getRank(); ++d)
      if (!llvm::is_contained(op.getDims(), d))
        exprs.push_back(b.getAffineDimExpr(d));
    AffineMap map = AffineMap::get(type.getRank(), 0, exprs, b.getContext());
    b.replaceOp(op,
                generic(b, op.getLoc(), type, op.getX(), {map}, firstArgument));
    return success();
  }
};

struct Transpose : OpRewritePattern<tile::TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tile::TransposeOp op,
                                PatternRewriter &b) const override {
    auto type = cast<RankedTensorType>(op.getResult().getType());
    SmallVector<AffineExpr> exprs(type.getRank());
    for (auto [result, operand] : llvm::enumerate(op.getPermutation()))
      exprs[operand] = b.getAffineDimExpr(result);
    AffineMap map = AffineMap::get(type.getRank(), 0, exprs, b.getContext());
    b.replaceOp(op,
                generic(b, op.getLoc(), type, op.getX(), {map}, firstArgument));
    return success();
  }
};

struct Iota : OpRewritePattern<tile::IotaOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tile::IotaOp op,
                                PatternRewriter &b) const override {
    auto type = cast<RankedTensorType>(op.getResult().getType());
    auto body = [&](OpBuilder &inner, ValueRange) -> Value {
      Value i = linalg::IndexOp::create(inner, op.getLoc(), 0);
      return arith::IndexCastOp::create(inner, op.getLoc(),
                                        type.getElementType(), i);
    };
    b.replaceOp(op, generic(b, op.getLoc(), type, {}, {}, body));
    return success();
  }
};

/// A scalar repeated: the scalar is captured by the body.
struct Splat : OpRewritePattern<tensor::SplatOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tensor::SplatOp op,
                                PatternRewriter &b) const override {
    auto body = [&](OpBuilder &, ValueRange) -> Value { return op.getInput(); };
    b.replaceOp(op, generic(b, op.getLoc(), op.getType(), {}, {}, body));
    return success();
  }
};

/// How the longer of two shapes goes into the shorter one, if they differ in
/// dimensions of one alone: then a view of rows that lie apart stays one.
static std::optional<SmallVector<ReassociationIndices>>
onesApart(ArrayRef<int64_t> longer, ArrayRef<int64_t> shorter) {
  SmallVector<ReassociationIndices> groups(shorter.size());
  size_t at = 0;
  for (auto [i, size] : llvm::enumerate(longer)) {
    if (at < shorter.size() && size == shorter[at])
      groups[at++].push_back(i);
    else if (size == 1 && at > 0)
      groups[at - 1].push_back(i);
    else
      return std::nullopt;
  }
  if (at != shorter.size())
    return std::nullopt;
  return groups;
}

/// Through one dimension: row-major order is all that counts.
struct Reshape : OpRewritePattern<tile::ReshapeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tile::ReshapeOp op,
                                PatternRewriter &b) const override {
    auto from = cast<RankedTensorType>(op.getX().getType());
    auto to = cast<RankedTensorType>(op.getResult().getType());
    auto all = [](int64_t rank) {
      return SmallVector<ReassociationIndices>{
          llvm::to_vector(llvm::seq<int64_t>(0, rank))};
    };
    if (from.getRank() > to.getRank() && to.getRank() > 0)
      if (auto groups = onesApart(from.getShape(), to.getShape())) {
        b.replaceOpWithNewOp<tensor::CollapseShapeOp>(op, to, op.getX(),
                                                      *groups);
        return success();
      }
    if (from.getRank() < to.getRank() && from.getRank() > 0)
      if (auto groups = onesApart(to.getShape(), from.getShape())) {
        b.replaceOpWithNewOp<tensor::ExpandShapeOp>(op, to, op.getX(), *groups);
        return success();
      }
    Value flat = op.getX();
    auto flatType =
        RankedTensorType::get({from.getNumElements()}, from.getElementType());
    if (from.getRank() == 0)
      flat = tensor::ExpandShapeOp::create(b, op.getLoc(), flatType, flat,
                                           ArrayRef<ReassociationIndices>{});
    else if (from.getRank() > 1)
      flat = tensor::CollapseShapeOp::create(b, op.getLoc(), flatType, flat,
                                             all(from.getRank()));
    if (to.getRank() == 0)
      flat = tensor::CollapseShapeOp::create(b, op.getLoc(), to, flat,
                                             ArrayRef<ReassociationIndices>{});
    else if (to.getRank() > 1)
      flat = tensor::ExpandShapeOp::create(b, op.getLoc(), to, flat,
                                           all(to.getRank()));
    b.replaceOp(op, flat);
    return success();
  }
};
} // namespace

/// Cheaper to compute again than to keep: at most a few integer or add/compare
/// steps an element.
static bool isCheap(Operation *op) {
  return isa<tile::BroadcastOp, tile::IotaOp, tensor::SplatOp, arith::CmpIOp,
             arith::CmpFOp, arith::AddIOp, arith::SubIOp, arith::AndIOp,
             arith::OrIOp, arith::ExtUIOp, arith::ExtSIOp, arith::IndexCastOp>(
      op);
}

/// Gives every user of a cheap tile its own copy, so that it fuses into each.
static void duplicateCheapTiles(ModuleOp module) {
  SmallVector<Operation *> cheap;
  module.walk([&](Operation *op) {
    if (op->getNumResults() == 1 &&
        isa<RankedTensorType>(op->getResult(0).getType()) && isCheap(op))
      cheap.push_back(op);
  });
  for (Operation *op : llvm::reverse(cheap)) { // users before producers
    SmallVector<OpOperand *> uses;
    for (OpOperand &use : op->getUses())
      uses.push_back(&use);
    if (uses.size() < 2)
      continue;
    for (OpOperand *use : llvm::drop_begin(uses)) {
      OpBuilder b(op);
      use->set(b.clone(*op)->getResult(0));
    }
  }
}

/// Whether the operand's last dimension is not the loops' last one, but goes
/// along another: to go along the last loop is then to go across rows.
static bool isTransposed(linalg::GenericOp op, OpOperand &operand) {
  AffineMap map = op.getMatchingIndexingMap(&operand);
  unsigned rank = map.getNumDims();
  return map.getNumResults() > 1 && rank > 1 &&
         map.getResult(map.getNumResults() - 1) !=
             getAffineDimExpr(rank - 1, op.getContext()) &&
         map.isFunctionOfDim(rank - 1);
}

/// Fuse unless the consumer's larger space would repeat costly work. What is
/// transposed stays by itself: alone it has good code.
static bool shouldFuse(OpOperand *operand) {
  auto producer = operand->get().getDefiningOp<linalg::GenericOp>();
  auto consumer = dyn_cast<linalg::GenericOp>(operand->getOwner());
  if (!producer || !consumer || !producer->hasOneUse() ||
      isTransposed(consumer, *operand) ||
      llvm::any_of(producer->getOpOperands(), [&](OpOperand &from) {
        return producer.isDpsInput(&from) && isTransposed(producer, from);
      }))
    return false;
  auto elements = [](linalg::GenericOp op) {
    return cast<RankedTensorType>(op.getResultTypes()[0]).getNumElements();
  };
  if (elements(producer) >= elements(consumer))
    return true;
  int64_t work = 0;
  for (Operation &op : producer.getBody()->without_terminator()) {
    if (op.getDialect()->getNamespace() == "math" ||
        isa<arith::DivFOp, arith::TruncFOp>(op))
      return false;
    ++work;
  }
  return work <= 2;
}

/// Constants that no generic absorbed: filled where they are used, since a
/// global of zeros would be copied each time.
static void fillConstants(ModuleOp module) {
  SmallVector<arith::ConstantOp> constants;
  module.walk([&](arith::ConstantOp op) {
    auto type = dyn_cast<RankedTensorType>(op.getType());
    if (type && isa<SplatElementsAttr>(op.getValue()))
      constants.push_back(op);
  });
  for (arith::ConstantOp op : constants) {
    auto type = cast<RankedTensorType>(op.getType());
    auto value = cast<TypedAttr>(
        cast<SplatElementsAttr>(op.getValue()).getSplatValue<Attribute>());
    for (OpOperand &use : llvm::make_early_inc_range(op->getUses())) {
      OpBuilder b(use.getOwner());
      Value scalar = arith::ConstantOp::create(b, op.getLoc(), value);
      Value init = empty(b, op.getLoc(), type);
      use.set(
          linalg::FillOp::create(b, op.getLoc(), scalar, init).getResult(0));
    }
    op.erase();
  }
}

/// convert-elementwise-to-linalg writes into an operand of the same type; a
/// fresh destination leaves the choice to bufferisation.
static void freshDestinations(ModuleOp module) {
  module.walk([](linalg::GenericOp op) {
    OpBuilder b(op);
    for (OpOperand &init : op.getDpsInitsMutable())
      if (!op.payloadUsesValueFromOperand(&init) &&
          !init.get().getDefiningOp<tensor::EmptyOp>())
        init.set(empty(b, op.getLoc(),
                       cast<RankedTensorType>(init.get().getType())));
  });
}

/// Activations that come as codes become bf16, which holds the products of
/// codes and scales, but rounds a code with a scale near 2^-127; then they are
/// like any others.
static void decodeActivations(ModuleOp module) {
  module.walk([](tile::DotScaledOp op) {
    if (!op.getXScale())
      return;
    OpBuilder b(op);
    Location loc = op.getLoc();
    auto codes = cast<RankedTensorType>(op.getX().getType());
    auto scales = cast<RankedTensorType>(op.getXScale().getType());
    auto f32 = codes.clone(b.getF32Type());
    int64_t rows = codes.getDimSize(0), columns = scales.getDimSize(1);
    Value x = arith::ExtFOp::create(b, loc, f32, op.getX());
    Value scale = arith::ExtFOp::create(b, loc, scales.clone(b.getF32Type()),
                                        op.getXScale());
    scale = tile::BroadcastOp::create(
        b, loc, f32.clone({rows, columns, codes.getDimSize(1) / columns}),
        scale, ArrayRef<int64_t>{2});
    scale = tile::ReshapeOp::create(b, loc, f32, scale);
    x = arith::MulFOp::create(b, loc, x, scale);
    x = arith::TruncFOp::create(b, loc, codes.clone(b.getBF16Type()), x);
    op.getXMutable().assign(x);
    op.getXScaleMutable().clear();
  });
}

namespace {
struct TileToLinalg : cpu::impl::TileToLinalgPassBase<TileToLinalg> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    decodeActivations(module);
    duplicateCheapTiles(module);
    RewritePatternSet convert(&getContext());
    convert.add<Broadcast, Transpose, Iota, Splat, Reshape>(&getContext());
    linalg::populateElementwiseToLinalgConversionPatterns(convert);
    // Folding off: it would merge constants and undo the duplication.
    GreedyRewriteConfig config;
    config.enableConstantCSE(false);
    if (failed(applyPatternsGreedily(module, std::move(convert), config)))
      return signalPassFailure();
    freshDestinations(module);
    RewritePatternSet fuse(&getContext());
    linalg::populateElementwiseOpsFusionPatterns(fuse, shouldFuse);
    if (failed(applyPatternsGreedily(module, std::move(fuse), config)))
      return signalPassFailure();
    fillConstants(module);
  }
};
} // namespace
