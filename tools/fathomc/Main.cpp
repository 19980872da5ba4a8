// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc: from a checkpoint directory to a package.
#include "tools/fathomc/Compile.h"

#include "llvm/Support/ErrorHandling.h"

#include <csignal>
#include <cstring>
#include <new>
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

int main(int argc, char **argv) {
  std::set_new_handler(outOfMemory);
  llvm::install_bad_alloc_error_handler(
      [](void *, const char *, bool) { outOfMemory(); });
  // A file-size limit or a closed pipe is an error of a write, which we report.
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
