// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random tensors of a fixed seed, and steps of a ragged batch.
#ifndef FATHOM_TEST_UNIT_REFERENCE_RANDOM_H
#define FATHOM_TEST_UNIT_REFERENCE_RANDOM_H

#include "dialects/DSV4/Reference/Kernels/HostTensor.h"

#include <random>

namespace fathom::ref {

class Random {
public:
  explicit Random(unsigned seed) : engine(seed) {}

  HostTensor normal(DType dtype, std::vector<int64_t> shape,
                    float deviation = 1) {
    HostTensor tensor(dtype, std::move(shape));
    std::normal_distribution<float> distribution(0, deviation);
    for (int64_t i = 0; i < tensor.numElements(); ++i)
      tensor.store(i, distribution(engine));
    return tensor;
  }
  /// Raw bytes in [low, high]: codes and scales.
  HostTensor codes(DType dtype, std::vector<int64_t> shape, int low, int high) {
    HostTensor tensor(dtype, std::move(shape));
    for (uint8_t &byte : tensor.bytes)
      byte = uint8_t(low + int(engine() % unsigned(high - low + 1)));
    return tensor;
  }
  unsigned below(unsigned limit) { return engine() % limit; }

private:
  std::mt19937 engine;
};

/// `count` rows from `first` on.
inline HostTensor slice(const HostTensor &x, int64_t first, int64_t count) {
  HostTensor part(x.dtype, x.shape);
  part.shape[0] = count;
  int64_t rowBytes = x.rowElements() * elementBytes(x.dtype);
  part.bytes.assign(x.bytes.begin() + first * rowBytes,
                    x.bytes.begin() + (first + count) * rowBytes);
  return part;
}

/// positions first..first+count-1 of one slot.
struct Tokens {
  Tokens(int32_t first, int32_t count, int32_t slot) {
    std::vector<int32_t> p(count), s(count, slot);
    for (int32_t i = 0; i < count; ++i)
      p[i] = first + i;
    positions = HostTensor::fromInts({count}, p);
    slots = HostTensor::fromInts({count}, s);
  }
  HostTensor positions, slots;
};

} // namespace fathom::ref

#endif // FATHOM_TEST_UNIT_REFERENCE_RANDOM_H
