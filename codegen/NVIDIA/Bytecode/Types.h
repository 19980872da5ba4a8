// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Types and enumerations of CUDA Tile IR bytecode 13.3. Enumerators have the
// numbers of the format.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>

namespace fathom::cudatile {

enum class Scalar : uint8_t {
  I1 = 0,
  I8 = 1,
  I16 = 2,
  I32 = 3,
  I64 = 4,
  F16 = 5,
  BF16 = 6,
  F32 = 7,
  TF32 = 8,
  F64 = 9,
  F8E4M3FN = 10,
  F8E5M2 = 11,
  F8E8M0FNU = 18,
  F4E2M1FN = 19,
  I4 = 22
};
unsigned bitsOf(Scalar scalar);
bool isFloat(Scalar scalar);
/// "bf16"
const char *nameOf(Scalar scalar);

enum class Rounding : uint8_t {
  NearestEven = 0,
  Zero = 1,
  NegativeInfinity = 2,
  PositiveInfinity = 3,
  Approximate = 4,
  Full = 5,
  IntegerToZero = 6
};
enum class Comparison : uint8_t { EQ = 0, NE, LT, LE, GT, GE };
enum class Signedness : uint8_t { Unsigned = 0, Signed = 1 };
enum class Overflow : uint8_t { None = 0, NSW = 1, NUW = 2, Both = 3 };
enum class Order : uint8_t { Weak = 0, Relaxed, Acquire, Release, AcqRel };
enum class Scope : uint8_t { Block = 0, Device = 1, System = 2 };
enum class AtomicMode : uint8_t {
  And = 0,
  Or,
  Xor,
  Add,
  AddF,
  Max,
  Min,
  UMax,
  UMin,
  Exchange
};
enum class Padding : uint8_t {
  Zero = 0,
  NegativeZero,
  NaN,
  Infinity,
  NegativeInfinity
};

/// A dimension or stride that a value gives.
constexpr int64_t kDynamic = std::numeric_limits<int64_t>::min();
/// Elements that a tile may have.
constexpr int64_t kMaxTileElements = int64_t(1) << 24;

/// What a tile holds: a scalar, or a pointer to one.
struct Element {
  Scalar scalar = Scalar::I32;
  bool pointer = false;
  Element() = default;
  Element(Scalar scalar, bool pointer = false)
      : scalar(scalar), pointer(pointer) {}
  bool operator==(const Element &o) const {
    return scalar == o.scalar && pointer == o.pointer;
  }
};
inline Element pointerTo(Scalar scalar) { return {scalar, true}; }

struct Type {
  enum class Kind : uint8_t {
    None,
    Token,
    Tile,
    TensorView,
    PartitionView,
    GatherView,
    StridedView
  };
  Kind kind = Kind::None;
  Element element;                       // Tile, TensorView
  llvm::SmallVector<int64_t, 4> shape;   // Tile, TensorView; of a view: tile
  llvm::SmallVector<int64_t, 4> strides; // TensorView
  llvm::SmallVector<int32_t, 4> traversal, dimMap; // views of tiles
  std::shared_ptr<const Type> tensor;              // what such a view is of
  std::optional<Padding> padding;
  uint32_t sparseDim = 0;

  static Type token();
  static Type tile(Element element, llvm::ArrayRef<int64_t> shape = {});
  static Type tensorView(Scalar element, llvm::ArrayRef<int64_t> shape,
                         llvm::ArrayRef<int64_t> strides);
  /// Tile dimension i is dimension dimMap[i] of the view (identity if empty).
  static Type partitionView(const Type &tensor, llvm::ArrayRef<int64_t> tile,
                            std::optional<Padding> padding,
                            llvm::ArrayRef<int32_t> dimMap = {});
  static Type gatherView(const Type &tensor, llvm::ArrayRef<int64_t> tile,
                         std::optional<Padding> padding, uint32_t sparseDim);
  /// Tiles start at multiples of `traversal`: with ones, at any element.
  static Type stridedView(const Type &tensor, llvm::ArrayRef<int64_t> tile,
                          llvm::ArrayRef<int32_t> traversal,
                          std::optional<Padding> padding,
                          llvm::ArrayRef<int32_t> dimMap = {});

  bool isTile() const { return kind == Kind::Tile; }
  bool isTileView() const {
    return kind == Kind::PartitionView || kind == Kind::GatherView ||
           kind == Kind::StridedView;
  }
  int64_t elements() const;
  /// The same shape of another element, the same element in another shape.
  Type with(Element other) const { return tile(other, shape); }
  Type with(llvm::ArrayRef<int64_t> other) const {
    return tile(element, other);
  }
  /// Empty, or why the format cannot hold the type.
  std::string check() const;
};

} // namespace fathom::cudatile
