// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writes the operations of random tile programs, with the values they give.
#pragma once

#include "test/unit/codegen/RandomProgram.h"

#include <random>

namespace fathom::test {

using Shape = std::vector<int64_t>;

/// A tile of f32 and the name it has.
struct Tile {
  std::string name;
  Shape shape;
  std::vector<float> values;
  double error = 0; // how far another order of sums may be from `values`

  /// Rounding of what is inexact comes on top.
  double tolerance() const;
};

/// Each operation appends its lines and gives its tile: all of them take and
/// give tiles of [rows, columns], so that any may follow any. Those that jump
/// where an operand is a little off take exact ones alone.
class RandomTiles {
public:
  std::string text;

protected:
  RandomTiles(RandomProgram &program, unsigned seed, int64_t id)
      : p(program), generator(seed), id(id) {}

  // Choices and text.
  int64_t number(int64_t low, int64_t high);
  int64_t pick(std::initializer_list<int64_t> list);
  static std::string typeOf(const Shape &shape, const std::string &element);
  /// Of a buffer; its rows are those of all programs.
  std::string bufferType(const std::string &element, int64_t columns) const;
  std::string bufferType(const std::string &element) const {
    return bufferType(element, p.columns);
  }
  std::string fresh() { return "%v" + std::to_string(next++); }
  void line(const std::string &text) { this->text += "  " + text + "\n"; }
  /// Writes `NAME = OPERATION` and gives the name.
  std::string named(const std::string &operation);
  std::string constant(double value, const Shape &shape);
  std::string integers(int64_t value, const Shape &shape);
  std::string narrowed(const std::string &name, const Shape &shape,
                       const std::string &element);
  std::string widened(const std::string &name, const Shape &shape,
                      const std::string &element);
  /// Kept within +-limit.
  Tile clamped(const Tile &x, float limit);
  template <typename T> std::vector<T> tileOf(const std::vector<T> &all) const {
    const int64_t size = int64_t(all.size()) / p.programs;
    return std::vector<T>(all.begin() + id * size,
                          all.begin() + (id + 1) * size);
  }
  /// To the nearest value of bf16, or of f8E4M3FN.
  static float rounded(float value, const std::string &element);
  /// Value `at` of %in2 as packed e2m1 codes.
  float packedValue(int64_t at) const;
  /// Rows of the buffers, descending, the last ones negative: none.
  std::pair<std::string, std::vector<int64_t>> rowNumbers();

  // RandomArithmetic.cpp
  Tile unary(const Tile &x);
  Tile binary(const Tile &x, const Tile &y);
  Tile scaled(const Tile &x);
  Tile chosen(const Tile &x, const Tile &y);
  Tile branch(const Tile &x, const Tile &y);
  Tile times(const Tile &x, double by);
  Tile scaledDown(const Tile &x, int64_t by);
  Tile reduced(const Tile &x);
  Tile scanned(const Tile &x);
  Tile counted();
  Tile transposedTwice(const Tile &x);
  Tile evenAndOdd(const Tile &x);
  Tile columnAsRow();

  // RandomFormats.cpp
  Tile integerCodes();
  Tile through(const Tile &x, const std::string &element);
  Tile throughFP4(const Tile &x);
  Tile gathered();
  Tile gatheredCodes();

  // RandomProducts.cpp
  Tile product(const Tile &x, const Tile &y);
  Tile turnedProduct(const Tile &x, const Tile &y);
  Tile scaledProduct(const Tile &x, const Tile &y);

  RandomProgram &p;
  std::mt19937 generator;
  int64_t id, next = 0;

private:
  struct Matrix {
    std::string name;
    int64_t rows, columns;
    std::vector<float> values;
    double error = 0;
  };
  /// Weights of a dot_scaled [rows, columns]: names of codes and scale, types.
  struct Weights {
    std::string codes, scale, types;
    std::vector<float> values;
  };
  /// The product of what the operands hold; `element` gives the k-th pair of
  /// row i and column j.
  template <typename Pair>
  Matrix productOf(const std::string &name, int64_t rows, int64_t columns,
                   int64_t depth, Pair element);
  /// A square times y (nn), or y times it: [rows, columns] again.
  Tile shapedBack(Matrix square, const Tile &y, bool left);
  Weights weights();
  std::vector<float> scaleValues(int64_t rows, int64_t columns,
                                 int64_t acrossRows,
                                 int64_t acrossColumns) const;
  std::pair<std::string, std::string> scaleTile(int64_t rows, int64_t columns);
};

} // namespace fathom::test
