// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Configurations that are known by name, from the files in data/. A file has a
// whole "config", or "extends" another preset and "set"s some of its fields.
#ifndef FATHOM_FRONTENDS_PRESETS_PRESETS_H
#define FATHOM_FRONTENDS_PRESETS_PRESETS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

#include <string>
#include <vector>

namespace fathom {

struct Preset {
  std::string name, summary, source;
  /// Whether a checkpoint of this name exists; if not, `notice` says so and
  /// goes into the configuration, so that whatever is made of it says so too.
  bool published = true;
  std::string notice;
  llvm::json::Object config;

  /// The text of a config.json.
  std::string configText() const;
};

/// All of them, in the order in which they are listed.
llvm::Expected<std::vector<Preset>> loadPresets();

/// The one of this name; otherwise an Unsupported error that offers the nearest
/// names.
llvm::Expected<Preset> findPreset(llvm::StringRef name);

} // namespace fathom

#endif // FATHOM_FRONTENDS_PRESETS_PRESETS_H
