// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <CLI/CLI.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace fathom {

/// How many letters have to be put in, left out or changed.
inline size_t distanceOf(const std::string &a, const std::string &b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t changed = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

/// The one of `names` that `word` may have been meant to be, or "": as much
/// of it must be right as to be no accident.
inline std::string nearestTo(const std::string &word,
                             const std::vector<std::string> &names) {
  std::string nearest;
  size_t least = word.size() / 3 + 1;
  for (const std::string &name : names)
    if (const size_t distance = distanceOf(word, name); distance < least) {
      least = distance;
      nearest = name;
    }
  return nearest;
}

/// What is wrong with a command line that `app` could not read. Of words that
/// nothing takes the first unknown option is told, since others may be its
/// values. Where the first word is no command, the parser says only that there
/// must be one.
inline std::string problemOf(const CLI::App &app,
                             const CLI::ParseError &error) {
  const std::vector<CLI::App *> chosen = app.get_subcommands();
  const CLI::App &command = chosen.empty() ? app : *chosen.back();
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  const int code = error.get_exit_code();
  // What is missing may be there under a wrong name.
  const bool ofWords = code == int(CLI::ExitCodes::ExtrasError) ||
                       code == int(CLI::ExitCodes::RequiredError);
  if (unknown.empty() || (!chosen.empty() && !ofWords))
    return error.what();
  auto isOption = [](const std::string &word) {
    return word.size() > 1 && word[0] == '-';
  };
  std::string word = unknown.front();
  // In front of a command, a word in its place is what is wrong.
  if (!chosen.empty())
    if (auto option = std::find_if(unknown.begin(), unknown.end(), isOption);
        option != unknown.end())
      word = *option;
  word = word.substr(0, word.find('='));
  std::vector<std::string> names;
  std::string what = "unknown command '";
  if (isOption(word)) {
    what = "unknown option '";
    for (const CLI::Option *option : command.get_options())
      for (const std::string &name : option->get_lnames())
        names.push_back("--" + name);
  } else if (!chosen.empty()) {
    what = "there is no use for '";
  } else {
    for (const CLI::App *one : app.get_subcommands({}))
      names.push_back(one->get_name());
  }
  const std::string nearest = nearestTo(word, names);
  return what + word + "'" +
         (nearest.empty() ? "" : "; did you mean " + nearest + "?");
}

} // namespace fathom
