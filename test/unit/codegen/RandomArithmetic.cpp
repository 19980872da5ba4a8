// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/codegen/RandomTiles.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace fathom::test {

/// As MLIR reads it, to the last bit.
static std::string floatText(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.17e", value);
  return text;
}

double Tile::tolerance() const {
  double most = 0;
  for (float v : values)
    most = std::max<double>(most, std::fabs(v));
  return error == 0 ? 0 : 2 * error + 1e-5 * most;
}

int64_t RandomTiles::number(int64_t low, int64_t high) {
  // Not std::uniform_int_distribution, which differs between libraries.
  return low + int64_t(generator() % uint64_t(high - low + 1));
}

int64_t RandomTiles::pick(std::initializer_list<int64_t> list) {
  return list.begin()[number(0, int64_t(list.size()) - 1)];
}

std::string RandomTiles::typeOf(const Shape &shape,
                                const std::string &element) {
  std::string out = "tensor<";
  for (int64_t size : shape)
    out += std::to_string(size) + "x";
  return out + element + ">";
}

std::string RandomTiles::bufferType(const std::string &element,
                                    int64_t columns) const {
  return "memref<" + std::to_string(p.programs * p.rows) + "x" +
         std::to_string(columns) + "x" + element + ">";
}

std::string RandomTiles::named(const std::string &operation) {
  std::string name = fresh();
  line(name + " = " + operation);
  return name;
}

std::string RandomTiles::constant(double value, const Shape &shape) {
  return named("arith.constant dense<" + floatText(value) +
               "> : " + typeOf(shape, "f32"));
}

std::string RandomTiles::integers(int64_t value, const Shape &shape) {
  return named("arith.constant dense<" + std::to_string(value) +
               "> : " + typeOf(shape, "i32"));
}

std::string RandomTiles::narrowed(const std::string &name, const Shape &shape,
                                  const std::string &element) {
  return named("arith.truncf " + name + " : " + typeOf(shape, "f32") + " to " +
               typeOf(shape, element));
}

std::string RandomTiles::widened(const std::string &name, const Shape &shape,
                                 const std::string &element) {
  return named("arith.extf " + name + " : " + typeOf(shape, element) + " to " +
               typeOf(shape, "f32"));
}

Tile RandomTiles::clamped(const Tile &x, float limit) {
  const std::string type = " : " + typeOf(x.shape, "f32");
  std::string low = constant(-limit, x.shape), high = constant(limit, x.shape);
  std::string least = named("arith.maximumf " + x.name + ", " + low + type);
  Tile out{named("arith.minimumf " + least + ", " + high + type), x.shape,
           x.values, x.error};
  for (float &v : out.values)
    v = std::min(std::max(v, -limit), limit);
  return out;
}

std::pair<std::string, std::vector<int64_t>> RandomTiles::rowNumbers() {
  const int64_t first = number(0, p.programs * p.rows - 1), step = number(1, 2);
  const Shape shape{p.rows};
  const std::string type = " : " + typeOf(shape, "i32");
  std::string i = named("tile.iota" + type), s = integers(step, shape),
              f = integers(first, shape);
  std::string down = named("arith.muli " + i + ", " + s + type);
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < p.rows; ++row)
    rows.push_back(first - step * row);
  return {named("arith.subi " + f + ", " + down + type), rows};
}

Tile RandomTiles::unary(const Tile &x) {
  const bool isAbs = number(0, 1);
  Tile out{fresh(), x.shape, x.values, x.error};
  for (float &v : out.values)
    v = isAbs ? std::fabs(v) : -v;
  line(out.name + (isAbs ? " = math.absf " : " = arith.negf ") + x.name +
       " : " + typeOf(x.shape, "f32"));
  return out;
}

Tile RandomTiles::binary(const Tile &x, const Tile &y) {
  struct Operation {
    const char *name;
    float (*f)(float, float);
  };
  static const Operation operations[] = {
      {"arith.addf", [](float a, float b) { return a + b; }},
      {"arith.subf", [](float a, float b) { return a - b; }},
      {"arith.maximumf", [](float a, float b) { return std::max(a, b); }},
      {"arith.minimumf", [](float a, float b) { return std::min(a, b); }}};
  const Operation &op = operations[number(0, 3)];
  Tile out{fresh(), x.shape, x.values, x.error + y.error};
  for (size_t i = 0; i < out.values.size(); ++i)
    out.values[i] = op.f(x.values[i], y.values[i]);
  line(out.name + " = " + op.name + " " + x.name + ", " + y.name + " : " +
       typeOf(x.shape, "f32"));
  return out;
}

Tile RandomTiles::times(const Tile &x, double by) {
  std::string c = constant(by, x.shape);
  Tile out{
      named("arith.mulf " + x.name + ", " + c + " : " + typeOf(x.shape, "f32")),
      x.shape, x.values, x.error * std::fabs(by)};
  for (float &v : out.values)
    v = float(v * by);
  return out;
}

/// A product with a constant that is a power of two: exact, so that nothing
/// grows and nothing depends on fused operations.
Tile RandomTiles::scaled(const Tile &x) {
  return times(x, number(0, 1) ? 0.5 : -0.25);
}

Tile RandomTiles::chosen(const Tile &x, const Tile &y) {
  std::string m = fresh();
  line(m + " = arith.cmpf olt, " + x.name + ", " + y.name + " : " +
       typeOf(x.shape, "f32"));
  Tile out{fresh(), x.shape, x.values};
  for (size_t i = 0; i < out.values.size(); ++i)
    out.values[i] = x.values[i] < y.values[i] ? y.values[i] : x.values[i];
  line(out.name + " = arith.select " + m + ", " + y.name + ", " + x.name +
       " : " + typeOf(x.shape, "i1") + ", " + typeOf(x.shape, "f32"));
  out.error = x.error + y.error;
  return out;
}

/// One program takes x, the others y.
Tile RandomTiles::branch(const Tile &x, const Tile &y) {
  const std::string type = typeOf(x.shape, "f32");
  std::string first = named("arith.cmpi slt, %id, %one : index");
  Tile out{fresh(), x.shape, id < 1 ? x.values : y.values,
           std::max(x.error, y.error)};
  line(out.name + " = scf.if " + first + " -> (" + type + ") {");
  line("  scf.yield " + x.name + " : " + type);
  line("} else {");
  line("  scf.yield " + y.name + " : " + type);
  line("}");
  return out;
}

/// Sums would grow without end: divided by what they went over, a power of
/// two.
Tile RandomTiles::scaledDown(const Tile &x, int64_t by) {
  return times(x, 1.0 / double(by));
}

/// Along a dimension and back, so that the shape stays.
Tile RandomTiles::reduced(const Tile &x) {
  const int64_t dim = number(0, 1), rows = x.shape[0], columns = x.shape[1];
  const int64_t kind = number(0, 2);
  const bool isMax = kind == 1, isMin = kind == 2, isSum = kind == 0;
  const int64_t kept = dim ? rows : columns, gone = dim ? columns : rows;
  std::vector<float> results(kept);
  double largest = 0;
  for (int64_t i = 0; i < kept; ++i) {
    double sum = 0, most = -HUGE_VAL, least = HUGE_VAL, magnitude = 0;
    for (int64_t j = 0; j < gone; ++j) {
      const float v = x.values[dim ? i * columns + j : j * columns + i];
      sum += v;
      magnitude += std::fabs(v);
      most = std::max<double>(most, v);
      least = std::min<double>(least, v);
    }
    results[i] = float(isSum ? sum : isMax ? most : least);
    largest = std::max(largest, magnitude);
  }
  std::string r = fresh();
  line(r + " = tile.reduce " +
       (isSum   ? "<add> "
        : isMin ? "<min> "
                : "<max> ") +
       x.name + " {dim = " + std::to_string(dim) +
       " : i64} : " + typeOf(x.shape, "f32"));
  Tile out{fresh(), x.shape, x.values, x.error * double(isSum ? gone : 1)};
  if (isSum)
    out.error += largest * 1e-6 + 1e-30; // never nothing, as of products
  for (int64_t i = 0; i < rows * columns; ++i)
    out.values[i] = results[dim ? i / columns : i % columns];
  line(out.name + " = tile.broadcast " + r + " dims [" + std::to_string(dim) +
       "] : " + typeOf({kept}, "f32") + " -> " + typeOf(x.shape, "f32"));
  return scaledDown(out, gone);
}

/// Sums of integers up to each element, exact.
Tile RandomTiles::scanned(const Tile &x) {
  const Tile bounded = clamped(x, 1000);
  const int64_t dim = number(0, 1), columns = x.shape[1];
  const std::string wide = typeOf(x.shape, "f32"),
                    type = typeOf(x.shape, "i32");
  std::string whole =
      named("arith.fptosi " + bounded.name + " : " + wide + " to " + type);
  std::string sums =
      named("tile.scan " + whole + " {dim = " + std::to_string(dim) +
            " : i64} : " + type);
  Tile out{named("arith.sitofp " + sums + " : " + type + " to " + wide),
           x.shape, bounded.values};
  for (float &v : out.values)
    v = std::trunc(v);
  for (int64_t i = 0; i < int64_t(out.values.size()); ++i)
    if (dim ? i % columns != 0 : i >= columns)
      out.values[i] += out.values[i - (dim ? 1 : columns)];
  return scaledDown(out, x.shape[dim]);
}

/// The number of the row, or of the column.
Tile RandomTiles::counted() {
  const int64_t dim = number(0, 1);
  const Shape shape{p.rows, p.columns}, kept{shape[dim]};
  std::string i = named("tile.iota : " + typeOf(kept, "i32"));
  std::string wide = named("arith.sitofp " + i + " : " + typeOf(kept, "i32") +
                           " to " + typeOf(kept, "f32"));
  Tile out{named("tile.broadcast " + wide + " dims [" +
                 std::to_string(1 - dim) + "] : " + typeOf(kept, "f32") +
                 " -> " + typeOf(shape, "f32")),
           shape, std::vector<float>(p.rows * p.columns)};
  for (int64_t k = 0; k < p.rows * p.columns; ++k)
    out.values[k] = float(dim ? k % p.columns : k / p.columns);
  return scaledDown(out, shape[dim]);
}

Tile RandomTiles::transposedTwice(const Tile &x) {
  std::string t = fresh();
  const Shape turned{x.shape[1], x.shape[0]};
  line(t + " = tile.transpose " + x.name +
       " [1, 0] : " + typeOf(x.shape, "f32"));
  // Read in another shape between the two: rows become what they were not.
  std::string flat = fresh();
  line(flat + " = tile.reshape " + t + " : " + typeOf(turned, "f32") + " -> " +
       typeOf(x.shape, "f32"));
  Tile out{flat, x.shape, x.values, x.error};
  for (int64_t i = 0; i < turned[0]; ++i)
    for (int64_t j = 0; j < turned[1]; ++j)
      out.values[i * turned[1] + j] = x.values[j * x.shape[1] + i];
  return out;
}

Tile RandomTiles::evenAndOdd(const Tile &x) {
  std::string even = fresh(), odd = fresh();
  const Shape half{x.shape[0], x.shape[1] / 2};
  line(even + ", " + odd + " = tile.deinterleave " + x.name + " : " +
       typeOf(x.shape, "f32"));
  Tile out{fresh(), x.shape, x.values, x.error};
  for (size_t i = 0; i < out.values.size(); i += 2)
    std::swap(out.values[i], out.values[i + 1]);
  line(out.name + " = tile.interleave " + odd + ", " + even + " : " +
       typeOf(half, "f32"));
  return out;
}

/// A column becomes a row, of elements that lie apart in memory, and is added
/// to itself turned around.
Tile RandomTiles::columnAsRow() {
  const int64_t column = number(0, p.columns - 1);
  const Shape narrow{p.rows, 1}, row{p.rows}, half{p.rows / 2},
      shape{p.rows, p.columns};
  std::string at =
      named("arith.constant " + std::to_string(column) + " : index");
  std::string tall =
      named("tile.load %in0[%at, " + at + "] : " + bufferType("f32") + " -> " +
            typeOf(narrow, "f32"));
  std::string x = named("tile.reshape " + tall + " : " + typeOf(narrow, "f32") +
                        " -> " + typeOf(row, "f32"));
  std::string even = fresh(), odd = fresh();
  line(even + ", " + odd + " = tile.deinterleave " + x + " : " +
       typeOf(row, "f32"));
  std::string turned = named("tile.interleave " + odd + ", " + even + " : " +
                             typeOf(half, "f32"));
  std::string sum =
      named("arith.addf " + x + ", " + turned + " : " + typeOf(row, "f32"));
  Tile out{named("tile.broadcast " + sum + " dims [1] : " + typeOf(row, "f32") +
                 " -> " + typeOf(shape, "f32")),
           shape, std::vector<float>(p.rows * p.columns)};
  const std::vector<float> all = tileOf(p.in0);
  for (int64_t k = 0; k < p.rows * p.columns; ++k) {
    const int64_t i = k / p.columns;
    out.values[k] =
        all[i * p.columns + column] + all[(i ^ 1) * p.columns + column];
  }
  return out;
}

} // namespace fathom::test
