// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/IR/ShapeRules.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace fathom::dsv4 {

bool agreeDim(int64_t left, int64_t right) {
  return left == right || left == kUnknown || right == kUnknown;
}

static bool agreeShapes(ArrayRef<int64_t> left, ArrayRef<int64_t> right) {
  return left.size() == right.size() &&
         llvm::all_of(llvm::zip(left, right), [](auto pair) {
           return agreeDim(std::get<0>(pair), std::get<1>(pair));
         });
}

bool agree(TypeRange left, TypeRange right) {
  if (left.size() != right.size())
    return false;
  for (auto [l, r] : llvm::zip(left, right)) {
    auto lt = dyn_cast<RankedTensorType>(l), rt = dyn_cast<RankedTensorType>(r);
    if (!lt || !rt || lt.getElementType() != rt.getElementType() ||
        lt.getEncoding() != rt.getEncoding() ||
        !agreeShapes(lt.getShape(), rt.getShape()))
      return false;
  }
  return true;
}

std::string shapeText(ArrayRef<int64_t> shape) {
  if (shape.empty())
    return "scalar";
  std::string text;
  for (int64_t dim : shape) {
    if (!text.empty())
      text += 'x';
    text += dim == kUnknown ? "?" : std::to_string(dim);
  }
  return text;
}

int64_t product(ArrayRef<int64_t> factors) {
  int64_t result = 1;
  for (int64_t factor : factors)
    if (factor == kUnknown || llvm::MulOverflow(result, factor, result))
      return kUnknown;
  return result;
}

RankedTensorType tensorOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

int64_t dimOf(Value value, unsigned index) {
  return tensorOf(value).getDimSize(index);
}

int64_t lastDimOf(Value value) { return tensorOf(value).getShape().back(); }

static StringRef roleOf(Operation *op, Value value) {
  return value.getDefiningOp() == op ? "result" : "operand";
}

static std::string rankText(int64_t least, int64_t most) {
  if (least == most)
    return std::to_string(least);
  if (most == std::numeric_limits<int64_t>::max())
    return "at least " + std::to_string(least);
  return std::to_string(least) + " to " + std::to_string(most);
}

LogicalResult requireRank(Operation *op, StringRef name, Value value,
                          int64_t least, int64_t most) {
  int64_t rank = tensorOf(value).getRank();
  if (rank >= least && rank <= most)
    return success();
  return op->emitOpError() << roleOf(op, value) << " '" << name
                           << "' must have rank " << rankText(least, most)
                           << ", found " << value.getType();
}

LogicalResult requireShape(Operation *op, StringRef name, Value value,
                           ArrayRef<int64_t> expected, StringRef rule) {
  if (agreeShapes(tensorOf(value).getShape(), expected))
    return success();
  return op->emitOpError() << roleOf(op, value) << " '" << name << "' must be "
                           << shapeText(expected) << " (" << rule << "), found "
                           << shapeText(tensorOf(value).getShape());
}

LogicalResult requireAtLeast(Operation *op, StringRef name, int64_t value,
                             int64_t least) {
  if (value >= least)
    return success();
  return op->emitOpError() << "attribute '" << name << "' must be at least "
                           << least << ", found " << value;
}

LogicalResult requireBlock(Operation *op, StringRef name, int64_t value) {
  if (value > 0 && llvm::isPowerOf2_64(value))
    return success();
  return op->emitOpError() << "attribute '" << name
                           << "' must be a power of two, found " << value;
}

LogicalResult requireNumber(Operation *op, StringRef name, const APFloat &value,
                            bool positive) {
  bool good = value.isFinite() &&
              (!positive || (!value.isNegative() && !value.isZero()));
  if (good)
    return success();
  SmallString<24> text;
  value.toString(text);
  return op->emitOpError() << "attribute '" << name << "' must be a "
                           << (positive ? "positive " : "")
                           << "finite number, found " << text;
}

LogicalResult requireCache(Operation *op, StringRef name, Value cache,
                           ArrayRef<CacheKind> kinds, int64_t width) {
  auto type = cast<CacheType>(cache.getType());
  if (!llvm::is_contained(kinds, type.getKind())) {
    InFlightDiagnostic diagnostic = op->emitOpError()
                                    << "operand '" << name
                                    << "' must be a cache of kind ";
    llvm::interleave(
        kinds, [&](CacheKind kind) { diagnostic << stringifyCacheKind(kind); },
        [&] { diagnostic << " or "; });
    return diagnostic << ", found " << stringifyCacheKind(type.getKind());
  }
  if (agreeDim(type.getWidth(), width))
    return success();
  return op->emitOpError() << "operand '" << name
                           << "' must have rows of width " << width
                           << ", found " << type.getWidth();
}

LogicalResult requireTokens(Operation *op, int64_t tokens, Value positions,
                            Value slots) {
  if (failed(requireShape(op, "positions", positions, tokens, "T")))
    return failure();
  return requireShape(op, "slots", slots, tokens, "T");
}

int64_t outputsOf(Value weight) {
  ArrayRef<int64_t> shape = tensorOf(weight).getShape();
  return shape[shape.size() - 2];
}

int64_t inputsOf(Value weight) {
  int64_t columns = lastDimOf(weight);
  bool packed = tensorOf(weight).getElementType().isInteger(8);
  return packed && columns != kUnknown ? 2 * columns : columns;
}

LogicalResult requireWeight(Operation *op, StringRef name, Value weight,
                            int64_t stack, int64_t n, int64_t k,
                            StringRef scaleName, Value scale) {
  bool stacked = stack != 0;
  int64_t rank = stacked ? 3 : 2;
  if (failed(requireRank(op, name, weight, rank, rank)))
    return failure();
  Type element = tensorOf(weight).getElementType();
  bool packed = element.isInteger(8), fp8 = isa<Float8E4M3FNType>(element);
  auto withStack = [&](int64_t a, int64_t b) {
    return stacked ? SmallVector<int64_t>{stack, a, b}
                   : SmallVector<int64_t>{a, b};
  };
  int64_t columns = packed && k != kUnknown ? k / 2 : k;
  // A packed weight has whole blocks of 32 elements.
  if (packed && inputsOf(weight) != kUnknown && inputsOf(weight) % 32 != 0)
    return op->emitOpError()
           << "operand '" << name
           << "' must have a multiple of 32 elements a row, found "
           << inputsOf(weight);
  if (failed(requireShape(op, name, weight, withStack(n, columns),
                          packed ? "N x K/2, two elements a byte" : "N x K")))
    return failure();
  if (!packed && !fp8) {
    if (!scale)
      return success();
    return op->emitOpError() << "operand '" << scaleName
                             << "' must be absent for a weight of " << element;
  }
  if (!scale)
    return op->emitOpError() << "operand '" << scaleName
                             << "' must be present for a weight of " << element;
  auto blocks = [](int64_t size, int64_t block) {
    return size == kUnknown ? kUnknown : llvm::divideCeilSigned(size, block);
  };
  int64_t rows = outputsOf(weight), inputs = inputsOf(weight);
  return packed
             ? requireShape(op, scaleName, scale,
                            withStack(rows, blocks(inputs, 32)), "N x K/32")
             : requireShape(op, scaleName, scale,
                            withStack(blocks(rows, 128), blocks(inputs, 128)),
                            "ceil(N/128) x ceil(K/128)");
}

FailureOr<RankedTensorType> rankedOperand(std::optional<Location> location,
                                          StringRef op, StringRef name,
                                          Value value, int64_t least,
                                          int64_t most) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (type && type.getRank() >= least && type.getRank() <= most)
    return type;
  return emitOptionalError(location, "'dsv4.", op, "' op operand '", name,
                           "' must have rank ", rankText(least, most),
                           ", found ", value.getType());
}

} // namespace fathom::dsv4
