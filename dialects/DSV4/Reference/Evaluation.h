// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the evaluation of one operation may see and do. For those who give an
// operation its reference meaning; users of the interpreter need Interpreter.h
// alone.
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_EVALUATION_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_EVALUATION_H

#include "dialects/DSV4/IR/DSV4.h"
#include "dialects/DSV4/Reference/Kernels/Cache.h"
#include "dialects/DSV4/Reference/Kernels/HostTensor.h"

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include "llvm/Support/Error.h"

namespace fathom {
class EvaluationContext;
}

#include "dialects/DSV4/Reference/ReferenceOpInterface.h.inc"

namespace fathom {

/// One frame of the interpreter. Operands of the operation being evaluated are
/// bound, and have the element type and the static dimensions of their types.
class EvaluationContext {
public:
  virtual ~EvaluationContext();

  /// The tensor bound to `value`; null for an absent optional operand.
  virtual const ref::HostTensor *find(mlir::Value value) = 0;
  const ref::HostTensor &get(mlir::Value value) { return *find(value); }
  /// The cache bound to `value`, of its type's kind.
  virtual ref::RowCache &rowCache(mlir::Value value) = 0;
  virtual ref::StateCache &stateCache(mlir::Value value) = 0;
  /// Sequence slots of every cache.
  virtual int64_t slots() const = 0;

  /// Binds a result; fails if the tensor is not of the result's type.
  virtual llvm::Error set(mlir::Value result, ref::HostTensor tensor) = 0;
  /// Binds a result to a checkpoint tensor, or to a stack of them whose names
  /// differ in a number that stands for "{}".
  virtual llvm::Error setParameter(mlir::Value result, llvm::StringRef name,
                                   bool stacked) = 0;
};

/// An error at an operation: "dsv4.embed at LOCATION: MESSAGE".
llvm::Error evaluationError(mlir::Operation *op, const llvm::Twine &message);

/// The kernels' name of an element type; an error for one they do not have.
llvm::Expected<ref::DType> dtypeOf(mlir::Type elementType);
/// Of a result whose type the dialect restricts to f32 and bf16.
ref::DType carrierOf(mlir::Value result);

/// Fails unless all operands that have a row per token agree on their number.
llvm::Error checkTokens(mlir::Operation *op, EvaluationContext &context);
/// Fails unless positions are not negative, slots exist, and the tokens of a
/// sequence are contiguous and ascend without gaps.
llvm::Error checkStep(mlir::Operation *op, EvaluationContext &context,
                      mlir::Value positions, mlir::Value slots);
/// Fails unless every element of the integer tensor is in [0, limit).
llvm::Error checkRange(mlir::Operation *op, const ref::HostTensor &values,
                       int64_t limit, llvm::StringRef what);

/// Attaches `Function`, Error(Op, EvaluationContext &), as the meaning of Op.
template <typename Op, llvm::Error (*Function)(Op, EvaluationContext &),
          bool PerToken = true>
struct ReferenceModel : ReferenceOpInterface::ExternalModel<
                            ReferenceModel<Op, Function, PerToken>, Op> {
  llvm::Error evaluate(mlir::Operation *op, EvaluationContext &context) const {
    if (PerToken)
      if (llvm::Error error = checkTokens(op, context))
        return error;
    return Function(llvm::cast<Op>(op), context);
  }
};

// Of the files beside this one; called by attachReferenceModels.
void attachTensorModels(mlir::MLIRContext &context);
void attachStreamModels(mlir::MLIRContext &context);
void attachAttentionModels(mlir::MLIRContext &context);
void attachMoEModels(mlir::MLIRContext &context);

} // namespace fathom

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_EVALUATION_H
