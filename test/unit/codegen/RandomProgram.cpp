// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/codegen/RandomProgram.h"

#include "dialects/DSV4/Reference/Kernels/Codecs.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

namespace fathom::test {

namespace {

using Shape = std::vector<int64_t>;

/// As MLIR reads it, to the last bit.
std::string floatText(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.17e", value);
  return text;
}

/// A tile of f32 and the name it has.
struct Tile {
  std::string name;
  Shape shape;
  std::vector<float> values;
  double error = 0; // how far another order of sums may be from `values`

  /// Rounding of what is inexact comes on top.
  double tolerance() const {
    double most = 0;
    for (float v : values)
      most = std::max<double>(most, std::fabs(v));
    return error == 0 ? 0 : 2 * error + 1e-5 * most;
  }
};

/// Writes one program; the values are those of program `id`.
class Writer {
public:
  Writer(RandomProgram &program, unsigned seed, int64_t id)
      : p(program), generator(seed), id(id) {}

  Tile write() {
    const int64_t sizes[] = {16, 32, 64};
    p.rows = pick({8, 16, 32, 64});
    p.columns = sizes[number(0, 2)];
    open();
    Tile x = load("%in0", p.in0), y = load("%in1", p.in1), z = codes();
    pool = {x, y, z};
    const int steps = number(4, 10);
    for (int i = 0; i < steps; ++i)
      step();
    // Much of what was made comes in.
    Tile result = pool.back();
    for (size_t i = 0; i < 3; ++i)
      result = binary(result, pool[pool.size() - 2 - i]);
    if (number(0, 1))
      result = loop(result);
    return close(result);
  }

  std::string text;

private:
  int64_t number(int64_t low, int64_t high) {
    // Not std::uniform_int_distribution, which differs between libraries.
    return low + int64_t(generator() % uint64_t(high - low + 1));
  }
  int64_t pick(std::initializer_list<int64_t> list) {
    return list.begin()[number(0, int64_t(list.size()) - 1)];
  }
  const Tile &any() { return pool[number(0, int64_t(pool.size()) - 1)]; }

  static std::string typeOf(const Shape &shape, const std::string &element) {
    std::string out = "tensor<";
    for (int64_t size : shape)
      out += std::to_string(size) + "x";
    return out + element + ">";
  }
  std::string fresh() { return "%v" + std::to_string(next++); }
  void line(const std::string &text) { this->text += "  " + text + "\n"; }
  std::string bufferType(const std::string &element) const {
    return "memref<" + std::to_string(p.programs * p.rows) + "x" +
           std::to_string(p.columns) + "x" + element + ">";
  }

  void open() {
    const int64_t all = p.programs * p.rows * p.columns;
    if (p.in0.empty()) {
      // The same inputs for every program of a seed.
      std::mt19937 inputs(p.rows * 131 + p.columns);
      for (int64_t i = 0; i < all; ++i) {
        p.in0.push_back(float(int(inputs() % 4001) - 2000) / 512);
        p.in1.push_back(float(int(inputs() % 4001) - 2000) / 1024);
        p.in2.push_back(int8_t(inputs() % 255) - 127);
      }
      p.count = number(1, p.programs * p.rows);
      p.expected.assign(all, 0);
    } else {
      number(1, p.programs * p.rows); // as much randomness as the first time
    }
    text = "tile.kernel @random(%in0: " + bufferType("f32") +
           ", %in1: " + bufferType("f32") + ", %in2: " + bufferType("i8") +
           ", %out: " + bufferType("f32") + ", %count: index) {\n";
    line("%zero = arith.constant 0 : index");
    line("%one = arith.constant 1 : index");
    line("%width = arith.constant " + std::to_string(p.columns) + " : index");
    line("%id = tile.program_id 0");
    line("%rows = arith.constant " + std::to_string(p.rows) + " : index");
    line("%at = arith.muli %id, %rows : index");
  }

  template <typename T> std::vector<T> tileOf(const std::vector<T> &all) const {
    const int64_t size = p.rows * p.columns;
    return std::vector<T>(all.begin() + id * size,
                          all.begin() + (id + 1) * size);
  }

  Tile load(const std::string &buffer, const std::vector<float> &all) {
    Tile tile{fresh(), {p.rows, p.columns}, tileOf(all)};
    line(tile.name + " = tile.load " + buffer + "[%at, %zero] : " +
         bufferType("f32") + " -> " + typeOf(tile.shape, "f32"));
    return tile;
  }

  /// The integers, as floats.
  Tile codes() {
    std::string raw = fresh();
    Tile tile{fresh(), {p.rows, p.columns}, {}};
    for (int8_t code : tileOf(p.in2))
      tile.values.push_back(code);
    line(raw + " = tile.load %in2[%at, %zero] : " + bufferType("i8") + " -> " +
         typeOf(tile.shape, "i8"));
    line(tile.name + " = arith.sitofp " + raw + " : " +
         typeOf(tile.shape, "i8") + " to " + typeOf(tile.shape, "f32"));
    return tile;
  }

  Tile unary(const Tile &x) {
    const bool isAbs = number(0, 1);
    Tile out{fresh(), x.shape, x.values, x.error};
    for (float &v : out.values)
      v = isAbs ? std::fabs(v) : -v;
    line(out.name + (isAbs ? " = math.absf " : " = arith.negf ") + x.name +
         " : " + typeOf(x.shape, "f32"));
    return out;
  }

  Tile binary(const Tile &x, const Tile &y) {
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

  /// A product with a constant that is a power of two: exact, so that nothing
  /// grows and nothing depends on fused operations.
  Tile scaled(const Tile &x) {
    const float by = number(0, 1) ? 0.5f : -0.25f;
    std::string c = fresh();
    line(c + " = arith.constant dense<" + floatText(by) +
         "> : " + typeOf(x.shape, "f32"));
    Tile out{fresh(), x.shape, x.values, x.error * 0.5};
    for (float &v : out.values)
      v *= by;
    line(out.name + " = arith.mulf " + x.name + ", " + c + " : " +
         typeOf(x.shape, "f32"));
    return out;
  }

  Tile chosen(const Tile &x, const Tile &y) {
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

  Tile toBF16AndBack(const Tile &x) {
    std::string narrow = fresh();
    line(narrow + " = arith.truncf " + x.name + " : " + typeOf(x.shape, "f32") +
         " to " + typeOf(x.shape, "bf16"));
    Tile out{fresh(), x.shape, x.values};
    for (float &v : out.values)
      v = ref::decodeBF16(ref::encodeBF16(v));
    line(out.name + " = arith.extf " + narrow + " : " +
         typeOf(x.shape, "bf16") + " to " + typeOf(x.shape, "f32"));
    return out;
  }

  /// Along a dimension and back, so that the shape stays.
  Tile reduced(const Tile &x) {
    const int64_t dim = number(0, 1), rows = x.shape[0], columns = x.shape[1];
    const bool isMax = number(0, 1);
    const int64_t kept = dim ? rows : columns, gone = dim ? columns : rows;
    std::vector<float> results(kept);
    double largest = 0;
    for (int64_t i = 0; i < kept; ++i) {
      double sum = 0, most = -HUGE_VAL, magnitude = 0;
      for (int64_t j = 0; j < gone; ++j) {
        const float v = x.values[dim ? i * columns + j : j * columns + i];
        sum += v;
        magnitude += std::fabs(v);
        most = std::max<double>(most, v);
      }
      results[i] = isMax ? float(most) : float(sum);
      largest = std::max(largest, magnitude);
    }
    std::string r = fresh();
    line(r + " = tile.reduce " + (isMax ? "<max> " : "<add> ") + x.name +
         " {dim = " + std::to_string(dim) +
         " : i64} : " + typeOf(x.shape, "f32"));
    Tile out{fresh(), x.shape, x.values, x.error * (isMax ? 1 : gone)};
    if (!isMax)
      sums(out, largest);
    for (int64_t i = 0; i < rows * columns; ++i)
      out.values[i] = results[dim ? i / columns : i % columns];
    line(out.name + " = tile.broadcast " + r + " dims [" + std::to_string(dim) +
         "] : " + typeOf({kept}, "f32") + " -> " + typeOf(x.shape, "f32"));
    return scaledDown(out, gone);
  }

  /// Sums would grow without end: divided by what they went over, a power of
  /// two.
  Tile scaledDown(const Tile &x, int64_t by) {
    std::string c = fresh();
    line(c + " = arith.constant dense<" + floatText(1.0 / double(by)) +
         "> : " + typeOf(x.shape, "f32"));
    Tile out{fresh(), x.shape, x.values, x.error / double(by)};
    for (float &v : out.values)
      v = float(v * (1.0 / double(by)));
    line(out.name + " = arith.mulf " + x.name + ", " + c + " : " +
         typeOf(x.shape, "f32"));
    return out;
  }

  void sums(Tile &out, double magnitude) { out.error += magnitude * 1e-6; }

  Tile transposedTwice(const Tile &x) {
    std::string t = fresh();
    const Shape turned{x.shape[1], x.shape[0]};
    line(t + " = tile.transpose " + x.name +
         " [1, 0] : " + typeOf(x.shape, "f32"));
    // Read in another shape between the two: rows become what they were not.
    std::string flat = fresh();
    line(flat + " = tile.reshape " + t + " : " + typeOf(turned, "f32") +
         " -> " + typeOf(x.shape, "f32"));
    Tile out{flat, x.shape, x.values, x.error};
    for (int64_t i = 0; i < turned[0]; ++i)
      for (int64_t j = 0; j < turned[1]; ++j)
        out.values[i * turned[1] + j] = x.values[j * x.shape[1] + i];
    return out;
  }

  Tile evenAndOdd(const Tile &x) {
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

  /// x times y turned, of bf16 values; wants the shape [rows, columns] back, so
  /// that a second product follows.
  Tile product(const Tile &x, const Tile &y) {
    const int64_t rows = x.shape[0], columns = x.shape[1];
    auto narrow = [&](const Tile &t) {
      std::string name = fresh();
      line(name + " = arith.truncf " + t.name + " : " + typeOf(t.shape, "f32") +
           " to " + typeOf(t.shape, "bf16"));
      return name;
    };
    std::string a = narrow(x), b = narrow(y), zero = fresh(), zero2 = fresh();
    const Shape square{rows, rows};
    line(zero + " = arith.constant dense<0.0> : " + typeOf(square, "f32"));
    line(zero2 + " = arith.constant dense<0.0> : " + typeOf(x.shape, "f32"));
    Tile first{fresh(), square, std::vector<float>(rows * rows)};
    line(first.name + " = tile.dot <nt> " + a + ", " + b + ", " + zero + " : " +
         typeOf(x.shape, "bf16") + ", " + typeOf(x.shape, "bf16") + ", " +
         typeOf(square, "f32"));
    auto bf16 = [](float v) { return ref::decodeBF16(ref::encodeBF16(v)); };
    double largest = 0;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < rows; ++j) {
        double sum = 0, magnitude = 0;
        for (int64_t k = 0; k < columns; ++k) {
          const double part = double(bf16(x.values[i * columns + k])) *
                              bf16(y.values[j * columns + k]);
          sum += part;
          magnitude += std::fabs(part);
        }
        first.values[i * rows + j] = float(sum);
        largest = std::max(largest, magnitude);
      }
    sums(first, largest);
    first = scaledDown(first, 4 * columns);
    Tile out{fresh(), x.shape, std::vector<float>(rows * columns)};
    line(out.name + " = tile.dot <nn> " + first.name + ", " + y.name + ", " +
         zero2 + " : " + typeOf(square, "f32") + ", " + typeOf(x.shape, "f32") +
         ", " + typeOf(x.shape, "f32"));
    largest = 0;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) {
        double sum = 0, magnitude = 0;
        for (int64_t k = 0; k < rows; ++k) {
          const double part =
              double(first.values[i * rows + k]) * y.values[k * columns + j];
          sum += part;
          magnitude += std::fabs(part);
        }
        out.values[i * columns + j] = float(sum);
        largest = std::max(largest, magnitude);
      }
    // What the operands may be off by comes in once for each term.
    double most = 0;
    for (float v : y.values)
      most = std::max<double>(most, std::fabs(v));
    out.error = double(rows) * first.error * most;
    sums(out, largest);
    return scaledDown(out, 4 * rows);
  }

  void step() {
    const Tile x = any(), y = any();
    // What follows an inexact sum must not jump where the sum is a little off.
    const bool exact = x.error == 0 && y.error == 0;
    Tile out;
    switch (number(0, 9)) {
    case 0:
    case 1:
      out = binary(x, y);
      break;
    case 2:
      out = scaled(x);
      break;
    case 3:
      out = unary(x);
      break;
    case 4:
      out = exact ? chosen(x, y) : binary(x, y);
      break;
    case 5:
      out = exact ? toBF16AndBack(x) : scaled(x);
      break;
    case 6:
      out = reduced(x);
      break;
    case 7:
      out = transposedTwice(x);
      break;
    case 8:
      out = evenAndOdd(x);
      break;
    default:
      out = exact ? product(x, y) : binary(x, y);
    }
    pool.push_back(out);
  }

  /// Adds the tile to half of what was, a few times.
  Tile loop(const Tile &x) {
    const int64_t turns = number(1, 4);
    std::string bound = fresh(), half = fresh();
    const std::string type = typeOf(x.shape, "f32");
    line(bound + " = arith.constant " + std::to_string(turns) + " : index");
    line(half + " = arith.constant dense<0.5> : " + type);
    Tile out{fresh(), x.shape, x.values};
    line(out.name + " = scf.for %i = %zero to " + bound +
         " step %one iter_args(%carried = " + x.name + ") -> (" + type + ") {");
    line("  %less = arith.mulf %carried, " + half + " : " + type);
    line("  %more = arith.addf %less, " + x.name + " : " + type);
    line("  scf.yield %more : " + type);
    line("}");
    for (int64_t turn = 0; turn < turns; ++turn)
      for (size_t i = 0; i < out.values.size(); ++i)
        out.values[i] = out.values[i] * 0.5f + x.values[i];
    out.error = 2 * x.error;
    return out;
  }

  Tile close(const Tile &result) {
    line("tile.store " + result.name +
         ", %out[%at, %zero] bounds [%count, "
         "%width] : " +
         typeOf(result.shape, "f32") + ", " + bufferType("f32"));
    line("tile.return");
    text += "}\n";
    return result;
  }

  RandomProgram &p;
  std::mt19937 generator;
  int64_t id, next = 0;
  std::vector<Tile> pool;
};

} // namespace

RandomProgram RandomProgram::make(unsigned seed) {
  RandomProgram program;
  for (int64_t id = 0; id < program.programs; ++id) {
    Writer writer(program, seed, id);
    Tile result = writer.write();
    program.text = writer.text;
    program.tolerance = std::max(program.tolerance, result.tolerance());
    const int64_t size = program.rows * program.columns;
    std::copy(result.values.begin(), result.values.end(),
              program.expected.begin() + id * size);
  }
  return program;
}

} // namespace fathom::test
