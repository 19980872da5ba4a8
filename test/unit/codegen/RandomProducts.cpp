// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Matrix products of all forms. Each product of two tiles is followed by
// another one, which brings its shape back.
#include "test/unit/codegen/RandomTiles.h"

#include "dialects/DSV4/Reference/Kernels/Codecs.h"

#include <algorithm>
#include <cmath>

namespace fathom::test {

template <typename Pair>
RandomTiles::Matrix RandomTiles::productOf(const std::string &name,
                                           int64_t rows, int64_t columns,
                                           int64_t depth, Pair element) {
  Matrix out{name, rows, columns, std::vector<float>(rows * columns)};
  double largest = 0;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < depth; ++k) {
        const std::pair<float, float> pair = element(i, j, k);
        const double part = double(pair.first) * pair.second;
        sum += part;
        magnitude += std::fabs(part);
      }
      out.values[i * columns + j] = float(sum);
      largest = std::max(largest, magnitude);
    }
  // Never nothing: what may follow is the same in all programs.
  out.error = largest * 1e-6 + 1e-30;
  return out;
}

Tile RandomTiles::shapedBack(Matrix square, const Tile &y, bool left) {
  const Shape shape{square.rows, square.columns};
  const int64_t size = square.rows, columns = y.shape[1];
  // Each was a sum of as many terms as the other dimension has.
  const Tile small =
      scaledDown({square.name, shape, square.values, square.error},
                 4 * (left ? columns : y.shape[0]));
  std::string zero = constant(0, y.shape);
  const std::string a = typeOf(left ? shape : y.shape, "f32"),
                    b = typeOf(left ? y.shape : shape, "f32");
  std::string name =
      named("tile.dot <nn> " +
            (left ? small.name + ", " + y.name : y.name + ", " + small.name) +
            ", " + zero + " : " + a + ", " + b + ", " + typeOf(y.shape, "f32"));
  Matrix back = productOf(name, y.shape[0], columns, size,
                          [&](int64_t i, int64_t j, int64_t k) {
                            return left ? std::pair(small.values[i * size + k],
                                                    y.values[k * columns + j])
                                        : std::pair(y.values[i * columns + k],
                                                    small.values[k * size + j]);
                          });
  // What the operands may be off by comes in once for each term.
  double most = 0;
  for (float v : y.values)
    most = std::max<double>(most, std::fabs(v));
  return scaledDown({name, y.shape, back.values,
                     back.error + double(size) * small.error * most},
                    4 * size);
}

/// x times y turned, of bf16 values.
Tile RandomTiles::product(const Tile &x, const Tile &y) {
  const int64_t rows = x.shape[0], columns = x.shape[1];
  std::string a = narrowed(x.name, x.shape, "bf16"),
              b = narrowed(y.name, y.shape, "bf16"),
              zero = constant(0, {rows, rows});
  std::string name =
      named("tile.dot <nt> " + a + ", " + b + ", " + zero + " : " +
            typeOf(x.shape, "bf16") + ", " + typeOf(y.shape, "bf16") + ", " +
            typeOf({rows, rows}, "f32"));
  return shapedBack(productOf(name, rows, rows, columns,
                              [&](int64_t i, int64_t j, int64_t k) {
                                return std::pair(
                                    rounded(x.values[i * columns + k], "bf16"),
                                    rounded(y.values[j * columns + k], "bf16"));
                              }),
                    y, true);
}

/// x turned times y, of f32 values.
Tile RandomTiles::turnedProduct(const Tile &x, const Tile &y) {
  const int64_t rows = x.shape[0], columns = x.shape[1];
  std::string zero = constant(0, {columns, columns});
  std::string name =
      named("tile.dot <tn> " + x.name + ", " + y.name + ", " + zero + " : " +
            typeOf(x.shape, "f32") + ", " + typeOf(y.shape, "f32") + ", " +
            typeOf({columns, columns}, "f32"));
  return shapedBack(productOf(name, columns, columns, rows,
                              [&](int64_t i, int64_t j, int64_t k) {
                                return std::pair(x.values[k * columns + i],
                                                 y.values[k * columns + j]);
                              }),
                    y, false);
}

/// The upper left of this program's scales, name and type.
std::pair<std::string, std::string> RandomTiles::scaleTile(int64_t rows,
                                                           int64_t columns) {
  const std::string type = typeOf({rows, columns}, "f8E8M0FNU");
  return {named("tile.load %scales[%at, %zero] : " +
                bufferType("f8E8M0FNU", p.columns / 16) + " -> " + type),
          type};
}

/// For each of rows x columns values, from a tile of across... scales.
std::vector<float> RandomTiles::scaleValues(int64_t rows, int64_t columns,
                                            int64_t acrossRows,
                                            int64_t acrossColumns) const {
  const int64_t width = p.columns / 16;
  std::vector<float> out;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      out.push_back(ref::decodeE8M0(
          p.scales[(id * p.rows + i / (rows / acrossRows)) * width +
                   j / (columns / acrossColumns)]));
  return out;
}

RandomTiles::Weights RandomTiles::weights() {
  const bool packed = number(0, 1);
  const int64_t acrossRows = pick({1, p.rows}),
                acrossColumns = pick({1, p.columns / 16});
  const std::string element = packed ? "i8" : "f8E4M3FN";
  const std::string type =
      typeOf({p.rows, packed ? p.columns / 2 : p.columns}, element);
  Weights w;
  w.codes = named("tile.load " + std::string(packed ? "%in2" : "%codes") +
                  "[%at, %zero] : " + bufferType(element) + " -> " + type);
  auto [scale, scaleType] = scaleTile(acrossRows, acrossColumns);
  w.scale = scale;
  w.types = type + ", " + scaleType;
  w.values = scaleValues(p.rows, p.columns, acrossRows, acrossColumns);
  for (int64_t i = 0; i < p.rows; ++i)
    for (int64_t j = 0; j < p.columns; ++j) {
      // A row of packed codes is as long in bytes as one of the others.
      const int64_t row = (id * p.rows + i) * p.columns;
      w.values[i * p.columns + j] *=
          packed ? packedValue(2 * row + j) : ref::decodeE4M3(p.codes[row + j]);
    }
  return w;
}

/// Block-scaled weights times x, which is bf16 or codes with scales.
Tile RandomTiles::scaledProduct(const Tile &x, const Tile &y) {
  const int64_t rows = p.rows, columns = p.columns;
  const Weights w = weights();
  const bool coded = number(0, 1);
  const Tile bounded = clamped(x, 448);
  const std::string element = coded ? "f8E4M3FN" : "bf16";
  std::string codes = narrowed(bounded.name, x.shape, element),
              type = typeOf(x.shape, element);
  std::vector<float> values = bounded.values;
  for (float &v : values)
    v = rounded(v, element);
  if (coded) {
    const int64_t across = pick({1, columns / 16});
    auto [scale, scaleType] = scaleTile(rows, across);
    codes += " scaled " + scale;
    type += " scaled " + scaleType;
    const std::vector<float> factors = scaleValues(rows, columns, rows, across);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] *= factors[i];
  }
  std::string zero = constant(0, {rows, rows});
  std::string name = named("tile.dot_scaled " + w.codes + ", " + w.scale +
                           ", " + codes + ", " + zero + " : " + w.types + ", " +
                           type + ", " + typeOf({rows, rows}, "f32"));
  return shapedBack(productOf(name, rows, rows, columns,
                              [&](int64_t i, int64_t j, int64_t k) {
                                return std::pair(w.values[i * columns + k],
                                                 values[j * columns + k]);
                              }),
                    y, true);
}

} // namespace fathom::test
