// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom: runs and examines compiled models.
#include "runtime/format/Manifest.h"
#include "tools/CommandLineProblem.h"
#include "tools/fathom/Tool.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <new>

using namespace fathom::tool;

int main(int argc, char **argv) {
  CLI::App app("fathom: runs and examines models compiled by fathomc.\n",
               "fathom");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("fathom ") + fathom_version() +
                                        ", reads packages of format " +
                                        std::to_string(fathom::format::kMajor) +
                                        "." +
                                        std::to_string(fathom::format::kMinor));
  app.footer("Examples:\n"
             "  fathom run M.fathom --prompt 'What is 12 + 30?'\n"
             "  fathom chat M.fathom --think high\n"
             "  fathom logits M.fathom --tokens-file ids.txt -o out.npy\n"
             "  fathom inspect M.fathom\n"
             "  fathom bench M.fathom --prompt-tokens 512 --new-tokens 64\n"
             "  fathom verify M.fathom --golden FILE.npz\n\n"
             "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 unsupported,\n"
             "4 out of memory, disk or context, 5 bad file or version.");
  int code = FATHOM_OK;
  addRun(app, code);
  addLogits(app, code);
  addInspect(app, code);
  addBench(app, code);
  addChat(app, code);
  addRender(app, code);
  addTokenize(app, code);
  addDetokenize(app, code);
  addVerify(app, code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &request) { // --help, --version
    app.exit(request);
    const Failure failed = flushOut();
    return failed ? fail(failed) : FATHOM_OK;
  } catch (const CLI::ParseError &error) {
    std::string command = "fathom";
    for (const CLI::App *chosen : app.get_subcommands())
      command += " " + chosen->get_name();
    return fail({FATHOM_USAGE, fathom::problemOf(app, error),
                 "`" + command + " --help` shows what can be given"});
  } catch (const std::bad_alloc &) {
    return fail({FATHOM_RESOURCES, "out of memory", ""});
  } catch (const std::exception &error) {
    return fail({FATHOM_FAILED, error.what(), ""});
  }
  return code;
}
