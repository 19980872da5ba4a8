// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/Kernels/Elementwise.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

using namespace fathom::ref;

HostTensor fathom::ref::embed(const HostTensor &ids, const HostTensor &table,
                              DType result) {
  int64_t tokens = ids.numElements(), width = table.dim(1);
  HostTensor out(result, {tokens, width});
  std::vector<float> row(width);
  for (int64_t t = 0; t < tokens; ++t) {
    int64_t id = ids.loadInt(t);
    assert(id >= 0 && id < table.dim(0));
    table.loadRow(id * width, width, row.data());
    out.storeRow(t * width, width, row.data());
  }
  return out;
}

HostTensor fathom::ref::selectRows(const HostTensor &x,
                                   const HostTensor &rows) {
  std::vector<int64_t> shape = x.shape;
  shape[0] = rows.numElements();
  HostTensor out(x.dtype, shape);
  int64_t rowBytes = x.rowElements() * elementBytes(x.dtype);
  for (int64_t r = 0; r < shape[0]; ++r) {
    assert(rows.loadInt(r) >= 0 && rows.loadInt(r) < x.dim(0));
    std::memcpy(out.bytes.data() + r * rowBytes,
                x.bytes.data() + rows.loadInt(r) * rowBytes, rowBytes);
  }
  return out;
}

HostTensor fathom::ref::rmsNorm(const HostTensor &x, const HostTensor &weight,
                                double eps, DType result) {
  int64_t width = x.shape.back();
  assert(weight.numElements() == width);
  std::vector<float> values = x.floats(), w = weight.floats();
  for (int64_t at = 0; at < x.numElements(); at += width) {
    double squares = 0;
    for (int64_t i = 0; i < width; ++i)
      squares += double(values[at + i]) * values[at + i];
    double inverse = 1 / std::sqrt(squares / width + double(float(eps)));
    for (int64_t i = 0; i < width; ++i)
      values[at + i] = static_cast<float>(values[at + i] * inverse * w[i]);
  }
  return HostTensor::fromFloats(result, x.shape, values);
}

HostTensor fathom::ref::headNorm(const HostTensor &x, double eps,
                                 DType result) {
  int64_t width = x.shape.back();
  auto round = [&](double v) {
    return roundTo(x.dtype, static_cast<float>(v));
  };
  std::vector<float> values = x.floats();
  for (int64_t at = 0; at < x.numElements(); at += width) {
    double squares = 0;
    for (int64_t i = 0; i < width; ++i)
      squares += round(double(values[at + i]) * values[at + i]);
    float mean = round(squares / width);
    float inverse = round(1 / std::sqrt(double(round(mean + float(eps)))));
    for (int64_t i = 0; i < width; ++i)
      values[at + i] *= inverse;
  }
  return HostTensor::fromFloats(result, x.shape, values);
}

HostTensor fathom::ref::scale(const HostTensor &x, double factor,
                              DType result) {
  std::vector<float> values = x.floats();
  for (float &v : values)
    v *= static_cast<float>(factor);
  return HostTensor::fromFloats(result, x.shape, values);
}

HostTensor fathom::ref::addStreams(const HostTensor &e, const HostTensor &h,
                                   DType result) {
  int64_t width = e.dim(1);
  std::vector<float> sums = h.floats(), shared = e.floats();
  int64_t perToken = h.rowElements();
  for (size_t i = 0; i < sums.size(); ++i) {
    int64_t token = static_cast<int64_t>(i) / perToken;
    sums[i] += shared[token * width + static_cast<int64_t>(i) % width];
  }
  return HostTensor::fromFloats(result, h.shape, sums);
}

HostTensor fathom::ref::hadamard(const HostTensor &x, DType result) {
  int64_t n = x.shape.back();
  assert(n > 0 && (n & (n - 1)) == 0);
  std::vector<float> in = x.floats();
  std::vector<double> row(n);
  double norm = 1 / std::sqrt(double(n));
  for (int64_t at = 0; at < x.numElements(); at += n) {
    std::copy_n(in.begin() + at, n, row.begin());
    for (int64_t half = 1; half < n; half *= 2)
      for (int64_t i = 0; i < n; ++i)
        if (!(i & half)) {
          double a = row[i], b = row[i + half];
          row[i] = a + b;
          row[i + half] = a - b;
        }
    for (int64_t i = 0; i < n; ++i)
      in[at + i] = static_cast<float>(row[i] * norm);
  }
  return HostTensor::fromFloats(result, x.shape, in);
}

double fathom::ref::clampedSwiGLU(double g, double u, double limit,
                                  double weight) {
  g = std::min(g, limit);
  u = std::min(std::max(u, -limit), limit);
  return g / (1 + std::exp(-g)) * u * weight;
}

HostTensor fathom::ref::swiglu(const HostTensor &g, const HostTensor &u,
                               double limit, DType result) {
  HostTensor out(result, g.shape);
  for (int64_t i = 0; i < out.numElements(); ++i)
    out.store(
        i, static_cast<float>(clampedSwiGLU(g.load(i), u.load(i), limit, 1)));
  return out;
}

HostTensor fathom::ref::moeCombine(const HostTensor &routed,
                                   const HostTensor &shared, DType result) {
  HostTensor out(result, routed.shape);
  for (int64_t i = 0; i < out.numElements(); ++i)
    out.store(i, routed.load(i) + shared.load(i));
  return out;
}
