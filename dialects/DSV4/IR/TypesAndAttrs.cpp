// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the dialect's types and attributes allow, and where its named
// attributes may stand.
#include "dialects/DSV4/IR/DSV4.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace fathom::dsv4;

using EmitError = function_ref<InFlightDiagnostic()>;

/// A value within a cache type or an attribute that breaks a rule.
static LogicalResult refuse(EmitError emit, StringRef field, StringRef rule,
                            const Twine &found) {
  return emit() << "'" << field << "' must be " << rule << ", found " << found;
}

LogicalResult CacheType::verify(EmitError emit, CacheKind kind, int64_t rows,
                                int64_t width, int64_t rope,
                                CacheFormat format) {
  // cache_c1
  if (rows < 1)
    return refuse(emit, "rows", "at least 1", Twine(rows));
  if (width < 1)
    return refuse(emit, "width", "at least 1", Twine(width));
  if (rope < 0 || rope > width)
    return refuse(emit, "rope", "within the width", Twine(rope));
  // cache_c2
  bool rowCache = kind == CacheKind::Window || kind == CacheKind::Compressed;
  if (format == CacheFormat::FP8) {
    if (!rowCache)
      return emit() << "format fp8 is for window and compressed caches, found "
                    << stringifyCacheKind(kind);
    if ((width - rope) % 64 != 0)
      return refuse(emit, "width - rope", "a multiple of 64 in format fp8",
                    Twine(width - rope));
  }
  // cache_c3
  if (format == CacheFormat::FP4) {
    if (kind != CacheKind::Index)
      return emit() << "format fp4 is for index caches, found "
                    << stringifyCacheKind(kind);
    if (width % 32 != 0)
      return refuse(emit, "width", "a multiple of 32 in format fp4",
                    Twine(width));
  }
  return success();
}

LogicalResult RopeAttr::verify(EmitError emit, int64_t width, FloatAttr theta,
                               FloatAttr factor, int64_t original,
                               FloatAttr betaFast, FloatAttr betaSlow) {
  // rope_attr_c1
  if (width < 2 || width % 2 != 0)
    return refuse(emit, "width", "even and at least 2", Twine(width));
  // rope_attr_c2
  for (FloatAttr number : {theta, factor, betaFast, betaSlow})
    if (!number.getType().isF64() || !number.getValue().isFinite())
      return emit() << "constants of a rope must be finite f64, found "
                    << number;
  if (theta.getValueAsDouble() <= 1)
    return emit() << "'theta' must be above 1, found " << theta;
  // rope_attr_c3
  bool yarn = factor.getValueAsDouble() != 0;
  if (!yarn && (original != 0 || betaFast.getValueAsDouble() != 0 ||
                betaSlow.getValueAsDouble() != 0))
    return emit() << "'original', 'beta_fast' and 'beta_slow' must be 0 when "
                     "'factor' is 0";
  if (yarn && (factor.getValueAsDouble() < 1 || original < 1 ||
               betaSlow.getValueAsDouble() <= 0 ||
               betaFast.getValueAsDouble() < betaSlow.getValueAsDouble()))
    return emit() << "YaRN needs factor >= 1, original >= 1 and beta_fast >= "
                     "beta_slow > 0, found factor "
                  << factor << ", original " << original << ", beta_fast "
                  << betaFast << ", beta_slow " << betaSlow;
  return success();
}

LogicalResult ModelAttr::verify(EmitError emit, NumericsAttr, int64_t hidden,
                                int64_t layers, int64_t vocabulary,
                                int64_t streams, int64_t heads, int64_t headDim,
                                int64_t experts, int64_t expertsPerToken,
                                int64_t mtpLayers, int64_t, DenseI64ArrayAttr,
                                DenseI64ArrayAttr ratios, int64_t maxContext,
                                int64_t maxSequences, int64_t maxStepTokens) {
  // model_c1
  const std::pair<StringRef, int64_t> sizes[] = {
      {"hidden", hidden},
      {"layers", layers},
      {"vocabulary", vocabulary},
      {"streams", streams},
      {"heads", heads},
      {"head_dim", headDim},
      {"experts", experts},
      {"experts_per_token", expertsPerToken},
      {"max_context", maxContext},
      {"max_sequences", maxSequences},
      {"max_step_tokens", maxStepTokens}};
  for (auto [name, value] : sizes)
    if (value < 1)
      return refuse(emit, name, "at least 1", Twine(value));
  if (mtpLayers < 0)
    return refuse(emit, "mtp_layers", "at least 0", Twine(mtpLayers));
  if (expertsPerToken > experts)
    return refuse(emit, "experts_per_token", "at most the number of experts",
                  Twine(expertsPerToken));
  // model_c2
  if (ratios.size() != layers + mtpLayers)
    return emit() << "'ratios' must have one entry per layer and MTP layer ("
                  << layers + mtpLayers << "), found " << ratios.size();
  for (int64_t ratio : ratios.asArrayRef())
    if (ratio < 0)
      return refuse(emit, "ratios", "at least 0", Twine(ratio));
  return success();
}

LogicalResult DSV4Dialect::verifyOperationAttribute(Operation *op,
                                                    NamedAttribute attribute) {
  // model_c3
  if (attribute.getName() == kModelAttrName) {
    if (!isa<ModuleOp>(op) || !isa<ModelAttr>(attribute.getValue()))
      return op->emitOpError()
             << "'" << kModelAttrName
             << "' must be a #dsv4.model attribute of a module";
    return success();
  }
  return op->emitOpError() << "has the unknown attribute '"
                           << attribute.getName().getValue() << "'";
}

LogicalResult DSV4Dialect::verifyRegionArgAttribute(Operation *op,
                                                    unsigned region,
                                                    unsigned argument,
                                                    NamedAttribute attribute) {
  // cache_c4
  if (attribute.getName() != kCacheNameAttr)
    return op->emitOpError() << "has an argument with the unknown attribute '"
                             << attribute.getName().getValue() << "'";
  auto name = dyn_cast<StringAttr>(attribute.getValue());
  auto function = dyn_cast<FunctionOpInterface>(op);
  bool onCache =
      function && isa<CacheType>(function.getArgumentTypes()[argument]);
  if (name && !name.empty() && onCache)
    return success();
  return op->emitOpError() << "argument " << argument << ": '" << kCacheNameAttr
                           << "' must be a name on an argument of cache type";
}
