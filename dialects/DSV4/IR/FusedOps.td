// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_DSV4_FUSED_OPS
#define FATHOM_DSV4_FUSED_OPS
include "dialects/DSV4/IR/DSV4Base.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

def DSV4_FusionKind : I32EnumAttr<"FusionKind", "what a fused group is", [
    I32EnumAttrCase<"AttentionInput", 0, "attention_input">,
    I32EnumAttrCase<"CompressedAttention", 1, "compressed_attention">,
    I32EnumAttrCase<"SparseAttention", 2, "sparse_attention">,
    I32EnumAttrCase<"Experts", 3, "experts">,
    I32EnumAttrCase<"HyperConnection", 4, "hyper_connection">,
    I32EnumAttrCase<"Head", 5, "head">]> {
  let cppNamespace = "::fathom::dsv4";
  let genSpecializedAttr = 0;
}
def DSV4_FusionKindAttr : EnumAttr<DSV4_Dialect, DSV4_FusionKind, "fusion">;

def DSV4_FusedOp : DSV4_Op<"fused", [RecursiveMemoryEffects, SingleBlock, NoRegionArguments]> {
  let summary = "operations that are to become as few kernels as possible";
  let description = [{
    A group made by a fusion pass. It means what its members mean, in their
    order; values from outside are used as they are. `kind` tells the lowering
    to tile programs what to look for.
  }];
  let arguments = (ins DSV4_FusionKindAttr:$kind);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$kind $body attr-dict (`:` type($outputs)^)?";
  let extraClassDeclaration = [{
    /// What stands in the body, without the yield.
    auto members() { return getBody().front().without_terminator(); }
    ::mlir::ValueRange yielded() {
      return getBody().front().getTerminator()->getOperands();
    }
  }];
}

def DSV4_YieldOp : Op<DSV4_Dialect, "yield", [Pure, Terminator, ReturnLike, HasParent<"FusedOp">]> {
  let summary = "the results of a fused group";
  let arguments = (ins Variadic<AnyRankedTensor>:$operands);
  let assemblyFormat = "($operands^ `:` type($operands))? attr-dict";
}

#endif
