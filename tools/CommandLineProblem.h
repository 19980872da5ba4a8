// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace fathom {

/// What is wrong with a command line that `app` could not read. Where the first
/// word is no command, the parser says only that there must be one.
inline std::string problemOf(const CLI::App &app,
                             const CLI::ParseError &error) {
  const std::vector<std::string> unknown = app.remaining();
  if (!app.get_subcommands().empty() || unknown.empty())
    return error.what();
  const std::string &word = unknown.front();
  return (word.rfind('-', 0) == 0 ? "unknown option '" : "unknown command '") +
         word + "'";
}

} // namespace fathom
