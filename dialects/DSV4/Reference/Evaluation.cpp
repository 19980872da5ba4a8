// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/Evaluation.h"

#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/Support/raw_ostream.h"

using namespace fathom;
using namespace mlir;

#include "dialects/DSV4/Reference/ReferenceOpInterface.cpp.inc"

EvaluationContext::~EvaluationContext() = default;

llvm::Error fathom::evaluationError(Operation *op, const llvm::Twine &message) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << op->getName() << " at " << op->getLoc() << ": " << message;
  return llvm::createStringError(llvm::inconvertibleErrorCode(), "%s",
                                 text.c_str());
}

llvm::Expected<ref::DType> fathom::dtypeOf(Type type) {
  if (type.isF32())
    return ref::DType::F32;
  if (type.isBF16())
    return ref::DType::BF16;
  if (isa<Float8E4M3FNType>(type))
    return ref::DType::F8E4M3;
  if (isa<Float8E8M0FNUType>(type))
    return ref::DType::F8E8M0;
  if (type.isInteger(8))
    return ref::DType::I8;
  if (type.isInteger(32))
    return ref::DType::I32;
  if (type.isInteger(64))
    return ref::DType::I64;
  std::string name;
  llvm::raw_string_ostream(name) << type;
  return llvm::createStringError(
      llvm::inconvertibleErrorCode(),
      "the interpreter has no elements of type %s; it has f32, bf16, f8E4M3FN, "
      "f8E8M0FNU, i8, i32 and i64",
      name.c_str());
}

ref::DType fathom::carrierOf(Value result) {
  return getElementTypeOrSelf(result.getType()).isBF16() ? ref::DType::BF16
                                                         : ref::DType::F32;
}

llvm::Error fathom::checkTokens(Operation *op, EvaluationContext &context) {
  int64_t tokens = -1;
  for (auto [index, operand] : llvm::enumerate(op->getOperands())) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    if (!type || type.getRank() == 0 || !type.isDynamicDim(0))
      continue;
    int64_t rows = context.get(operand).dim(0);
    if (tokens >= 0 && rows != tokens)
      return evaluationError(
          op, "operand " + llvm::Twine(index) + " has " + llvm::Twine(rows) +
                  " rows where an earlier one has " + llvm::Twine(tokens) +
                  "; all have one row for each token");
    tokens = rows;
  }
  return llvm::Error::success();
}

llvm::Error fathom::checkRange(Operation *op, const ref::HostTensor &values,
                               int64_t limit, StringRef what) {
  for (int64_t i = 0, e = values.numElements(); i < e; ++i) {
    int64_t value = values.loadInt(i);
    if (value < 0 || value >= limit)
      return evaluationError(op, llvm::Twine(what) + " " + llvm::Twine(value) +
                                     " at index " + llvm::Twine(i) +
                                     " is not in [0, " + llvm::Twine(limit) +
                                     ")");
  }
  return llvm::Error::success();
}

llvm::Error fathom::checkStep(Operation *op, EvaluationContext &context,
                              Value positionValue, Value slotValue) {
  ref::StepTokens step(context.get(positionValue), context.get(slotValue));
  if (llvm::Error error = checkRange(op, context.get(slotValue),
                                     context.slots(), "sequence slot"))
    return error;
  llvm::DenseSet<int32_t> seen;
  for (int64_t i = 0; i < step.size(); ++i) {
    if (step.positions[i] < 0)
      return evaluationError(op, "token " + llvm::Twine(i) +
                                     " has the negative position " +
                                     llvm::Twine(step.positions[i]));
    bool continues = i > 0 && step.slots[i] == step.slots[i - 1];
    if (continues && step.positions[i] != step.positions[i - 1] + 1)
      return evaluationError(
          op, "position " + llvm::Twine(step.positions[i]) + " of slot " +
                  llvm::Twine(step.slots[i]) + " follows " +
                  llvm::Twine(step.positions[i - 1]) +
                  "; the tokens of a sequence ascend without gaps");
    if (!continues && !seen.insert(step.slots[i]).second)
      return evaluationError(op, "the tokens of slot " +
                                     llvm::Twine(step.slots[i]) +
                                     " are not contiguous in the step");
  }
  return llvm::Error::success();
}
