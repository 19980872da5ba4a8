// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Laws of the specification that need no oracle.
#include "dialects/DSV4/Reference/Kernels/Attention.h"
#include "dialects/DSV4/Reference/Kernels/Elementwise.h"
#include "dialects/DSV4/Reference/Kernels/HyperConnection.h"
#include "dialects/DSV4/Reference/Kernels/Quantize.h"
#include "test/unit/reference/Random.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace fathom::ref;

TEST(Hadamard, TwiceIsIdentityAndFirstColumnIsTheMean) {
  Random random(1);
  for (int64_t n : {1, 2, 32, 128}) {
    HostTensor x = random.normal(DType::F32, {3, n});
    HostTensor y = hadamard(x, DType::F32);
    HostTensor z = hadamard(y, DType::F32);
    for (int64_t i = 0; i < 3 * n; ++i)
      EXPECT_NEAR(z.load(i), x.load(i), 1e-5);
    double sum = 0;
    for (int64_t i = 0; i < n; ++i)
      sum += x.load(i);
    EXPECT_NEAR(y.load(0), sum / std::sqrt(double(n)), 1e-5);
  }
  // Sylvester order: row 1 alternates.
  HostTensor e = HostTensor::fromFloats(DType::F32, {4}, {0, 1, 0, 0});
  EXPECT_EQ(hadamard(e, DType::F32).floats(),
            (std::vector<float>{.5f, -.5f, .5f, -.5f}));
}

TEST(Norms, MeanSquareIsOne) {
  Random random(2);
  HostTensor x = random.normal(DType::F32, {2, 3, 40}, 7);
  HostTensor y = headNorm(x, 0, DType::F32);
  for (int64_t row = 0; row < 6; ++row) {
    double squares = 0;
    for (int64_t i = 0; i < 40; ++i)
      squares += std::pow(double(y.load(row * 40 + i)), 2);
    EXPECT_NEAR(squares / 40, 1, 1e-5);
  }
  HostTensor ones =
      HostTensor::fromFloats(DType::BF16, {40}, std::vector<float>(40, 1));
  HostTensor weighted = rmsNorm(x, ones, 1e-6, DType::F32);
  HostTensor plain = headNorm(x, 1e-6, DType::F32);
  for (int64_t i = 0; i < x.numElements(); ++i)
    EXPECT_NEAR(weighted.load(i), plain.load(i), 1e-6);
  HostTensor zero(DType::F32, {1, 40});
  EXPECT_EQ(headNorm(zero, 1e-6, DType::F32).floats(), zero.floats());
}

TEST(Norms, HeadNormRoundsEveryStepToBF16) {
  // Squares 1.0078125^2 -> 1.015625, mean 1.015625, inverse root .9922..,
  // which bf16 holds as .9921875.
  HostTensor x = HostTensor::fromFloats(
      DType::BF16, {1, 1, 4}, std::vector<float>(4, 1.0078125f));
  EXPECT_EQ(headNorm(x, 0, DType::F32).load(0), 1.0078125f * 0.9921875f);
  EXPECT_EQ(headNorm(x, 0, DType::BF16).load(0), 1.0f);
}

TEST(HyperConnection, SinkhornSumsToOne) {
  Random random(3);
  for (int64_t n : {1, 2, 4, 5}) {
    const int64_t tokens = 3, width = 8;
    HostTensor h = random.normal(DType::F32, {tokens, n, width});
    HostTensor fn = random.normal(DType::F32, {(2 + n) * n, n * width}, .3f);
    HostTensor base = random.normal(DType::F32, {(2 + n) * n}, .7f);
    HostTensor scale = HostTensor::fromFloats(DType::F32, {3}, {1, .8f, .9f});
    HCPreResult mix = hcPre(h, fn, base, scale, 1e-6, 1e-6, 50, DType::F32);
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t i = 0; i < n; ++i) {
        double row = 0, column = 0;
        for (int64_t j = 0; j < n; ++j) {
          row += mix.comb.load((t * n + i) * n + j);
          column += mix.comb.load((t * n + j) * n + i);
        }
        EXPECT_NEAR(row, 1, 1e-3);
        EXPECT_NEAR(column, 1, 1e-5);
        EXPECT_GT(mix.post.load(t * n + i), 0);
        EXPECT_LT(mix.post.load(t * n + i), 2);
      }
  }
}

TEST(HyperConnection, IdentityMixKeepsStreams) {
  Random random(4);
  const int64_t n = 3, width = 5;
  HostTensor x = random.normal(DType::BF16, {2, width});
  HostTensor h = hcExpand(x, n, DType::BF16);
  EXPECT_EQ(h.shape, (std::vector<int64_t>{2, n, width}));
  HostTensor comb(DType::F32, {2, n, n}), post(DType::F32, {2, n});
  for (int64_t i = 0; i < n; ++i)
    for (int64_t t = 0; t < 2; ++t)
      comb.store((t * n + i) * n + i, 1);
  EXPECT_TRUE(hcPost(x, h, post, comb, DType::BF16) == h);
  // comb[i, j] moves stream i (source) to stream j (destination).
  HostTensor streams = random.normal(DType::F32, {1, 2, 1});
  HostTensor move = HostTensor::fromFloats(DType::F32, {1, 2, 2}, {0, 1, 0, 0});
  HostTensor moved = hcPost(HostTensor(DType::F32, {1, 1}), streams,
                            HostTensor(DType::F32, {1, 2}), move, DType::F32);
  EXPECT_EQ(moved.load(0), 0);
  EXPECT_EQ(moved.load(1), streams.load(0));
}

TEST(RowCacheTest, StoresGridValuesWithoutLoss) {
  Random random(5);
  const int64_t width = 192, rope = 64;
  RowCache fp8(CacheFormat::FP8, 2, 3, width, rope);
  EXPECT_EQ(fp8.scalesPerRow(), 8); // two blocks, padded to eight bytes
  EXPECT_EQ(fp8.totalBytes(), 2 * 3 * (128 + 8 + 128));
  HostTensor rows = fakeQuantize(random.normal(DType::BF16, {6, width}),
                                 QuantFormat::E4M3, 64, width - rope);
  RowCache fp4(CacheFormat::FP4, 2, 3, 128, 0);
  EXPECT_EQ(fp4.totalBytes(), 6 * 68);
  HostTensor keys = fakeQuantize(random.normal(DType::BF16, {6, 128}, 1e-3f),
                                 QuantFormat::E2M1, 32, 128);
  std::vector<float> buffer(width);
  for (int64_t r = 0; r < 6; ++r) {
    fp8.write(r, rows.floats().data() + r * width);
    fp4.write(r, keys.floats().data() + r * 128);
  }
  for (int64_t r = 0; r < 6; ++r) {
    fp8.read(r, buffer.data());
    for (int64_t i = 0; i < width; ++i)
      EXPECT_EQ(buffer[i], rows.load(r * width + i));
    fp4.read(r, buffer.data());
    for (int64_t i = 0; i < 128; ++i)
      EXPECT_EQ(buffer[i], keys.load(r * 128 + i));
  }
}

/// Pooled blocks of a sequence fed in the given chunks.
static std::vector<float> poolInChunks(const HostTensor &kv,
                                       const HostTensor &gate,
                                       const HostTensor &ape, int64_t ratio,
                                       bool overlap, int64_t chunk) {
  int64_t length = kv.dim(0);
  StateCache state(3, overlap ? 2 * ratio : ratio, kv.dim(1));
  std::vector<float> all;
  for (int64_t at = 0; at < length; at += chunk) {
    int64_t count = std::min(chunk, length - at);
    Tokens tokens(int32_t(at), int32_t(count), 2);
    HostTensor k = slice(kv, at, count), g = slice(gate, at, count);
    std::vector<float> rows =
        compressPool(k, g, ape, state, tokens.positions, tokens.slots, ratio,
                     overlap, DType::F32)
            .floats();
    all.insert(all.end(), rows.begin(), rows.end());
    stateUpdate(state, k, g, tokens.positions, tokens.slots);
  }
  return all;
}

TEST(Compressor, ChunkedIsOneShot) {
  Random random(6);
  for (auto [ratio, overlap] : {std::pair{4, true}, std::pair{8, false}}) {
    const int64_t d = 6, width = overlap ? 2 * d : d, length = 45;
    HostTensor kv = random.normal(DType::F32, {length, width});
    HostTensor gate = random.normal(DType::F32, {length, width});
    HostTensor ape = random.normal(DType::F32, {ratio, width});
    std::vector<float> once =
        poolInChunks(kv, gate, ape, ratio, overlap, length);
    for (int64_t chunk : {1, 2, 3, 7, 16, 44})
      EXPECT_EQ(poolInChunks(kv, gate, ape, ratio, overlap, chunk), once);
  }
}

TEST(Compressor, PoolsByTheDefinition) {
  Random random(7);
  const int64_t ratio = 4, d = 3;
  HostTensor kv = random.normal(DType::F32, {8, 2 * d});
  HostTensor gate = random.normal(DType::F32, {8, 2 * d});
  HostTensor ape = random.normal(DType::F32, {ratio, 2 * d});
  std::vector<float> y = poolInChunks(kv, gate, ape, ratio, true, 8);
  for (int64_t c = 0; c < d; ++c) {
    double sum[2] = {}, weighted[2] = {};
    for (int64_t p = 0; p < 8; ++p) {
      // Token p in its own block (second half), then as a predecessor.
      for (int64_t block = p / 4; block <= p / 4 + 1 && block < 2; ++block) {
        int64_t channel = block == p / 4 ? d + c : c;
        double e = std::exp(double(gate.load(p * 2 * d + channel)) +
                            ape.load(p % 4 * 2 * d + channel));
        sum[block] += e;
        weighted[block] += e * kv.load(p * 2 * d + channel);
      }
    }
    EXPECT_NEAR(y[3 * d + c], weighted[0] / sum[0], 1e-6);
    EXPECT_NEAR(y[7 * d + c], weighted[1] / sum[1], 1e-6);
    EXPECT_EQ(y[2 * d + c], 0); // no block ends at token 2
  }
}

TEST(SelectTopK, TiesLowerIndexAscendingPadded) {
  HostTensor scores = HostTensor::fromFloats(
      DType::F32, {3, 6},
      {1, 3, 3, 3, 2, 9, 0, 0, 0, 0, 0, 0, NAN, 1, -5, NAN, 2, 0});
  HostTensor positions = HostTensor::fromInts({3}, {19, 11, 23});
  HostTensor chosen = selectTopK(scores, positions, 3, 4);
  // Row 0 sees five blocks, row 1 three, row 2 six.
  EXPECT_EQ(chosen.ints(), (std::vector<int32_t>{1, 2, 3, 0, 1, 2, 1, 4, 5}));
  HostTensor early = HostTensor::fromInts({3}, {0, 3, 7});
  EXPECT_EQ(selectTopK(scores, early, 3, 4).ints(),
            (std::vector<int32_t>{-1, -1, -1, 0, -1, -1, 0, 1, -1}));
}

namespace {
/// A sequence of rows in a window and a compressed cache, and its queries.
struct AttentionCase {
  AttentionCase(int64_t length, int64_t ring)
      : random(8), length(length), window(CacheFormat::F32, 2, ring, d, 0),
        compressed(CacheFormat::F32, 2, (length + 3) / 4, d, 0),
        kv(random.normal(DType::F32, {length, d})),
        q(random.normal(DType::F32, {length, heads, d})),
        sink(random.normal(DType::F32, {heads})),
        tokens(0, int32_t(length), 1) {
    windowInsert(window, kv, tokens.positions, tokens.slots);
    compressedInsert(compressed, random.normal(DType::F32, {length, d}),
                     tokens.positions, tokens.slots, 4);
  }
  HostTensor run(const RowCache *rows, const HostTensor *indices,
                 int64_t size) {
    return attention(q, window, rows, indices, sink, tokens.positions,
                     tokens.slots, size, 4, 0.5, DType::F32);
  }
  static constexpr int64_t d = 6, heads = 3;
  Random random;
  int64_t length;
  RowCache window, compressed;
  HostTensor kv, q, sink;
  Tokens tokens;
};
} // namespace

TEST(Attention, WindowBeyondTheLengthIsFullAttention) {
  AttentionCase c(11, 16);
  HostTensor y = c.run(nullptr, nullptr, 11);
  EXPECT_TRUE(c.run(nullptr, nullptr, 1000) == y);
  for (int64_t t = 0; t < 11; ++t)
    for (int64_t h = 0; h < c.heads; ++h) {
      double sum = std::exp(double(c.sink.load(h)));
      std::vector<double> o(c.d);
      for (int64_t s = 0; s <= t; ++s) {
        double score = 0;
        for (int64_t i = 0; i < c.d; ++i)
          score += double(c.q.load((t * c.heads + h) * c.d + i)) *
                   c.kv.load(s * c.d + i);
        double p = std::exp(score * 0.5);
        sum += p;
        for (int64_t i = 0; i < c.d; ++i)
          o[i] += p * c.kv.load(s * c.d + i);
      }
      for (int64_t i = 0; i < c.d; ++i)
        EXPECT_NEAR(y.load((t * c.heads + h) * c.d + i), o[i] / sum, 1e-5);
    }
}

TEST(Attention, SelectionOfAllIsNoSelection) {
  AttentionCase c(23, 32);
  HostTensor all = c.run(&c.compressed, nullptr, 5);
  HostTensor scores = c.random.normal(DType::F32, {23, 6});
  for (int64_t k : {6, 9}) {
    HostTensor chosen = selectTopK(scores, c.tokens.positions, k, 4);
    EXPECT_TRUE(c.run(&c.compressed, &chosen, 5) == all);
  }
  HostTensor few = selectTopK(scores, c.tokens.positions, 1, 4);
  EXPECT_FALSE(c.run(&c.compressed, &few, 5) == all);
}

TEST(Attention, TheRingForgetsOnlyWhatTheWindowNeedsNot) {
  // One ring holds everything, the other window + chunk rows.
  const int64_t length = 40, size = 5, chunk = 3;
  AttentionCase whole(length, length);
  HostTensor once = whole.run(nullptr, nullptr, size);
  RowCache ring(CacheFormat::F32, 2, size + chunk, whole.d, 0);
  for (int64_t at = 0; at < length; at += chunk) {
    int64_t count = std::min(chunk, length - at);
    Tokens tokens(int32_t(at), int32_t(count), 0);
    windowInsert(ring, slice(whole.kv, at, count), tokens.positions,
                 tokens.slots);
    HostTensor y =
        attention(slice(whole.q, at, count), ring, nullptr, nullptr, whole.sink,
                  tokens.positions, tokens.slots, size, 0, 0.5, DType::F32);
    EXPECT_TRUE(y == slice(once, at, count));
  }
}

TEST(IndexScores, RoundsEachHeadAndHidesTheFuture) {
  RowCache keys(CacheFormat::F32, 1, 2, 2, 0);
  const float first[] = {1, 2}, second[] = {100, 100};
  keys.write(0, first);
  keys.write(1, second);
  HostTensor q = HostTensor::fromFloats(DType::BF16, {1, 2, 2}, {1, 1, -1, 0});
  HostTensor w = HostTensor::fromFloats(DType::BF16, {1, 2}, {-2, 5});
  Tokens tokens(5, 1, 0);
  HostTensor s = indexScores(q, w, keys, tokens.positions, tokens.slots, 4);
  EXPECT_EQ(s.shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(s.load(0), -6.0f); // the second head's product is negative
  EXPECT_EQ(s.load(1), -INFINITY);
}

TEST(Empty, NoTokensGiveNoRows) {
  HostTensor none(DType::I32, {0});
  RowCache window(CacheFormat::F32, 1, 4, 6, 0);
  StateCache state(1, 8, 12);
  HostTensor q(DType::BF16, {0, 3, 6}), sink(DType::F32, {3});
  EXPECT_EQ(attention(q, window, nullptr, nullptr, sink, none, none, 4, 0, 1,
                      DType::BF16)
                .numElements(),
            0);
  windowInsert(window, HostTensor(DType::BF16, {0, 6}), none, none);
  HostTensor kv(DType::F32, {0, 12}), ape(DType::F32, {4, 12});
  EXPECT_EQ(
      compressPool(kv, kv, ape, state, none, none, 4, true, DType::BF16).shape,
      (std::vector<int64_t>{0, 6}));
  stateUpdate(state, kv, kv, none, none);
  HostTensor table(DType::BF16, {5, 8}), x = embed(none, table, DType::BF16);
  EXPECT_EQ(x.shape, (std::vector<int64_t>{0, 8}));
  EXPECT_EQ(hcExpand(x, 4, DType::BF16).shape, (std::vector<int64_t>{0, 4, 8}));
  EXPECT_EQ(selectTopK(HostTensor(DType::F32, {0, 5}), none, 2, 4).shape,
            (std::vector<int64_t>{0, 2}));
}

TEST(Rows, SelectAddAndScale) {
  HostTensor x =
      HostTensor::fromFloats(DType::BF16, {3, 2}, {1, 2, 3, 4, 5, 6});
  HostTensor rows = HostTensor::fromInts({3}, {2, 0, 2});
  EXPECT_EQ(selectRows(x, rows).floats(),
            (std::vector<float>{5, 6, 1, 2, 5, 6}));
  HostTensor h = hcExpand(x, 2, DType::BF16);
  EXPECT_EQ(addStreams(x, h, DType::F32).load(3), 4.0f);
  EXPECT_EQ(scale(x, 0.5, DType::F32).load(5), 3.0f);
}
