// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What fathom-translate --interpret does, apart from reading flags:
//
//   --interpret MODULE --function NAME --inputs a.npy,b.npy --output-dir DIR
//   --interpret MODULE --tokens-file F --output OUT.npy [--chunk N] [--mtp]
//
// Both take the weights from a ParameterSource (--parameters CKPT_DIR).
// Errors say what, where and why; the caller prints them. Those of files have
// the codes of NpyIO.h, from which a tool's exit code follows.
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_DRIVER_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_DRIVER_H

#include "dialects/DSV4/Reference/Interpreter.h"

#include <string>
#include <vector>

namespace fathom {

struct InterpretFunctionOptions {
  std::string function = "step";
  /// One .npy (f32, i32 or i64) for every argument that is not a cache, in
  /// order. f32 files are rounded for bf16 arguments, i64 narrowed for i32.
  std::vector<std::string> inputs;
  /// Created if missing; results are written as result0.npy, result1.npy ...
  /// (bf16 as f32).
  std::string outputDir;
  /// If not empty, a directory: every operation's results are written there
  /// as NNNNN-OPERATION-LOCATION.npy, in order of evaluation. For tests that
  /// look inside a layer.
  std::string probeDir;
  /// Sequence slots of the caches; 0: as the module's dsv4.model says.
  int64_t slots = 0;
};

/// Calls one function once, with empty caches.
llvm::Error interpretFunction(mlir::ModuleOp module,
                              ParameterSource &parameters,
                              const InterpretFunctionOptions &options);

struct InterpretTokensOptions {
  /// Each line: one sequence of comma-separated token ids.
  std::string tokensFile;
  /// f32 .npy: [all tokens of all lines in order, vocabulary]; with `mtp`
  /// [tokens - lines, vocabulary], for position t of a line @mtp_0 on the
  /// streams of t and the id of t+1.
  std::string output;
  /// Tokens of every sequence in a step; 0: all, as far as the module's
  /// max_step_tokens allows. The results do not depend on it.
  int64_t chunk = 0;
  bool mtp = false;
};

/// Runs @step (and @mtp_0) over the sequences of a file, as `fathom logits`
/// does: all lines in one ragged batch, in turns where they are more than the
/// module's max_sequences. The module must carry dsv4.model.
llvm::Error interpretTokens(mlir::ModuleOp module, ParameterSource &parameters,
                            const InterpretTokensOptions &options);

} // namespace fathom

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_DRIVER_H
