// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_DSV4_BASE
#define FATHOM_DSV4_BASE

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"

def DSV4_Dialect : Dialect {
  let name = "dsv4";
  let cppNamespace = "::fathom::dsv4";
  let summary = "What a DeepSeek-V4 model computes";
  let description = [{
    Tensor-level operations in the terms of the paper. Values are tensors,
    caches are handles with memory effects on a resource of their own. An
    operation computes in f32 and rounds once to its result's element type, so
    the rounding points of the model are visible as types; quantisation points
    are operations. Contracts are numbered in docs/Spec.md.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
}

// Effects: caches are one resource, apart from everything else.
def DSV4_CacheResource : Resource<"::fathom::dsv4::CacheResource">;
def DSV4_CacheRead : MemRead<DSV4_CacheResource>;
def DSV4_CacheWrite : MemWrite<DSV4_CacheResource>;

class DSV4_Op<string mnemonic, list<Trait> traits = []>
    : Op<DSV4_Dialect, mnemonic, traits> {
  let hasVerifier = 1;
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}
class DSV4_PureOp<string mnemonic, list<Trait> traits = []>
    : DSV4_Op<mnemonic, !listconcat([Pure], traits)>;

// Operations whose result types follow from their operands. An explicit type
// must agree: same element type, same rank, equal dimensions where both are
// static.
def DSV4_Infers : InferTypeOpAdaptorBase<[{
  static bool isCompatibleReturnTypes(::mlir::TypeRange l, ::mlir::TypeRange r) {
    return ::fathom::dsv4::agree(l, r);
  }
}]>;

//===-- Enums ------------------------------------------------------------===//

def DSV4_CacheKind : I32EnumAttr<"CacheKind", "what a cache holds", [
    I32EnumAttrCase<"Window", 0, "window">,
    I32EnumAttrCase<"Compressed", 1, "compressed">,
    I32EnumAttrCase<"Index", 2, "index">,
    I32EnumAttrCase<"State", 3, "state">]> {
  let cppNamespace = "::fathom::dsv4";
  let genSpecializedAttr = 0;
}
def DSV4_CacheFormat : I32EnumAttr<"CacheFormat", "how a cache row is stored", [
    I32EnumAttrCase<"F32", 0, "f32">,
    I32EnumAttrCase<"FP8", 1, "fp8">,
    I32EnumAttrCase<"FP4", 2, "fp4">]> {
  let cppNamespace = "::fathom::dsv4";
  let genSpecializedAttr = 0;
}
def DSV4_QuantFormat : I32EnumAttr<"QuantFormat", "grid a value is rounded to", [
    I32EnumAttrCase<"E4M3", 0, "e4m3">,
    I32EnumAttrCase<"E2M1", 1, "e2m1">]> {
  let cppNamespace = "::fathom::dsv4";
  let genSpecializedAttr = 0;
}
def DSV4_Numerics : I32EnumAttr<"Numerics", "numerics a module was imported with", [
    I32EnumAttrCase<"Published", 0, "published">,
    I32EnumAttrCase<"BF16", 1, "bf16">,
    I32EnumAttrCase<"F32", 2, "f32">]> {
  let cppNamespace = "::fathom::dsv4";
  let genSpecializedAttr = 0;
}
def DSV4_QuantFormatAttr : EnumAttr<DSV4_Dialect, DSV4_QuantFormat, "format"> {
  let assemblyFormat = "`<` $value `>`";
}
def DSV4_NumericsAttr : EnumAttr<DSV4_Dialect, DSV4_Numerics, "numerics"> {
  let assemblyFormat = "`<` $value `>`";
}

//===-- Attributes -------------------------------------------------------===//

class DSV4_Attr<string name, string mnemonic_> : AttrDef<DSV4_Dialect, name> {
  let mnemonic = mnemonic_;
}

def DSV4_RopeAttr : DSV4_Attr<"Rope", "rope"> {
  let summary = "rotary frequencies, spec section 3";
  let description = [{
    `factor` 0 means no YaRN; the four YaRN constants are then 0. Frequencies
    follow from these alone: `fathom::ref::ropeFrequencies`.
  }];
  let parameters = (ins "int64_t":$width, "::mlir::FloatAttr":$theta,
      "::mlir::FloatAttr":$factor, "int64_t":$original,
      "::mlir::FloatAttr":$beta_fast, "::mlir::FloatAttr":$beta_slow);
  let builders = [AttrBuilder<(ins "int64_t":$width, "double":$theta,
      CArg<"double", "0">:$factor, CArg<"int64_t", "0">:$original,
      CArg<"double", "0">:$betaFast, CArg<"double", "0">:$betaSlow), [{
    auto f64 = [&](double v) { return ::mlir::FloatAttr::get(::mlir::Float64Type::get($_ctxt), v); };
    return $_get($_ctxt, width, f64(theta), f64(factor), original, f64(betaFast), f64(betaSlow));
  }]>];
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def DSV4_ModelAttr : DSV4_Attr<"Model", "model"> {
  let summary = "summary of the model and of the limits it was imported with";
  let description = [{The module attribute `dsv4.model`; kernels do not need it,
    the package's manifest and the runtime's checks do.}];
  let parameters = (ins "NumericsAttr":$numerics, "int64_t":$hidden,
      "int64_t":$layers, "int64_t":$vocabulary, "int64_t":$streams,
      "int64_t":$heads, "int64_t":$headDim, "int64_t":$experts,
      "int64_t":$expertsPerToken, "int64_t":$mtpLayers, "int64_t":$bos,
      "::mlir::DenseI64ArrayAttr":$eos, "::mlir::DenseI64ArrayAttr":$ratios,
      "int64_t":$maxContext, "int64_t":$maxSequences, "int64_t":$maxStepTokens);
  let assemblyFormat = [{ `<` `numerics` `=` $numerics `,` `hidden` `=` $hidden `,`
    `layers` `=` $layers `,` `vocabulary` `=` $vocabulary `,` `streams` `=` $streams `,`
    `heads` `=` $heads `,` `head_dim` `=` $headDim `,` `experts` `=` $experts `,`
    `experts_per_token` `=` $expertsPerToken `,` `mtp_layers` `=` $mtpLayers `,`
    `bos` `=` $bos `,` `eos` `=` $eos `,`
    `ratios` `=` $ratios `,` `max_context` `=` $maxContext `,`
    `max_sequences` `=` $maxSequences `,` `max_step_tokens` `=` $maxStepTokens `>` }];
  let genVerifyDecl = 1;
}

//===-- Types ------------------------------------------------------------===//

def DSV4_CacheType : TypeDef<DSV4_Dialect, "Cache"> {
  let mnemonic = "cache";
  let summary = "handle of one layer's cache";
  let description = [{
    `rows` rows of `width` channels for every sequence slot. `fp8`: the first
    `width - rope` channels as e4m3 codes with one e8m0 scale per 64, the last
    `rope` channels bf16. `fp4`: e2m1 codes, two a byte, one e8m0 scale per 32.
    `state`: two f32 arrays, projected values and gates (spec section 4).
  }];
  let parameters = (ins EnumParameter<DSV4_CacheKind>:$kind, "int64_t":$rows,
                        "int64_t":$width, "int64_t":$rope,
                        EnumParameter<DSV4_CacheFormat>:$format);
  let assemblyFormat = "`<` $kind `,` $rows `rows` `of` $width `,` `rope` `=` $rope `,` $format `>`";
  let genVerifyDecl = 1;
}

//===-- Constraints ------------------------------------------------------===//

def DSV4_Carrier : RankedTensorOf<[F32, BF16]>;
def DSV4_F32Tensor : RankedTensorOf<[F32]>;
def DSV4_I32Tensor : 1DTensorOf<[I32]>;
def DSV4_Weight : RankedTensorOf<[F32, BF16, F8E4M3FN, I8]>;
def DSV4_Scale : RankedTensorOf<[F8E8M0FNU]>;

#endif
