// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// manifest.json <-> Manifest. Header only, shared by the package writer
// (compiled without exceptions) and the runtime.
//
//   std::string manifestText(const Manifest &)    what is written to the file
//   std::string contentText(const Manifest &)     what contentBlake3 covers
//   std::string sealedText(Manifest &)            manifestText with the hash,
//                                                 which it sets
//   std::string parseManifest(text, Manifest &)   "" or an error: which field
//                                                 and why; nothing is trusted
//
// Equal manifests give equal text: keys are sorted, no floating point occurs.
// Unknown fields are ignored (a later minor may add some) and are covered by
// the hash. parseManifest checks the hash too, so that altered bytes are found
// wherever a manifest is read.
#pragma once

#include "runtime/format/Blake3.h"
#include "runtime/format/ManifestRead.h"

namespace fathom::format {

namespace detail {

inline nlohmann::json toJson(const Model &m) {
  nlohmann::json out = {{"architecture", m.architecture},
          {"numerics", m.numerics},
          {"hiddenSize", m.hiddenSize},
          {"layers", m.layers},
          {"vocabularySize", m.vocabularySize},
          {"streams", m.streams},
          {"heads", m.heads},
          {"headDim", m.headDim},
          {"experts", m.experts},
          {"expertsPerToken", m.expertsPerToken},
          {"mtpLayers", m.mtpLayers},
          {"bosToken", m.bosToken},
          {"eosTokens", m.eosTokens},
          {"compressRatios", m.compressRatios}};
  if (!m.promptProfile.empty())
    out["promptProfile"] = m.promptProfile;
  return out;
}

inline nlohmann::json toJson(const Arg &arg) {
  nlohmann::json out = nlohmann::json::array();
  out.push_back(argKindName(arg.kind));
  switch (arg.kind) {
  case Arg::Kind::Weight:
  case Arg::Kind::Table:
  case Arg::Kind::Input:
  case Arg::Kind::Output:
    out.push_back(arg.index);
    break;
  case Arg::Kind::Cache:
    out.push_back(arg.index);
    out.push_back(arg.component);
    break;
  case Arg::Kind::Workspace:
    out.push_back(arg.offset);
    break;
  case Arg::Kind::Count:
    out.push_back(countName(arg.count));
    break;
  }
  return out;
}

inline nlohmann::json toJson(const Launch &launch) {
  nlohmann::json grid = nlohmann::json::array();
  for (const GridAxis &axis : launch.grid) {
    nlohmann::json terms = nlohmann::json::array();
    for (const GridTerm &term : axis)
      terms.push_back(nlohmann::json::array(
          {countName(term.count), term.divide, term.multiply}));
    grid.push_back(std::move(terms));
  }
  nlohmann::json args = nlohmann::json::array();
  for (const Arg &arg : launch.args)
    args.push_back(toJson(arg));
  return {{"kernel", launch.kernel},
          {"grid", std::move(grid)},
          {"args", std::move(args)},
          {"weightBytes", launch.weightBytes}};
}

inline nlohmann::json toJson(const std::vector<Port> &ports) {
  nlohmann::json out = nlohmann::json::array();
  for (const Port &port : ports)
    out.push_back({{"name", port.name},
                   {"dtype", port.dtype},
                   {"count", countName(port.count)},
                   {"rowBytes", port.rowBytes}});
  return out;
}

inline nlohmann::json toJson(const Entry &entry) {
  nlohmann::json specialisations = nlohmann::json::array();
  for (const Specialisation &s : entry.specialisations) {
    nlohmann::json launches = nlohmann::json::array();
    for (const Launch &launch : s.launches)
      launches.push_back(toJson(launch));
    specialisations.push_back({{"maxTokens", s.maxTokens},
                               {"workspaceBytes", s.workspaceBytes},
                               {"launches", std::move(launches)}});
  }
  return {{"name", entry.name},
          {"inputs", toJson(entry.inputs)},
          {"outputs", toJson(entry.outputs)},
          {"specialisations", std::move(specialisations)}};
}

inline nlohmann::json toJson(const Library &l) {
  nlohmann::json out = {{"file", l.file},
                        {"target", l.target},
                        {"isa", l.isa},
                        {"kernel", l.kernel},
                        {"blake3", l.blake3},
                        {"bytes", l.bytes},
                        {"scratchBytes", l.scratchBytes},
                        {"configuration", nlohmann::json::object()}};
  for (const auto &[name, value] : l.configuration)
    out["configuration"][name] = value;
  if (!l.form.empty())
    out["form"] = l.form;
  if (!l.refusal.empty())
    out["refusal"] = l.refusal;
  if (!l.unresolved.empty())
    out["unresolved"] = l.unresolved;
  if (!l.report)
    return out;
  nlohmann::json tensor = nlohmann::json::object();
  for (const auto &[name, count] : l.report->tensorInstructions)
    tensor[name] = count;
  out["report"] = {{"registers", l.report->registers},
                   {"stackBytes", l.report->stackBytes},
                   {"sharedBytes", l.report->sharedBytes},
                   {"instructions", l.report->instructions},
                   {"spillStores", l.report->spillStores},
                   {"loopSpillStores", l.report->loopSpillStores},
                   {"tmaInstructions", l.report->tmaInstructions},
                   {"wideLoads", l.report->wideLoads},
                   {"tensorInstructions", std::move(tensor)},
                   {"notices", l.report->notices}};
  return out;
}

inline nlohmann::json storageToJson(const Manifest &m, const char *what) {
  nlohmann::json out = nlohmann::json::array();
  std::string_view which(what);
  if (which == "libraries")
    for (const Library &l : m.libraries)
      out.push_back(toJson(l));
  if (which == "files")
    for (const CheckpointFile &f : m.files)
      out.push_back({{"name", f.name},
                     {"headerBlake3", f.headerBlake3},
                     {"bytes", f.bytes},
                     {"headerBytes", f.headerBytes}});
  if (which == "weights")
    for (const Weight &w : m.weights)
      out.push_back({{"name", w.name},
                     {"dtype", w.dtype},
                     {"shape", w.shape},
                     {"file", w.file},
                     {"offset", w.offset},
                     {"bytes", w.bytes}});
  if (which == "tables")
    for (const WeightTable &t : m.tables)
      out.push_back({{"name", t.name}, {"weights", t.weights}});
  if (which == "caches")
    for (const Cache &c : m.caches) {
      nlohmann::json components = nlohmann::json::array();
      for (const CacheComponent &component : c.components)
        components.push_back(
            {{"name", component.name}, {"rowBytes", component.rowBytes}});
      out.push_back({{"name", c.name},
                     {"kind", c.kind},
                     {"format", c.format},
                     {"rows", c.rows},
                     {"components", std::move(components)}});
    }
  return out;
}

inline nlohmann::json toJson(const Manifest &m) {
  nlohmann::json entries = nlohmann::json::array();
  for (const Entry &entry : m.entries)
    entries.push_back(toJson(entry));
  nlohmann::json out = {{"format", "fathom-package"},
                        {"major", m.major},
                        {"minor", m.minor},
                        {"producer", m.producer},
                        {"target",
                         {{"name", m.target.name},
                          {"hostArchitecture", m.target.hostArchitecture},
                          {"assembler", m.target.assembler}}},
                        {"model", toJson(m.model)},
                        {"limits",
                         {{"maxContext", m.limits.maxContext},
                          {"maxSequences", m.limits.maxSequences},
                          {"maxStepTokens", m.limits.maxStepTokens}}},
                        {"entries", std::move(entries)},
                        {"extraFiles", m.extraFiles},
                        {"contentBlake3", m.contentBlake3},
                        {"checkpointDirectory", m.checkpointDirectory}};
  for (const char *what : {"libraries", "files", "weights", "tables", "caches"})
    out[what] = storageToJson(m, what);
  return out;
}

/// `replace`: a name that is not UTF-8 must not abort a build without
/// exceptions. Parsed text is always UTF-8.
inline std::string dump(const nlohmann::json &json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Takes away what contentBlake3 does not cover.
inline void dropUncovered(nlohmann::json &json) {
  json.erase("contentBlake3");
  json.erase("checkpointDirectory");
}

inline std::string contentText(nlohmann::json json) {
  dropUncovered(json);
  return dump(json);
}

} // namespace detail

/// The text that contentBlake3 covers.
inline std::string contentText(const Manifest &manifest) {
  return detail::contentText(detail::toJson(manifest));
}

/// The file's text; contentBlake3, blake3Hex over contentText(manifest), is as
/// it stands in `manifest`.
inline std::string manifestText(const Manifest &manifest) {
  return detail::dump(detail::toJson(manifest)) + "\n";
}

/// Sets `manifest.contentBlake3` and gives the file's text. The JSON, which is
/// large, is made once for both.
inline std::string sealedText(Manifest &manifest) {
  nlohmann::json json = detail::toJson(manifest);
  detail::dropUncovered(json);
  const std::string content = detail::dump(json);
  manifest.contentBlake3 = blake3Hex(content.data(), content.size());
  json["contentBlake3"] = manifest.contentBlake3;
  json["checkpointDirectory"] = manifest.checkpointDirectory;
  return detail::dump(json) + "\n";
}

/// Reads and checks a manifest. Returns "" and fills `out`, or returns what is
/// wrong ("entries[0].inputs[2].rowBytes: ..."). `out` is unspecified then.
inline std::string parseManifest(std::string_view text, Manifest &out) {
  if (text.size() > detail::kMaxText)
    return "manifest.json has " + std::to_string(text.size()) +
           " bytes, more than the limit of " + std::to_string(detail::kMaxText);
  if (std::string error = detail::checkJsonText(text); !error.empty())
    return "manifest.json: " + error;
  nlohmann::json json = nlohmann::json::parse(text.begin(), text.end(), nullptr,
                                              /*allow_exceptions=*/false);
  if (json.is_discarded())
    return "manifest.json is not valid JSON (truncated or damaged)";
  out = Manifest();
  detail::Reader reader;
  reader.read(json, out);
  if (!reader.error.empty())
    return reader.error;
  const std::string content = detail::contentText(std::move(json));
  const std::string hash = blake3Hex(content.data(), content.size());
  if (hash != out.contentBlake3)
    return "contentBlake3: the manifest was altered after it was written "
           "(BLAKE3 of its content is " +
           hash + ", recorded is " + out.contentBlake3 + ")";
  return "";
}

} // namespace fathom::format
