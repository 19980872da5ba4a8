// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathom/Npz.h"

#include "runtime/src/Files.h"

#include <zlib.h>

#include <cmath>
#include <cstring>

namespace fathom::tool {

namespace {

constexpr uint64_t kLargestFile = uint64_t(1) << 30;

/// A little-endian number of `T` at a place that has been checked.
template <typename T> T get(const std::string &bytes, uint64_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

double fromHalf(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const double mantissa = bits & 1023;
  double value;
  if (exponent == 31)
    value = mantissa ? NAN : INFINITY;
  else if (exponent == 0)
    value = std::ldexp(mantissa, -24);
  else
    value = std::ldexp(mantissa + 1024, exponent - 25);
  return bits & 0x8000 ? -value : value;
}

template <typename T> double plain(const std::string &bytes, uint64_t at) {
  return double(get<T>(bytes, at));
}
double half(const std::string &bytes, uint64_t at) {
  return fromHalf(get<uint16_t>(bytes, at));
}

struct Format {
  const char *descr;
  uint64_t size;
  double (*read)(const std::string &, uint64_t);
};
constexpr Format kFormats[] = {
    {"<f2", 2, half},           {"<f4", 4, plain<float>},
    {"<f8", 8, plain<double>},  {"<i4", 4, plain<int32_t>},
    {"<i8", 8, plain<int64_t>}, {"|u1", 1, plain<uint8_t>}};

/// The text after `key` in the header's dictionary; empty where it is missing.
std::string after(const std::string &header, const std::string &key) {
  const size_t at = header.find("'" + key + "':");
  return at == std::string::npos ? "" : header.substr(at + key.size() + 3);
}

/// "(20, 512), ...": false for anything else.
bool parseShape(const std::string &text, std::vector<int64_t> &shape) {
  size_t at = text.find_first_not_of(' ');
  if (at == std::string::npos || text[at] != '(')
    return false;
  for (++at; at < text.size();) {
    const char c = text[at];
    if (c == ')')
      return true;
    if (c == ' ' || c == ',') {
      ++at;
      continue;
    }
    int64_t value = 0;
    const size_t begin = at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
      if ((value = value * 10 + (text[at] - '0')) > int64_t(kLargestFile))
        return false;
    if (at == begin || shape.size() == 8)
      return false;
    shape.push_back(value);
  }
  return false;
}

/// Unpacks a raw deflate stream of exactly `size` bytes.
bool unpack(const char *data, uint64_t packed, uint64_t size,
            std::string &out) {
  // Nothing is packed to less than 1/1032: no gigabyte for a few bytes.
  if (size / 1032 > packed)
    return false;
  out.resize(size);
  z_stream stream = {};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
    return false;
  stream.next_in =
      reinterpret_cast<Bytef *>(const_cast<char *>(data)); // not written to
  stream.avail_in = uInt(packed);
  stream.next_out = reinterpret_cast<Bytef *>(&out[0]);
  stream.avail_out = uInt(size);
  const int result = inflate(&stream, Z_FINISH);
  const bool good = result == Z_STREAM_END && stream.total_out == size;
  inflateEnd(&stream);
  return good;
}

/// A walk over the members of an archive by its central directory.
class Archive {
public:
  explicit Archive(std::string bytes) : bytes(std::move(bytes)) {}

  std::string read(std::map<std::string, NpzArray> &arrays) {
    uint64_t end = 0;
    if (!findEnd(end))
      return "it is no zip archive";
    const uint64_t count = get<uint16_t>(bytes, end + 10);
    uint64_t at = get<uint32_t>(bytes, end + 16);
    for (uint64_t i = 0; i < count; ++i)
      if (std::string why = member(at, arrays); !why.empty())
        return why;
    return "";
  }

private:
  bool has(uint64_t at, uint64_t size) const {
    return at <= bytes.size() && size <= bytes.size() - at;
  }

  bool findEnd(uint64_t &end) const {
    if (bytes.size() < 22)
      return false;
    const uint64_t last = bytes.size() - 22;
    for (uint64_t back = 0; back <= last && back < 65536; ++back)
      if (get<uint32_t>(bytes, last - back) == 0x06054b50) {
        end = last - back;
        return true;
      }
    return false;
  }

  /// Reads the member whose directory entry is at `at`, and moves on.
  std::string member(uint64_t &at, std::map<std::string, NpzArray> &arrays) {
    const std::string damaged = "its directory is damaged";
    if (!has(at, 46) || get<uint32_t>(bytes, at) != 0x02014b50)
      return damaged;
    const unsigned method = get<uint16_t>(bytes, at + 10);
    const uint64_t packed = get<uint32_t>(bytes, at + 20);
    const uint64_t size = get<uint32_t>(bytes, at + 24);
    const uint64_t nameSize = get<uint16_t>(bytes, at + 28);
    const uint64_t rest = uint64_t(get<uint16_t>(bytes, at + 30)) +
                          get<uint16_t>(bytes, at + 32);
    const uint64_t local = get<uint32_t>(bytes, at + 42);
    if (!has(at + 46, nameSize + rest))
      return damaged;
    std::string name = bytes.substr(at + 46, nameSize);
    at += 46 + nameSize + rest;
    if (name.size() < 5 || name.substr(name.size() - 4) != ".npy")
      return "";
    name.resize(name.size() - 4);
    if (!has(local, 30) || get<uint32_t>(bytes, local) != 0x04034b50)
      return damaged;
    const uint64_t data = local + 30 + get<uint16_t>(bytes, local + 26) +
                          get<uint16_t>(bytes, local + 28);
    if (!has(data, packed))
      return damaged;
    total += size;
    if (total > kLargestFile)
      return "its arrays are larger than 1 GB";
    std::string content;
    if (method == 0 && packed == size)
      content = bytes.substr(data, size);
    else if (method != 8 || !unpack(bytes.data() + data, packed, size, content))
      return "its member '" + name + "' cannot be unpacked";
    NpzArray array;
    if (std::string why = parseNpy(content, array); !why.empty())
      return "its array '" + name + "': " + why;
    arrays[name] = std::move(array);
    return "";
  }

  std::string bytes;
  uint64_t total = 0;
};

} // namespace

std::string parseNpy(const std::string &bytes, NpzArray &out) {
  if (bytes.size() < 12 || bytes.compare(0, 6, "\x93NUMPY") != 0)
    return "it is no .npy array";
  const bool isLong = bytes[6] >= 2;
  const uint64_t start = isLong ? 12 : 10;
  const uint64_t length =
      isLong ? get<uint32_t>(bytes, 8) : get<uint16_t>(bytes, 8);
  if (length > bytes.size() - start)
    return "its header is cut off";
  const std::string header = bytes.substr(start, length);
  const Format *format = nullptr;
  std::string descr = after(header, "descr");
  for (const Format &f : kFormats)
    if (descr.find(std::string("'") + f.descr + "'") < 2)
      format = &f;
  if (!format)
    return "its type is not one of f2, f4, f8, i4, i8, u1, little-endian";
  if (after(header, "fortran_order").find("False") > 1)
    return "it is not in C order";
  if (!parseShape(after(header, "shape"), out.shape))
    return "its shape cannot be read";
  uint64_t count = 1;
  for (int64_t size : out.shape)
    if (__builtin_mul_overflow(count, uint64_t(size), &count))
      return "its shape is too large";
  const uint64_t data = start + length;
  if (count > kLargestFile || bytes.size() - data != count * format->size)
    return "its bytes are not what its shape needs";
  out.values.resize(count);
  for (uint64_t i = 0; i < count; ++i)
    out.values[i] = format->read(bytes, data + i * format->size);
  return "";
}

std::string parseNpz(std::string bytes,
                     std::map<std::string, NpzArray> &arrays) {
  return Archive(std::move(bytes)).read(arrays);
}

Failure readNpz(const std::string &path,
                std::map<std::string, NpzArray> &arrays) {
  std::string bytes;
  if (rt::Status s = rt::readFile(path, kLargestFile, bytes); s.failed())
    return {s.code(), s.message(),
            "name a file that numpy.savez has written with --golden"};
  if (std::string why = parseNpz(std::move(bytes), arrays); !why.empty())
    return {FATHOM_BAD_FILE, "'" + path + "': " + why,
            "write it again with numpy.savez"};
  return {};
}

} // namespace fathom::tool
