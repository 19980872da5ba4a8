// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/NpyIO.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileOutputBuffer.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"

#include <algorithm>

using namespace fathom;
using namespace llvm;
using fathom::ref::DType;
using fathom::ref::HostTensor;

static Error fileError(StringRef path, const Twine &message,
                       std::errc code = kBadFile) {
  return createStringError(std::make_error_code(code), "%s: %s",
                           path.str().c_str(), message.str().c_str());
}

static constexpr StringLiteral Magic("\x93NUMPY");

/// The text after `'key':` in the header's dictionary, without blanks.
static StringRef valueOf(StringRef header, StringRef key) {
  size_t at = header.find(("'" + key + "'").str());
  if (at == StringRef::npos)
    return {};
  StringRef rest = header.drop_front(at + key.size() + 2).ltrim();
  return rest.consume_front(":") ? rest.ltrim() : StringRef();
}

/// "(2, 3)" or "(7,)" or "()": dimensions, none negative, whose product times
/// `elementSize` fits in 63 bits.
static bool parseShape(StringRef text, int64_t elementSize,
                       std::vector<int64_t> &shape, int64_t &bytes) {
  if (!text.consume_front("("))
    return false;
  size_t end = text.find(')');
  if (end == StringRef::npos)
    return false;
  SmallVector<StringRef> parts;
  text.take_front(end).split(parts, ',', -1, /*KeepEmpty=*/false);
  bytes = elementSize;
  for (StringRef part : parts) {
    if (part.trim().empty())
      continue;
    int64_t dim;
    if (part.trim().getAsInteger(10, dim) || dim < 0 ||
        MulOverflow(bytes, dim, bytes))
      return false;
    shape.push_back(dim);
  }
  return true;
}

Expected<HostTensor> fathom::parseNpy(StringRef content, StringRef path) {
  StringRef rest = content;
  if (!rest.consume_front(Magic) || rest.size() < 4)
    return fileError(path, "not a .npy file (wrong magic bytes)");
  unsigned major = uint8_t(rest[0]);
  unsigned lengthBytes = major == 1 ? 2 : 4;
  if (major < 1 || major > 3 || rest.size() < 2 + lengthBytes)
    return fileError(path, "version " + Twine(major) +
                               " of the .npy format is unknown; 1 to 3 are "
                               "read");
  uint64_t length = 0;
  for (unsigned i = 0; i < lengthBytes; ++i)
    length |= uint64_t(uint8_t(rest[2 + i])) << (8 * i);
  rest = rest.drop_front(2 + lengthBytes);
  if (length > rest.size())
    return fileError(path, "the file ends within its header");
  StringRef header = rest.take_front(length), data = rest.drop_front(length);

  StringRef order = valueOf(header, "fortran_order");
  if (!order.starts_with("False"))
    return fileError(path, "only C order is read; save a contiguous array "
                           "(numpy.ascontiguousarray)");
  StringRef descr = valueOf(header, "descr");
  DType dtype;
  if (descr.starts_with("'<f4'"))
    dtype = DType::F32;
  else if (descr.starts_with("'<i4'"))
    dtype = DType::I32;
  else if (descr.starts_with("'<i8'"))
    dtype = DType::I64;
  else
    return fileError(path, "elements of type " + descr.take_until([](char c) {
      return c == ',' || c == '}';
    }) + " are not read; use float32, int32 or int64");
  std::vector<int64_t> shape;
  int64_t bytes = 0;
  if (!parseShape(valueOf(header, "shape"), ref::elementBytes(dtype), shape,
                  bytes))
    return fileError(path, "the header has no legal shape");
  if (static_cast<uint64_t>(bytes) != data.size())
    return fileError(path, "the header's shape needs " + Twine(bytes) +
                               " bytes of data, the file has " +
                               Twine(data.size()));
  HostTensor tensor;
  tensor.dtype = dtype;
  tensor.shape = std::move(shape);
  tensor.bytes.assign(data.bytes_begin(), data.bytes_end());
  return tensor;
}

Expected<HostTensor> fathom::readNpy(StringRef path) {
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/false,
                                      /*RequiresNullTerminator=*/false);
  if (!buffer)
    return fileError(path, "cannot be read: " + buffer.getError().message(),
                     whyUnread(buffer.getError()));
  return parseNpy((*buffer)->getBuffer(), path);
}

Error fathom::writeNpy(StringRef path, const HostTensor &tensor) {
  StringRef descr = "<f4";
  if (tensor.dtype == DType::I32)
    descr = "<i4";
  else if (tensor.dtype == DType::I64)
    descr = "<i8";
  else if (!ref::isFloat(tensor.dtype))
    return fileError(path,
                     Twine("elements of type ") + ref::dtypeName(tensor.dtype) +
                         " are not written",
                     std::errc::not_supported);
  std::string header =
      ("{'descr': '" + descr + "', 'fortran_order': False, 'shape': (").str();
  for (int64_t dim : tensor.shape)
    header += std::to_string(dim) + ",";
  header += "), }";
  // Data start at a multiple of 64 bytes; the header ends in a newline.
  constexpr size_t PrefixBytes = 10;
  size_t padded = alignTo(PrefixBytes + header.size() + 1, 64) - PrefixBytes;
  header.resize(padded - 1, ' ');
  header += '\n';

  std::vector<uint8_t> widened;
  ArrayRef<uint8_t> data = tensor.bytes;
  if (ref::isFloat(tensor.dtype) && tensor.dtype != DType::F32) {
    HostTensor wide =
        HostTensor::fromFloats(DType::F32, tensor.shape, tensor.floats());
    widened = std::move(wide.bytes);
    data = widened;
  }
  // Written beside the target and renamed on commit.
  auto output =
      FileOutputBuffer::create(path, PrefixBytes + header.size() + data.size());
  if (!output)
    return fileError(path, "cannot be written: " + toString(output.takeError()),
                     kRefused);
  uint8_t *at = (*output)->getBufferStart();
  at = std::copy(Magic.bytes_begin(), Magic.bytes_end(), at);
  *at++ = 1;
  *at++ = 0;
  *at++ = uint8_t(header.size() & 0xFF);
  *at++ = uint8_t(header.size() >> 8);
  at = std::copy(header.begin(), header.end(), at);
  std::copy(data.begin(), data.end(), at);
  if (Error error = (*output)->commit())
    return fileError(path, "cannot be written: " + toString(std::move(error)),
                     kRefused);
  return Error::success();
}
