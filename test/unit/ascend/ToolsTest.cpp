// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// AscendNPU-IR's compiler and CANN's last stage as child processes, played by
// shell scripts: where they are looked for, what is made of what they say.
#include "codegen/Ascend/Compiler.h"
#include "frontends/Support/FrontendError.h"

#include "gtest/gtest.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>
#include <fcntl.h>
#include <sys/stat.h>

using namespace fathom;
using namespace fathom::ascend;
using llvm::SmallString;
using llvm::StringRef;

namespace {

/// As the real one: writes what the last stage gets, then calls it by its name.
constexpr const char *kCompiler = R"(#!/bin/sh
case $1 in --version) echo 'bishengir-compile VERSION (test)'; exit 0 ;; esac
for argument; do
  case $argument in
    --save-temps=*) folder=${argument#*=} ;;
    *.mlir) module=$argument ;;
    --target=Ascend950*) stage=hivmc-a5 ;;
  esac
  output=$argument
done
grep -q 'too large' "$module" && {
  echo 'loc("x":1:2): error: tile too large' >&2; exit 1; }
{ echo '  func.func @k() attributes {} {'
  echo '  }'; cat "$module"; } >"$folder/module.hivm.opt.mlir"
grep -q 'another form' "$module" &&
  cp "$module" "$folder/module.hivm.opt.mlir"
command -v ${stage:-hivmc} >/dev/null || {
  echo "[ERROR] Cannot find ${stage:-hivmc} under \$PATH"
  echo '[ERROR] Failed to run BiShengIR pipeline'; exit 1; }
${stage:-hivmc} "$folder/module.hivm.opt.mlir" -o "$output" || {
  echo '[ERROR] Failed to run BiShengIR pipeline'; exit 1; }
)";
constexpr const char *kHandOver = "  func.func @k() attributes {} {\n  }\n";
constexpr const char *kLastStage = R"(#!/bin/sh
case $1 in --version) echo 'hivmc VERSION'; exit 0 ;; esac
grep -q 'no code' "$1" && {
  echo '[ERROR] hivmc: no code for this'; exit 3; }
grep -q 'nothing' "$1" && exit 0
{ echo 'VERSION made of'; tail -n 1 "$1"; } >"$3"
)";

class AscendTools : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("fathom-test", folder));
    unsetenv("FATHOM_BISHENGIR");
    path = std::getenv("PATH");
    setPath("");
  }
  void TearDown() override {
    unsetenv("FATHOM_BISHENGIR");
    setenv("PATH", path.c_str(), 1);
    llvm::sys::fs::remove_directories(folder);
  }
  void setPath(const std::string &first) {
    setenv("PATH", (first + (first.empty() ? "" : ":") + path).c_str(), 1);
  }
  std::string at(StringRef name) const { return (folder + "/" + name).str(); }
  /// A program in a folder of its own; returns the folder.
  std::string install(StringRef where, StringRef name, const char *text,
                      const std::string &version) {
    std::string out = text;
    for (size_t i; (i = out.find("VERSION")) != std::string::npos;)
      out.replace(i, 7, version);
    EXPECT_FALSE(llvm::sys::fs::create_directories(at(where)));
    const std::string file = at(where) + "/" + name.str();
    std::error_code error;
    llvm::raw_fd_ostream(file, error) << out;
    EXPECT_FALSE(error);
    EXPECT_FALSE(llvm::sys::fs::setPermissions(file, llvm::sys::fs::all_all));
    return at(where);
  }
  std::string compiler(StringRef where, const std::string &version) {
    return install(where, "bishengir-compile", kCompiler, version);
  }
  /// "version", or the message.
  static std::string found(llvm::Expected<Toolchain> tools) {
    return tools ? tools->version : llvm::toString(tools.takeError());
  }
  Job compile(const Toolchain &tools, const std::string &text,
              const char *target = "910b") {
    Job jobs[1];
    jobs[0].kernel = "k";
    jobs[0].target = findTarget(target);
    jobs[0].module = text;
    CompilerOptions options;
    options.cache = at("cache");
    EXPECT_FALSE(bool(compileModules(jobs, tools, options)));
    return jobs[0];
  }
  SmallString<128> folder;
  std::string path;
};

TEST_F(AscendTools, TheCompilerIsFound) {
  const std::string wheel = at("wheel");
  compiler("wheel/bin", "4");
  EXPECT_EQ(found(findToolchain("", wheel)), "4");
  setPath(compiler("path", "3"));
  EXPECT_EQ(found(findToolchain("", wheel)), "3");
  setenv("FATHOM_BISHENGIR", compiler("variable", "2").c_str(), 1);
  EXPECT_EQ(found(findToolchain("", wheel)), "2");
  const std::string option = compiler("option", "1");
  EXPECT_EQ(found(findToolchain(option, wheel)), "1");
  EXPECT_EQ(found(findToolchain(option + "/bishengir-compile", wheel)), "1");
  // What was named and is not there is not replaced by another one.
  EXPECT_NE(found(findToolchain(at("nowhere"), wheel)).find("--bishengir"),
            std::string::npos);
  setenv("FATHOM_BISHENGIR", at("nowhere").c_str(), 1);
  EXPECT_NE(found(findToolchain("", wheel)).find("FATHOM_BISHENGIR"),
            std::string::npos);
}

TEST_F(AscendTools, NoCompiler) {
  setenv("PATH", at("nowhere").c_str(), 1);
  EXPECT_NE(found(findToolchain("", at("nowhere"))).find("ascendnpu-ir"),
            std::string::npos);
  setPath("");
  const std::string broken =
      install("broken", "bishengir-compile", "#!/bin/sh\nexit 7\n", "");
  EXPECT_NE(found(findToolchain(broken)).find("status 7"), std::string::npos);
  const std::string silent =
      install("silent", "bishengir-compile", "#!/bin/sh\nexit 0\n", "");
  EXPECT_NE(found(findToolchain(silent)).find("version"), std::string::npos);
}

TEST_F(AscendTools, LastStages) {
  const std::string tools = compiler("tools", "1.2.0");
  const Target *all[] = {findTarget("910b"), findTarget("a3"),
                         findTarget("950")};
  llvm::Expected<Toolchain> without = findToolchain(tools);
  ASSERT_TRUE(bool(without));
  EXPECT_EQ(without->generatorFor(*all[0]), "");
  EXPECT_EQ(without->describe(all), "AscendNPU-IR 1.2.0");
  install("cann", "hivmc", kLastStage, "0.3.0");
  setPath(at("cann"));
  llvm::Expected<Toolchain> one = findToolchain(tools);
  ASSERT_TRUE(bool(one));
  EXPECT_EQ(one->generatorFor(*all[0]), at("cann/hivmc"));
  EXPECT_EQ(one->generatorFor(*all[1]), at("cann/hivmc"));
  EXPECT_EQ(one->generatorFor(*all[2]), "");
  EXPECT_EQ(one->describe(all), "AscendNPU-IR 1.2.0, hivmc 0.3.0");
  install("cann", "hivmc-a5", kLastStage, "0.4.0");
  llvm::Expected<Toolchain> both = findToolchain(tools);
  ASSERT_TRUE(bool(both));
  EXPECT_EQ(both->describe(all),
            "AscendNPU-IR 1.2.0, hivmc 0.3.0, hivmc 0.4.0");
  EXPECT_EQ(compile(*both, "k", "950").object, "0.4.0 made of\nk");
}

TEST_F(AscendTools, WithAndWithoutTheLastStage) {
  const std::string tools = compiler("tools", "1.2.0");
  llvm::Expected<Toolchain> without = findToolchain(tools);
  ASSERT_TRUE(bool(without));
  Job job = compile(*without, "module");
  EXPECT_EQ(job.handOver, std::string(kHandOver) + "module");
  EXPECT_EQ(job.object + job.refusal, "");
  EXPECT_FALSE(job.cached);
  EXPECT_TRUE(compile(*without, "module").cached);
  EXPECT_EQ(compile(*without, "too large").refusal, "error: tile too large");

  install("cann", "hivmc", kLastStage, "0.3.0");
  setPath(at("cann"));
  llvm::Expected<Toolchain> with = findToolchain(tools);
  ASSERT_TRUE(bool(with));
  job = compile(*with, "module");
  EXPECT_FALSE(job.cached);
  EXPECT_EQ(job.object, "0.3.0 made of\nmodule");
  EXPECT_TRUE(compile(*with, "module").cached);
  // Its own words, not those of what called it; and no object of old.
  job = compile(*with, "no code");
  EXPECT_EQ(job.refusal, "[ERROR] hivmc: no code for this");
  EXPECT_EQ(job.object, "");
  // What nobody could launch.
  job = compile(*with, "another form");
  EXPECT_NE(job.refusal.find("how to launch it"), std::string::npos);
  EXPECT_EQ(job.object, "");
  EXPECT_EQ(compile(*with, "nothing").refusal, "it wrote no object");
  EXPECT_EQ(compile(*with, "too large").refusal, "error: tile too large");
}

TEST_F(AscendTools, WhatWasLongNotUsedIsForgotten) {
  llvm::Expected<Toolchain> tools = findToolchain(compiler("tools", "1.2.0"));
  ASSERT_TRUE(bool(tools));
  EXPECT_FALSE(compile(*tools, "module").cached);
  std::error_code error;
  const timespec longAgo[] = {{1, 0}, {1, 0}};
  for (llvm::sys::fs::directory_iterator file(at("cache"), error), end;
       file != end && !error; file.increment(error))
    EXPECT_EQ(utimensat(AT_FDCWD, file->path().c_str(), longAgo, 0), 0);
  compile(*tools, "too large"); // looks for old entries
  EXPECT_FALSE(compile(*tools, "module").cached);
}

/// CANN is updated in its place: what the old one made is not taken again.
TEST_F(AscendTools, AnUpdateOfTheLastStage) {
  const std::string tools = compiler("tools", "1.2.0");
  setPath(install("cann", "hivmc", kLastStage, "0.3.0"));
  for (const char *version : {"0.3.0", "0.3.1"}) {
    install("cann", "hivmc", kLastStage, version);
    llvm::Expected<Toolchain> found = findToolchain(tools);
    ASSERT_TRUE(bool(found));
    Job job = compile(*found, "module");
    EXPECT_FALSE(job.cached);
    EXPECT_EQ(job.object, std::string(version) + " made of\nmodule");
  }
}

/// Old ones do not say their version.
TEST_F(AscendTools, ALastStageWithoutVersion) {
  const std::string tools = compiler("tools", "1.2.0");
  setPath(install("cann", "hivmc",
                  "#!/bin/sh\n[ \"$1\" = --version ] && exit 1\n"
                  "echo old >\"$3\"\n",
                  ""));
  llvm::Expected<Toolchain> found = findToolchain(tools);
  ASSERT_TRUE(bool(found));
  const Target *one[] = {findTarget("910b")};
  EXPECT_EQ(found->describe(one), "AscendNPU-IR 1.2.0");
  EXPECT_EQ(compile(*found, "module").object, "old\n");
}

//===-- What a launch must know -------------------------------------------===//

/// The form of what AscendNPU-IR 1.2.0 hands over, cut down.
constexpr const char *kVector = R"(module attributes {
  hivm.module_core_type = #hivm.module_core_type<AIV>} {
  func.func @k_infer_task_type_function() -> i8 attributes {hacc.function_kind} {
    %c10_i8 = arith.constant 10 : i8
    return %c10_i8 : i8
  }
  func.func private @load(memref<?xbf16>) attributes {}
  func.func @k(%arg0: i64 {hacc.arg_type = #hacc.arg_type<ffts_base_address>}, %arg1: memref<?xi8>) attributes {hacc.entry} {
    return
  }
}
)";

/// The same on the 950, whose kernels go through programs in a loop.
std::string looping(const std::string &part, const std::string &step) {
  return "  func.func @k" + part +
         R"((%arg0: memref<?xi8>, %arg1: i32) attributes {hacc.entry} {
    %3 = llvm.mlir.constant(5 : i32) : i32
    %4 = llvm.mlir.constant()" +
         step + R"( : i32) : i32
    %16 = hivm.hir.get_block_idx -> i64
    %17 = llvm.trunc %16 : i64 to i32
    cf.br ^bb1(%3, %17 : i32, i32)
  ^bb1(%18: i32, %19: i32):  // 2 preds: ^bb0, ^bb2
    %20 = arith.cmpi slt, %19, %arg1 : i32
    cf.cond_br %20, ^bb2, ^bb3
  ^bb2:  // pred: ^bb1
    %21 = arith.addi %18, %3 overflow<nsw> : i32
    %45 = arith.addi %19, %4 overflow<nsw> : i32
    cf.br ^bb1(%21, %45 : i32, i32)
  ^bb3:  // pred: ^bb1
    return
  }
)";
}

TEST(AscendLaunchFacts, Vector) {
  const Target &target = *findTarget("910b");
  LaunchFacts facts = launchFacts(kVector, "k", target);
  EXPECT_TRUE(facts.understood);
  EXPECT_TRUE(facts.flags);
  EXPECT_EQ(facts.blocks, 0);
  EXPECT_EQ(facts.taskType, 10);
  EXPECT_EQ(facts.workspaceBytes, 0);
  // Of another kernel there is nothing.
  EXPECT_FALSE(launchFacts(kVector, "load", target).understood);
  EXPECT_FALSE(launchFacts("", "k", target).understood);
}

TEST(AscendLaunchFacts, BothKindsOfCores) {
  const std::string text =
      looping("_mix_aic", "72") + looping("_mix_aiv", "72") +
      "  func.func @k_infer_workspace_shape_function() -> index {\n"
      "    %c8192 = arith.constant 8192 : index\n  }\n";
  const Target &target = *findTarget("950");
  LaunchFacts facts = launchFacts(text, "k", target);
  EXPECT_TRUE(facts.understood);
  EXPECT_FALSE(facts.flags);
  EXPECT_EQ(facts.blocks, 72);
  EXPECT_EQ(facts.workspaceBytes, 8192);
  // Parts that one launch cannot satisfy.
  EXPECT_FALSE(
      launchFacts(looping("_mix_aic", "36") + looping("_mix_aiv", "72"), "k",
                  target)
          .understood);
}

TEST(AscendLaunchFacts, Loops) {
  const Target &target = *findTarget("950");
  LaunchFacts facts = launchFacts(looping("", "36"), "k", target);
  EXPECT_TRUE(facts.understood);
  EXPECT_EQ(facts.blocks, 36);
  // Without the loop that was asked for, unless all programs do the same.
  std::string text = looping("", "36");
  text.replace(text.find("cf.br ^bb1(%3, %17"), 18, "cf.br ^bb1(%3, %3 ");
  EXPECT_FALSE(launchFacts(text, "k", target).understood);
  text.erase(text.find("    %16 ="),
             text.find("    cf.br") - text.find("    %16 ="));
  EXPECT_TRUE(launchFacts(text, "k", target).understood);
  // Over cores that the processor does not have.
  EXPECT_FALSE(launchFacts(looping("", "40"), "k", target).understood);
  // A distance that is no constant.
  EXPECT_FALSE(launchFacts(looping("", "x"), "k", target).understood);
}

/// The same on 910B, where a turn may take several programs.
std::string turns(const std::string &part, const std::string &step,
                  const std::string &map) {
  return "#map = affine_map<()[s0] -> (s0 * 20)>\n"
         "#map1 = affine_map<" +
         map + ">\n  func.func @k" + part +
         R"((%arg0: i64 {hacc.arg_type = #hacc.arg_type<ffts_base_address>}, %arg7: i32) attributes {hacc.entry} {
    %c80_i32 = arith.constant )" +
         step + R"( : i32
    %c1 = arith.constant 1 : index
    %11 = arith.index_cast %arg7 : i32 to index
    %6 = hivm.hir.get_block_idx -> i64
    %7 = arith.trunci %6 : i64 to i32
    %8 = hivm.hir.get_block_idx -> i64
    scf.for %arg10 = %7 to %arg7 step %c80_i32  : i32 {
      %13 = arith.index_cast %arg10 : i32 to index
      %14 = affine.min #map1(%13)[%11]
      scf.for %arg11 = %c1 to %14 step %c1 {
      }
    }
    return
  }
)";
}

TEST(AscendLaunchFacts, SeveralProgramsATurn) {
  const Target &target = *findTarget("910b");
  auto blocks = [&](const std::string &text) {
    const LaunchFacts facts = launchFacts(text, "k", target);
    return facts.understood ? facts.blocks : -1;
  };
  const std::string four = "(d0)[s0] -> ((-d0 + s0) ceildiv 20, 4)",
                    other = "(d0)[s0] -> (16, s0)";
  EXPECT_EQ(
      blocks(turns("_mix_aic", "80", four) + turns("_mix_aiv", "80", four)),
      20);
  EXPECT_EQ(blocks(turns("", "40", other)), 40);
  EXPECT_EQ(
      blocks(turns("_mix_aic", "20", other) + turns("_mix_aiv", "20", other)),
      20);
  // Not by as much as four programs that lie so far apart.
  EXPECT_EQ(blocks(turns("", "40", four)), -1);
  EXPECT_EQ(blocks(turns("", "80", other)), -1);
  EXPECT_EQ(blocks(turns("", "%c", other)), -1);
  EXPECT_EQ(
      blocks(turns("_mix_aic", "80", four) + turns("_mix_aiv", "40", other)),
      -1);
}

TEST(AscendHandOver, CalledFunctions) {
  EXPECT_EQ(calledFunctions(kVector), std::vector<std::string>{"load"});
}

TEST(AscendHandOver, FilesOfTheLibraryHaveNoFolder) {
  EXPECT_EQ(withoutFolders("a = #hivm.aic_bitcode<\"/there/lib/m.aic.bc\">, "
                           "b = #hivm.host_bitcode<\"host.bc\">, \"/x/y\""),
            "a = #hivm.aic_bitcode<\"m.aic.bc\">, "
            "b = #hivm.host_bitcode<\"host.bc\">, \"/x/y\"");
  EXPECT_EQ(withoutFolders("a = #hivm.aic_bitcode<\"/there/lib"),
            "a = #hivm.aic_bitcode<\"lib");
  EXPECT_EQ(withoutFolders(kVector), kVector);
}

/// A table of names has nothing between them: what begins or ends like another
/// name is not that name.
TEST(AscendDeviceLibrary, HasSymbol) {
  static constexpr char kNames[] = "\x01\xff"
                                   "_mlir_ciface_load_float"
                                   "_mlir_ciface_add_half_2d"
                                   "_Z3subDhDh"
                                   "_mlir_ciface_mul"
                                   "llvm.memcpy"
                                   "_mlir_ciface_exp\0garbage"
                                   "_mlir_ciface_last";
  const llvm::StringRef library(kNames, sizeof(kNames) - 1);
  for (const char *name : {"load_float", "_mlir_ciface_load_float",
                           "add_half_2d", "mul", "exp", "last"})
    EXPECT_TRUE(hasSymbol(library, name)) << name;
  for (const char *name :
       {"load", "load_floa", "add_half", "half_2d", "add_half_2d_", "sub",
        "memcpy", "garbage", "las", "lasts", "", "_mlir_ciface_"})
    EXPECT_FALSE(hasSymbol(library, name)) << name;
  // Found at its second place, where it is whole.
  EXPECT_TRUE(hasSymbol("_mlir_ciface_add2_mlir_ciface_add", "add"));
  EXPECT_FALSE(hasSymbol("_mlir_ciface_add2_mlir_ciface_add3", "add"));
  EXPECT_FALSE(hasSymbol("", "add"));
}

} // namespace
