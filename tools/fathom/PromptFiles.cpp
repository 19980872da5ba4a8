// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathom/PromptFiles.h"

#include "runtime/format/ManifestJson.h"
#include "runtime/format/PromptProfile.h"
#include "runtime/src/Files.h"

#include <unistd.h>

namespace fathom::tool {

namespace {

Failure readJsonText(const std::string &path, rt::JsonText &out) {
  std::string text;
  if (Failure f = readText(path, text))
    return f;
  if (!rt::parseJson(text, out))
    return {FATHOM_BAD_FILE,
            (path == "-" ? "standard input" : "'" + path + "'") +
                " is not JSON, or nested too deeply",
            ""};
  return {};
}

Failure at(const std::string &path, const rt::Status &status) {
  return status.failed()
             ? Failure{status.code(), "'" + path + "': " + status.message(), ""}
             : Failure();
}

} // namespace

Failure readConversations(const std::string &path,
                          std::vector<rt::Conversation> &out) {
  rt::JsonText json;
  if (Failure f = readJsonText(path, json))
    return f;
  const bool many = json.is(rt::JsonText::Kind::Array) && !json.items.empty() &&
                    json.items[0].find("messages");
  if (!many) {
    out.emplace_back();
    return at(path, rt::readConversation(json, out.back()));
  }
  for (const rt::JsonText &item : json.items) {
    out.emplace_back();
    if (Failure f = at(path, rt::readConversation(item, out.back())))
      return f;
  }
  return {};
}

Failure readToolsFile(const std::string &path, rt::JsonText &out) {
  rt::JsonText json;
  if (Failure f = readJsonText(path, json))
    return f;
  return at(path, rt::readTools(json, out));
}

Failure choosePromptProfile(const std::string &given,
                            const std::string &package, std::string &out) {
  out = given.empty() ? format::kPreviewProfile : given;
  if (!rt::isProfile(out))
    return {FATHOM_USAGE,
            "prompt profile '" + out + "' is none of preview, official, recipe",
            ""};
  if (!given.empty() || package.empty())
    return {};
  std::string text;
  const std::string manifest = rt::joinPath(package, "manifest.json");
  if (access(manifest.c_str(), F_OK) == 0) {
    if (Failure f =
            failure(rt::readFile(manifest, format::detail::kMaxText, text)))
      return f;
    format::Manifest content;
    if (std::string error = format::parseManifest(text, content);
        !error.empty())
      return {FATHOM_BAD_FILE, "'" + manifest + "': " + error, ""};
    if (rt::isProfile(content.model.promptProfile))
      out = content.model.promptProfile;
    return {};
  }
  const std::string encoder = rt::joinPath(package, format::kEncoderFile);
  if (access(encoder.c_str(), F_OK) != 0)
    return {};
  if (Failure f = failure(rt::readFile(encoder, 1 << 20, text)))
    return f;
  out = format::promptProfile(text);
  return {};
}

Failure promptIds(const rt::Tokenizer &tokenizer, const rt::Prompt &prompt,
                  rt::Tokenizer::Scratch &scratch, std::vector<int32_t> &out) {
  const std::string_view text = prompt.text;
  size_t from = 0;
  auto plain = [&](size_t end) {
    return failure(tokenizer.encode(text.substr(from, end - from),
                                    /*added=*/false, scratch, out));
  };
  for (const rt::Prompt::Range &range : prompt.special) {
    if (Failure f = plain(range.begin))
      return f;
    const std::string_view name =
        text.substr(range.begin, range.end - range.begin);
    const rt::AddedToken *token = tokenizer.vocabulary()->findAdded(name);
    if (!token)
      return {FATHOM_UNSUPPORTED,
              "the tokenizer has no token " + std::string(name) +
                  ", which this prompt needs",
              ""};
    out.push_back(token->id);
    from = range.end;
  }
  return plain(text.size());
}

} // namespace fathom::tool
