// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/Kernels/HostTensor.h"
#include "dialects/DSV4/Reference/Kernels/Codecs.h"

#include <cassert>
#include <cstring>

using namespace fathom::ref;

int64_t fathom::ref::elementBytes(DType dtype) {
  switch (dtype) {
  case DType::F32:
  case DType::I32:
    return 4;
  case DType::BF16:
    return 2;
  case DType::I64:
    return 8;
  case DType::F8E4M3:
  case DType::F8E8M0:
  case DType::I8:
    return 1;
  }
  return 0;
}

const char *fathom::ref::dtypeName(DType dtype) {
  switch (dtype) {
  case DType::F32:
    return "f32";
  case DType::BF16:
    return "bf16";
  case DType::F8E4M3:
    return "f8E4M3FN";
  case DType::F8E8M0:
    return "f8E8M0FNU";
  case DType::I8:
    return "i8";
  case DType::I32:
    return "i32";
  case DType::I64:
    return "i64";
  }
  return "unknown";
}

bool fathom::ref::isFloat(DType dtype) {
  return dtype == DType::F32 || dtype == DType::BF16 ||
         dtype == DType::F8E4M3 || dtype == DType::F8E8M0;
}

float fathom::ref::roundTo(DType dtype, float value) {
  assert(dtype == DType::F32 || dtype == DType::BF16);
  return dtype == DType::F32 ? value : decodeBF16(encodeBF16(value));
}

static int64_t product(const std::vector<int64_t> &shape, size_t from) {
  int64_t n = 1;
  for (size_t i = from; i < shape.size(); ++i)
    n *= shape[i];
  return n;
}

HostTensor::HostTensor(DType dtype, std::vector<int64_t> dims)
    : dtype(dtype), shape(std::move(dims)) {
  bytes.assign(product(shape, 0) * elementBytes(dtype), 0);
}

HostTensor HostTensor::fromFloats(DType dtype, std::vector<int64_t> shape,
                                  const std::vector<float> &values) {
  HostTensor result(dtype, std::move(shape));
  assert(static_cast<int64_t>(values.size()) == result.numElements());
  result.storeRow(0, static_cast<int64_t>(values.size()), values.data());
  return result;
}

HostTensor HostTensor::fromInts(std::vector<int64_t> shape,
                                const std::vector<int32_t> &values) {
  HostTensor result(DType::I32, std::move(shape));
  assert(static_cast<int64_t>(values.size()) == result.numElements());
  if (!values.empty())
    std::memcpy(result.bytes.data(), values.data(), values.size() * 4);
  return result;
}

int64_t HostTensor::numElements() const { return product(shape, 0); }
int64_t HostTensor::rowElements() const { return product(shape, 1); }

template <typename T> static T loadAs(const uint8_t *bytes, int64_t index) {
  T value; // bytes may come from a file and need not be aligned
  std::memcpy(&value, bytes + index * static_cast<int64_t>(sizeof(T)),
              sizeof(T));
  return value;
}

float HostTensor::load(int64_t index) const {
  switch (dtype) {
  case DType::F32:
    return loadAs<float>(bytes.data(), index);
  case DType::BF16:
    return decodeBF16(loadAs<uint16_t>(bytes.data(), index));
  case DType::F8E4M3:
    return decodeE4M3(bytes[index]);
  case DType::F8E8M0:
    return decodeE8M0(bytes[index]);
  default:
    return static_cast<float>(loadInt(index));
  }
}

int64_t HostTensor::loadInt(int64_t index) const {
  switch (dtype) {
  case DType::I32:
    return loadAs<int32_t>(bytes.data(), index);
  case DType::I64:
    return loadAs<int64_t>(bytes.data(), index);
  default:
    assert(dtype == DType::I8);
    return loadAs<int8_t>(bytes.data(), index);
  }
}

void HostTensor::store(int64_t index, float value) {
  uint8_t *at = bytes.data() + index * elementBytes(dtype);
  if (dtype == DType::F32) {
    std::memcpy(at, &value, 4);
  } else if (dtype == DType::BF16) {
    uint16_t code = encodeBF16(value);
    std::memcpy(at, &code, 2);
  } else {
    assert(dtype == DType::F8E4M3);
    *at = encodeE4M3(value);
  }
}

std::vector<float> HostTensor::floats() const {
  std::vector<float> values(numElements());
  loadRow(0, numElements(), values.data());
  return values;
}

std::vector<int32_t> HostTensor::ints() const {
  std::vector<int32_t> values(numElements());
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<int32_t>(loadInt(static_cast<int64_t>(i)));
  return values;
}

void HostTensor::loadRow(int64_t index, int64_t count, float *out) const {
  if (dtype == DType::F32) {
    if (count)
      std::memcpy(out, bytes.data() + index * 4, count * 4);
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    out[i] = load(index + i);
}

void HostTensor::storeRow(int64_t index, int64_t count, const float *values) {
  for (int64_t i = 0; i < count; ++i)
    store(index + i, values[i]);
}

std::string fathom::ref::describe(const HostTensor &tensor) {
  std::string text = std::string(dtypeName(tensor.dtype)) + "[";
  for (size_t i = 0; i < tensor.shape.size(); ++i)
    text += (i ? "x" : "") + std::to_string(tensor.shape[i]);
  return text + "]";
}
