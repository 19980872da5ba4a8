// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "frontends/Support/FrontendError.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace fathom {

char FrontendError::ID = 0;

void FrontendError::log(raw_ostream &os) const {
  os << whatText;
  if (!whereText.empty())
    os << "\n  where: " << whereText;
  if (!whyText.empty())
    os << "\n  why: " << whyText;
  if (!helpText.empty())
    os << "\n  help: " << helpText;
}

std::error_code FrontendError::convertToErrorCode() const {
  return inconvertibleErrorCode();
}

Error makeError(FailureKind kind, std::string what, std::string where,
                std::string why, std::string help) {
  return make_error<FrontendError>(kind, std::move(what), std::move(where),
                                   std::move(why), std::move(help));
}

std::string escaped(StringRef name) {
  constexpr size_t kLongest = 160;
  std::string text;
  raw_string_ostream os(text);
  printEscapedString(name.take_front(kLongest), os);
  if (name.size() > kLongest)
    os << "...";
  return text;
}

std::string quoted(StringRef name) { return "'" + escaped(name) + "'"; }

std::string countedList(uint64_t count, ArrayRef<std::string> firstNames,
                        StringRef noun) {
  std::string text;
  raw_string_ostream os(text);
  os << count << ' ' << noun << (count == 1 ? "" : "s") << ": ";
  ArrayRef<std::string> shown = firstNames.take_front(10);
  interleaveComma(shown, os, [&](const std::string &n) { os << quoted(n); });
  if (count > shown.size())
    os << " and " << (count - shown.size()) << " more";
  return text;
}

int reportError(Error error, raw_ostream &os, StringRef program) {
  int code = 0;
  handleAllErrors(
      std::move(error),
      [&](const FrontendError &e) {
        os << program << ": error: " << e.message() << "\n";
        if (code == 0)
          code = e.exitCode();
      },
      [&](const ErrorInfoBase &e) {
        os << program << ": error: " << e.message() << "\n";
        if (code == 0)
          code = 1;
      });
  return code;
}

} // namespace fathom
