// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From a configuration and a checkpoint's headers to a module of the dsv4
// dialect: what the model computes, with every rounding and quantisation point
// of the numerics chosen. Weights are references; no tensor data is read.
#ifndef FATHOM_FRONTENDS_CHECKPOINT_IMPORTER_H
#define FATHOM_FRONTENDS_CHECKPOINT_IMPORTER_H

#include "dialects/DSV4/IR/DSV4.h"
#include "frontends/Checkpoint/Safetensors.h"
#include "frontends/Config/ModelConfig.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <optional>
#include <string>
#include <vector>

namespace fathom {

struct ImportOptions {
  dsv4::Numerics numerics = dsv4::Numerics::BF16;
  /// From `resolveLimits`. Tokens, sequences, tokens.
  CompileLimits limits;
  /// @step also returns the streams after each layer but the last, for looking
  /// into a model.
  bool layerOutputs = false;
};

/// "published", "bf16" or "f32".
std::optional<dsv4::Numerics> parseNumerics(llvm::StringRef name);

/// Builds the module; loads the dialects that it needs into `context`.
///
/// Functions (T tokens, R rows of logits, V vocabulary, n streams, D width):
///   @step(ids, positions, slots : tensor<?xi32> [T], rows : tensor<?xi32> [R],
///         caches...) -> (logits tensor<?xVxf32>, streams tensor<?xnxD>)
///   @mtp_J(streams tensor<?xnxD>, ids, positions, slots, rows, caches...)
///         -> (logits, streams)
/// With `layerOutputs`, the results of @step go on with the streams after
/// layer 0, 1, ... `rows` are token indices within the step. Cache arguments carry the
/// attribute dsv4.cache_name: layers.I.K or mtp.J.K with K one of window,
/// state, compressed, index_state, index. The module carries dsv4.model.
///
/// Every tensor that the model needs is checked for type and shape. Errors:
/// missing, wrong or surplus tensors (BadFile, counted, the first ten named);
/// shapes that the numerics cannot have (Unsupported). Tensors of draft layers
/// or of a vision tower are surplus by design: a line in `notices` each group.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
importModel(mlir::MLIRContext &context, const ModelConfig &config,
            const Checkpoint &checkpoint, const ImportOptions &options,
            std::vector<std::string> *notices = nullptr);

} // namespace fathom

#endif // FATHOM_FRONTENDS_CHECKPOINT_IMPORTER_H
