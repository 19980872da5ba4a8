// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A DeepSeek-V4 `config.json`, read strictly: every field of the published
// configurations is either used, checked to have the only value that Fathom
// implements, or ignored on purpose. Fields nobody knows are collected as
// notices.
//
// Categories of errors: a file that is missing, is not JSON, lacks a field or
// has one of the wrong JSON type is BadFile (exit code 5); a well-formed value
// that no model of this family as Fathom knows it can have is Unsupported
// (exit code 3). Each names the field, its value and the rule.
#ifndef FATHOM_FRONTENDS_CONFIG_MODELCONFIG_H
#define FATHOM_FRONTENDS_CONFIG_MODELCONFIG_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fathom {

/// YaRN constants of compressed layers; original length in tokens.
struct YarnConfig {
  double factor = 1, betaFast = 32, betaSlow = 1;
  int64_t originalLength = 0;
};

/// A stack of draft layers for speculation (the DSpark layout): layers of the
/// window kind named mtp.j, in place of the MTP block. Recognised, not compiled.
struct DraftConfig {
  int64_t layers = 0;
  int64_t targetLayers = 0; // whose streams it reads
  int64_t markovRank = 0;
};

/// A vision tower with its projection into the text model; recognised, not
/// compiled. Sizes of the tower, a patch in pixels, `merge` patches a side
/// become a token.
struct VisionConfig {
  int64_t layers = 0, width = 0, mlpWidth = 0, patch = 0, merge = 0;
};

struct ModelConfig {
  std::string architecture;
  int64_t vocabSize = 0, hiddenSize = 0;
  int64_t layers = 0, mtpLayers = 0;
  int64_t heads = 0, headDim = 0, ropeDim = 0;
  int64_t qRank = 0, oRank = 0, oGroups = 0;
  int64_t window = 0;
  int64_t indexHeads = 0, indexHeadDim = 0, indexTopK = 0;
  int64_t experts = 0, expertsPerToken = 0, sharedExperts = 0;
  int64_t moeWidth = 0;   // of one expert
  int64_t hashLayers = 0; // layers i < hashLayers route by token id
  int64_t streams = 0, sinkhornIterations = 0;
  double hcEps = 0, normEps = 0;
  double ropeTheta = 0, compressRopeTheta = 0;
  double routedScale = 0, swigluLimit = 0;
  /// Absent: rope_scaling was null or not there; compressed layers then use
  /// `compressRopeTheta` without YaRN, as the published code does.
  std::optional<YarnConfig> yarn;
  /// Exactly layers + mtpLayers entries out of {0, 4, 128}; entry layers + j
  /// belongs to MTP layer j.
  std::vector<int64_t> compressRatios;
  /// With a draft stack there is no MTP block: mtpLayers is 0.
  std::optional<DraftConfig> draft;
  std::optional<VisionConfig> vision;
  int64_t maxPositions = 0;
  int64_t bosToken = -1; // -1: none
  std::vector<int64_t> eosTokens;
  /// What the file says experts are stored as ("fp4", "fp8", or ""); the
  /// tensors decide.
  std::string expertDtype;

  /// What was ignored or assumed, one line each, for the user to see.
  std::vector<std::string> notices;

  int64_t sharedWidth() const { return moeWidth * sharedExperts; }
};

/// Parses the text of a config.json. `where` names it in messages (a path).
llvm::Expected<ModelConfig> parseModelConfig(llvm::StringRef text,
                                             llvm::StringRef where);

/// Bytes that a config.json may have.
constexpr uint64_t kLargestConfig = 16 << 20;
/// Reads DIRECTORY/config.json.
llvm::Expected<ModelConfig> loadModelConfig(llvm::StringRef directory);

/// Sizes a package is compiled for; all in tokens or sequences.
struct CompileLimits {
  int64_t maxContext = 0, maxSequences = 0, maxStepTokens = 0;
};

/// Rows that a cache has for each sequence: the ring of the window holds a step
/// beside it, as a step may be inserted as a whole before any of its tokens is
/// read; compressed ones have a row for every block of `ratio` tokens.
int64_t windowRows(const ModelConfig &config, const CompileLimits &limits);
int64_t blockRows(const CompileLimits &limits, int64_t ratio);

/// The most that can be compiled for.
constexpr int64_t kMostSequences = int64_t(1) << 16;
int64_t mostContext(const ModelConfig &config);

/// The limits to compile for: what the user asked for, else 32768 (or the
/// model's max_position_embeddings if that is less), 16 and 512. Asking for
/// more context than the model has positions, or for sizes that cannot be
/// addressed, is Unsupported.
llvm::Expected<CompileLimits>
resolveLimits(const ModelConfig &config, std::optional<int64_t> maxContext,
              std::optional<int64_t> maxSequences,
              std::optional<int64_t> maxStepTokens);

} // namespace fathom

#endif // FATHOM_FRONTENDS_CONFIG_MODELCONFIG_H
