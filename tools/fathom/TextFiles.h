// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the commands that deal in text share: files, standard input, the
// tokenizer of a package.
#pragma once

#include "runtime/text/Tokenizer.h"
#include "tools/fathom/Tool.h"

#include <nlohmann/json.hpp>

namespace fathom::tool {

inline Failure failure(const rt::Status &status) {
  return {status.code(), status.message(), ""};
}

/// A whole file, or standard input for "-".
Failure readText(const std::string &path, std::string &out);
/// The same as JSON of bounded depth.
Failure readJson(const std::string &path, nlohmann::ordered_json &out);

/// --tokenizer FILE, or the one of a package or checkpoint.
struct TokenizerOptions {
  std::string package, file;
  void addTo(CLI::App &app);
};
Failure openTokenizer(const TokenizerOptions &options, rt::Tokenizer &out);

} // namespace fathom::tool
