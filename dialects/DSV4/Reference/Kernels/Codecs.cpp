// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/Kernels/Codecs.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

using namespace fathom::ref;

static uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

static float floatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

float fathom::ref::decodeBF16(uint16_t code) {
  return floatOf(static_cast<uint32_t>(code) << 16);
}

uint16_t fathom::ref::encodeBF16(float value) {
  uint32_t bits = bitsOf(value);
  if (value != value) // rounding could carry a NaN into infinity
    return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

static std::array<float, 256> makeE4M3Table() {
  std::array<float, 256> table{};
  for (int code = 0; code < 256; ++code) {
    int exponent = (code >> 3) & 15, mantissa = code & 7;
    float value = exponent == 0
                      ? std::ldexp(mantissa / 8.0f, -6)
                      : std::ldexp(1.0f + mantissa / 8.0f, exponent - 7);
    if (exponent == 15 && mantissa == 7)
      value = std::numeric_limits<float>::quiet_NaN();
    table[code] = code & 0x80 ? -value : value;
  }
  return table;
}

float fathom::ref::decodeE4M3(uint8_t code) {
  static const std::array<float, 256> table = makeE4M3Table();
  return table[code];
}

uint8_t fathom::ref::encodeE4M3(float value) {
  if (value != value)
    return 0x7F;
  uint8_t sign = std::signbit(value) ? 0x80 : 0;
  float magnitude = std::fabs(value);
  if (magnitude >= 448.0f)
    return sign | 0x7E;
  int exponent; // magnitude = f * 2^exponent, f in [0.5, 1)
  std::frexp(magnitude, &exponent);
  // The grid around the value has steps of 2^(e-3), e >= -6 (subnormals).
  int e = magnitude == 0.0f || exponent - 1 < -6 ? -6 : exponent - 1;
  int steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 3 - e)));
  // 8..15 steps are the mantissas of a normal number of exponent e; 16 steps
  // carry into the next exponent, 0..7 steps at e = -6 are the subnormals:
  // one formula because codes are consecutive. 448 was handled above, and
  // values that round up to 480 round to the NaN code, hence the clamp.
  int code = (e + 6) * 8 + steps;
  return sign | static_cast<uint8_t>(code > 0x7E ? 0x7E : code);
}

static constexpr float E2M1Values[8] = {0.0f, 0.5f, 1.0f, 1.5f,
                                        2.0f, 3.0f, 4.0f, 6.0f};

float fathom::ref::decodeE2M1(uint8_t code) {
  float value = E2M1Values[code & 7];
  return code & 8 ? -value : value;
}

uint8_t fathom::ref::encodeE2M1(float value) {
  if (value != value)
    return 0;
  uint8_t sign = std::signbit(value) ? 8 : 0;
  float magnitude = std::fabs(value);
  uint8_t code = 7;
  for (uint8_t c = 0; c < 7; ++c) {
    float middle = (E2M1Values[c] + E2M1Values[c + 1]) / 2;
    if (magnitude < middle || (magnitude == middle && c % 2 == 0)) {
      code = c;
      break;
    }
  }
  return sign | code;
}

float fathom::ref::decodeE8M0(uint8_t code) {
  if (code == 255)
    return std::numeric_limits<float>::quiet_NaN();
  return std::ldexp(1.0f, code - 127);
}

uint8_t fathom::ref::encodeE8M0(float powerOfTwo) {
  return static_cast<uint8_t>(std::ilogb(powerOfTwo) + 127);
}

/// limit = fraction * 2^exponent in the form of frexp.
static float scaleFor(float amax, float fraction, int exponent) {
  int e;
  float f = std::frexp(amax, &e);
  int scale = e - exponent + (f > fraction ? 1 : 0);
  return std::ldexp(1.0f, scale < -127 ? -127 : scale);
}

float fathom::ref::scaleForE4M3(float amax) {
  return scaleFor(amax, 0.875f, 9); // 448 = 0.875 * 2^9
}

float fathom::ref::scaleForE2M1(float amax) {
  return scaleFor(amax, 0.75f, 3); // 6 = 0.75 * 2^3
}
