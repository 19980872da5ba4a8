// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Numbers on a command line. The parser alone takes an empty word for 0, 010
// for 8, -1 as an unsigned number for the largest one, and nan as what is
// below no limit.
#pragma once

#include <CLI/CLI.hpp>

#include <charconv>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <type_traits>

namespace fathom {

/// Reads all of `text` as a decimal number that T holds and that is finite.
template <typename T> bool readNumber(const std::string &text, T &out) {
  const char *begin = text.data(), *end = begin + text.size();
  if (text.size() > 1 && text[0] == '+' && text[1] != '-')
    ++begin;
  const auto [rest, error] = std::from_chars(begin, end, out);
  if (error != std::errc() || rest != end)
    return false;
  if constexpr (std::is_floating_point_v<T>)
    return std::isfinite(out);
  return true;
}

/// To be given to an option's transform(): what follows reads what it leaves.
template <typename T>
CLI::Validator numberIn(T least = std::numeric_limits<T>::lowest(),
                        T most = std::numeric_limits<T>::max()) {
  std::ostringstream range;
  range << least << " to " << most;
  const bool anything = least == std::numeric_limits<T>::lowest() &&
                        most == std::numeric_limits<T>::max();
  const std::string wanted =
      std::string(std::is_integral_v<T> ? "a whole number" : "a number") +
      (anything && !std::is_integral_v<T> ? "" : " from " + range.str());
  return CLI::Validator(
      [least, most, wanted](std::string &text) {
        T value{};
        if (!readNumber(text, value) || value < least || value > most)
          return "'" + text + "' is not " + wanted;
        if (std::is_integral_v<T>) // a zero in front would mean octal
          text = std::to_string(value);
        return std::string();
      },
      anything ? "" : "in " + range.str());
}

/// Of sizes such as 96GB: the number in front of the unit, for what reads both.
inline CLI::Validator startsWithNumber() {
  return CLI::Validator(
      [](std::string &text) {
        const size_t digits = text.find_first_not_of("0123456789");
        uint64_t value = 0;
        if (!readNumber(text.substr(0, digits), value))
          return "'" + text +
                 "' does not begin with a whole number from 0 to " +
                 std::to_string(std::numeric_limits<uint64_t>::max());
        text = std::to_string(value) +
               (digits == text.npos ? "" : text.substr(digits));
        return std::string();
      },
      "");
}

} // namespace fathom
