// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/DSV4ToTile/WeightTile.h"

#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;

namespace fathom {

std::string number(double v) {
  return std::to_string(llvm::bit_cast<uint64_t>(v));
}

KernelCache::KernelCache(ModuleOp module, bool check)
    : module(module), check(check) {
  for (auto kernel : module.getOps<tile::KernelOp>())
    ++names[kernel.getSymName()];
}

tile::KernelOp KernelCache::get(StringRef base, const std::string &params,
                                TypeRange arguments,
                                function_ref<void(KernelBuilder &)> write) {
  std::string key = (base + "|" + params + "|").str();
  llvm::raw_string_ostream os(key);
  for (Type t : arguments)
    os << t << ",";
  auto body = [&](OpBuilder &builder, StringRef name) {
    auto kernel =
        tile::KernelOp::create(builder, module.getLoc(), name,
                               builder.getFunctionType(arguments, TypeRange()));
    KernelBuilder k(kernel);
    write(k);
    tile::ReturnOp::create(k.b, k.loc);
    return kernel;
  };
  auto [it, fresh] = kernels.try_emplace(key);
  if (!fresh) {
    if (check) {
      OpBuilder detached(module.getContext());
      OwningOpRef<tile::KernelOp> again =
          body(detached, it->second.getSymName());
      if (!OperationEquivalence::isEquivalentTo(
              it->second, *again, OperationEquivalence::IgnoreLocations)) {
        inconsistent = true;
        module.emitError() << "kernel '" << it->second.getSymName()
                           << "' has two bodies under one name";
      }
    }
    return it->second;
  }
  std::string name = base.str();
  if (!params.empty())
    name += "_" + params;
  if (unsigned n = names[name]++)
    name += "_v" + std::to_string(n);
  auto builder = OpBuilder::atBlockBegin(module.getBody());
  return it->second = body(builder, name);
}

/// Weights become buffers where they are first used.
Value Lowering::buffer(Value tensor) {
  auto it = buffers.find(tensor);
  if (it != buffers.end())
    return it->second.memref;
  auto type = cast<RankedTensorType>(tensor.getType());
  auto memref = MemRefType::get(type.getShape(), type.getElementType());
  Value made;
  if (auto weight = tensor.getDefiningOp<dsv4::ParameterOp>()) {
    made = tile::WeightOp::create(b, loc(), memref, weight.getName());
  } else {
    auto stack = tensor.getDefiningOp<dsv4::StackedParameterOp>();
    assert(stack && "every other value is bound when its operation is lowered");
    auto one =
        MemRefType::get(type.getShape().drop_front(), type.getElementType());
    made = tile::WeightTableOp::create(
        b, loc(), tile::TableType::get(b.getContext(), type.getDimSize(0), one),
        stack.getName());
  }
  bind(tensor, made);
  return made;
}

Value Lowering::result(Value tensor, Value like) {
  auto it = buffers.find(tensor);
  if (it != buffers.end())
    return it->second.memref;
  auto type = cast<RankedTensorType>(tensor.getType());
  Value made = memref::AllocOp::create(
      b, loc(), MemRefType::get(type.getShape(), type.getElementType()),
      ValueRange(count(like)));
  bind(tensor, made, countsRows(like));
  return made;
}

Lowering::Activation Lowering::activation(Value tensor) {
  Value rows = buffer(tensor);
  return {rows, buffers.lookup(tensor).scales};
}

Lowering::Activation Lowering::activationSpace(Value like, int64_t multiple,
                                               int64_t width, Type carrier,
                                               std::optional<int64_t> block) {
  if (!block || !shapes.codes || shapes.chunk % *block != 0 ||
      width % shapes.chunk != 0)
    return {workspace(like, multiple, {width}, carrier), {}};
  return {workspace(like, multiple, {width}, b.getType<Float8E4M3FNType>()),
          workspace(like, multiple, {width / *block},
                    b.getType<Float8E8M0FNUType>())};
}

/// Whether every user is a product with a scaled weight that takes codes in
/// blocks of `block` channels.
static bool onlyProductsOfCodes(Value x, int64_t block) {
  auto groupsFit = [&](dsv4::GroupedLinearOp op) {
    auto weight = cast<RankedTensorType>(op.getWeight().getType());
    int64_t perByte = weight.getElementType().isInteger(8) ? 2 : 1;
    return weight.getDimSize(1) * perByte % block == 0;
  };
  return llvm::all_of(x.getUses(), [&](OpOperand &use) {
    return TypeSwitch<Operation *, bool>(use.getOwner())
        .Case([&](dsv4::LinearOp op) {
          return use.get() == op.getX() && op.getScale();
        })
        .Case([&](dsv4::GroupedLinearOp op) {
          return use.get() == op.getX() && op.getScale() && groupsFit(op);
        })
        .Case([&](dsv4::ExpertsOp op) {
          return use.get() == op.getX() && op.getS1() && op.getS3();
        })
        .Case([&](dsv4::YieldOp op) {
          auto group = cast<dsv4::FusedOp>(op->getParentOp());
          return onlyProductsOfCodes(group.getOutputs()[use.getOperandNumber()],
                                     block);
        })
        .Default([](Operation *) { return false; });
  });
}

bool Lowering::storesCodes(dsv4::FakeQuantizeOp op) const {
  int64_t width =
      cast<RankedTensorType>(op.getResult().getType()).getShape().back();
  return shapes.codes && quantisesChunks(op, width, shapes.chunk) &&
         width % shapes.chunk == 0 &&
         onlyProductsOfCodes(op.getResult(), shapes.chunk);
}

Lowering::Activation Lowering::quantised(dsv4::FakeQuantizeOp op, Value like) {
  Value x = op.getResult();
  if (!buffers.contains(x) && storesCodes(op)) {
    auto type = cast<RankedTensorType>(x.getType());
    SmallVector<int64_t> shape(type.getShape());
    auto alloc = [&](Type element) -> Value {
      return memref::AllocOp::create(b, loc(), MemRefType::get(shape, element),
                                     ValueRange(count(like)));
    };
    bind(x, alloc(b.getType<Float8E4M3FNType>()), countsRows(like));
    shape.back() /= int64_t(op.getBlock());
    buffers[x].scales = alloc(b.getType<Float8E8M0FNUType>());
  }
  Value rows = result(x, like);
  return {rows, buffers.lookup(x).scales};
}

Value Lowering::workspace(Value like, int64_t multiple, Shape shape,
                          Type element) {
  Value size = count(like);
  if (multiple != 1)
    size = arith::MulIOp::create(
        b, loc(), size, arith::ConstantIndexOp::create(b, loc(), multiple));
  SmallVector<int64_t> dims{ShapedType::kDynamic};
  dims.append(shape.begin(), shape.end());
  return memref::AllocOp::create(b, loc(), MemRefType::get(dims, element),
                                 size);
}

Value Lowering::collapse(Value memref, ArrayRef<ReassociationIndices> groups) {
  return memref::CollapseShapeOp::create(b, loc(), memref, groups);
}

Value Lowering::flat(Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  ReassociationIndices all;
  for (int64_t i = 0; i < type.getRank(); ++i)
    all.push_back(i);
  return collapse(memref, {all});
}

/// [T, X] (or [T, a, b] with a*b = product of inner) seen as [T, inner...].
Value Lowering::expand(Value memref, Shape inner) {
  auto type = cast<MemRefType>(memref.getType());
  if (type.getRank() > 2) {
    ReassociationIndices rest;
    for (int64_t i = 1; i < type.getRank(); ++i)
      rest.push_back(i);
    memref = collapse(memref, {{0}, rest});
    type = cast<MemRefType>(memref.getType());
  }
  if (inner.size() == 1)
    return memref;
  ReassociationIndices rest;
  for (size_t i = 0; i < inner.size(); ++i)
    rest.push_back(i + 1);
  SmallVector<int64_t> dims{ShapedType::kDynamic};
  dims.append(inner.begin(), inner.end());
  SmallVector<OpFoldResult> sizes;
  sizes.push_back(memref::DimOp::create(b, loc(), memref, 0).getResult());
  for (int64_t d : inner)
    sizes.push_back(b.getIndexAttr(d));
  return memref::ExpandShapeOp::create(
      b, loc(), MemRefType::get(dims, type.getElementType()), memref,
      SmallVector<ReassociationIndices>{{0}, rest}, sizes);
}

Value Lowering::cache(Value argument, StringRef component, Type element,
                      int64_t width) {
  auto block = cast<BlockArgument>(argument);
  auto func = cast<func::FuncOp>(block.getOwner()->getParentOp());
  auto name = func.getArgAttrOfType<StringAttr>(block.getArgNumber(),
                                                dsv4::kCacheNameAttr);
  return tile::CacheOp::create(
      b, loc(), MemRefType::get({ShapedType::kDynamic, width}, element),
      name.getValue(), component);
}

void Lowering::launch(tile::KernelOp kernel, const Grid &grid,
                      ValueRange operands) {
  MLIRContext *ctx = b.getContext();
  AffineExpr n = getAffineDimExpr(countsRows(grid.like) ? 1 : 0, ctx);
  AffineExpr programs = n.ceilDiv(uint64_t(grid.perProgram)) * grid.multiply;
  SmallVector<AffineExpr> axes;
  int other = 0;
  for (int axis = 0; axis < 3; ++axis)
    axes.push_back(axis == grid.tokenAxis
                       ? programs
                       : getAffineConstantExpr(grid.others[other++], ctx));
  tile::LaunchOp::create(b, loc(), kernel.getSymName(),
                         AffineMap::get(2, 0, axes, ctx), operands);
  ++launches;
}

LogicalResult Lowering::lowerMembers(dsv4::FusedOp group) {
  for (Operation &op : group.members())
    if (failed(lower(&op)))
      return failure();
  return success();
}

/// What a group yields and what it is known as outside are one buffer.
LogicalResult Lowering::lowerGroup(dsv4::FusedOp group) {
  for (auto [value, result] : llvm::zip(group.yielded(), group.getOutputs()))
    if (auto it = buffers.find(result); it != buffers.end())
      bind(value, it->second.memref, it->second.rows);
  if (!lowerFused(*this, group) && failed(lowerMembers(group)))
    return failure();
  for (auto [value, result] : llvm::zip(group.yielded(), group.getOutputs())) {
    buffer(value);
    buffers[result] = buffers.lookup(value);
  }
  return success();
}

LogicalResult Lowering::lower(Operation *op) {
  llvm::SaveAndRestore place(location, op->getLoc());
  return TypeSwitch<Operation *, LogicalResult>(op)
      .Case<dsv4::FusedOp>([&](auto group) { return lowerGroup(group); })
      .Case<dsv4::ParameterOp, dsv4::StackedParameterOp>(
          [](auto) { return success(); })
#define FATHOM_LOWER(NAME)                                                     \
  .Case<dsv4::NAME##Op>([&](auto o) {                                          \
    lower##NAME(*this, o);                                                     \
    return success();                                                          \
  })
          FATHOM_LOWER(Embed) FATHOM_LOWER(SelectRows) FATHOM_LOWER(RMSNorm)
              FATHOM_LOWER(HeadNorm) FATHOM_LOWER(Scale) FATHOM_LOWER(
                  AddStreams) FATHOM_LOWER(SwiGLU) FATHOM_LOWER(MoECombine)
                  FATHOM_LOWER(RopeTable) FATHOM_LOWER(Rope) FATHOM_LOWER(
                      Hadamard) FATHOM_LOWER(FakeQuantize) FATHOM_LOWER(Linear)
                      FATHOM_LOWER(GroupedLinear) FATHOM_LOWER(
                          Gate) FATHOM_LOWER(HCExpand) FATHOM_LOWER(HCPre)
                          FATHOM_LOWER(HCPost) FATHOM_LOWER(HCHead)
                              FATHOM_LOWER(WindowInsert) FATHOM_LOWER(
                                  CompressedInsert) FATHOM_LOWER(CompressPool)
                                  FATHOM_LOWER(StateUpdate)
                                      FATHOM_LOWER(IndexScores)
                                          FATHOM_LOWER(SelectTopK)
                                              FATHOM_LOWER(Attention)
                                                  FATHOM_LOWER(RouteTopK)
                                                      FATHOM_LOWER(RouteHash)
                                                          FATHOM_LOWER(Experts)
#undef FATHOM_LOWER
      .Default([](Operation *o) {
        return o->emitError("has no lowering to tile programs");
      });
}

} // namespace fathom
