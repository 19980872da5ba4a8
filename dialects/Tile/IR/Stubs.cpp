// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/Tile/IR/Tile.h"
using namespace mlir;
using namespace fathom::tile;
LogicalResult DotOp::verify() { return success(); }
LogicalResult DotScaledOp::verify() { return success(); }
LogicalResult ReduceOp::verify() { return success(); }
LogicalResult ScanOp::verify() { return success(); }
LogicalResult BroadcastOp::verify() { return success(); }
LogicalResult ReshapeOp::verify() { return success(); }
LogicalResult TransposeOp::verify() { return success(); }
LogicalResult IotaOp::verify() { return success(); }
LogicalResult DeinterleaveOp::verify() { return success(); }
LogicalResult InterleaveOp::verify() { return success(); }
LogicalResult UnpackFP4Op::verify() { return success(); }
LogicalResult PackFP4Op::verify() { return success(); }
LogicalResult KernelOp::verify() { return success(); }
LogicalResult SelectBufferOp::verify() { return success(); }
LogicalResult LoadOp::verify() { return success(); }
LogicalResult StoreOp::verify() { return success(); }
LogicalResult GatherOp::verify() { return success(); }
LogicalResult ScatterOp::verify() { return success(); }
LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &) { return success(); }
LogicalResult ReduceOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor adaptor, SmallVectorImpl<Type> &types) {
  auto t = cast<RankedTensorType>(adaptor.getX().getType());
  SmallVector<int64_t> shape(t.getShape());
  shape.erase(shape.begin() + adaptor.getDim());
  types.push_back(t.clone(shape));
  return success();
}
LogicalResult TransposeOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor adaptor, SmallVectorImpl<Type> &types) {
  auto t = cast<RankedTensorType>(adaptor.getX().getType());
  SmallVector<int64_t> shape;
  for (int64_t p : adaptor.getPermutation()) shape.push_back(t.getDimSize(p));
  types.push_back(t.clone(shape));
  return success();
}
LogicalResult DeinterleaveOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor adaptor, SmallVectorImpl<Type> &types) {
  auto t = cast<RankedTensorType>(adaptor.getX().getType());
  SmallVector<int64_t> shape(t.getShape());
  shape.back() /= 2;
  types.assign(2, t.clone(shape));
  return success();
}
LogicalResult InterleaveOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor adaptor, SmallVectorImpl<Type> &types) {
  auto t = cast<RankedTensorType>(adaptor.getEven().getType());
  SmallVector<int64_t> shape(t.getShape());
  shape.back() *= 2;
  types.push_back(t.clone(shape));
  return success();
}
