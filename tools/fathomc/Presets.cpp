// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc list and fathomc skeleton.
#include "tools/fathomc/Commands.h"

#include "codegen/Common/Process.h"
#include "frontends/Checkpoint/Layout.h"
#include "frontends/Config/ModelConfig.h"
#include "frontends/Presets/Presets.h"
#include "frontends/Support/FrontendError.h"
#include "frontends/Support/InputFile.h"
#include "runtime/format/MemoryPlan.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace fathom {

static int report(Error error) {
  return reportError(std::move(error), errs(), "fathomc");
}

int listPresets(const CompileOptions &options) {
  Expected<std::vector<Preset>> presets = loadPresets();
  if (!presets)
    return report(presets.takeError());
  json::Array list;
  if (!options.json)
    outs() << formatv("{0,-20} {1,9} {2,8} {3,7}  {4}\n", "preset", "weights",
                      "tensors", "layers", "what it is");
  for (const Preset &preset : *presets) {
    Expected<ModelConfig> config =
        parseModelConfig(preset.configText(), "preset " + preset.name);
    if (!config)
      return report(config.takeError());
    Skeleton skeleton = layoutOf(*config);
    if (options.json) {
      list.push_back(
          json::Object{{"name", preset.name},
                       {"summary", preset.summary},
                       {"source", preset.source},
                       {"published", preset.published},
                       {"notice", preset.notice},
                       {"weight_bytes", int64_t(skeleton.dataBytes())},
                       {"tensors", int64_t(skeleton.tensors.size())},
                       {"files", int64_t(skeleton.files.size())},
                       {"layers", config->layers}});
      continue;
    }
    outs() << formatv("{0,-20} {1,9} {2,8} {3,7}  {4}\n", preset.name,
                      format::sizeText(skeleton.dataBytes()),
                      skeleton.tensors.size(), config->layers, preset.summary)
           << formatv("{0,-20} {1}\n", "", preset.source);
    if (!preset.published)
      outs() << formatv("{0,-20} NOT PUBLISHED: {1}\n", "", preset.notice);
  }
  if (options.json)
    outs() << formatv("{0:2}\n",
                      json::Value(json::Object{{"schema_version", 1},
                                               {"presets", std::move(list)}}));
  return 0;
}

int writePresetSkeleton(const CompileOptions &options) {
  std::string name = options.config, where = name, text, notice;
  if (options.preset.empty()) {
    Expected<std::string> read = readTextFile(name, kLargestConfig);
    if (!read)
      return report(read.takeError());
    text = std::move(*read);
  } else {
    Expected<Preset> preset = findPreset(options.preset);
    if (!preset)
      return report(preset.takeError());
    name = preset->name;
    where = "preset " + name;
    text = preset->configText();
    notice = preset->notice;
  }
  Expected<ModelConfig> config = parseModelConfig(text, where);
  if (!config)
    return report(config.takeError());
  Skeleton skeleton = layoutOf(*config);
  Interruptible tidy; // a signal acts once an unfinished directory is gone
  if (Error error = writeSkeleton(skeleton, text, options.output))
    return report(std::move(error));
  if (!notice.empty())
    errs() << "fathomc: note: " << notice << "\n";
  uint64_t headers = 0;
  for (const SafetensorsFile &file : skeleton.files)
    headers += file.headerBytes;
  if (!options.quiet)
    errs() << formatv("fathomc: skeleton {0}: {1} tensors of {2} in {3} files, "
                      "{4} of headers; the weights are holes that read as "
                      "zeros\n",
                      name, skeleton.tensors.size(),
                      format::sizeText(skeleton.dataBytes()),
                      skeleton.files.size(), format::sizeText(headers));
  return 0;
}

} // namespace fathom
