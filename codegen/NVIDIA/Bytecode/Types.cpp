// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/Bytecode/Types.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace llvm;

namespace fathom::cudatile {

unsigned bitsOf(Scalar scalar) {
  switch (scalar) {
  case Scalar::I1:
    return 1;
  case Scalar::I4:
  case Scalar::F4E2M1FN:
    return 4;
  case Scalar::I8:
  case Scalar::F8E4M3FN:
  case Scalar::F8E5M2:
  case Scalar::F8E8M0FNU:
    return 8;
  case Scalar::I16:
  case Scalar::F16:
  case Scalar::BF16:
    return 16;
  case Scalar::I32:
  case Scalar::F32:
  case Scalar::TF32:
    return 32;
  case Scalar::I64:
  case Scalar::F64:
    return 64;
  }
  return 0;
}

bool isFloat(Scalar scalar) {
  switch (scalar) {
  case Scalar::I1:
  case Scalar::I4:
  case Scalar::I8:
  case Scalar::I16:
  case Scalar::I32:
  case Scalar::I64:
    return false;
  default:
    return true;
  }
}

const char *nameOf(Scalar scalar) {
  switch (scalar) {
  case Scalar::I1:
    return "i1";
  case Scalar::I4:
    return "i4";
  case Scalar::I8:
    return "i8";
  case Scalar::I16:
    return "i16";
  case Scalar::I32:
    return "i32";
  case Scalar::I64:
    return "i64";
  case Scalar::F16:
    return "f16";
  case Scalar::BF16:
    return "bf16";
  case Scalar::F32:
    return "f32";
  case Scalar::TF32:
    return "tf32";
  case Scalar::F64:
    return "f64";
  case Scalar::F8E4M3FN:
    return "f8E4M3FN";
  case Scalar::F8E5M2:
    return "f8E5M2";
  case Scalar::F8E8M0FNU:
    return "f8E8M0FNU";
  case Scalar::F4E2M1FN:
    return "f4E2M1FN";
  }
  return "?";
}

Type Type::token() {
  Type t;
  t.kind = Kind::Token;
  return t;
}

Type Type::tile(Element element, ArrayRef<int64_t> shape) {
  Type t;
  t.kind = Kind::Tile;
  t.element = element;
  t.shape.assign(shape.begin(), shape.end());
  return t;
}

Type Type::tensorView(Scalar element, ArrayRef<int64_t> shape,
                      ArrayRef<int64_t> strides) {
  Type t = tile(element, shape);
  t.kind = Kind::TensorView;
  t.strides.assign(strides.begin(), strides.end());
  return t;
}

static Type viewOf(Type::Kind kind, const Type &tensor, ArrayRef<int64_t> tile,
                   std::optional<Padding> padding) {
  Type t = Type::tile(tensor.element, tile);
  t.kind = kind;
  t.tensor = std::make_shared<const Type>(tensor);
  t.padding = padding;
  return t;
}

static void setDimMap(Type &t, ArrayRef<int32_t> dimMap) {
  t.dimMap.assign(dimMap.begin(), dimMap.end());
  if (!t.dimMap.empty())
    return;
  t.dimMap.resize(t.shape.size());
  std::iota(t.dimMap.begin(), t.dimMap.end(), 0);
}

Type Type::partitionView(const Type &tensor, ArrayRef<int64_t> tile,
                         std::optional<Padding> padding,
                         ArrayRef<int32_t> dimMap) {
  Type t = viewOf(Kind::PartitionView, tensor, tile, padding);
  setDimMap(t, dimMap);
  return t;
}

Type Type::gatherView(const Type &tensor, ArrayRef<int64_t> tile,
                      std::optional<Padding> padding, uint32_t sparseDim) {
  Type t = viewOf(Kind::GatherView, tensor, tile, padding);
  t.sparseDim = sparseDim;
  return t;
}

Type Type::stridedView(const Type &tensor, ArrayRef<int64_t> tile,
                       ArrayRef<int32_t> traversal,
                       std::optional<Padding> padding,
                       ArrayRef<int32_t> dimMap) {
  Type t = viewOf(Kind::StridedView, tensor, tile, padding);
  t.traversal.assign(traversal.begin(), traversal.end());
  setDimMap(t, dimMap);
  return t;
}

int64_t Type::elements() const {
  int64_t n = 1;
  for (int64_t d : shape)
    n *= d;
  return n;
}

/// Dimensions of a tile: powers of two, not too many elements.
static std::string checkTile(ArrayRef<int64_t> shape, Element element) {
  int64_t n = 1;
  for (int64_t d : shape) {
    if (d <= 0 || !isPowerOf2_64(d))
      return "a tile dimension of " + std::to_string(d) + " is no power of two";
    if (d > kMaxTileElements / n)
      return "a tile has more than 2^24 elements";
    n *= d;
  }
  if (!element.pointer && bitsOf(element.scalar) == 4 && n % 2)
    return "a tile of 4-bit elements has an odd number of them";
  return "";
}

std::string Type::check() const {
  switch (kind) {
  case Kind::None:
    return "a value without a type";
  case Kind::Token:
    return "";
  case Kind::Tile:
    return checkTile(shape, element);
  case Kind::TensorView:
    if (shape.size() != strides.size())
      return "a tensor view has as many strides as dimensions";
    if (element.scalar == Scalar::I1 || bitsOf(element.scalar) == 4)
      return std::string("no memory holds elements of type ") +
             nameOf(element.scalar);
    for (int64_t d : shape)
      if (d != kDynamic && d <= 0)
        return "a dimension of a tensor view is not positive";
    for (int64_t s : strides)
      if (s != kDynamic && s <= 0)
        return "a stride of a tensor view is not positive";
    return "";
  case Kind::PartitionView:
  case Kind::GatherView:
  case Kind::StridedView:
    break;
  }
  if (!tensor || tensor->kind != Kind::TensorView)
    return "a view of tiles is of a tensor view";
  if (std::string problem = tensor->check(); !problem.empty())
    return problem;
  if (shape.size() != tensor->shape.size())
    return "a tile of rank " + std::to_string(shape.size()) +
           " on a tensor view of rank " + std::to_string(tensor->shape.size());
  if (kind == Kind::GatherView && sparseDim >= shape.size())
    return "the sparse dimension is none of the tile's";
  if (kind != Kind::GatherView) {
    SmallVector<bool> seen(shape.size(), false);
    if (dimMap.size() != shape.size())
      return "a dimension map has an entry for each dimension";
    for (int32_t d : dimMap) {
      if (d < 0 || size_t(d) >= shape.size() || seen[d])
        return "a dimension map is no permutation";
      seen[d] = true;
    }
  }
  if (kind == Kind::StridedView) {
    if (traversal.size() != shape.size())
      return "a strided view has a traversal stride for each dimension";
    for (int32_t s : traversal)
      if (s <= 0)
        return "a traversal stride is not positive";
  }
  if (padding && *padding != Padding::Zero && !isFloat(element.scalar))
    return "this padding is for floating-point elements only";
  return checkTile(shape, element);
}

} // namespace fathom::cudatile
