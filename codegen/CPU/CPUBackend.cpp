// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/CPUBackend.h"

#include "codegen/CPU/Link.h"
#include "codegen/CPU/MicroKernels.h"
#include "codegen/CPU/ObjectCache.h"
#include "codegen/CPU/PlainInstructions.h"
#include "dialects/Tile/IR/Tile.h"

#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Target/LLVMIR/ModuleTranslation.h"
#include "llvm/IR/DiagnosticHandler.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/ThreadPool.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/InstCombine/InstCombine.h"
#include "llvm/Transforms/Scalar/EarlyCSE.h"
#include "llvm/Transforms/Scalar/LICM.h"
#include "llvm/Transforms/Scalar/LoopPassManager.h"
#include "llvm/Transforms/Scalar/SROA.h"
#include "llvm/Transforms/Scalar/SimplifyCFG.h"

#include <mutex>
#include <numeric>

using namespace mlir;
using namespace fathom;
using namespace fathom::cpu;

static llvm::Error fail(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

namespace {
/// A kernel in a module of its own, and what comes of it. Each goes through
/// LLVM by itself: what it compiles to depends on nothing else and can be kept.
/// Kernels that it calls are of other parts; the linker brings them together.
struct Part {
  std::string name;
  OwningOpRef<ModuleOp> module;
  CompiledObject object;
  std::string error;
};
} // namespace

static std::vector<Part> split(ModuleOp module,
                               std::vector<std::string> &names) {
  std::vector<Part> parts;
  for (auto kernel : module.getOps<tile::KernelOp>()) {
    names.push_back(kernel.getSymName().str());
    parts.emplace_back().name = names.back();
    parts.back().module = ModuleOp::create(module.getLoc());
    parts.back().module->push_back(kernel->clone());
  }
  return parts;
}

namespace {
/// A level as LLVM knows it.
struct LevelSpec {
  llvm::StringLiteral name, cpu, features;
};
} // namespace

static constexpr LevelSpec kLevels[] = {
    {"x86-64-v3", "x86-64-v3", ""},
    {"x86-64-v4", "x86-64-v4", ""},
    {"x86-64-v4-bf16", "x86-64-v4", "+avx512bf16,+avx512vbmi"},
    {"x86-64-v4-amx", "x86-64-v4",
     "+avx512bf16,+avx512vbmi,+amx-tile,+amx-bf16"}};

std::vector<std::string> fathom::cpu::levelNames() {
  std::vector<std::string> names;
  for (const LevelSpec &level : kLevels)
    names.push_back(level.name.str());
  return names;
}

std::optional<Level> fathom::cpu::levelOf(llvm::StringRef name) {
  for (auto [i, level] : llvm::enumerate(kLevels))
    if (level.name == name)
      return static_cast<Level>(i);
  return std::nullopt;
}

/// The level whose instructions code may have.
static const LevelSpec &specOf(const CPUOptions &options) {
  Level level = options.plainInstructions ? Level::V3 : *levelOf(options.isa);
  return kLevels[static_cast<int>(level)];
}

static std::unique_ptr<llvm::TargetMachine>
createMachine(const CPUOptions &options, std::string &error) {
  llvm::Triple triple("x86_64-unknown-linux-gnu");
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return nullptr;
  llvm::TargetOptions targetOptions;
  targetOptions.AllowFPOpFusion = llvm::FPOpFusion::Strict; // bits are ours
  // Short loops of products are read from fewer lines (PERFORMANCE.md).
  if (specOf(options).name == "x86-64-v3")
    targetOptions.LoopAlignment = 64;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, specOf(options).cpu, specOf(options).features, targetOptions,
      llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Default));
}

/// Weights lie at any byte and unaligned vector accesses cost nothing here, so
/// no access may promise more than one byte.
static void dropAlignment(llvm::Module &module) {
  for (llvm::Function &function : module)
    for (llvm::BasicBlock &block : function)
      for (llvm::Instruction &instruction : block) {
        if (auto *load = llvm::dyn_cast<llvm::LoadInst>(&instruction))
          load->setAlignment(llvm::Align(1));
        else if (auto *store = llvm::dyn_cast<llvm::StoreInst>(&instruction))
          store->setAlignment(llvm::Align(1));
      }
}

static void shareTable(llvm::Module &module) {
  llvm::GlobalVariable *table = module.getGlobalVariable(kTableE2M1, true);
  if (!table)
    return;
  table->setLinkage(llvm::GlobalValue::LinkOnceODRLinkage);
  table->setVisibility(llvm::GlobalValue::HiddenVisibility);
  table->setComdat(module.getOrInsertComdat(kTableE2M1));
}

static void prepare(llvm::Module &module, llvm::TargetMachine &machine,
                    const CPUOptions &options) {
  if (options.plainInstructions) {
    replaceInstructions(module);
    replaceTiles(module);
  }
  // Before optimisation: without them zero fills become byte loops.
  module.setTargetTriple(machine.getTargetTriple());
  module.setDataLayout(machine.createDataLayout());
  dropAlignment(module);
  shareTable(module);
  for (llvm::Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", specOf(options).cpu);
    if (!specOf(options).features.empty())
      function.addFnAttr("target-features", specOf(options).features);
    function.addFnAttr(llvm::Attribute::NoUnwind);
    // Loops that fill or copy stay loops: tiles are a few lines long, and a
    // call loses the configuration of AMX, which then is loaded anew.
    function.addFnAttr("no-builtins");
    if (specOf(options).name != "x86-64-v3")
      function.addFnAttr("prefer-vector-width", "512");
  }
}

/// What descriptors of buffers and unrolled loops leave behind is folded, and
/// addresses leave the loops: a sixth of the time that all passes take, since
/// kernels call nothing and their loops are meant to be as they are.
static llvm::ModulePassManager fewPasses() {
  llvm::FunctionPassManager passes;
  passes.addPass(llvm::SROAPass(llvm::SROAOptions::PreserveCFG));
  passes.addPass(llvm::EarlyCSEPass());
  passes.addPass(llvm::InstCombinePass());
  passes.addPass(llvm::SimplifyCFGPass());
  passes.addPass(llvm::createFunctionToLoopPassAdaptor(
      llvm::LICMPass(llvm::LICMOptions()), /*UseMemorySSA=*/true));
  passes.addPass(llvm::EarlyCSEPass());
  llvm::ModulePassManager all;
  all.addPass(llvm::createModuleToFunctionPassAdaptor(std::move(passes)));
  return all;
}

static void optimise(llvm::Module &module, llvm::TargetMachine &machine,
                     bool few) {
  llvm::PipelineTuningOptions tuning;
  // The loops are vectorised as they are meant to be.
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  // Nor do they gain from unrolling, which costs most of the compile time.
  tuning.LoopUnrolling = false;
  llvm::PassBuilder builder(&machine, tuning);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graph;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graph, modules);
  llvm::ModulePassManager passes =
      few ? fewPasses()
          : builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2);
  passes.run(module, modules);
}

static void dump(const llvm::Module &module, const CPUOptions &options,
                 size_t part, llvm::StringRef stage) {
  if (options.dumpDir.empty())
    return;
  std::error_code error;
  llvm::raw_fd_ostream out(
      options.dumpDir + "/part" + std::to_string(part) + stage.str(), error);
  if (!error)
    module.print(out, nullptr);
}

static LogicalResult lower(Part &part, const CPUOptions &options) {
  PassManager pm(part.module->getContext(), ModuleOp::getOperationName(),
                 PassManager::Nesting::Explicit);
  // Verifying after every pass costs a tenth of the time that compiling takes;
  // the tests run the same passes with it.
  pm.enableVerifier(!options.dumpDir.empty());
  buildCPUPipeline(pm, options.isa);
  if (failed(pm.run(*part.module)))
    return failure();
  part.module->walk([&](LLVM::LLVMFuncOp func) {
    if (auto bytes = func->getAttrOfType<IntegerAttr>(kScratchAttr))
      part.object.scratchBytes =
          std::max<uint64_t>(part.object.scratchBytes, bytes.getInt());
    func->removeAttr(kScratchAttr);
  });
  return success();
}

namespace {
/// Takes what LLVM says is wrong. Its own handler would end the program.
struct TakeErrors : llvm::DiagnosticHandler {
  explicit TakeErrors(std::string &error) : error(error) {}
  bool handleDiagnostics(const llvm::DiagnosticInfo &info) override {
    if (info.getSeverity() != llvm::DS_Error)
      return false;
    if (!error.empty())
      return true; // the first says it
    llvm::raw_string_ostream text(error);
    llvm::DiagnosticPrinterRawOStream printer(text);
    info.print(printer);
    return true;
  }
  std::string &error;
};
} // namespace

static void compilePart(Part &part, const CPUOptions &options, size_t number) {
  if (failed(lower(part, options))) {
    part.error = "lowering kernels failed";
    return;
  }
  std::string error;
  llvm::LLVMContext context;
  context.setDiagnosticHandler(std::make_unique<TakeErrors>(error));
  std::unique_ptr<llvm::Module> module =
      translateModuleToLLVMIR(*part.module, context, "kernels");
  std::unique_ptr<llvm::TargetMachine> machine =
      createMachine(options, part.error);
  if (!machine)
    return;
  if (!module) {
    part.error = "translation to LLVM IR failed";
    return;
  }
  prepare(*module, *machine, options);
  dump(*module, options, number, ".ll");
  optimise(*module, *machine, options.fewPasses);
  dump(*module, options, number, ".opt.ll");
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream out(bytes);
  llvm::legacy::PassManager codegen;
  if (machine->addPassesToEmitFile(codegen, out, nullptr,
                                   llvm::CodeGenFileType::ObjectFile)) {
    part.error = "this LLVM cannot write objects for x86-64";
    return;
  }
  codegen.run(*module);
  if (!error.empty()) {
    llvm::StringRef text = error;
    text.consume_front("<unknown>:0:0: ");
    part.error = "unsupported on " + options.isa + ": kernel '" + part.name +
                 "', of which LLVM says: " + text.str();
    if (*levelOf(options.isa) == Level::V4AMX)
      part.error += ". Tiles of AMX keep their register for a whole kernel: "
                    "give it dots of fewer shapes, or compile for "
                    "x86-64-v4-bf16";
    return;
  }
  part.object.bytes.assign(bytes.begin(), bytes.end());
}

/// Does the `work` on a kernel unless what it gives is known from before.
static void unlessKept(Part &part, const ObjectCache &cache,
                       llvm::function_ref<void()> work) {
  const std::string entry = cache.entryOf(*part.module);
  if (std::optional<CompiledObject> kept = ObjectCache::find(entry)) {
    part.object = std::move(*kept);
  } else {
    work();
    if (part.error.empty())
      ObjectCache::keep(entry, part.object);
  }
  part.module = nullptr;
}

static llvm::Error checkOptions(const CPUOptions &options) {
  if (!levelOf(options.isa))
    return fail("unknown instruction-set level '" + options.isa +
                "'; known are " + llvm::join(levelNames(), ", "));
  return llvm::Error::success();
}

/// So that no thread is left with a long one at the end.
static std::vector<size_t> longestFirst(std::vector<Part> &parts) {
  std::vector<size_t> operations;
  for (Part &part : parts) {
    size_t &count = operations.emplace_back();
    part.module->walk([&](Operation *) { ++count; });
  }
  std::vector<size_t> order(parts.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::sort(order, [&](size_t a, size_t b) {
    return operations[a] != operations[b] ? operations[a] > operations[b]
                                          : a < b;
  });
  return order;
}

/// Runs `work` on every part, on several threads where the context allows.
static void forEachPart(MLIRContext *context, std::vector<Part> &parts,
                        const CPUOptions &options,
                        llvm::function_ref<void(Part &, size_t)> work) {
  std::mutex telling;
  size_t done = 0;
  auto workAndTell = [&](size_t i) {
    work(parts[i], i);
    std::lock_guard<std::mutex> lock(telling);
    ++done;
    if (options.progress)
      options.progress(done, parts.size());
  };
  context->loadAllAvailableDialects(); // not allowed while threads run
  if (!context->isMultithreadingEnabled() || options.threads < 2) {
    for (size_t i = 0; i < parts.size(); ++i)
      workAndTell(i);
    return;
  }
  context->enterMultiThreadedExecution();
  llvm::DefaultThreadPool pool(llvm::hardware_concurrency(options.threads));
  for (size_t i : longestFirst(parts))
    pool.async([&workAndTell, i] { workAndTell(i); });
  pool.wait();
  context->exitMultiThreadedExecution();
}

llvm::Expected<uint64_t> fathom::cpu::scratchBytes(ModuleOp module,
                                                   const CPUOptions &options) {
  if (llvm::Error error = checkOptions(options))
    return std::move(error);
  std::vector<std::string> names;
  std::vector<Part> parts = split(module, names);
  const ObjectCache cache(options);
  forEachPart(module.getContext(), parts, options, [&](Part &part, size_t) {
    const std::string entry = cache.entryOf(*part.module);
    if (std::optional<uint64_t> kept = ObjectCache::findScratch(entry))
      part.object.scratchBytes = *kept;
    else if (failed(lower(part, options)))
      part.error = "lowering kernels failed";
    else
      ObjectCache::keepScratch(entry, part.object.scratchBytes);
    part.module = nullptr;
  });
  cache.prune();
  uint64_t most = 0;
  for (const Part &part : parts) {
    if (!part.error.empty())
      return fail(part.error);
    most = std::max(most, part.object.scratchBytes);
  }
  return most;
}

llvm::Expected<CompiledLibrary>
fathom::cpu::compileKernels(ModuleOp module, const CPUOptions &options) {
  if (llvm::Error error = checkOptions(options))
    return std::move(error);
  static const bool initialised = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    return true;
  }();
  (void)initialised;
  CompiledLibrary library;
  std::vector<Part> parts = split(module, library.kernels);
  if (parts.empty())
    return fail("there is no kernel to compile");
  const ObjectCache cache(options);
  forEachPart(module.getContext(), parts, options, [&](Part &part, size_t i) {
    unlessKept(part, cache, [&] { compilePart(part, options, i); });
  });
  cache.prune();
  std::vector<std::string> objects;
  for (Part &part : parts) {
    if (!part.error.empty())
      return fail(part.error);
    library.scratchBytes =
        std::max(library.scratchBytes, part.object.scratchBytes);
    objects.push_back(std::move(part.object.bytes));
  }
  llvm::Expected<std::string> bytes = linkObjects(objects);
  if (!bytes)
    return bytes.takeError();
  library.bytes = std::move(*bytes);
  return library;
}
