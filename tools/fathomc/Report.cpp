// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathomc/Compile.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace fathom {

void Progress::begin(StringRef phase) {
  current = phase.str();
  started = shown = Clock::now();
}

void Progress::at(size_t done, size_t of) {
  constexpr auto kBetween = std::chrono::seconds(5);
  if (quiet || Clock::now() - shown < kBetween)
    return;
  shown = Clock::now();
  double seconds = std::chrono::duration<double>(shown - started).count();
  errs() << "fathomc: " << left_justify(current, 8)
         << llvm::format("%7.2f s  ", seconds) << done << " of " << of
         << " kernels\n";
}

void Progress::end(const std::string &detail) {
  double seconds =
      std::chrono::duration<double>(Clock::now() - started).count();
  times.emplace_back(current, seconds);
  if (!quiet)
    errs() << "fathomc: " << left_justify(current, 8)
           << llvm::format("%7.2f s  ", seconds) << detail << "\n";
}

void Progress::note(StringRef text) {
  if (!quiet)
    errs() << "fathomc: note: " << text << "\n";
}

/// Diagnostics may carry whole types: long ones are cut for the terminal.
static std::string shortened(std::string text) {
  constexpr size_t kLongest = 2000;
  if (text.size() > kLongest)
    text = text.substr(0, kLongest) + " ...";
  return text;
}

DiagnosticReport::DiagnosticReport(mlir::MLIRContext &context)
    : handler(&context, [this](mlir::Diagnostic &diagnostic) {
        using Severity = mlir::DiagnosticSeverity;
        std::string text = shortened(diagnostic.str());
        // One cause can make many errors; the first few tell it.
        constexpr unsigned kShown = 5;
        if (diagnostic.getSeverity() == Severity::Error) {
          unsupported |= StringRef(text).contains("unsupported");
          if (++errors <= kShown)
            errs() << "fathomc: error: " << text << "\n";
        } else if (diagnostic.getSeverity() == Severity::Warning) {
          errs() << "fathomc: warning: " << text << "\n";
        }
        if (errors <= kShown)
          for (mlir::Diagnostic &note : diagnostic.getNotes())
            errs() << "  why: " << shortened(note.str()) << "\n";
        return mlir::success();
      }) {}

int DiagnosticReport::finish(StringRef phase, bool said) {
  if (errors == 0 && !said)
    errs() << "fathomc: error: phase '" << phase
           << "' failed without a reason\n";
  if (unsupported) {
    errs() << "  help: this build of Fathom does not compile such a model; the "
              "README lists what it does\n";
    return 3;
  }
  errs() << "  help: this is a bug in Fathom, in phase '" << phase
         << "'; please report it with the output of --dump-ir DIR\n";
  return 1;
}

} // namespace fathom
