// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/Kernels/Attention.h"
#include "dialects/DSV4/Reference/Kernels/Linear.h"

#include <algorithm>
#include <cassert>
#include <cmath>

using namespace fathom::ref;

HostTensor fathom::ref::indexScores(const HostTensor &q, const HostTensor &w,
                                    const RowCache &cache,
                                    const HostTensor &positions,
                                    const HostTensor &slots, int64_t ratio) {
  StepTokens step(positions, slots);
  const int64_t heads = q.dim(1), width = q.dim(2), rows = cache.rows();
  std::vector<float> queries = q.floats(), weights = w.floats(), row(width);
  std::vector<double> query(heads * width), key(width);
  HostTensor scores =
      HostTensor::fromFloats(DType::F32, {step.size(), rows},
                             std::vector<float>(step.size() * rows, -INFINITY));
  for (int64_t i = 0; i < step.size(); ++i) {
    std::copy_n(queries.begin() + i * heads * width, heads * width,
                query.begin());
    int64_t visible = std::min<int64_t>((step.positions[i] + 1) / ratio, rows);
    for (int64_t b = 0; b < visible; ++b) {
      cache.read(step.slots[i] * rows + b, row.data());
      std::copy(row.begin(), row.end(), key.begin());
      double sum = 0;
      for (int64_t h = 0; h < heads; ++h) {
        float product =
            roundTo(q.dtype, float(dot(&query[h * width], key.data(), width)));
        sum +=
            roundTo(q.dtype, std::max(product, 0.0f) * weights[i * heads + h]);
      }
      scores.store(i * rows + b, roundTo(q.dtype, static_cast<float>(sum)));
    }
  }
  return scores;
}

HostTensor fathom::ref::selectTopK(const HostTensor &scores,
                                   const HostTensor &positions, int64_t k,
                                   int64_t ratio) {
  const int64_t tokens = scores.dim(0), rows = scores.dim(1);
  std::vector<float> values = scores.floats();
  std::vector<int32_t> chosen(tokens * k, -1);
  for (int64_t i = 0; i < tokens; ++i) {
    int64_t visible =
        std::min<int64_t>((positions.loadInt(i) + 1) / ratio, rows);
    const float *row = values.data() + i * rows;
    auto value = [row](int32_t b) {
      return row[b] != row[b] ? -INFINITY : row[b];
    };
    std::vector<int32_t> order(visible);
    for (int64_t b = 0; b < visible; ++b)
      order[b] = static_cast<int32_t>(b);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return value(a) != value(b) ? value(a) > value(b) : a < b;
    });
    order.resize(std::min(k, visible));
    std::sort(order.begin(), order.end());
    std::copy(order.begin(), order.end(), chosen.begin() + i * k);
  }
  return HostTensor::fromInts({tokens, k}, chosen);
}

namespace {
/// The visible rows of one token, decoded side by side.
struct VisibleKeys {
  std::vector<double> values; // [count, width]
  int64_t count = 0;

  void add(const RowCache &cache, int64_t globalRow) {
    row.resize(cache.width());
    cache.read(globalRow, row.data());
    values.insert(values.end(), row.begin(), row.end());
    ++count;
  }

private:
  std::vector<float> row;
};
} // namespace

HostTensor
fathom::ref::attention(const HostTensor &q, const RowCache &windowCache,
                       const RowCache *compressed, const HostTensor *indices,
                       const HostTensor &sink, const HostTensor &positions,
                       const HostTensor &slots, int64_t window, int64_t ratio,
                       double scale, DType result) {
  StepTokens step(positions, slots);
  const int64_t heads = q.dim(1), width = q.dim(2);
  std::vector<float> queries = q.floats();
  std::vector<double> query(width), weighted(width), scores;
  HostTensor out(result, q.shape);
  for (int64_t i = 0; i < step.size(); ++i) {
    const int64_t position = step.positions[i], slot = step.slots[i];
    VisibleKeys keys;
    int64_t first = std::max<int64_t>(position - window + 1, 0);
    for (int64_t p = first; p <= position; ++p)
      keys.add(windowCache, slot * windowCache.rows() + p % windowCache.rows());
    if (compressed && indices) {
      int64_t k = indices->dim(1);
      for (int64_t j = 0; j < k; ++j)
        if (indices->loadInt(i * k + j) >= 0)
          keys.add(*compressed,
                   slot * compressed->rows() + indices->loadInt(i * k + j));
    } else if (compressed) {
      int64_t visible =
          std::min<int64_t>((position + 1) / ratio, compressed->rows());
      for (int64_t b = 0; b < visible; ++b)
        keys.add(*compressed, slot * compressed->rows() + b);
    }

    scores.resize(keys.count);
    for (int64_t h = 0; h < heads; ++h) {
      std::copy_n(queries.begin() + (i * heads + h) * width, width,
                  query.begin());
      double maximum = -INFINITY, denominator = 0;
      for (int64_t n = 0; n < keys.count; ++n) {
        scores[n] = dot(query.data(), &keys.values[n * width], width) *
                    double(float(scale));
        maximum = std::max(maximum, scores[n]);
      }
      std::fill(weighted.begin(), weighted.end(), 0.0);
      for (int64_t n = 0; n < keys.count; ++n) {
        double p = std::exp(scores[n] - maximum);
        denominator += p; // of the unrounded probabilities
        double rounded = roundTo(result, static_cast<float>(p));
        for (int64_t c = 0; c < width; ++c)
          weighted[c] += rounded * keys.values[n * width + c];
      }
      // The sink has a share of the probability and no value.
      denominator += std::exp(double(sink.load(h)) - maximum);
      for (int64_t c = 0; c < width; ++c)
        out.store((i * heads + h) * width + c,
                  static_cast<float>(weighted[c] / denominator));
    }
  }
  return out;
}
