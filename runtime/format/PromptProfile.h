// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which encoder a checkpoint's prompts are written by. Revisions of V4 differ
// in what "high" and "max" mean although their configurations are the same;
// the encoder file that comes with a checkpoint tells them apart.
#pragma once

#include <string_view>

namespace fathom::format {

/// Where a checkpoint has its encoder.
constexpr const char *kEncoderFile = "encoding/encoding_dsv4.py";
constexpr const char *kPreviewProfile = "preview";   // April 2026
constexpr const char *kOfficialProfile = "official"; // 0731 and 0813

/// A line at the left margin that begins with this name.
inline bool definesName(std::string_view source, std::string_view name) {
  for (size_t at = source.find(name); at != source.npos;
       at = source.find(name, at + 1)) {
    const size_t end = at + name.size();
    const char next = end < source.size() ? source[end] : ' ';
    if ((at == 0 || source[at - 1] == '\n') &&
        (next == ' ' || next == ':' || next == '='))
      return true;
  }
  return false;
}

/// By the text of the encoder file; without one: preview.
inline const char *promptProfile(std::string_view encoder) {
  return definesName(encoder, "REASONING_EFFORT_PROMPTS") &&
                 !definesName(encoder, "REASONING_EFFORT_MAX")
             ? kOfficialProfile
             : kPreviewProfile;
}

} // namespace fathom::format
