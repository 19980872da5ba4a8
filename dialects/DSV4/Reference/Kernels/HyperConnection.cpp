// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/Kernels/HyperConnection.h"
#include "dialects/DSV4/Reference/Kernels/Linear.h"

#include <algorithm>
#include <cassert>
#include <cmath>

using namespace fathom::ref;

static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// z = (fn f) / sqrt(mean f^2 + eps), f = the streams of one token in a row.
static std::vector<double> mixLogits(const std::vector<double> &f,
                                     const std::vector<double> &fn,
                                     int64_t rows, double normEps) {
  int64_t width = static_cast<int64_t>(f.size());
  double inverse = 1 / std::sqrt(dot(f.data(), f.data(), width) / width +
                                 double(float(normEps)));
  std::vector<double> z(rows);
  for (int64_t r = 0; r < rows; ++r)
    z[r] = dot(&fn[r * width], f.data(), width) * inverse;
  return z;
}

static std::vector<double> toDoubles(const HostTensor &x) {
  std::vector<float> values = x.floats();
  return std::vector<double>(values.begin(), values.end());
}

/// sum_j weights_j * stream_j of one token, stored at row `token` of `out`.
static void mixStreams(const std::vector<double> &streams,
                       const std::vector<double> &weights, int64_t token,
                       HostTensor &out) {
  int64_t n = static_cast<int64_t>(weights.size()), width = out.dim(1);
  for (int64_t c = 0; c < width; ++c) {
    double sum = 0;
    for (int64_t j = 0; j < n; ++j)
      sum += weights[j] * streams[j * width + c];
    out.store(token * width + c, static_cast<float>(sum));
  }
}

/// Rows softmax + eps, columns; then rows and columns in turns.
static void sinkhorn(std::vector<double> &c, int64_t n, double eps,
                     int64_t iterations) {
  auto divideColumns = [&] {
    for (int64_t j = 0; j < n; ++j) {
      double sum = eps;
      for (int64_t i = 0; i < n; ++i)
        sum += c[i * n + j];
      for (int64_t i = 0; i < n; ++i)
        c[i * n + j] /= sum;
    }
  };
  for (int64_t i = 0; i < n; ++i) {
    double maximum = *std::max_element(&c[i * n], &c[i * n] + n), sum = 0;
    for (int64_t j = 0; j < n; ++j)
      sum += c[i * n + j] = std::exp(c[i * n + j] - maximum);
    for (int64_t j = 0; j < n; ++j)
      c[i * n + j] = c[i * n + j] / sum + eps;
  }
  divideColumns();
  for (int64_t step = 1; step < iterations; ++step) {
    for (int64_t i = 0; i < n; ++i) {
      double sum = eps;
      for (int64_t j = 0; j < n; ++j)
        sum += c[i * n + j];
      for (int64_t j = 0; j < n; ++j)
        c[i * n + j] /= sum;
    }
    divideColumns();
  }
}

HostTensor fathom::ref::hcExpand(const HostTensor &x, int64_t streams,
                                 DType result) {
  int64_t tokens = x.dim(0), width = x.dim(1);
  HostTensor out(result, {tokens, streams, width});
  std::vector<float> row(width);
  for (int64_t t = 0; t < tokens; ++t) {
    x.loadRow(t * width, width, row.data());
    for (int64_t j = 0; j < streams; ++j)
      out.storeRow((t * streams + j) * width, width, row.data());
  }
  return out;
}

HCPreResult fathom::ref::hcPre(const HostTensor &h, const HostTensor &fn,
                               const HostTensor &base, const HostTensor &scale,
                               double hcEps, double normEps, int64_t iterations,
                               DType result) {
  int64_t tokens = h.dim(0), n = h.dim(1), width = h.dim(2);
  assert(fn.dim(0) == (2 + n) * n && fn.dim(1) == n * width);
  const double eps = float(hcEps);
  std::vector<double> matrix = toDoubles(fn), streams(n * width);
  std::vector<float> b = base.floats(), s = scale.floats(), row(n * width);
  HCPreResult out{HostTensor(result, {tokens, width}),
                  HostTensor(DType::F32, {tokens, n}),
                  HostTensor(DType::F32, {tokens, n, n})};
  for (int64_t t = 0; t < tokens; ++t) {
    h.loadRow(t * n * width, n * width, row.data());
    std::copy(row.begin(), row.end(), streams.begin());
    std::vector<double> z = mixLogits(streams, matrix, (2 + n) * n, normEps);
    std::vector<double> pre(n), comb(n * n);
    for (int64_t j = 0; j < n; ++j) {
      pre[j] = sigmoid(z[j] * s[0] + b[j]) + eps;
      out.post.store(t * n + j, static_cast<float>(
                                    2 * sigmoid(z[n + j] * s[1] + b[n + j])));
    }
    for (int64_t i = 0; i < n * n; ++i)
      comb[i] = z[2 * n + i] * s[2] + b[2 * n + i];
    sinkhorn(comb, n, eps, iterations);
    for (int64_t i = 0; i < n * n; ++i)
      out.comb.store(t * n * n + i, static_cast<float>(comb[i]));
    mixStreams(streams, pre, t, out.x);
  }
  return out;
}

HostTensor fathom::ref::hcPost(const HostTensor &y, const HostTensor &h,
                               const HostTensor &post, const HostTensor &comb,
                               DType result) {
  int64_t tokens = h.dim(0), n = h.dim(1), width = h.dim(2);
  std::vector<float> ys = y.floats(), hs = h.floats(), p = post.floats(),
                     c = comb.floats();
  HostTensor out(result, h.shape);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t k = 0; k < width; ++k) {
        double sum = double(p[t * n + j]) * ys[t * width + k];
        for (int64_t i = 0; i < n; ++i)
          sum += double(c[(t * n + i) * n + j]) * hs[(t * n + i) * width + k];
        out.store((t * n + j) * width + k, static_cast<float>(sum));
      }
  return out;
}

HostTensor fathom::ref::hcHead(const HostTensor &h, const HostTensor &fn,
                               const HostTensor &base, const HostTensor &scale,
                               double hcEps, double normEps, DType result) {
  int64_t tokens = h.dim(0), n = h.dim(1), width = h.dim(2);
  std::vector<double> matrix = toDoubles(fn), streams(n * width), pre(n);
  std::vector<float> b = base.floats(), row(n * width);
  const double s = scale.load(0), eps = float(hcEps);
  HostTensor out(result, {tokens, width});
  for (int64_t t = 0; t < tokens; ++t) {
    h.loadRow(t * n * width, n * width, row.data());
    std::copy(row.begin(), row.end(), streams.begin());
    std::vector<double> z = mixLogits(streams, matrix, n, normEps);
    for (int64_t j = 0; j < n; ++j)
      pre[j] = sigmoid(z[j] * s + b[j]) + eps;
    mixStreams(streams, pre, t, out);
  }
  return out;
}
