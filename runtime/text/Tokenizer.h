// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text to token ids by a byte-level BPE tokenizer.json: added tokens, the
// pre-tokenizer's splits, merges. Every id and pattern comes from the file.
#pragma once

#include "runtime/text/AddedTokens.h"
#include "runtime/text/Bpe.h"
#include "runtime/text/Splitter.h"
#include "runtime/text/Vocabulary.h"

#include <memory>

namespace fathom::rt {

class Tokenizer {
public:
  enum class Patterns { Scanned, Pcre /* for comparing */ };

  /// Reads the text of a tokenizer.json (untrusted).
  Status load(std::string_view json, Patterns patterns = Patterns::Scanned);

  /// Working memory of one encoding after another; one thread at a time.
  using Scratch = Bpe::Scratch;

  /// Appends the ids of `text`; what is not UTF-8 counts as U+FFFD. With
  /// `added`, the spellings of added tokens become these tokens; without, they
  /// are text like any other.
  Status encode(std::string_view text, bool added, Scratch &scratch,
                std::vector<int32_t> &out) const;

  const std::shared_ptr<const Vocabulary> &vocabulary() const { return words; }

private:
  Status readModel(const nlohmann::json &model);
  Status readNormalizer(const nlohmann::json &normalizer);
  Status readPreTokenizer(const nlohmann::json &pre, Patterns patterns);
  Status encodeAdded(const AddedTokens *finder, std::string_view text,
                     Scratch &scratch, std::vector<int32_t> &out) const;
  Status encodeText(std::string_view text, size_t stage, Scratch &scratch,
                    std::vector<int32_t> &out) const;
  Status encodePiece(std::string_view piece, Scratch &scratch,
                     std::vector<int32_t> &out) const;

  std::shared_ptr<const Vocabulary> words;
  AddedTokens early, late; // looked for before the normaliser, and after it
  std::vector<std::unique_ptr<Splitter>> stages;
  Bpe bpe;
};

} // namespace fathom::rt
