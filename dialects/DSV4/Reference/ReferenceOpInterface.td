// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_REFERENCE_OP_INTERFACE
#define FATHOM_REFERENCE_OP_INTERFACE

include "mlir/IR/OpBase.td"

def ReferenceOpInterface : OpInterface<"ReferenceOpInterface"> {
  let description = [{
    An operation whose meaning can be executed. Attached to the operations of a
    dialect by external models (Evaluation.h), so that the dialect does not
    know the interpreter; the mathematics lies in the kernels.
  }];
  let cppNamespace = "::fathom";
  let methods = [InterfaceMethod<[{
      Computes the results from the operands, which are bound, and binds them.
      Fails with a message on values that the operation's contract excludes.
    }], "::llvm::Error", "evaluate",
    (ins "::fathom::EvaluationContext &":$context)>];
}

#endif
