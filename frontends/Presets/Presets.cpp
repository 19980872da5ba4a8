// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "frontends/Presets/Presets.h"

#include "frontends/Support/FrontendError.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;

namespace fathom {

static const char *const kTexts[] = {
#include "frontends/Presets/Presets.inc"
};

std::string Preset::configText() const {
  json::Object all = config;
  if (!notice.empty())
    all["fathom_notice"] = notice;
  return formatv("{0:2}\n", json::Value(std::move(all))).str();
}

static Error bad(StringRef name, const std::string &why) {
  return makeError(FailureKind::Failed, "a preset is not well formed",
                   quoted(name), why,
                   "this is a bug in Fathom; please report it");
}

/// The configuration of a preset given what has been read before it.
static Expected<json::Object> configOf(const json::Object &file, StringRef name,
                                       ArrayRef<Preset> before) {
  if (const json::Object *whole = file.getObject("config"))
    return *whole;
  StringRef base = file.getString("extends").value_or("");
  const Preset *found = find_if(
      before, [&](const Preset &preset) { return preset.name == base; });
  const json::Object *changes = file.getObject("set");
  if (found == before.end() || !changes)
    return bad(name, "it has no 'config', and no 'set' over a preset before it");
  json::Object config = found->config;
  for (const auto &field : *changes)
    config[field.first] = field.second;
  return config;
}

Expected<std::vector<Preset>> loadPresets() {
  std::vector<Preset> presets;
  for (StringRef text : kTexts) {
    Expected<json::Value> value = json::parse(text);
    if (!value)
      return bad(text.take_front(40), toString(value.takeError()));
    const json::Object *file = value->getAsObject();
    if (!file)
      return bad(text.take_front(40), "it is no object");
    Preset preset;
    preset.name = file->getString("name").value_or("").str();
    preset.summary = file->getString("summary").value_or("").str();
    preset.source = file->getString("source").value_or("").str();
    preset.notice = file->getString("notice").value_or("").str();
    preset.published = file->getBoolean("published").value_or(true);
    Expected<json::Object> config = configOf(*file, preset.name, presets);
    if (!config)
      return config.takeError();
    preset.config = std::move(*config);
    presets.push_back(std::move(preset));
  }
  return std::move(presets);
}

Expected<Preset> findPreset(StringRef name) {
  Expected<std::vector<Preset>> presets = loadPresets();
  if (!presets)
    return presets.takeError();
  for (Preset &preset : *presets)
    if (preset.name == name)
      return std::move(preset);
  std::vector<std::pair<unsigned, std::string>> near;
  for (const Preset &preset : *presets)
    near.emplace_back(StringRef(preset.name).edit_distance(name.lower()),
                      preset.name);
  llvm::sort(near);
  std::string nearest;
  for (const auto &entry : ArrayRef(near).take_front(3))
    nearest += (nearest.empty() ? "" : ", ") + entry.second;
  return makeError(FailureKind::Unsupported, "unknown preset " + quoted(name),
                   "--preset", "the nearest names are: " + nearest,
                   "fathomc list shows all presets");
}

} // namespace fathom
