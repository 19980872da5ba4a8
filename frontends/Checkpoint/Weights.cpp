// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "frontends/Checkpoint/Weights.h"

#include "frontends/Support/FrontendError.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;
using namespace mlir;

namespace fathom {
using mlir::Type; // not LLVM's

static std::string describe(ArrayRef<DType> types, ArrayRef<int64_t> shape) {
  std::string text;
  raw_string_ostream os(text);
  interleave(types, os, [&](DType type) { os << dtypeName(type); }, " or ");
  os << " [";
  interleaveComma(shape, os);
  os << ']';
  return text;
}

static std::string replaceNumber(StringRef pattern, int64_t number) {
  auto [before, after] = pattern.split("{}");
  return (before + Twine(number) + after).str();
}

static Value makeParameter(OpBuilder &builder, const std::string &name,
                           ArrayRef<int64_t> shape, DType type, bool stacked) {
  Location loc = NameLoc::get(builder.getStringAttr(name));
  auto result =
      RankedTensorType::get(shape, elementType(builder.getContext(), type));
  StringAttr attr = builder.getStringAttr(name);
  if (stacked)
    return dsv4::StackedParameterOp::create(builder, loc, result, attr);
  return dsv4::ParameterOp::create(builder, loc, result, attr);
}

Type elementType(MLIRContext *context, DType type) {
  Builder builder(context);
  switch (type) {
  case DType::F8_E4M3:
    return Float8E4M3FNType::get(context);
  case DType::F8_E8M0:
    return Float8E8M0FNUType::get(context);
  case DType::I8:
    return builder.getI8Type();
  case DType::I32:
    return builder.getI32Type();
  case DType::I64:
    return builder.getI64Type();
  case DType::BF16:
    return builder.getBF16Type();
  default:
    return builder.getF32Type();
  }
}

const TensorInfo *Weights::take(const std::string &name) {
  const TensorInfo *tensor = checkpoint.find(name);
  if (!tensor) {
    ++missingCount;
    if (missing.size() < 10)
      missing.push_back(name);
    return nullptr;
  }
  used.set(tensor - checkpoint.tensors().data());
  return tensor;
}

bool Weights::check(const TensorInfo &tensor, ArrayRef<int64_t> shape,
                    ArrayRef<DType> types) {
  if (is_contained(types, tensor.dtype) && tensor.shape == shape)
    return true;
  ++wrongCount;
  if (wrong.size() < 10)
    wrong.push_back(quoted(tensor.name) + " is " +
                    describe(tensor.dtype, tensor.shape) + ", not " +
                    describe(types, shape));
  return false;
}

Value Weights::plain(OpBuilder &builder, const std::string &name,
                     ArrayRef<int64_t> shape, ArrayRef<DType> types) {
  const TensorInfo *tensor = take(name);
  bool good = tensor && check(*tensor, shape, types);
  return makeParameter(builder, name, shape,
                       good ? tensor->dtype : types.front(), false);
}

Value Weights::carrier(OpBuilder &builder, const std::string &name,
                       ArrayRef<int64_t> shape) {
  return plain(builder, name, shape, {DType::BF16, DType::F32});
}

std::optional<Weights::Layout> Weights::layoutOf(const std::string &name,
                                                 int64_t n, int64_t k,
                                                 bool quantisedInput) {
  const TensorInfo *tensor = take(name + ".weight");
  if (!tensor)
    return std::nullopt;
  Layout layout;
  layout.type = tensor->dtype;
  layout.shape = {n, k};
  layout.scaleType = DType::F8_E8M0;
  switch (tensor->dtype) {
  case DType::F8_E4M3:
    layout.scaleShape = {(n + 127) / 128, (k + 127) / 128};
    break;
  case DType::I8:
    if (k % 32 != 0) {
      unsupported("unsupported shape of FP4 weight " + quoted(tensor->name),
                  "it contracts " + std::to_string(k) +
                      " elements, which must be a multiple of 32 (a scale per "
                      "32 elements)",
                  "use a model whose widths are multiples of 32");
      return std::nullopt;
    }
    layout.shape = {n, k / 2};
    layout.scaleShape = {n, k / 32};
    break;
  default:
    break;
  }
  if (quantisesInputs && quantisedInput && !layout.scaleShape.empty() &&
      k % 128 != 0) {
    unsupported("unsupported shape of quantised weight " + quoted(tensor->name),
                "it contracts " + std::to_string(k) +
                    " elements; published numerics quantises inputs in blocks "
                    "of 128, of which that must be a multiple",
                "compile with --numerics bf16 or f32");
    return std::nullopt;
  }
  if (!check(*tensor, layout.shape,
             {DType::F8_E4M3, DType::I8, DType::BF16, DType::F32}))
    return std::nullopt;
  return layout;
}

bool Weights::checkScale(const std::string &name, const Layout &layout) {
  if (layout.scaleShape.empty())
    return true;
  const TensorInfo *scale = take(name + ".scale");
  return scale && check(*scale, layout.scaleShape, layout.scaleType);
}

LinearWeight Weights::linear(OpBuilder &builder, const std::string &name,
                             int64_t n, int64_t k, bool quantisedInput) {
  std::optional<Layout> layout = layoutOf(name, n, k, quantisedInput);
  LinearWeight result;
  if (!layout || !checkScale(name, *layout)) {
    result.weight =
        makeParameter(builder, name + ".weight", {n, k}, DType::BF16, false);
    return result;
  }
  result.stored = layout->type;
  result.weight = makeParameter(builder, name + ".weight", layout->shape,
                                layout->type, false);
  if (!layout->scaleShape.empty())
    result.scale = makeParameter(builder, name + ".scale", layout->scaleShape,
                                 layout->scaleType, false);
  return result;
}

LinearWeight Weights::stackedLinear(OpBuilder &builder,
                                    const std::string &pattern, int64_t count,
                                    int64_t n, int64_t k) {
  std::optional<Layout> first;
  bool good = true;
  for (int64_t index = 0; index < count && !isHopeless(); ++index) {
    std::string name = replaceNumber(pattern, index);
    std::optional<Layout> layout = layoutOf(name, n, k, true);
    if (!layout || !checkScale(name, *layout)) {
      good = false;
      continue;
    }
    if (!first)
      first = layout;
    if (first->type != layout->type) {
      unsupported("experts of one layer are stored differently",
                  quoted(name + ".weight") + " is " +
                      dtypeName(layout->type).str() + ", others are " +
                      dtypeName(first->type).str(),
                  "use a checkpoint whose experts of a layer have one type");
      good = false;
    }
  }
  LinearWeight result;
  if (first && good)
    result.stored = first->type;
  else
    first = Layout{DType::BF16, DType::F8_E8M0, {n, k}, {}};
  auto stack = [&](StringRef suffix, DType type, ArrayRef<int64_t> inner) {
    SmallVector<int64_t> shape{count};
    llvm::append_range(shape, inner);
    return makeParameter(builder, pattern + suffix.str(), shape, type, true);
  };
  result.weight = stack(".weight", first->type, first->shape);
  if (!first->scaleShape.empty())
    result.scale = stack(".scale", first->scaleType, first->scaleShape);
  return result;
}

void Weights::tolerate(StringRef name) {
  if (const TensorInfo *tensor = checkpoint.find(name))
    used.set(tensor - checkpoint.tensors().data());
}

void Weights::unsupported(std::string what, std::string why, std::string help) {
  if (!refusal)
    refusal = Unsupported{std::move(what), std::move(why), std::move(help)};
}

bool Weights::isHopeless() const {
  return missingCount + wrongCount > checkpoint.tensors().size() + 10000;
}

/// Tensors beside the text model: draft layers, vision towers, and the bias
/// that routes the tokens of images.
static bool isBesideTheModel(StringRef name) {
  for (StringRef prefix : {"mtp.", "draft", "dspark", "eagle", "vision",
                           "visual", "vit.", "image_", "mm_", "aligner."})
    if (name.starts_with(prefix))
      return true;
  return name.ends_with(".ffn.gate.bias_vl");
}

Error Weights::finish(std::vector<std::string> *notices) {
  std::string where = quoted(checkpoint.directory());
  if (refusal)
    return makeError(FailureKind::Unsupported, refusal->what, where,
                     refusal->why, refusal->help);
  std::vector<std::string> surplus, beside;
  uint64_t surplusCount = 0, besideCount = 0;
  for (auto [index, tensor] : enumerate(checkpoint.tensors())) {
    if (used.test(index))
      continue;
    bool isBeside = isBesideTheModel(tensor.name);
    ++(isBeside ? besideCount : surplusCount);
    std::vector<std::string> &list = isBeside ? beside : surplus;
    if (list.size() < 10)
      list.push_back(tensor.name);
  }
  if (besideCount && notices)
    notices->push_back("not part of the text model, ignored: " +
                       countedList(besideCount, beside, "tensor"));
  std::vector<std::string> reasons;
  if (missingCount)
    reasons.push_back(std::string("missing: ") +
                      (isHopeless() ? "at least " : "") +
                      countedList(missingCount, missing, "tensor"));
  if (wrongCount) {
    std::string text = "wrong type or shape: " + std::to_string(wrongCount) +
                       (wrongCount == 1 ? " tensor: " : " tensors: ") +
                       join(wrong, ", ");
    if (wrongCount > wrong.size())
      text += " and " + std::to_string(wrongCount - wrong.size()) + " more";
    reasons.push_back(text);
  }
  if (surplusCount)
    reasons.push_back("surplus: " +
                      countedList(surplusCount, surplus, "tensor"));
  if (reasons.empty())
    return Error::success();
  return makeError(FailureKind::BadFile,
                   "the tensors do not fit the configuration", where,
                   join(reasons, "; "),
                   "config.json and weights must come from one checkpoint, "
                   "completely downloaded");
}

} // namespace fathom
