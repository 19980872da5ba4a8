// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The one error of the front end: what happened, where, why, and what to do
// next, with a category that decides the exit code of a tool.
#ifndef FATHOM_FRONTENDS_SUPPORT_FRONTENDERROR_H
#define FATHOM_FRONTENDS_SUPPORT_FRONTENDERROR_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace fathom {

/// The value is the exit code of the tools.
enum class FailureKind {
  Failed = 1,
  /// The input is well formed and asks for something Fathom does not do.
  Unsupported = 3,
  /// The machine refused: no permission, no memory, no file handles.
  Resources = 4,
  /// The input is missing, malformed or contradicts itself.
  BadFile = 5,
};

class FrontendError : public llvm::ErrorInfo<FrontendError> {
public:
  static char ID;

  /// All texts are single lines without a final full stop. Names taken from
  /// files must have gone through `quoted`.
  FrontendError(FailureKind kind, std::string what, std::string where,
                std::string why, std::string help)
      : kind(kind), whatText(std::move(what)), whereText(std::move(where)),
        whyText(std::move(why)), helpText(std::move(help)) {}

  FailureKind getKind() const { return kind; }
  int exitCode() const { return static_cast<int>(kind); }
  llvm::StringRef what() const { return whatText; }
  llvm::StringRef where() const { return whereText; }
  llvm::StringRef why() const { return whyText; }
  llvm::StringRef help() const { return helpText; }

  /// Prints "WHAT\n  where: ..\n  why: ..\n  help: .." without a final newline.
  void log(llvm::raw_ostream &os) const override;
  std::error_code convertToErrorCode() const override;

private:
  FailureKind kind;
  std::string whatText, whereText, whyText, helpText;
};

/// Makes an error value; see the constructor.
llvm::Error makeError(FailureKind kind, std::string what, std::string where,
                      std::string why, std::string help);

/// A name with control and non-ASCII bytes escaped and long names shortened, so
/// that a hostile file cannot write to the terminal through what we print.
std::string escaped(llvm::StringRef name);
/// The same as 'NAME'.
std::string quoted(llvm::StringRef name);

/// "3 tensors: a, b, c" with at most ten names and "and N more".
std::string countedList(uint64_t count, llvm::ArrayRef<std::string> firstNames,
                        llvm::StringRef noun);

/// Prints "PROGRAM: error: ..." for every error contained and returns the exit
/// code (that of the first FrontendError, 1 for any other error).
int reportError(llvm::Error error, llvm::raw_ostream &os,
                llvm::StringRef program);

} // namespace fathom

#endif // FATHOM_FRONTENDS_SUPPORT_FRONTENDERROR_H
