// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Codes of the model's formats, and rows by number.
#include "test/unit/codegen/RandomTiles.h"

#include "dialects/DSV4/Reference/Kernels/Codecs.h"

namespace fathom::test {

/// The integers of %in2.
Tile RandomTiles::integerCodes() {
  const Shape shape{p.rows, p.columns};
  std::string raw = named("tile.load %in2[%at, %zero] : " + bufferType("i8") +
                          " -> " + typeOf(shape, "i8"));
  Tile tile{named("arith.sitofp " + raw + " : " + typeOf(shape, "i8") + " to " +
                  typeOf(shape, "f32")),
            shape,
            {}};
  for (int8_t code : tileOf(p.in2))
    tile.values.push_back(code);
  return tile;
}

float RandomTiles::rounded(float value, const std::string &element) {
  return element == "bf16" ? ref::decodeBF16(ref::encodeBF16(value))
                           : ref::decodeE4M3(ref::encodeE4M3(value));
}

float RandomTiles::packedValue(int64_t at) const {
  return ref::decodeE2M1(uint8_t(p.in2[at / 2]) >> (at % 2 * 4));
}

/// To a narrower type and back.
Tile RandomTiles::through(const Tile &x, const std::string &element) {
  std::string narrow = narrowed(x.name, x.shape, element);
  Tile out{widened(narrow, x.shape, element), x.shape, x.values};
  for (float &v : out.values)
    v = rounded(v, element);
  return out;
}

Tile RandomTiles::throughFP4(const Tile &x) {
  const std::string wide = typeOf(x.shape, "f32"),
                    packed = typeOf({x.shape[0], x.shape[1] / 2}, "i8");
  std::string codes =
      named("tile.pack_fp4 " + x.name + " : " + wide + " -> " + packed);
  Tile out{named("tile.unpack_fp4 " + codes + " : " + packed + " -> " + wide),
           x.shape, x.values};
  for (float &v : out.values)
    v = ref::decodeE2M1(ref::encodeE2M1(v));
  return out;
}

/// Rows of all programs, from some column on.
Tile RandomTiles::gathered() {
  auto [name, rows] = rowNumbers();
  const int64_t first = number(0, 1) * (p.columns / 2);
  std::string column =
      named("arith.constant " + std::to_string(first) + " : index");
  const Shape shape{p.rows, p.columns};
  Tile out{named("tile.gather %in0[" + name + ", " + column +
                 "] : " + bufferType("f32") + ", " + typeOf({p.rows}, "i32") +
                 " -> " + typeOf(shape, "f32")),
           shape, std::vector<float>(p.rows * p.columns)};
  for (int64_t i = 0; i < p.rows; ++i)
    for (int64_t j = 0; rows[i] >= 0 && first + j < p.columns; ++j)
      out.values[i * p.columns + j] = p.in0[rows[i] * p.columns + first + j];
  return out;
}

/// The same of e4m3, a scale for every 16, or of packed e2m1, one for every 32.
Tile RandomTiles::gatheredCodes() {
  auto [name, rows] = rowNumbers();
  const bool packed = number(0, 1);
  const int64_t width = p.columns * (packed ? 2 : 1), block = packed ? 32 : 16,
                first = packed ? number(0, 1) * p.columns : 0;
  std::string column =
      named("arith.constant " + std::to_string(first) + " : index");
  const Shape shape{p.rows, p.columns};
  Tile out{named("tile.gather_scaled " +
                 std::string(packed ? "%in2" : "%codes") + ", %scales[" + name +
                 ", " + column + "] block " + std::to_string(block) + " : " +
                 bufferType(packed ? "i8" : "f8E4M3FN") + ", " +
                 bufferType("f8E8M0FNU", p.columns / 16) + ", " +
                 typeOf({p.rows}, "i32") + " -> " + typeOf(shape, "f32")),
           shape, std::vector<float>(p.rows * p.columns)};
  for (int64_t i = 0; i < p.rows; ++i)
    for (int64_t j = 0; rows[i] >= 0 && j < p.columns; ++j) {
      const int64_t k = first + j, at = rows[i] * width + k;
      const float value =
          packed ? packedValue(at) : ref::decodeE4M3(p.codes[at]);
      out.values[i * p.columns + j] =
          value *
          ref::decodeE8M0(p.scales[rows[i] * (p.columns / 16) + k / block]);
    }
  return out;
}

} // namespace fathom::test
