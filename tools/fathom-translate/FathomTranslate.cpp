// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathom-translate: a checkpoint's headers to a dsv4 module, and a dsv4 module
// to numbers, by the reference interpreter.
#include "dialects/DSV4/Reference/Driver.h"
#include "dialects/DSV4/Reference/NpyIO.h"
#include "frontends/Checkpoint/Importer.h"
#include "frontends/Support/FrontendError.h"
#include "tools/fathom-opt/Dialects.h"
#include "tools/fathom-translate/CheckpointParameters.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"

#include <functional>

using namespace llvm;
using namespace fathom;

static constexpr StringLiteral kProgram = "fathom-translate";
/// Exit code for a command line that makes no sense.
static constexpr int kUsage = 2;

static cl::OptionCategory category("fathom-translate options");

static cl::opt<std::string>
    importFrom("import", cl::cat(category), cl::value_desc("CKPT_DIR"),
               cl::desc("Print the dsv4 module of a checkpoint directory"));
static cl::opt<std::string> numericsName("numerics", cl::cat(category),
                                         cl::init("bf16"),
                                         cl::value_desc("published|bf16|f32"),
                                         cl::desc("Rounding points to import"));
static cl::opt<int64_t> maxContext("max-context", cl::cat(category),
                                   cl::desc("Tokens of a sequence"));
static cl::opt<int64_t> maxSequences("max-sequences", cl::cat(category),
                                     cl::desc("Sequences at once"));
static cl::opt<int64_t> maxStepTokens("max-step-tokens", cl::cat(category),
                                      cl::desc("Tokens of a step"));

static cl::opt<std::string> interpretFrom(
    "interpret", cl::cat(category), cl::value_desc("MODULE"),
    cl::desc("Run a dsv4 module (a file, or - for standard input) with the "
             "reference: one --function on --inputs, or --tokens-file"));
static cl::opt<std::string>
    parameters("parameters", cl::cat(category), cl::value_desc("CKPT_DIR"),
               cl::desc("Checkpoint with the module's parameters"));
static cl::opt<std::string> function("function", cl::cat(category),
                                     cl::init("step"), cl::value_desc("NAME"),
                                     cl::desc("Function to call"));
static cl::list<std::string>
    inputs("inputs", cl::cat(category), cl::CommaSeparated,
           cl::value_desc("A.npy,B.npy"),
           cl::desc("Arguments of the function that are not caches"));
static cl::opt<std::string>
    outputDir("output-dir", cl::cat(category), cl::value_desc("DIR"),
              cl::desc("Folder for the results, result0.npy ..."));
static cl::opt<std::string>
    probeDir("probe-dir", cl::cat(category), cl::value_desc("DIR"),
             cl::desc("Folder for the results of every operation of "
                      "--function"));
static cl::opt<int64_t> slots("slots", cl::cat(category),
                              cl::desc("Sequences that the caches hold"));
static cl::opt<std::string>
    tokensFile("tokens-file", cl::cat(category), cl::value_desc("FILE"),
               cl::desc("Sequences of token ids, one a line, comma-separated"));
static cl::opt<int64_t>
    chunk("chunk", cl::cat(category),
          cl::desc("Tokens of every sequence in a step; 0: all"));
static cl::opt<bool> mtp("mtp", cl::cat(category),
                         cl::desc("Logits of the MTP head"));

static cl::opt<std::string>
    output("output", cl::cat(category), cl::value_desc("FILE"), cl::init("-"),
           cl::desc("Where the module, or the logits as .npy, go"));
static cl::alias outputAlias("o", cl::aliasopt(output),
                             cl::desc("Same as --output"));

static int usage(const Twine &message) {
  errs() << kProgram << ": error: " << message
         << "\n  help: see fathom-translate --help\n";
  return kUsage;
}

static int report(Error error) {
  return reportError(std::move(error), errs(), kProgram);
}

/// Of the interpreter, which knows error codes and not the front end's kinds.
static int reportInterpreter(Error error) {
  int code = 0;
  error = handleErrors(std::move(error), [&](std::unique_ptr<StringError> e) {
    const std::error_code what = e->convertToErrorCode();
    if (what == std::make_error_code(kBadFile))
      code = static_cast<int>(FailureKind::BadFile);
    if (what == std::make_error_code(kRefused))
      code = static_cast<int>(FailureKind::Resources);
    return Error(std::move(e));
  });
  const int other = report(std::move(error));
  return code ? code : other;
}

/// The first of `options` that was given, else null.
static cl::Option *
firstGiven(std::initializer_list<std::reference_wrapper<cl::Option>> options) {
  for (cl::Option &option : options)
    if (option.getNumOccurrences() > 0)
      return &option;
  return nullptr;
}

/// The value of an option that was given, else nothing.
static std::optional<int64_t> given(const cl::opt<int64_t> &option) {
  if (option.getNumOccurrences() == 0)
    return std::nullopt;
  return option.getValue();
}

static int runImport(mlir::MLIRContext &context) {
  ImportOptions options;
  std::optional<dsv4::Numerics> numerics = parseNumerics(numericsName);
  if (!numerics)
    return usage("no numerics '" + numericsName +
                 "'; there are published, bf16 and f32");
  options.numerics = *numerics;
  Expected<ModelConfig> config = loadModelConfig(importFrom);
  if (!config)
    return report(config.takeError());
  Expected<CompileLimits> limits = resolveLimits(
      *config, given(maxContext), given(maxSequences), given(maxStepTokens));
  if (!limits)
    return report(limits.takeError());
  options.limits = *limits;
  Expected<Checkpoint> checkpoint = Checkpoint::open(importFrom);
  if (!checkpoint)
    return report(checkpoint.takeError());
  std::vector<std::string> notices = config->notices;
  auto module = importModel(context, *config, *checkpoint, options, &notices);
  if (!module)
    return report(module.takeError());
  for (const std::string &notice : notices)
    errs() << kProgram << ": note: " << notice << "\n";
  if (mlir::failed(mlir::verify(**module)))
    return 1; // said by the verifier; a bug of ours
  std::string message;
  auto file = mlir::openOutputFile(output, &message);
  if (!file)
    return report(makeError(FailureKind::Resources, "cannot write the module",
                            output, message,
                            "choose a path that can be written"));
  (*module)->print(file->os());
  file->os().flush();
  if (file->os().has_error()) {
    message = file->os().error().message();
    file->os().clear_error();
    return report(makeError(FailureKind::Resources, "cannot write the module",
                            output, message, "free some space and try again"));
  }
  file->keep();
  return 0;
}

static int interpretWith(mlir::ModuleOp module, ParameterSource &source) {
  if (!tokensFile.empty()) {
    InterpretTokensOptions options;
    options.tokensFile = tokensFile;
    options.output = output;
    options.chunk = chunk;
    options.mtp = mtp;
    Error error = interpretTokens(module, source, options);
    return error ? reportInterpreter(std::move(error)) : 0;
  }
  InterpretFunctionOptions options;
  options.function = function;
  options.inputs.assign(inputs.begin(), inputs.end());
  options.outputDir = outputDir;
  options.probeDir = probeDir;
  options.slots = slots;
  Error error = interpretFunction(module, source, options);
  return error ? reportInterpreter(std::move(error)) : 0;
}

static int runInterpret(mlir::MLIRContext &context) {
  if (tokensFile.empty() && outputDir.empty())
    return usage("--interpret needs --tokens-file and --output, or "
                 "--output-dir for the results of --function");
  if (!tokensFile.empty() && output == "-")
    return usage("--tokens-file needs --output OUT.npy");
  if (tokensFile.empty()) {
    if (cl::Option *other = firstGiven({chunk, mtp}))
      return usage("--" + other->ArgStr + " is for --tokens-file");
    if (output != "-")
      return usage("--output is for --tokens-file; the results of --function "
                   "go to --output-dir");
  } else if (cl::Option *other =
                 firstGiven({function, inputs, outputDir, probeDir, slots})) {
    return usage("--" + other->ArgStr +
                 " is for one --function, not for --tokens-file");
  }
  if (chunk < 0 || slots < 0)
    return usage("--chunk and --slots must not be negative");
  SourceMgr sources;
  std::string message;
  auto file = mlir::openInputFile(interpretFrom, &message);
  if (!file)
    return report(makeError(FailureKind::BadFile, "cannot read the module",
                            interpretFrom, message,
                            "give a file written by --import"));
  sources.AddNewSourceBuffer(std::move(file), SMLoc());
  mlir::SourceMgrDiagnosticHandler handler(sources, &context);
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(sources, &context);
  if (!module)
    return static_cast<int>(FailureKind::BadFile); // said by the parser
  if (parameters.empty()) {
    NoParameters none;
    return interpretWith(*module, none);
  }
  Expected<Checkpoint> checkpoint = Checkpoint::open(parameters);
  if (!checkpoint)
    return report(checkpoint.takeError());
  CheckpointParameters source(*checkpoint);
  return interpretWith(*module, source);
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  cl::HideUnrelatedOptions(category);
  if (!cl::ParseCommandLineOptions(
          argc, argv,
          "Fathom's translator: checkpoint to dsv4 module (--import), module "
          "to numbers (--interpret)\n",
          &errs()))
    return kUsage;
  if (importFrom.empty() == interpretFrom.empty())
    return usage("exactly one of --import and --interpret is needed");
  mlir::DialectRegistry registry;
  registerToolDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  return importFrom.empty() ? runInterpret(context) : runImport(context);
}
