// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc's command line. The parser throws, the compiler is built without
// exceptions: this header is all that the two share.
#ifndef FATHOM_TOOLS_FATHOMC_COMMANDLINE_H
#define FATHOM_TOOLS_FATHOMC_COMMANDLINE_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fathom {

enum class Phase { Import, Fuse, Tile, Plan, All };
enum class Command {
  Compile,
  Explain,
  Plan,
  Skeleton,
  List,
  Kernels,
  Finish,
  Tune
};

struct CompileOptions {
  Command command = Command::Compile;
  std::string checkpoint; // a directory; empty with a preset
  std::string preset;     // its name, or empty
  std::string config;     // of a skeleton without a preset: its config.json
  std::string output;     // the package; with stopAfter a file of IR, or empty
  std::string target;     // NAME or NAME:LEVEL,LEVEL; not said: empty
  std::string assembler;  // of the target; empty: it is looked for
  std::string hostArchitecture; // whose code device code holds; or empty
  std::string configurations;   // a file of choices for kernels; or empty
  std::string numerics = "bf16";
  std::string promptProfile; // empty: found out from the checkpoint
  std::optional<int64_t> maxContext, maxSequences, maxStepTokens;
  bool layerOutputs = false;       // compile: streams after each layer
  std::string golden;              // compile: to travel with the package
  std::vector<std::string> levels; // of the host; empty: the target's default
  bool plainInstructions = false;  // compile: of the one level that is given
  std::vector<std::string> disabledFusions;
  Phase stopAfter = Phase::All;
  std::string dumpDirectory; // empty: none
  bool json = false, quiet = false;
  bool fusionTable = false; // explain: only the table, as Markdown

  std::string package; // kernels, finish

  // tune
  bool exhaustive = false, again = false, verify = false;
  std::vector<std::string> kernels; // texts, one of which a name has; or none
  unsigned timeoutSeconds = 120;    // of processor time, for one assembly
  bool measure = false;
  std::string driver = "cuda"; // of fathom bench
  int ordinal = 0;             // of the device

  // plan and explain
  std::string device;   // of Devices.h; empty: the command's own choice
  std::string htmlPath; // explain: the page; empty: none
  int64_t devices = 1, threads = 0, logitRows = 0; // plan; 0: the default
};

/// Fills `options` and returns -1, or prints what was asked for or is wrong
/// and returns the exit code: 0 after --help and --version, 2 for usage.
/// Nothing is thrown.
int parseCommandLine(int argc, char **argv, CompileOptions &options);

} // namespace fathom

#endif // FATHOM_TOOLS_FATHOMC_COMMANDLINE_H
