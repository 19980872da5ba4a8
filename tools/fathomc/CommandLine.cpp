// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The only file of fathomc with exceptions.
#include "tools/fathomc/CommandLine.h"

#include "runtime/format/Version.h"

#include <CLI/CLI.hpp>

#include <iostream>
#include <limits>
#include <map>

namespace fathom {

static const char *kExamples = R"(
Examples:
  fathomc compile models/nano -o nano.fathom
  fathomc compile DeepSeek-V4-Flash -o flash.fathom --max-context 131072
  fathomc compile models/nano -o check.fathom --numerics f32
  fathomc compile models/nano --stop-after import        # the dsv4 module

The package refers to the weights where they lie; keep the two together, or
tell the runtime with --checkpoint where the weights are. Run it with
  fathom run nano.fathom --tokens 5,17,3

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 unsupported model or target,
4 no space, memory or permission, 5 damaged or contradictory checkpoint.)";

/// What decides what the model becomes; compile and explain take the same.
static void addModelOptions(CLI::App &command, CompileOptions &options) {
  command
      .add_option("CKPT_DIR", options.checkpoint,
                  "directory with config.json and *.safetensors")
      ->required();
  command
      .add_option("--numerics", options.numerics,
                  "rounding: published (as the published code on FP8 "
                  "hardware), bf16 (no quantisation of the inputs of linear "
                  "layers), f32 (no rounding at all, for validation)")
      ->check(CLI::IsMember({"published", "bf16", "f32"}))
      ->capture_default_str();
  command
      .add_option("--prompt-profile", options.promptProfile,
                  "how prompts are encoded: preview, official (revisions 0731 "
                  "and 0813), recipe (the service's encoder); default: by the "
                  "checkpoint's encoding/encoding_dsv4.py")
      ->check(CLI::IsMember({"preview", "official", "recipe"}));
  auto limit = [&](const char *name, std::optional<int64_t> &value,
                   const char *text) {
    command
        .add_option_function<int64_t>(
            name, [&value](const int64_t &given) { value = given; }, text)
        ->type_name("N")
        ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
  };
  limit("--max-context", options.maxContext,
        "tokens that a sequence may have [32768, or what the model has]");
  limit("--max-sequences", options.maxSequences,
        "sequences that may be in memory together [16]");
  limit("--max-step-tokens", options.maxStepTokens,
        "tokens of one step; longer input is run in several steps, which "
        "changes no bit [512]");
  command
      .add_option("--disable-fusion", options.disabledFusions,
                  "leave fusions out, for bisection: names separated by "
                  "commas, or all; fathomc explain lists them")
      ->delimiter(',')
      ->type_name("NAME");
  command.add_flag("-q,--quiet", options.quiet, "no progress lines");
}

static void addCompile(CLI::App &app, CompileOptions &options) {
  CLI::App *compile = app.add_subcommand(
      "compile", "compile a checkpoint directory into a package");
  compile->footer(kExamples);
  addModelOptions(*compile, options);
  compile->add_option("-o,--output", options.output,
                      "the package to write, NAME.fathom; with --stop-after, "
                      "the file for the IR (default: standard output)");
  compile->add_option("--target", options.target, "what to compile for")
      ->capture_default_str();
  compile
      ->add_option("--cpu", options.levels,
                   "instruction-set levels, separated by commas, such as "
                   "x86-64-v3")
      ->delimiter(',');
  std::map<std::string, Phase> phases = {{"import", Phase::Import},
                                         {"fuse", Phase::Fuse},
                                         {"tile", Phase::Tile},
                                         {"plan", Phase::Plan}};
  compile
      ->add_option("--stop-after", options.stopAfter,
                   "print the IR after this phase instead of a package: "
                   "import, fuse, tile or plan")
      ->transform(CLI::CheckedTransformer(phases, CLI::ignore_case))
      ->type_name("PHASE");
  compile->add_option("--dump-ir", options.dumpDirectory,
                      "write the IR after every phase into this directory");
  compile->add_flag("--json", options.json,
                    "print a summary of what was done as JSON");
}

static void addExplain(CLI::App &app, CompileOptions &options) {
  CLI::App *explain = app.add_subcommand(
      "explain", "say what a checkpoint becomes: kernels of a decoded token "
                 "before and after fusion, and what each fusion saves");
  explain->footer("Examples:\n"
                  "  fathomc explain models/nano\n"
                  "  fathomc explain models/nano --disable-fusion experts "
                  "--json");
  addModelOptions(*explain, options);
  explain->add_flag("--json", options.json, "print JSON");
  explain->add_flag("--fusion-table", options.fusionTable,
                    "print what each fusion saves as Markdown, as it stands "
                    "in passes/Fusions.md");
  explain->callback([&options] { options.command = Command::Explain; });
}

int parseCommandLine(int argc, char **argv, CompileOptions &options) {
  try {
    CLI::App app{"Fathom's compiler: DeepSeek-V4 checkpoints to packages that "
                 "run without a compiler",
                 "fathomc"};
    app.set_version_flag("--version",
                         std::string("fathomc ") + format::kVersion);
    app.footer("fathomc COMMAND --help shows the options and examples.");
    app.require_subcommand(1);
    addCompile(app, options);
    addExplain(app, options);
    try {
      app.parse(argc, argv);
    } catch (const CLI::Success &request) {
      return app.exit(request);
    } catch (const CLI::ParseError &error) {
      std::cerr << "fathomc: error: " << error.what()
                << "\n  help: fathomc COMMAND --help shows the options\n";
      return 2;
    }
    auto usage = [](const std::string &what, const std::string &help) {
      std::cerr << "fathomc: error: " << what << "\n  help: " << help << "\n";
      return 2;
    };
    if (options.checkpoint.empty())
      return usage("the checkpoint directory is empty",
                   "fathomc compile CKPT_DIR -o NAME.fathom");
    if (options.command == Command::Compile && options.output.empty() &&
        options.stopAfter == Phase::All)
      return usage("no name for the package", "add -o NAME.fathom");
    return -1;
  } catch (const std::exception &error) {
    std::cerr << "fathomc: error: " << error.what() << "\n";
    return 4;
  }
}

} // namespace fathom
