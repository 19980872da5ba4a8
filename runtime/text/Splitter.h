// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Finds the matches by which a pre-tokenizer cuts text. The patterns of the
// DeepSeek tokenizers are scanned by hand; any other is given to PCRE2.
#pragma once

#include "runtime/src/Status.h"

#include <memory>
#include <string>
#include <string_view>

namespace fathom::rt {

struct Match {
  size_t begin = 0, end = 0; // not empty
};

class Splitter {
public:
  virtual ~Splitter();

  /// The first match at or after `at` in well-formed text; none: false.
  /// A pattern that takes too long sets `error`.
  virtual bool find(std::string_view text, size_t at, Match &match,
                    Status &error) const = 0;

  /// For an untrusted pattern.
  static Status create(const std::string &pattern,
                       std::unique_ptr<Splitter> &out);
  /// The same without scanners by hand, for comparing them.
  static Status createByPcre(const std::string &pattern,
                             std::unique_ptr<Splitter> &out);
};

} // namespace fathom::rt
