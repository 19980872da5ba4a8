// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random tile programs: the CPU gives the values of plain loops, and NVIDIA's
// assembler takes what they are translated to.
#include "test/unit/codegen/RandomProgram.h"

#include "codegen/CPU/Passes.h"
#include "codegen/Common/Cache.h"
#include "codegen/NVIDIA/Assembler.h"
#include "codegen/NVIDIA/TileToCudaTile.h"
#include "test/unit/codegen/CompiledKernels.h"

#include "mlir/Parser/Parser.h"

#include <cmath>
#include <cstdlib>
#include <set>

using namespace fathom;
using namespace fathom::test;

namespace {

constexpr unsigned kPrograms = 32, kAssembled = 16;

/// The first seed; other ones are tried by FATHOM_FIRST_SEED.
unsigned firstSeed() {
  const char *text = std::getenv("FATHOM_FIRST_SEED");
  return text ? unsigned(std::strtoul(text, nullptr, 10)) : 0;
}

/// What random programs must have in them: all but the operations of schedules
/// and a call, which not every target has (ControlTest.cpp).
std::set<std::string> operationsOfKernels(mlir::MLIRContext &context) {
  std::set<std::string> names;
  for (mlir::RegisteredOperationName name : context.getRegisteredOperations())
    if (name.getDialectNamespace() == "tile")
      names.insert(name.getStringRef().str());
  for (const char *other : {"tile.weight", "tile.weight_table", "tile.cache",
                            "tile.launch", "tile.call"})
    EXPECT_EQ(names.erase(other), 1u) << other;
  return names;
}

/// Erases from `names` those that the module has.
void eraseFound(mlir::ModuleOp module, std::set<std::string> &names) {
  module->walk([&](mlir::Operation *op) {
    names.erase(op->getName().getStringRef().str());
  });
}

std::string joined(const std::set<std::string> &names) {
  std::string out;
  for (const std::string &name : names)
    out += name + " ";
  return out;
}

TEST(RandomPrograms, TheSameSeedGivesTheSame) {
  std::set<std::string> texts;
  for (unsigned seed = firstSeed(), end = seed + kPrograms; seed < end;
       ++seed) {
    RandomProgram program = RandomProgram::make(seed);
    EXPECT_EQ(RandomProgram::make(seed).text, program.text);
    texts.insert(program.text);
  }
  EXPECT_EQ(texts.size(), kPrograms);
}

TEST(RandomPrograms, HaveEveryOperation) {
  mlir::DialectRegistry registry;
  cpu::registerCPUDialects(registry);
  mlir::MLIRContext context(registry);
  context.loadAllAvailableDialects();
  std::set<std::string> missing = operationsOfKernels(context);
  for (unsigned seed = firstSeed(), end = seed + kPrograms; seed < end;
       ++seed) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(
        RandomProgram::make(seed).text, &context);
    ASSERT_TRUE(module) << RandomProgram::make(seed).text;
    eraseFound(*module, missing);
  }
  EXPECT_EQ(joined(missing), "") << "in none of them";
}

static std::vector<float> outputOf(const RandomProgram &program,
                                   CompiledKernels &kernels) {
  std::vector<float> out(program.expected.size(), RandomProgram::kUntouched);
  const float *table[] = {program.in1.data(), program.in0.data()};
  for (int64_t id = 0; id < program.programs; ++id)
    kernels.runWords("random",
                     {reinterpret_cast<uint64_t>(program.in0.data()),
                      reinterpret_cast<uint64_t>(program.in1.data()),
                      reinterpret_cast<uint64_t>(program.in2.data()),
                      reinterpret_cast<uint64_t>(program.codes.data()),
                      reinterpret_cast<uint64_t>(program.scales.data()),
                      reinterpret_cast<uint64_t>(table),
                      reinterpret_cast<uint64_t>(out.data()),
                      uint64_t(program.count)},
                     id);
  return out;
}

TEST(RandomPrograms, RunOnTheCPU) {
  unsigned exact = 0;
  for (unsigned seed = firstSeed(), end = seed + kPrograms; seed < end;
       ++seed) {
    RandomProgram program = RandomProgram::make(seed);
    SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + program.text);
    auto kernels = CompiledKernels::compile(program.text);
    ASSERT_TRUE(kernels);
    std::vector<float> out = outputOf(program, *kernels);
    // The code of a device's package has fewer passes and equal bits.
    auto quickly = CompiledKernels::compile(program.text, "x86-64-v3", true);
    ASSERT_TRUE(quickly);
    std::vector<float> again = outputOf(program, *quickly);
    for (size_t i = 0; i < out.size(); ++i)
      ASSERT_EQ(bitsOf(out[i]), bitsOf(again[i])) << "element " << i;
    exact += program.tolerance == 0;
    for (size_t i = 0; i < out.size(); ++i) {
      const float wanted = program.expected[i];
      ASSERT_TRUE(std::isfinite(wanted));
      ASSERT_LE(std::fabs(double(out[i]) - wanted),
                wanted == RandomProgram::kUntouched ? 0 : program.tolerance)
          << "element " << i << ": " << out[i] << ", not " << wanted;
    }
  }
  // Neither all of them nor none.
  EXPECT_GT(exact, 2u);
  EXPECT_LT(exact, kPrograms - 2);
}

TEST(RandomPrograms, AreAssembled) {
  auto tools = nvidia::findToolchain("", FATHOM_CUDA_TOOLS);
  if (!tools) {
    llvm::consumeError(tools.takeError());
    GTEST_SKIP() << "there is no tileiras (tools/setup installs it)";
  }
  mlir::DialectRegistry registry;
  cpu::registerCPUDialects(registry);
  mlir::MLIRContext context(registry);
  context.loadAllAvailableDialects();
  const char *architectures[] = {"sm_80", "sm_90", "sm_100", "sm_120"};
  std::vector<nvidia::Assembly> jobs;
  std::set<std::string> missing = operationsOfKernels(context);
  for (unsigned seed = firstSeed(), end = seed + kAssembled; seed < end;
       ++seed) {
    RandomProgram program = RandomProgram::make(seed);
    auto module =
        mlir::parseSourceString<mlir::ModuleOp>(program.text, &context);
    ASSERT_TRUE(module) << program.text;
    eraseFound(*module, missing);
    nvidia::Assembly &job = jobs.emplace_back();
    job.target = architectures[seed % 4];
    std::vector<tile::KernelOp> kernels;
    for (auto kernel : module->getOps<tile::KernelOp>())
      kernels.push_back(kernel);
    auto bytecode = nvidia::translateToCudaTile(
        kernels, *nvidia::findTarget(job.target), {8, 1, 0});
    ASSERT_TRUE(mlir::succeeded(bytecode)) << program.text;
    job.name = program.text;
    job.bytecode = *bytecode;
  }
  EXPECT_EQ(joined(missing), "") << "in none of them";
  nvidia::AssemblyOptions options;
  options.parallel = 2;
  options.limit = 300;
  options.cache = defaultCache();
  ASSERT_FALSE(bool(nvidia::assemble(jobs, *tools, options)));
  for (const nvidia::Assembly &job : jobs)
    EXPECT_EQ(job.refusal, "") << job.target << "\n" << job.name;
}

} // namespace
