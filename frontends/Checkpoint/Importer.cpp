// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "frontends/Checkpoint/Importer.h"

#include "frontends/Checkpoint/FunctionBuilder.h"
#include "frontends/Checkpoint/Weights.h"
#include "frontends/Support/FrontendError.h"

#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringSwitch.h"

using namespace llvm;
using namespace mlir;

namespace fathom {

std::optional<dsv4::Numerics> parseNumerics(StringRef name) {
  return dsv4::symbolizeNumerics(name);
}

static dsv4::ModelAttr summarise(MLIRContext &context,
                                 const ModelConfig &config,
                                 const ImportOptions &options) {
  auto list = [&](ArrayRef<int64_t> values) {
    return DenseI64ArrayAttr::get(&context, values);
  };
  return dsv4::ModelAttr::get(
      &context, dsv4::NumericsAttr::get(&context, options.numerics),
      config.hiddenSize, config.layers, config.vocabSize, config.streams,
      config.heads, config.headDim, config.experts, config.expertsPerToken,
      config.mtpLayers, config.bosToken, list(config.eosTokens),
      list(config.compressRatios), options.limits.maxContext,
      options.limits.maxSequences, options.limits.maxStepTokens);
}

/// Copies of the embedding and the head that an MTP layer may carry: the model
/// shares its own.
static void tolerateSharedCopies(const Checkpoint &checkpoint,
                                 const ModelConfig &config, Weights &weights) {
  for (const TensorInfo &tensor : checkpoint.tensors()) {
    StringRef rest = tensor.name;
    int64_t layer;
    if (rest.consume_front("mtp.") && !rest.consumeInteger(10, layer) &&
        layer < config.mtpLayers && rest.consume_front(".") &&
        (rest.starts_with("emb") || rest == "head.weight"))
      weights.tolerate(tensor.name);
  }
}

Expected<OwningOpRef<ModuleOp>> importModel(MLIRContext &context,
                                            const ModelConfig &config,
                                            const Checkpoint &checkpoint,
                                            const ImportOptions &options,
                                            std::vector<std::string> *notices) {
  context.loadDialect<dsv4::DSV4Dialect, func::FuncDialect>();
  OwningOpRef<ModuleOp> module =
      ModuleOp::create(NameLoc::get(StringAttr::get(&context, "model")));
  module->getOperation()->setAttr(dsv4::kModelAttrName,
                                  summarise(context, config, options));
  Weights weights(checkpoint, options.numerics == dsv4::Numerics::Published);
  FunctionBuilder builder(*module, config, options, weights);
  builder.buildStep();
  for (int64_t j = 0; j < config.mtpLayers && !weights.isHopeless(); ++j)
    builder.buildMtp(j);
  tolerateSharedCopies(checkpoint, config, weights);
  if (Error error = weights.finish(notices))
    return std::move(error);

  // The checks above should make this impossible; a message is still better
  // than a crash later.
  std::string diagnostics;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    diagnostics += (diagnostics.empty() ? "" : "; ") + diagnostic.str();
    return success();
  });
  if (failed(verify(*module)))
    return makeError(FailureKind::Failed, "the imported module is not valid",
                     quoted(checkpoint.directory()), diagnostics,
                     "this is a bug in Fathom; please report it with the "
                     "config.json");
  return module;
}

} // namespace fathom
