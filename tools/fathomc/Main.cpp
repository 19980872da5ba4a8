// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc: from a checkpoint directory to a package.
#include "tools/fathomc/Compile.h"

#include "codegen/Common/Process.h"
#include "frontends/Support/FrontendError.h"

#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/raw_ostream.h"

#include <csignal>
#include <cstring>
#include <cxxabi.h>
#include <exception>
#include <new>
#include <typeinfo>
#include <unistd.h>

/// Without exceptions, running out of memory must still end with a message and
/// its exit code. Nothing here allocates.
static void outOfMemory() {
  static const char text[] =
      "fathomc: error: out of memory\n"
      "  why: compiling needs about 1 GB beside what else runs\n"
      "  help: free some memory and try again\n";
  (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
  _exit(4);
}

[[noreturn]] static void tellLack(const char *reason) {
  (void)fathom::reportError(
      fathom::makeError(fathom::FailureKind::Resources,
                        "the machine lacks what it takes to go on", "fathomc",
                        reason,
                        "raise the limit that is in the way (ulimit -a shows "
                        "them), or free some space or memory"),
      llvm::errs(), "fathomc");
  _exit(4); // other threads still run
}

/// LLVM ends the process where it cannot go on. What the machine refuses it,
/// such as a thread, is no defect.
static void fatalError(void *, const char *reason, bool) {
  if (fathom::tellsOfLack(reason))
    tellLack(reason);
  llvm::errs() << "fathomc: error: " << reason
               << "\n  help: this is a bug in Fathom; please report it\n";
}

/// Without exceptions, only the standard library ends the process so. It throws
/// system_error where it gets no thread.
static void terminated() {
  const std::type_info *what = abi::__cxa_current_exception_type();
  if (what && std::strcmp(what->name(), "St12system_error") == 0)
    tellLack("no thread can be started");
  __gnu_cxx::__verbose_terminate_handler();
}

int main(int argc, char **argv) {
  std::set_new_handler(outOfMemory);
  std::set_terminate(terminated);
  llvm::install_bad_alloc_error_handler(
      [](void *, const char *, bool) { outOfMemory(); });
  llvm::install_fatal_error_handler(fatalError);
  // A file-size limit or a closed pipe is an error of a write, which we report:
  // folders must go, and a package is not left half-way for want of a reader.
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);

  fathom::CompileOptions options;
  if (int code = fathom::parseCommandLine(argc, argv, options); code >= 0)
    return code;
  fathom::TargetRegistry targets;
  targets.add(fathom::createCPUTarget());
  targets.add(fathom::createCUDATarget());
  targets.add(fathom::createAscendTarget());
  return fathom::runCommand(options, targets);
}
