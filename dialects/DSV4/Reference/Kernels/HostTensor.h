// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A dense row-major tensor in host memory, the only value that the reference
// kernels pass around. Elements keep the format they are stored in; arithmetic
// happens in float or double and is rounded once when it is stored.
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_HOSTTENSOR_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_HOSTTENSOR_H

#include <cstdint>
#include <string>
#include <vector>

namespace fathom::ref {

/// Element formats. I8 is a plain byte; a tensor of packed e2m1 weights is an
/// I8 tensor whose last dimension counts bytes (two elements each).
enum class DType { F32, BF16, F8E4M3, F8E8M0, I8, I32, I64 };

/// Bytes of one element.
int64_t elementBytes(DType dtype);
/// "f32", "bf16", ...: for messages.
const char *dtypeName(DType dtype);
/// True for the formats that hold numbers read by HostTensor::load.
bool isFloat(DType dtype);

/// Rounds to the nearest value of `dtype` (F32 or BF16, ties to even) and
/// gives that value back as a float. This is the one rounding of a result.
float roundTo(DType dtype, float value);

struct HostTensor {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;

  HostTensor() = default;
  /// All-zero tensor.
  HostTensor(DType dtype, std::vector<int64_t> shape);

  /// `values.size()` must be the number of elements; values are rounded once.
  static HostTensor fromFloats(DType dtype, std::vector<int64_t> shape,
                               const std::vector<float> &values);
  static HostTensor fromInts(std::vector<int64_t> shape,
                             const std::vector<int32_t> &values);

  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  int64_t dim(int64_t axis) const { return shape[axis]; }
  int64_t numElements() const;
  /// Elements of one index of the leading dimension.
  int64_t rowElements() const;

  /// Element `index` of a float format (decoded) or of I32/I64/I8 (converted).
  float load(int64_t index) const;
  /// Element `index` of I8, I32 or I64.
  int64_t loadInt(int64_t index) const;
  /// Stores with one rounding to nearest even; F32, BF16 and F8E4M3 only.
  void store(int64_t index, float value);

  /// All elements as floats.
  std::vector<float> floats() const;
  /// All elements as 32-bit integers (I32 or I64 tensors).
  std::vector<int32_t> ints() const;
  /// `count` elements from `index` on.
  void loadRow(int64_t index, int64_t count, float *out) const;
  void storeRow(int64_t index, int64_t count, const float *values);

  bool operator==(const HostTensor &other) const {
    return dtype == other.dtype && shape == other.shape && bytes == other.bytes;
  }
};

/// "bf16[3x4]": for messages.
std::string describe(const HostTensor &tensor);

} // namespace fathom::ref

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_KERNELS_HOSTTENSOR_H
