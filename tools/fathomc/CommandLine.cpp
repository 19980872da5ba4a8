// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The only file of fathomc with exceptions.
#include "tools/fathomc/CommandLine.h"

#include "runtime/format/Version.h"
#include "tools/CommandLineProblem.h"
#include "tools/OptionNumbers.h"

#include <CLI/CLI.hpp>

#include <cerrno>
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

Compiled kernels are kept in $FATHOM_CACHE_DIR (by default fathom/ in the user's
cache folder) and taken from there the next time.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 unsupported model or target,
4 no space, memory, permission or folder for the output,
5 a missing, damaged or contradictory file.)";

/// What decides what the model becomes; compile and explain take the same.
static void addModelOptions(CLI::App &command, CompileOptions &options,
                            bool takesPreset) {
  CLI::Option *directory =
      command.add_option("CKPT_DIR", options.checkpoint,
                         "directory with config.json and *.safetensors");
  if (takesPreset)
    command
        .add_option("--preset", options.preset,
                    "instead of a directory, a published configuration by its "
                    "name; fathomc list shows them")
        ->type_name("NAME")
        ->excludes(directory);
  else
    directory->required();
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
        ->transform(numberIn(int64_t(1), int64_t(1) << 31));
  };
  limit(takesPreset ? "--max-context,--context" : "--max-context",
        options.maxContext,
        "tokens that a sequence may have [32768, or what the model has]");
  limit(takesPreset ? "--max-sequences,--sequences,--batch" : "--max-sequences",
        options.maxSequences, "sequences that may be in memory together [16]");
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

/// `byDefault`: what it is where nobody says, in words.
static void addTarget(CLI::App &command, CompileOptions &options,
                      const std::string &byDefault) {
  command
      .add_option("--target", options.target,
                  "what to compile for: cpu, or a device and its "
                  "architectures, such as cuda, cuda:sm_90,sm_100 or "
                  "ascend:910b,a3,950 [" +
                      byDefault + "]")
      ->type_name("NAME[:LEVEL,...]");
  command
      .add_option("--cpu", options.levels,
                  "instruction-set levels of the host, separated by commas, "
                  "such as x86-64-v3 [all; with another target x86-64-v3]")
      ->delimiter(',');
}

static void addAssembler(CLI::App &command, CompileOptions &options) {
  command
      .add_option("--tileiras", options.assembler,
                  "NVIDIA's assembler or its folder, for target cuda "
                  "[$FATHOM_TILEIRAS, $CUDA_HOME/bin, PATH, the folder of the "
                  "Python packages that tools/setup installs]")
      ->type_name("PATH");
}

static void addBishengir(CLI::App &command, CompileOptions &options) {
  command
      .add_option("--bishengir", options.assembler,
                  "AscendNPU-IR's bishengir-compile or its folder, for target "
                  "ascend [$FATHOM_BISHENGIR, PATH, the folder of the Python "
                  "package that tools/setup installs]")
      ->type_name("PATH");
}

static void addCompile(CLI::App &app, CompileOptions &options) {
  CLI::App *compile = app.add_subcommand(
      "compile", "compile a checkpoint directory into a package");
  compile->footer(kExamples);
  addModelOptions(*compile, options, /*takesPreset=*/false);
  compile->add_option("-o,--output", options.output,
                      "the package to write, NAME.fathom; with --stop-after, "
                      "the file for the IR (default: standard output)");
  addTarget(*compile, options, "cpu");
  addAssembler(*compile, options);
  addBishengir(*compile, options);
  compile->get_option("--bishengir")
      ->excludes(compile->get_option("--tileiras"));
  compile
      ->add_option("--host-arch", options.hostArchitecture,
                   "processor of the machine that the device sits in: device "
                   "code may hold code for it [x86_64]")
      ->check(CLI::IsMember({"x86_64", "aarch64"}));
  compile
      ->add_option("--configurations", options.configurations,
                   "choices for kernels that go before those built in, as "
                   "fathomc tune writes them")
      ->type_name("FILE.json");
  compile
      ->add_option("--golden", options.golden,
                   "a numpy archive of stored logits that the package carries "
                   "for fathom verify, at most 16 MB")
      ->type_name("FILE.npz");
  compile->add_flag("--plain-instructions", options.plainInstructions,
                    "the bits of the one level that --cpu names, computed by "
                    "instructions of x86-64-v3: to look at a level on a CPU "
                    "that lacks it; slow");
  compile->add_flag("--layer-outputs", options.layerOutputs,
                    "let the package also give what each layer puts out, for "
                    "fathom verify by layer; costs memory");
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
      "explain",
      "say what a model becomes and costs: kernels before and after fusion, "
      "arithmetic, bytes and predicted time by operation, and where each "
      "tensor went");
  explain->footer(
      "Examples:\n"
      "  fathomc explain models/nano\n"
      "  fathomc explain models/nano --disable-fusion experts --json\n"
      "  fathomc explain --preset v4-flash --context 131072 --batch 8 "
      "--device h200 --html flash.html\n"
      "  fathomc explain --preset v4-pro --numerics published --target cuda");
  addModelOptions(*explain, options, /*takesPreset=*/true);
  addTarget(*explain, options, "that of --device, else cpu");
  explain
      ->add_option("--device", options.device,
                   "what to predict times for, such as h100; a wrong name "
                   "lists them [one of --target, cpu-512gb of cpu]")
      ->type_name("NAME");
  CLI::Option *html =
      explain
          ->add_option("--html", options.htmlPath,
                       "also write a page that explains itself, with a "
                       "roofline plot, into this file")
          ->type_name("FILE");
  CLI::Option *json = explain->add_flag("--json", options.json, "print JSON");
  explain
      ->add_flag("--fusion-table", options.fusionTable,
                 "print only what each fusion saves as Markdown, as it stands "
                 "in passes/Fusions.md")
      ->excludes(html)
      ->excludes(json);
  explain->callback([&options] { options.command = Command::Explain; });
}

static void addPlan(CLI::App &app, CompileOptions &options) {
  CLI::App *plan = app.add_subcommand(
      "plan", "say how much memory a model needs, where it fits, and what to "
              "change where it does not");
  plan->footer(
      "Examples:\n"
      "  fathomc plan models/nano\n"
      "  fathomc plan --preset v4-flash --context 1048576 --sequences 4\n"
      "  fathomc plan --preset v4-pro --context 131072 --device h200 --json\n\n"
      "With --device the exit code is 4 where the model does not fit.");
  addModelOptions(*plan, options, /*takesPreset=*/true);
  addTarget(*plan, options, "that of --device, else cpu");
  plan->add_option("--device", options.device,
                   "fail unless the model fits this device of the table, or "
                   "this much memory, such as 96GB")
      ->type_name("NAME");
  plan->add_option("--devices", options.devices,
                   "show what each of N devices would hold; such packages "
                   "cannot be built yet")
      ->type_name("N")
      ->transform(numberIn(int64_t(1), int64_t(4096)))
      ->capture_default_str();
  plan->add_option("--threads", options.threads,
                   "threads of the runtime [the CPUs of this machine]")
      ->type_name("N")
      ->transform(numberIn(int64_t(1), int64_t(1024)));
  plan->add_option("--logit-rows", options.logitRows,
                   "rows of logits that a session keeps [the larger of "
                   "sequences and step tokens]")
      ->type_name("N")
      ->transform(numberIn(int64_t(1), int64_t(1) << 31));
  plan->add_flag("--json", options.json, "print JSON");
  plan->callback([&options] { options.command = Command::Plan; });
}

static void addPresets(CLI::App &app, CompileOptions &options) {
  CLI::App *list = app.add_subcommand(
      "list", "show the configurations known by name, with sizes and sources");
  list->add_flag("--json", options.json, "print JSON");
  list->callback([&options] { options.command = Command::List; });
  CLI::App *skeleton = app.add_subcommand(
      "skeleton", "write a checkpoint of true headers and no weights: "
                  "terabytes that occupy megabytes, to compile and plan with");
  skeleton->footer("Example:\n"
                   "  fathomc skeleton --preset v4-flash -o flash\n"
                   "  fathomc skeleton --config smaller/config.json -o small");
  CLI::Option_group *what =
      skeleton->add_option_group("of which configuration");
  what->add_option("--preset", options.preset,
                   "a known one; fathomc list shows them")
      ->type_name("NAME");
  what->add_option("--config", options.config, "a config.json")
      ->type_name("FILE");
  what->require_option(1);
  skeleton
      ->add_option("-o,--output", options.output,
                   "the directory; made if it is not there")
      ->type_name("DIR")
      ->required();
  skeleton->add_flag("-q,--quiet", options.quiet, "print errors only");
  skeleton->callback([&options] { options.command = Command::Skeleton; });
}

static void addKernels(CLI::App &app, CompileOptions &options) {
  CLI::App *kernels = app.add_subcommand(
      "kernels", "list the kernels of a package: registers, stack, spills, "
                 "shared memory, tensor and TMA instructions, configuration");
  kernels->footer(
      "Of kernels for a GPU everything comes from NVIDIA's disassemblers, as "
      "far as they were there\nwhen the package was compiled. Spills in the "
      "loop are stores of registers to memory inside\nloops of products; they "
      "and a stack cost time. Of kernels for a CPU only the names are "
      "known.\n\n"
      "Examples:\n"
      "  fathomc kernels flash.fathom\n"
      "  fathomc kernels flash.fathom --json");
  kernels->add_option("PACKAGE", options.package, "NAME.fathom")->required();
  kernels->add_flag("--json", options.json, "print JSON");
  kernels->callback([&options] { options.command = Command::Kernels; });
}

static void addFinish(CLI::App &app, CompileOptions &options) {
  CLI::App *finish = app.add_subcommand(
      "finish", "make the device code of a package for Ascend that was "
                "compiled without CANN");
  finish->footer("It needs hivmc (910b, a3) or hivmc-a5 (950) of CANN on PATH, "
                 "and no checkpoint.\n\n"
                 "Example:\n"
                 "  fathomc finish flash.fathom");
  finish->add_option("PACKAGE", options.package, "NAME.fathom")->required();
  finish->add_flag("-q,--quiet", options.quiet, "print errors only");
  addBishengir(*finish, options);
  finish->callback([&options] { options.command = Command::Finish; });
}

static void addTune(CLI::App &app, CompileOptions &options) {
  CLI::App *tune = app.add_subcommand(
      "tune", "choose how the kernels of a model are compiled for GPUs (worker "
              "warps, CTAs, occupancy) and write the choices to a file");
  tune->footer(
      "With --static no device is needed: kernels are assembled in each way of "
      "a small space until one\nspills nothing, uses the target's tensor "
      "instructions where it multiplies, and TMA; or the best of\nall ways is "
      "taken. The same kernels and the same tileiras give the same choices. "
      "Each is written as soon\nas it is made; what the file has stays, and is "
      "not searched again.\n"
      "With --measure the model is compiled in each way, fathom bench runs it "
      "on a device of the one\narchitecture that is named, and the fastest way "
      "of each kernel is taken: after each way the\nfastest so far is written. "
      "Hand the file to fathomc compile --configurations: it goes before\n"
      "what is built in.\n\n"
      "Examples:\n"
      "  fathomc tune --static --preset v4-flash --target cuda:sm_90 -o "
      "flash.json\n"
      "  fathomc tune --static models/nano --numerics published -o "
      "codegen/NVIDIA/Configurations.json\n"
      "  fathomc tune --measure flash --target cuda:sm_90 -o measured.json");
  addModelOptions(*tune, options, /*takesPreset=*/true);
  CLI::Option_group *how = tune->add_option_group("how to choose");
  CLI::Option *withoutDevice =
      how->add_flag("--static", "by what the assembler makes of each way");
  CLI::Option *measure = how->add_flag("--measure", options.measure,
                                       "by what each way takes on a device");
  how->require_option(1);
  tune->add_option("--driver", options.driver,
                   "with --measure, what runs the kernels; emulated is for "
                   "tests: the CPU stands in, and its times mean nothing")
      ->check(CLI::IsMember({"cuda", "emulated"}))
      ->capture_default_str()
      ->excludes(withoutDevice);
  tune->add_option("--device", options.ordinal,
                   "with --measure, which device, from 0")
      ->type_name("N")
      ->transform(numberIn(0, 1023))
      ->capture_default_str()
      ->excludes(withoutDevice);
  addTarget(*tune, options, "cuda");
  addAssembler(*tune, options);
  tune->add_option("-o,--output", options.output,
                   "the file of choices; what it has for other kernels stays")
      ->type_name("FILE.json")
      ->required();
  tune->add_option("--kernels", options.kernels,
                   "with --static, only kernels whose names have one of these "
                   "texts in them")
      ->delimiter(',')
      ->type_name("TEXT")
      ->excludes(measure);
  CLI::Option *again = tune->add_flag(
      "--again", options.again,
      "with --static, search, too, what the file has a choice for");
  again->excludes(measure);
  tune->add_flag("--verify", options.verify,
                 "with --static, try what the file has a choice for, and where "
                 "the gates do not accept it, look further")
      ->excludes(again)
      ->excludes(measure);
  tune->add_flag("--exhaustive", options.exhaustive,
                 "with --static, try every way of every kernel, and take the "
                 "fewest instructions of those that the gates accept")
      ->excludes(measure);
  tune->add_option("--timeout", options.timeoutSeconds,
                   "with --static, seconds of processor time after which a way "
                   "is given up")
      ->type_name("N")
      ->transform(numberIn(1u, 86400u))
      ->capture_default_str()
      ->excludes(measure);
  tune->callback([&options] { options.command = Command::Tune; });
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
    addPlan(app, options);
    addPresets(app, options);
    addKernels(app, options);
    addFinish(app, options);
    addTune(app, options);
    try {
      app.parse(argc, argv);
    } catch (const CLI::Success &request) {
      errno = 0;
      const int code = app.exit(request);
      // Who closed the pipe has read what was wanted.
      if (std::cout.flush() || errno == EPIPE)
        return code;
      std::cerr << "fathomc: error: cannot print all there is to say\n  where: "
                   "standard output\n  help: let it go where there is space\n";
      return 4;
    } catch (const CLI::ParseError &error) {
      const bool hasCommand = !app.get_subcommands().empty();
      std::cerr << "fathomc: error: " << problemOf(app, error) << "\n  help: "
                << (hasCommand ? "fathomc COMMAND --help shows the options\n"
                               : "fathomc --help shows the commands\n");
      return 2;
    }
    auto usage = [](const std::string &what, const std::string &help) {
      std::cerr << "fathomc: error: " << what << "\n  help: " << help << "\n";
      return 2;
    };
    if (options.target.empty() && options.command == Command::Tune)
      options.target = "cuda"; // nothing is chosen for a CPU
    if (options.target.empty() && options.command == Command::Compile)
      options.target = "cpu";
    bool takesModel = options.command == Command::Compile ||
                      options.command == Command::Explain ||
                      options.command == Command::Plan ||
                      options.command == Command::Tune;
    if (takesModel && options.checkpoint.empty() && options.preset.empty())
      return usage(
          "the checkpoint directory is empty",
          options.command == Command::Compile
              ? "fathomc compile CKPT_DIR -o NAME.fathom"
              : "name a directory, or a configuration with --preset NAME");
    if (options.command == Command::Compile && options.output.empty() &&
        options.stopAfter == Phase::All)
      return usage("no name for the package", "add -o NAME.fathom");
    const size_t colon = options.target.find(':');
    const std::string target = options.target.substr(0, colon);
    if (target == "cpu" && colon != std::string::npos &&
        !options.levels.empty())
      return usage("both --target and --cpu name levels of the CPU",
                   "name them with one of the two");
    if (options.command == Command::Compile) {
      const CLI::App *compile = app.get_subcommand("compile");
      const std::pair<std::string, std::string> ofOneTarget[] = {
          {"--configurations", "cuda"},
          {"--tileiras", "cuda"},
          {"--bishengir", "ascend"}};
      for (const auto &[name, owner] : ofOneTarget)
        if (compile->count(name) && target != owner)
          return usage(name + " is for target " + owner + ", not " + target,
                       "leave it out, or add --target " + owner);
      if (compile->count("--host-arch") && target == "cpu")
        return usage("--host-arch is for the host of a device, not for target "
                     "cpu, whose code is for x86-64",
                     "leave it out, or name the device with --target");
    }
    return -1;
  } catch (const std::exception &error) {
    std::cerr << "fathomc: error: " << error.what() << "\n";
    return 4;
  }
}

} // namespace fathom
