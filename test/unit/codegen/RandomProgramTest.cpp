// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random tile programs: the CPU gives the values of plain loops, and NVIDIA's
// assembler takes what they are translated to.
#include "test/unit/codegen/RandomProgram.h"

#include "codegen/CPU/Passes.h"
#include "codegen/NVIDIA/Assembler.h"
#include "codegen/NVIDIA/TileToCudaTile.h"
#include "test/unit/codegen/CompiledKernels.h"

#include "mlir/Parser/Parser.h"

#include <cmath>
#include <set>

using namespace fathom;
using namespace fathom::test;

namespace {

constexpr unsigned kPrograms = 24;
constexpr float kUntouched = -12345.f;

TEST(RandomPrograms, TheSameSeedGivesTheSame) {
  std::set<std::string> texts;
  for (unsigned seed = 0; seed < kPrograms; ++seed) {
    RandomProgram program = RandomProgram::make(seed);
    EXPECT_EQ(RandomProgram::make(seed).text, program.text);
    texts.insert(program.text);
  }
  EXPECT_EQ(texts.size(), kPrograms);
}

TEST(RandomPrograms, RunOnTheCPU) {
  unsigned exact = 0;
  for (unsigned seed = 0; seed < kPrograms; ++seed) {
    RandomProgram program = RandomProgram::make(seed);
    SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + program.text);
    auto kernels = CompiledKernels::compile(program.text);
    ASSERT_TRUE(kernels);
    std::vector<float> out(program.expected.size(), kUntouched);
    for (int64_t id = 0; id < program.programs; ++id)
      kernels->runWords("random",
                        {reinterpret_cast<uint64_t>(program.in0.data()),
                         reinterpret_cast<uint64_t>(program.in1.data()),
                         reinterpret_cast<uint64_t>(program.in2.data()),
                         reinterpret_cast<uint64_t>(out.data()),
                         uint64_t(program.count)},
                        id);
    exact += program.tolerance == 0;
    for (size_t i = 0; i < out.size(); ++i) {
      const bool written = int64_t(i) / program.columns < program.count;
      const float wanted = written ? program.expected[i] : kUntouched;
      ASSERT_TRUE(std::isfinite(wanted));
      ASSERT_LE(std::fabs(double(out[i]) - wanted),
                written ? program.tolerance : 0)
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
  const char *architectures[] = {"sm_80", "sm_90", "sm_100", "sm_120"};
  std::vector<nvidia::Assembly> jobs;
  for (unsigned seed = 0; seed < 8; ++seed) {
    RandomProgram program = RandomProgram::make(seed);
    auto module =
        mlir::parseSourceString<mlir::ModuleOp>(program.text, &context);
    ASSERT_TRUE(module) << program.text;
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
  nvidia::AssemblyOptions options;
  options.parallel = 2;
  options.timeoutSeconds = 300;
  options.cache = defaultCache();
  ASSERT_FALSE(bool(nvidia::assemble(jobs, *tools, options)));
  for (const nvidia::Assembly &job : jobs)
    EXPECT_EQ(job.refusal, "") << job.target << "\n" << job.name;
}

} // namespace
