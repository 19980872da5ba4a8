// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/Kernels/MoE.h"
#include "dialects/DSV4/Reference/Kernels/Elementwise.h"
#include "dialects/DSV4/Reference/Kernels/Linear.h"
#include "dialects/DSV4/Reference/Kernels/Quantize.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

using namespace fathom::ref;

HostTensor fathom::ref::gate(const HostTensor &x, const HostTensor &weight) {
  HostTensor logits = linear(x, weight, nullptr, DType::F32);
  for (int64_t i = 0; i < logits.numElements(); ++i) {
    double z = logits.load(i);
    double softplus = z > 20 ? z : std::log1p(std::exp(z));
    logits.store(i, static_cast<float>(std::sqrt(softplus)));
  }
  return logits;
}

/// Sorts the k ids chosen for each token and gives them their weights.
static Route makeRoute(std::vector<int32_t> chosen, int64_t k,
                       const HostTensor &scores, double factor) {
  int64_t tokens = scores.dim(0), experts = scores.dim(1);
  HostTensor weights(DType::F32, {tokens, k});
  for (int64_t t = 0; t < tokens; ++t) {
    int32_t *ids = chosen.data() + t * k;
    std::sort(ids, ids + k);
    double sum = 0;
    for (int64_t j = 0; j < k; ++j)
      sum += scores.load(t * experts + ids[j]);
    for (int64_t j = 0; j < k; ++j)
      weights.store(t * k + j,
                    static_cast<float>(scores.load(t * experts + ids[j]) / sum *
                                       double(float(factor))));
  }
  return {HostTensor::fromInts({tokens, k}, chosen), std::move(weights)};
}

Route fathom::ref::routeTopK(const HostTensor &scores, const HostTensor &bias,
                             int64_t k, double factor) {
  int64_t tokens = scores.dim(0), experts = scores.dim(1);
  assert(k <= experts);
  std::vector<int32_t> chosen(tokens * k);
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<float> keys(experts);
    std::vector<int32_t> order(experts);
    for (int64_t e = 0; e < experts; ++e) {
      keys[e] = scores.load(t * experts + e) + bias.load(e);
      if (keys[e] != keys[e]) // NaN has no place in an order: last
        keys[e] = -INFINITY;
      order[e] = static_cast<int32_t>(e);
    }
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return keys[a] != keys[b] ? keys[a] > keys[b] : a < b;
    });
    std::copy_n(order.begin(), k, chosen.begin() + t * k);
  }
  return makeRoute(std::move(chosen), k, scores, factor);
}

Route fathom::ref::routeHash(const HostTensor &scores, const HostTensor &ids,
                             const HostTensor &table, double factor) {
  int64_t tokens = scores.dim(0), k = table.dim(1);
  std::vector<int32_t> chosen(tokens * k);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t j = 0; j < k; ++j)
      chosen[t * k + j] =
          static_cast<int32_t>(table.loadInt(ids.loadInt(t) * k + j));
  return makeRoute(std::move(chosen), k, scores, factor);
}

/// One product of an expert for the gathered rows `x` [count, K], rounded.
static std::vector<float> project(const std::vector<float> &x, int64_t count,
                                  const WeightMatrix &weight, DType rounding) {
  std::vector<double> in(x.begin(), x.end());
  std::vector<float> out(count * weight.rows());
  multiply(in.data(), count, weight.columns(), weight, 0, weight.rows(),
           out.data(), weight.rows());
  for (float &v : out)
    v = roundTo(rounding, v);
  return out;
}

HostTensor fathom::ref::experts(const HostTensor &x, const HostTensor &ids,
                                const HostTensor &weights, ExpertWeights w1,
                                ExpertWeights w3, ExpertWeights w2,
                                double limit, int64_t hiddenBlock) {
  const int64_t tokens = x.dim(0), width = x.dim(1), k = ids.dim(1);
  const int64_t count = w1.weight->dim(0);
  std::vector<float> sums(tokens * width, 0.0f), routing = weights.floats();
  // Experts in ascending order: every token's sum then ascends too.
  std::vector<std::vector<std::pair<int64_t, float>>> work(count);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t j = 0; j < k; ++j) {
      int64_t e = ids.loadInt(t * k + j);
      assert(e >= 0 && e < count);
      work[e].push_back({t, routing[t * k + j]});
    }
  for (int64_t e = 0; e < count; ++e) {
    int64_t rows = static_cast<int64_t>(work[e].size());
    if (rows == 0)
      continue;
    std::vector<float> in(rows * width);
    for (int64_t r = 0; r < rows; ++r)
      x.loadRow(work[e][r].first * width, width, &in[r * width]);
    WeightMatrix up(*w1.weight, w1.scale, e), gated(*w3.weight, w3.scale, e),
        down(*w2.weight, w2.scale, e);
    std::vector<float> g = project(in, rows, up, x.dtype);
    std::vector<float> u = project(in, rows, gated, x.dtype);
    int64_t hidden = up.rows();
    for (int64_t i = 0; i < rows * hidden; ++i)
      g[i] =
          roundTo(x.dtype, static_cast<float>(clampedSwiGLU(
                               g[i], u[i], limit, work[e][i / hidden].second)));
    if (hiddenBlock > 0)
      for (int64_t r = 0; r < rows; ++r)
        fakeQuantizeRow(QuantFormat::E4M3, &g[r * hidden], hidden, hiddenBlock);
    std::vector<float> y = project(g, rows, down, x.dtype);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < width; ++c)
        sums[work[e][r].first * width + c] += y[r * width + c];
  }
  return HostTensor::fromFloats(DType::F32, {tokens, width}, sums);
}
