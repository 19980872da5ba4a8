// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathom/PromptFiles.h"

#include "runtime/format/ManifestJson.h"
#include "runtime/format/PromptProfile.h"
#include "runtime/src/Files.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
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

/// Of OpenAI's requests, and of servers like theirs: keys that change the
/// answer to a prompt, and the options that do.
struct AnswerKey {
  const char *key, *option;
};
constexpr AnswerKey kAnswerKeys[] = {
    {"temperature", "--temperature"},
    {"top_p", "--top-p"},
    {"top_k", "--top-k"},
    {"min_p", "--min-p"},
    {"max_tokens", "--max-new-tokens"},
    {"max_completion_tokens", "--max-new-tokens"},
    {"stop", "--stop"},
    {"stop_token_ids", "--stop-token"},
    {"seed", "--seed"},
    {"logit_bias", "--logit-bias"},
    {"logprobs", "--logprobs"},
    {"top_logprobs", "--logprobs"},
    {"frequency_penalty", "--frequency-penalty"},
    {"presence_penalty", "--presence-penalty"},
    {"repetition_penalty", "--repetition-penalty"},
    {"thinking", "--think"}};

/// Keys that are for a service alone.
constexpr const char *kServiceKeys[] = {"model",
                                        "stream",
                                        "stream_options",
                                        "n",
                                        "user",
                                        "store",
                                        "metadata",
                                        "service_tier",
                                        "prompt_cache_key",
                                        "safety_identifier"};

/// Refuses what would be lost without a word.
Failure checkOtherKeys(const std::string &path,
                       const rt::Conversation &conversation, Reader reader) {
  std::string passedOver;
  for (const std::string &key : conversation.otherKeys) {
    const auto *answer =
        std::find_if(std::begin(kAnswerKeys), std::end(kAnswerKeys),
                     [&](const AnswerKey &one) { return one.key == key; });
    const bool ofAnswer = answer != std::end(kAnswerKeys);
    if (ofAnswer && (reader == Reader::Answers || key == "thinking"))
      return {FATHOM_BAD_FILE,
              "'" + path + "': " + key + " is not read from a file",
              std::string("take it out and give ") + answer->option};
    if (!ofAnswer && std::find(std::begin(kServiceKeys), std::end(kServiceKeys),
                               key) == std::end(kServiceKeys))
      return {FATHOM_BAD_FILE,
              "'" + path + "': there is no key '" + key.substr(0, 100) +
                  "' beside the messages",
              "--help lists the keys that are read"};
    passedOver += (passedOver.empty() ? "" : ", ") + key;
  }
  if (!passedOver.empty())
    std::fprintf(stderr, "note: '%s': passed over: %s\n", path.c_str(),
                 passedOver.c_str());
  return {};
}

Failure at(const std::string &path, const rt::Status &status) {
  return status.failed()
             ? Failure{status.code(), "'" + path + "': " + status.message(), ""}
             : Failure();
}

} // namespace

Failure readConversations(const std::string &path, Reader reader,
                          std::vector<rt::Conversation> &out) {
  rt::JsonText json;
  if (Failure f = readJsonText(path, json))
    return f;
  const bool many = json.is(rt::JsonText::Kind::Array) && !json.items.empty() &&
                    json.items[0].find("messages");
  if (!many) {
    out.emplace_back();
    if (Failure f = at(path, rt::readConversation(json, out.back())))
      return f;
    return checkOtherKeys(path, out.back(), reader);
  }
  for (const rt::JsonText &item : json.items) {
    out.emplace_back();
    if (Failure f = at(path, rt::readConversation(item, out.back())))
      return f;
    if (Failure f = checkOtherKeys(path, out.back(), reader))
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
