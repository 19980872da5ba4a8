// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_COST_OP_INTERFACE
#define FATHOM_COST_OP_INTERFACE

include "mlir/IR/OpBase.td"

def CostOpInterface : OpInterface<"CostOpInterface"> {
  let description = [{
    An operation that knows what it costs: arithmetic and the bytes that must
    move, from its types and the step that it runs in. Attached to the
    operations of a dialect by external models (Cost.h).
  }];
  let cppNamespace = "::fathom";
  let methods = [InterfaceMethod<[{
      What one execution costs in the step that the context describes.
    }], "::fathom::Cost", "cost",
    (ins "const ::fathom::CostContext &":$context)>];
}

#endif
