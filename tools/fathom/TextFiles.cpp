// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathom/TextFiles.h"

#include "runtime/format/ManifestRead.h"
#include "runtime/src/Files.h"

#include <CLI/CLI.hpp>

#include <cerrno>
#include <unistd.h>

namespace fathom::tool {

namespace {

constexpr uint64_t kMaxText = uint64_t(1) << 30;

Failure readStandardInput(std::string &out) {
  char block[1 << 16];
  for (;;) {
    const ssize_t got = read(STDIN_FILENO, block, sizeof(block));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return systemFailure("cannot read standard input", errno);
    if (got == 0)
      return {};
    if (out.size() + size_t(got) > kMaxText)
      return {FATHOM_RESOURCES,
              "standard input has more than the " + std::to_string(kMaxText) +
                  " bytes that are read at once",
              "give it in parts"};
    out.append(block, size_t(got));
  }
}

} // namespace

Failure readText(const std::string &path, std::string &out) {
  out.clear();
  if (path == "-")
    return readStandardInput(out);
  return failure(rt::readFile(path, kMaxText, out));
}

Failure readJson(const std::string &path, nlohmann::ordered_json &out) {
  std::string text;
  if (Failure f = readText(path, text))
    return f;
  const std::string name = path == "-" ? "standard input" : "'" + path + "'";
  if (std::string why = format::detail::checkJsonText(text); !why.empty())
    return {FATHOM_BAD_FILE, name + ": " + why, ""};
  out = nlohmann::ordered_json::parse(text, nullptr, false);
  if (out.is_discarded())
    return {FATHOM_BAD_FILE, name + " is not valid JSON", ""};
  return {};
}

void TokenizerOptions::addTo(CLI::App &app) {
  app.add_option("PACKAGE", package,
                 "A compiled model or a checkpoint, whose tokenizer.json to "
                 "use");
  app.add_option("--tokenizer", file, "A tokenizer.json instead")
      ->type_name("FILE");
}

Failure openTokenizer(const TokenizerOptions &options, rt::Tokenizer &out) {
  if (options.package.empty() == options.file.empty())
    return {FATHOM_USAGE, "give either a package or --tokenizer FILE", ""};
  std::string text;
  const std::string path = options.file.empty()
                               ? rt::joinPath(options.package, "tokenizer.json")
                               : options.file;
  if (Failure f = failure(rt::readFile(path, uint64_t(256) << 20, text)))
    return f;
  return failure(out.load(text));
}

} // namespace fathom::tool
