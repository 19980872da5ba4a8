// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "test/unit/codegen/CompiledKernels.h"

#include "codegen/CPU/CPUBackend.h"
#include "codegen/CPU/Passes.h"
#include "runtime/drivers/host/Cpu.h"
#include "runtime/format/Manifest.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"

#include <chrono>
#include <dlfcn.h>
#include <fstream>
#include <unistd.h>

using namespace fathom::test;

static mlir::MLIRContext &context() {
  static mlir::MLIRContext *shared = [] {
    mlir::DialectRegistry registry;
    fathom::cpu::registerCPUDialects(registry);
    return new mlir::MLIRContext(registry);
  }();
  return *shared;
}

bool fathom::test::hasLevel(const std::string &isa) {
  static const int best = fathom::rt::cpuRank();
  return fathom::rt::isaRank(isa) <= best;
}

static bool attempt(const std::string &text, const std::string &isa,
                    bool fewPasses, bool plain,
                    fathom::cpu::CompiledLibrary &library,
                    std::string &messages) {
  mlir::ScopedDiagnosticHandler handler(&context(), [&](mlir::Diagnostic &d) {
    messages += d.str() + "\n";
    return mlir::success();
  });
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context());
  if (!module)
    return false;
  fathom::cpu::CPUOptions options;
  options.isa = isa;
  options.fewPasses = fewPasses || plain;
  options.plainInstructions = plain;
  if (const char *folder = std::getenv("FATHOM_TEST_DUMP"))
    options.dumpDir = folder;
  auto compiled = fathom::cpu::compileKernels(*module, options);
  if (!compiled) {
    messages += llvm::toString(compiled.takeError());
    return false;
  }
  library = std::move(*compiled);
  return true;
}

std::unique_ptr<CompiledKernels>
CompiledKernels::compile(const std::string &text, const std::string &isa,
                         bool fewPasses) {
  auto start = std::chrono::steady_clock::now();
  fathom::cpu::CompiledLibrary library;
  std::string messages;
  if (!attempt(text, isa, fewPasses, !hasLevel(isa), library, messages)) {
    ADD_FAILURE() << messages << "\n" << text;
    return nullptr;
  }
  auto result = std::make_unique<CompiledKernels>();
  result->seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  result->bytes = library.bytes;
  result->scratchBytes = library.scratchBytes;
  result->scratch.resize(library.scratchBytes + 64);
  char path[] = "/tmp/fathom-test-XXXXXX";
  int file = mkstemp(path);
  std::ofstream(path, std::ios::binary) << library.bytes;
  close(file);
  result->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  unlink(path);
  if (!result->handle) {
    ADD_FAILURE() << dlerror();
    return nullptr;
  }
  return result;
}

CompiledKernels::~CompiledKernels() {
  if (handle)
    dlclose(handle);
}

void CompiledKernels::runWords(const char *kernel,
                               const std::vector<uint64_t> &words, int64_t x,
                               int64_t y, int64_t z) {
  auto function = reinterpret_cast<format::CpuKernel>(dlsym(handle, kernel));
  ASSERT_NE(function, nullptr) << kernel;
  auto base =
      (reinterpret_cast<uintptr_t>(scratch.data()) + 63) & ~uintptr_t(63);
  function(words.data(), x, y, z, reinterpret_cast<void *>(base));
}

void CompiledKernels::run(const char *kernel,
                          const std::vector<const void *> &pointers, int64_t x,
                          int64_t y, int64_t z) {
  std::vector<uint64_t> words;
  for (const void *pointer : pointers)
    words.push_back(reinterpret_cast<uint64_t>(pointer));
  runWords(kernel, words, x, y, z);
}

std::string fathom::test::refusal(const std::string &text,
                                  const std::string &isa) {
  fathom::cpu::CompiledLibrary library;
  std::string messages;
  return attempt(text, isa, false, false, library, messages) ? "" : messages;
}

std::string
fathom::test::fill(std::string text,
                   std::vector<std::pair<std::string, std::string>> values) {
  for (auto &[key, value] : values)
    for (size_t at; (at = text.find("$" + key)) != std::string::npos;)
      text.replace(at, key.size() + 1, value);
  return text;
}
