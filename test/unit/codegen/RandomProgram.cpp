// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/codegen/RandomTiles.h"

#include <algorithm>
#include <cassert>

namespace fathom::test {

namespace {

/// Writes one program; the values are those of program `id`.
class Writer : RandomTiles {
public:
  using RandomTiles::text;

  Writer(RandomProgram &program, unsigned seed, int64_t id)
      : RandomTiles(program, seed, id) {}

  void write() {
    p.rows = pick({8, 16, 32, 64});
    p.columns = pick({16, 32, 64});
    open();
    pool = {load("%in0", p.in0), chosenBuffer(), integerCodes()};
    const int64_t steps = number(4, 10);
    for (int64_t i = 0; i < steps; ++i)
      pool.push_back(step());
    // Much of what was made comes in.
    Tile result = pool.back();
    for (size_t i = 0; i < 3; ++i)
      result = binary(result, pool[pool.size() - 2 - i]);
    if (number(0, 1))
      result = loop(result);
    if (number(0, 1))
      store(result);
    else
      scatter(result);
    line("tile.return");
    text += "}\n";
    p.tolerance = std::max(p.tolerance, result.tolerance());
  }

private:
  const Tile &any() { return pool[number(0, int64_t(pool.size()) - 1)]; }

  /// The same inputs for every program of a seed.
  void fillInputs() {
    const int64_t all = p.programs * p.rows * p.columns;
    std::mt19937 inputs(p.rows * 131 + p.columns);
    for (int64_t i = 0; i < all; ++i) {
      p.in0.push_back(float(int(inputs() % 4001) - 2000) / 512);
      p.in1.push_back(float(int(inputs() % 4001) - 2000) / 1024);
      p.in2.push_back(int8_t(inputs() % 255) - 127);
      // Up to 16, subnormal ones among them, of both signs.
      p.codes.push_back(uint8_t(inputs() % 0x59 + inputs() % 2 * 0x80));
    }
    for (int64_t i = 0; i < all / 16; ++i)
      p.scales.push_back(uint8_t(124 + inputs() % 5));
    p.expected.assign(all, RandomProgram::kUntouched);
  }

  void open() {
    if (p.in0.empty()) {
      fillInputs();
      p.count = number(1, p.programs * p.rows);
    } else {
      number(1, p.programs * p.rows); // as much randomness as the first time
    }
    text = "tile.kernel @random(%in0: " + bufferType("f32") +
           ", %in1: " + bufferType("f32") + ", %in2: " + bufferType("i8") +
           ", %codes: " + bufferType("f8E4M3FN") +
           ", %scales: " + bufferType("f8E8M0FNU", p.columns / 16) +
           ", %table: !tile.table<2 of " + bufferType("f32") +
           ">, %out: " + bufferType("f32") + ", %count: index) {\n";
    line("%zero = arith.constant 0 : index");
    line("%one = arith.constant 1 : index");
    line("%width = arith.constant " + std::to_string(p.columns) + " : index");
    line("%id = tile.program_id 0");
    line("%rows = arith.constant " + std::to_string(p.rows) + " : index");
    line("%at = arith.muli %id, %rows : index");
  }

  Tile load(const std::string &buffer, const std::vector<float> &all) {
    const Shape shape{p.rows, p.columns};
    return {named("tile.load " + buffer + "[%at, %zero] : " +
                  bufferType("f32") + " -> " + typeOf(shape, "f32")),
            shape, tileOf(all)};
  }

  /// The table holds %in1 and %in0, for the two programs.
  Tile chosenBuffer() {
    std::string buffer =
        named("tile.select_buffer %table[%id] : !tile.table<2 of " +
              bufferType("f32") + "> -> " + bufferType("f32"));
    return load(buffer, id == 0 ? p.in1 : p.in0);
  }

  Tile step() {
    const Tile x = any(), y = any();
    // What follows an inexact sum must not jump where the sum is a little off.
    const bool exact = x.error == 0 && y.error == 0;
    switch (number(0, 19)) {
    case 0:
      return scaled(x);
    case 1:
      return unary(x);
    case 2:
      return reduced(x);
    case 3:
      return transposedTwice(x);
    case 4:
      return evenAndOdd(x);
    case 5:
      return counted();
    case 6:
      return gathered();
    case 7:
      return gatheredCodes();
    case 8:
      return branch(x, y);
    case 9:
      return columnAsRow();
    default:
      break;
    }
    if (!exact)
      return binary(x, y);
    switch (number(0, 8)) {
    case 0:
      return chosen(x, y);
    case 1:
      return through(x, "bf16");
    case 2:
      return through(clamped(x, 448), "f8E4M3FN");
    case 3:
      return throughFP4(x);
    case 4:
      return scanned(x);
    case 5:
      return product(x, y);
    case 6:
      return turnedProduct(x, y);
    case 7:
      return scaledProduct(x, y);
    default:
      return binary(x, y);
    }
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

  void expect(const Tile &result, int64_t row, int64_t at) {
    if (at < p.count)
      std::copy_n(result.values.begin() + row * p.columns, p.columns,
                  p.expected.begin() + at * p.columns);
  }

  void store(const Tile &result) {
    line("tile.store " + result.name +
         ", %out[%at, %zero] bounds [%count, %width] : " +
         typeOf(result.shape, "f32") + ", " + bufferType("f32"));
    for (int64_t row = 0; row < p.rows; ++row)
      expect(result, row, id * p.rows + row);
  }

  /// Upside down; rows behind the count are none.
  void scatter(const Tile &result) {
    const Shape shape{p.rows};
    const std::string type = typeOf(shape, "i32");
    auto spread = [&](const std::string &index) {
      std::string n = named("arith.index_cast " + index + " : index to i32");
      return named("tensor.splat " + n + " : " + type);
    };
    std::string at = spread("%at"), count = spread("%count"),
                last = integers(p.rows - 1, shape), none = integers(-1, shape);
    std::string i = named("tile.iota : " + type);
    std::string turned = named("arith.subi " + last + ", " + i + " : " + type);
    std::string row = named("arith.addi " + at + ", " + turned + " : " + type);
    std::string there =
        named("arith.cmpi slt, " + row + ", " + count + " : " + type);
    std::string rows = named("arith.select " + there + ", " + row + ", " +
                             none + " : " + typeOf(shape, "i1") + ", " + type);
    line("tile.scatter " + result.name + ", %out[" + rows + ", %zero] : " +
         typeOf(result.shape, "f32") + ", " + bufferType("f32") + ", " + type);
    for (int64_t row = 0; row < p.rows; ++row)
      expect(result, row, id * p.rows + p.rows - 1 - row);
  }

  std::vector<Tile> pool;
};

} // namespace

RandomProgram RandomProgram::make(unsigned seed) {
  RandomProgram program;
  for (int64_t id = 0; id < program.programs; ++id) {
    Writer writer(program, seed, id);
    writer.write();
    assert((id == 0 || program.text == writer.text) &&
           "choices depend on values");
    program.text = writer.text;
  }
  return program;
}

} // namespace fathom::test
