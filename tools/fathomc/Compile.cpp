// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathomc/Compilation.h"

#include "codegen/Common/PackageWriter.h"
#include "codegen/Common/StepSchedule.h"
#include "dialects/DSV4/Cost/Cost.h"
#include "dialects/Tile/IR/Tile.h"
#include "frontends/Checkpoint/Importer.h"
#include "frontends/Checkpoint/Layout.h"
#include "frontends/Presets/Presets.h"
#include "frontends/Support/FrontendError.h"
#include "frontends/Support/InputFile.h"
#include "passes/Fusion.h"
#include "runtime/format/PromptProfile.h"
#include "tools/PeakMemory.h"
#include "tools/fathom-opt/Dialects.h"
#include "tools/fathomc/Commands.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace fathom {

static mlir::DialectRegistry makeRegistry(const TargetRegistry &targets) {
  mlir::DialectRegistry registry;
  registerToolDialects(registry);
  registerCostModels(registry);
  targets.registerDialects(registry);
  return registry;
}

Compilation::Compilation(const CompileOptions &options,
                         const TargetRegistry &targets)
    : options(options), context(makeRegistry(targets)), progress(options.quiet),
      targets(targets) {}

bool Compilation::fail(Error error) {
  code = reportError(std::move(error), errs(), "fathomc");
  return false;
}

bool Compilation::wrongUsage(StringRef what, StringRef where, StringRef help) {
  errs() << "fathomc: error: " << what << "\n  where: " << where
         << "\n  help: " << help << "\n";
  code = 2;
  return false;
}

/// Of packages for another target: what the host's code is for when nobody
/// says. It is there to check a package without its device.
static constexpr const char *kHostLevel = "x86-64-v3";

bool Compilation::chooseTarget() {
  // NAME, or NAME:LEVEL,LEVEL
  auto [name, list] = StringRef(options.target).split(':');
  target = targets.find(name);
  host = targets.find("cpu");
  if (!target)
    return fail(makeError(FailureKind::Unsupported,
                          "unsupported target " + quoted(name), "--target",
                          "this build compiles for: " + targets.names(),
                          "leave --target out, or name one of these"));
  if (!list.empty())
    for (StringRef level : split(list, ','))
      targetOptions.levels.push_back(level.str());
  targetOptions.assembler = options.assembler;
  targetOptions.configurations = options.configurations;
  // Absent is as good as empty to tune, which writes it; not here.
  if (!options.configurations.empty() &&
      !sys::fs::exists(options.configurations))
    return fail(makeError(FailureKind::BadFile, "cannot open a file",
                          quoted(options.configurations),
                          "there is no such file",
                          "check the path; fathomc tune writes such files"));
  if (!options.hostArchitecture.empty())
    targetOptions.hostArchitecture = options.hostArchitecture;
  hostOptions.levels = options.levels;
  hostOptions.plainInstructions = options.plainInstructions;
  if (target == host) {
    targetOptions.plainInstructions = options.plainInstructions;
    if (targetOptions.levels.empty())
      targetOptions.levels = options.levels;
    host = nullptr;
    if (!chooseLevels(*target, "--cpu", targetOptions))
      return false;
  } else {
    hostOptions.standsIn = true;
    if (hostOptions.levels.empty())
      hostOptions.levels = {kHostLevel};
    if (!chooseLevels(*target, "--target", targetOptions) ||
        !chooseLevels(*host, "--cpu", hostOptions))
      return false;
  }
  const TargetOptions &ofCPU = host ? hostOptions : targetOptions;
  if (options.plainInstructions && ofCPU.levels.size() != 1)
    return wrongUsage("--plain-instructions is for one level",
                      join(ofCPU.levels, ", "),
                      "name it, as in --cpu x86-64-v4-amx");
  if (options.command != Command::Compile || options.stopAfter != Phase::All)
    return true; // no code is made, no tool is needed
  Expected<format::Target> described = target->describe(targetOptions);
  if (!described)
    return fail(described.takeError());
  manifest.target = std::move(*described);
  return true;
}

bool Compilation::chooseLevels(const TargetBackend &backend, StringRef option,
                               TargetOptions &chosen) {
  std::optional<std::string> unknown =
      TargetRegistry::resolveLevels(backend, chosen.levels);
  if (!unknown)
    return true;
  return fail(makeError(FailureKind::Unsupported,
                        "unsupported instruction-set level " + quoted(*unknown),
                        option.str(),
                        "target '" + backend.name().str() +
                            "' has: " + join(backend.levels(), ", "),
                        "leave it out, or name one of these"));
}

void Compilation::noticeOtherDevice(const Device &device) {
  auto [name, level] = StringRef(device.target).split(':');
  if (name.empty() ||
      (name == target->name() &&
       (level.empty() || is_contained(targetOptions.levels, level))))
    return;
  notices.push_back(formatv("what is counted is for target {0}, while {1} is a "
                            "device of target {2}; --target and --device "
                            "choose",
                            options.target, device.name, device.target));
  progress.note(notices.back());
}

bool Compilation::chooseFusions() {
  std::string known;
  for (const Fusion &fusion : fusions())
    known += fusion.name.str() + ", ";
  known += (kMergeLaunches + ", all").str();
  for (const std::string &name : options.disabledFusions)
    if (name != "all" && name != kMergeLaunches &&
        llvm::none_of(fusions(), [&](const Fusion &fusion) {
          return fusion.name == name;
        }))
      return wrongUsage("there is no fusion " + quoted(name),
                        "--disable-fusion", "the fusions are: " + known);
  return true;
}

/// Whether `path` is an ONNX model, or a folder of one without weights that are
/// read here.
static bool isOnnx(StringRef path) {
  if (!sys::fs::is_directory(path))
    return path.ends_with_insensitive(".onnx");
  bool onnx = false;
  std::error_code error;
  for (sys::fs::directory_iterator at(path, error), end; !error && at != end;
       at.increment(error)) {
    if (StringRef(at->path()).ends_with(".safetensors"))
      return false;
    onnx |= StringRef(at->path()).ends_with_insensitive(".onnx");
  }
  return onnx;
}

bool Compilation::openSource() {
  if (options.preset.empty()) {
    if (isOnnx(options.checkpoint))
      return fail(makeError(FailureKind::Unsupported,
                            "ONNX models are not supported",
                            quoted(options.checkpoint),
                            "what is read is config.json and *.safetensors, as "
                            "published",
                            "give the directory of the checkpoint that the "
                            "model was made of"));
    Expected<ModelConfig> loaded = loadModelConfig(options.checkpoint);
    if (!loaded)
      return fail(loaded.takeError());
    config = std::move(*loaded);
    return true;
  }
  Expected<Preset> preset = findPreset(options.preset);
  if (!preset)
    return fail(preset.takeError());
  Expected<ModelConfig> parsed =
      parseModelConfig(preset->configText(), "preset " + preset->name);
  if (!parsed)
    return fail(parsed.takeError());
  config = std::move(*parsed);
  Skeleton skeleton = layoutOf(*config);
  checkpoint =
      Checkpoint::inMemory("preset " + preset->name, std::move(skeleton.files),
                           std::move(skeleton.tensors));
  return true;
}

bool Compilation::import() {
  progress.begin("import");
  if (!openSource())
    return false;
  notices = config->notices;
  for (const std::string &notice : notices)
    progress.note(notice);
  Expected<CompileLimits> limits = resolveLimits(
      *config, options.maxContext, options.maxSequences, options.maxStepTokens);
  if (!limits)
    return fail(limits.takeError());
  if (!options.maxContext && limits->maxContext < 32768)
    progress.note(formatv("context is limited to {0} tokens, all that the "
                          "model has",
                          limits->maxContext)
                      .str());
  if (!checkpoint) {
    Expected<Checkpoint> opened = Checkpoint::open(options.checkpoint);
    if (!opened)
      return fail(opened.takeError());
    checkpoint.emplace(std::move(*opened));
  }

  std::vector<std::string> found;
  ImportOptions importOptions{*parseNumerics(options.numerics), *limits,
                              options.layerOutputs};
  DiagnosticReport report(context);
  Expected<mlir::OwningOpRef<mlir::ModuleOp>> imported =
      importModel(context, *config, *checkpoint, importOptions, &found);
  if (!imported)
    return fail(imported.takeError());
  for (const std::string &notice : found) {
    progress.note(notice);
    notices.push_back(notice);
  }
  module = std::move(*imported);
  mlir::FailureOr<std::vector<format::Cache>> caches = collectCaches(*module);
  if (mlir::failed(caches)) {
    code = report.finish("import");
    return false;
  }
  manifest.caches = std::move(*caches);
  auto model = module->getOperation()->getAttrOfType<dsv4::ModelAttr>(
      dsv4::kModelAttrName);
  describeModel(model, config->architecture, manifest);
  if (!choosePromptProfile())
    return false;
  progress.end(formatv("{0} tensors in {1} files, {2} layers, numerics {3}",
                       checkpoint->tensors().size(), checkpoint->files().size(),
                       config->layers, options.numerics)
                   .str());
  return afterPhase("import", Phase::Import);
}

bool Compilation::writeIR(StringRef path) {
  auto print = [&](raw_ostream &os) {
    module->getOperation()->print(os, mlir::OpPrintingFlags().useLocalScope());
  };
  if (path == "-")
    return print(outs()), true;
  std::error_code error;
  raw_fd_ostream os(path, error);
  if (!error) {
    print(os);
    os.flush();
    error = os.error();
    os.clear_error();
  }
  if (!error)
    return true;
  return fail(makeError(FailureKind::Resources, "cannot write the IR",
                        quoted(path), error.message(), "choose another place"));
}

bool Compilation::afterPhase(StringRef name, Phase phase) {
  if (!options.dumpDirectory.empty()) {
    if (std::error_code error = sys::fs::create_directories(
            options.dumpDirectory,
            /*IgnoreExisting=*/true, sys::fs::perms::all_all))
      return fail(makeError(FailureKind::Resources, "cannot create a directory",
                            quoted(options.dumpDirectory), error.message(),
                            "choose another one with --dump-ir"));
    SmallString<256> path(options.dumpDirectory);
    sys::path::append(path, name + ".mlir");
    if (!writeIR(path))
      return false;
  }
  if (options.stopAfter != phase)
    return true;
  writeIR(options.output.empty() ? "-" : StringRef(options.output));
  return false;
}

bool Compilation::runPasses(StringRef phase,
                            function_ref<void(mlir::OpPassManager &)> add) {
  DiagnosticReport report(context);
  mlir::PassManager passes(&context);
  add(passes);
  if (mlir::succeeded(passes.run(*module)))
    return true;
  code = report.finish(phase);
  return false;
}

bool Compilation::fuse() {
  progress.begin("fuse");
  if (!runPasses("fuse", [&](mlir::OpPassManager &passes) {
        addFusionPasses(passes, options.disabledFusions);
      }))
    return false;
  int64_t groups = 0;
  module->walk([&](dsv4::FusedOp) { ++groups; });
  progress.end(formatv("{0} groups", groups).str());
  return afterPhase("fuse", Phase::Fuse);
}

bool Compilation::lower() {
  progress.begin("tile");
  if (!runPasses("tile", [&](mlir::OpPassManager &passes) {
        DSV4ToTilePassOptions shapes;
        shapes.target = target->tileShapes(targetOptions).str();
        passes.addPass(createDSV4ToTilePass(shapes));
        std::vector<std::string> disabled = options.disabledFusions;
        if (!target->mergesLaunches())
          disabled.push_back(kMergeLaunches.str());
        addLaunchPasses(passes, target->callsKernels(), disabled);
      }))
    return false;
  std::vector<std::string> said;
  if (Error error = target->annotate(*module, targetOptions, said))
    return fail(std::move(error));
  auto kernels = module->getOps<tile::KernelOp>();
  progress.end(
      formatv("{0} kernels", std::distance(kernels.begin(), kernels.end()))
          .str());
  for (const std::string &note : said)
    progress.note(note);
  if (!afterPhase("tile", Phase::Tile))
    return false;

  progress.begin("plan");
  if (!runPasses("plan", [](mlir::OpPassManager &passes) {
        passes.addPass(createPlanMemoryPass());
      }))
    return false;
  DiagnosticReport report(context);
  if (mlir::failed(scheduleEntries(*module, *checkpoint, manifest))) {
    code = report.finish("plan");
    return false;
  }
  uint64_t launches = 0, workspace = 0;
  for (const format::Entry &entry : manifest.entries)
    for (const format::Specialisation &s : entry.specialisations) {
      launches += s.launches.size();
      workspace = std::max(workspace, s.workspaceBytes);
    }
  progress.end(formatv("{0} launch records, workspace {1:F1} MB", launches,
                       workspace / 1e6)
                   .str());
  return afterPhase("plan", Phase::Plan);
}

bool Compilation::generate() {
  return compileFor(*target, targetOptions) &&
         (!host || compileFor(*host, hostOptions));
}

bool Compilation::compileFor(const TargetBackend &backend,
                             TargetOptions &chosen) {
  progress.begin(host && &backend == host ? "host" : "codegen");
  chosen.progress = [this](size_t done, size_t of) { progress.at(done, of); };
  DiagnosticReport report(context);
  Expected<std::vector<CompiledLibrary>> compiled =
      backend.compile(*module, chosen);
  if (!compiled) {
    Error error = compiled.takeError();
    if (error.isA<FrontendError>())
      return fail(std::move(error));
    errs() << "fathomc: error: " << toString(std::move(error)) << "\n";
    code = report.finish("codegen", /*said=*/true);
    return false;
  }
  uint64_t bytes = 0;
  for (const CompiledLibrary &library : *compiled)
    bytes += library.bytes.size();
  progress.end(
      formatv("{0}: {1:F1} MB of code", join(chosen.levels, ", "), bytes / 1e6)
          .str());
  for (const std::string &note : backend.notes(*compiled))
    progress.note(note);
  std::move(compiled->begin(), compiled->end(), std::back_inserter(libraries));
  return true;
}

void Compilation::printSummary(uint64_t packageBytes) {
  uint64_t weightBytes = 0;
  for (const format::Weight &weight : manifest.weights)
    weightBytes += weight.bytes;
  json::Object seconds;
  double total = 0;
  for (const auto &[phase, time] : progress.seconds()) {
    seconds[phase] = time;
    total += time;
  }
  json::Object entries;
  for (const format::Entry &entry : manifest.entries) {
    json::Array list;
    for (const format::Specialisation &s : entry.specialisations)
      list.push_back(json::Object{
          {"max_tokens", s.maxTokens},
          {"launches", static_cast<int64_t>(s.launches.size())},
          {"workspace_bytes", static_cast<int64_t>(s.workspaceBytes)}});
    entries[entry.name] = std::move(list);
  }
  json::Object summary{
      {"schema_version", 1},
      {"package", options.output},
      {"target", manifest.target.name},
      {"numerics", options.numerics},
      {"max_context", manifest.limits.maxContext},
      {"max_sequences", manifest.limits.maxSequences},
      {"max_step_tokens", manifest.limits.maxStepTokens},
      {"weights", static_cast<int64_t>(manifest.weights.size())},
      {"weight_bytes", static_cast<int64_t>(weightBytes)},
      {"package_bytes", static_cast<int64_t>(packageBytes)},
      {"entries", std::move(entries)},
      {"seconds", std::move(seconds)},
      {"total_seconds", total},
      {"peak_resident_bytes", static_cast<int64_t>(peakResidentBytes())}};
  outs() << formatv("{0:2}\n", json::Value(std::move(summary)));
}

bool Compilation::choosePromptProfile() {
  manifest.model.promptProfile = options.promptProfile;
  if (!options.promptProfile.empty() || options.checkpoint.empty())
    return true;
  llvm::SmallString<256> path(options.checkpoint);
  llvm::sys::path::append(path, format::kEncoderFile);
  std::string encoder;
  if (llvm::sys::fs::exists(path)) {
    Expected<std::string> text = readTextFile(path, 1 << 20);
    if (!text)
      return fail(text.takeError());
    encoder = std::move(*text);
  }
  manifest.model.promptProfile = format::promptProfile(encoder);
  return true;
}

bool Compilation::prepareWriting() {
  if (Error error = checkPackageDestination(options.output))
    return fail(std::move(error));
  if (options.golden.empty())
    return true;
  Expected<std::string> golden = readTextFile(options.golden, 16 << 20);
  if (!golden)
    return fail(golden.takeError());
  if (!StringRef(*golden).starts_with("PK"))
    return fail(makeError(FailureKind::BadFile, "no numpy archive",
                          quoted(options.golden), "it is no zip file",
                          "write it with numpy.savez_compressed"));
  moreFiles.emplace_back("golden.npz", std::move(*golden));
  return true;
}

bool Compilation::placeCheckpoint() {
  Expected<std::string> directory =
      relativeToPackage(options.checkpoint, options.output);
  if (!directory)
    return fail(directory.takeError());
  manifest.checkpointDirectory = std::move(*directory);
  return true;
}

bool Compilation::write() {
  progress.begin("package");
  Expected<uint64_t> bytes = writePackage(options.output, manifest, libraries,
                                          options.checkpoint, moreFiles);
  if (!bytes)
    return fail(bytes.takeError());
  progress.end(formatv("{0}, {1:F1} MB", options.output, *bytes / 1e6).str());
  if (options.json)
    printSummary(*bytes);
  return true;
}

bool Compilation::measureScratch(uint64_t &bytes) {
  progress.begin("scratch");
  DiagnosticReport report(context);
  Expected<uint64_t> measured = target->scratchBytes(*module, targetOptions);
  if (!measured) {
    errs() << "fathomc: error: " << toString(measured.takeError()) << "\n";
    code = report.finish("codegen", /*said=*/true);
    return false;
  }
  bytes = *measured;
  progress.end(formatv("{0} bytes of scratch a thread", bytes).str());
  return true;
}

static int compileCheckpoint(Compilation &run) {
  // What is wrong with places and files is told at once, not after the work.
  bool writes = run.options.stopAfter == Phase::All;
  if ((!writes || run.prepareWriting()) && run.import() &&
      (!writes || run.placeCheckpoint()) && run.fuse() && run.lower() &&
      run.generate())
    run.write();
  return run.code;
}

std::string toolsFolder(StringRef vendor) {
  static int here;
  std::string program = sys::fs::getMainExecutable(nullptr, &here);
  SmallString<256> folder(
      sys::path::parent_path(sys::path::parent_path(program)));
  sys::path::append(folder, vendor);
  return folder.str().str();
}

static int runAsAsked(CompileOptions options, const TargetRegistry &targets) {
  if (options.target.empty())
    options.target = targetFor(options.device);
  if (options.command == Command::List)
    return listPresets(options);
  if (options.command == Command::Skeleton)
    return writePresetSkeleton(options);
  if (options.command == Command::Finish)
    return finishPackage(options);
  if (options.command == Command::Kernels)
    return listKernels(options);
  Compilation run(options, targets);
  if (!run.chooseTarget() || !run.chooseFusions())
    return run.code;
  switch (options.command) {
  case Command::Explain:
    return explainCheckpoint(run);
  case Command::Plan:
    return planCheckpoint(run);
  case Command::Tune:
    return tuneCheckpoint(run);
  default:
    return compileCheckpoint(run);
  }
}

int runCommand(const CompileOptions &options, const TargetRegistry &targets) {
  const int code = runAsAsked(options, targets);
  outs().flush();
  const std::error_code error = outs().error();
  outs().clear_error();
  errs().clear_error(); // there is nobody to tell
  if (!error || error == std::errc::broken_pipe)
    return code; // who closed the pipe has read what was wanted
  const int told = reportError(
      makeError(FailureKind::Resources, "cannot print all there is to say",
                "standard output", error.message(),
                "let it go where there is space; files that were to be written "
                "are complete"),
      errs(), "fathomc");
  return code ? code : told;
}

} // namespace fathom
