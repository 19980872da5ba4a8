// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The assembler as a child process, played by a shell script that does what
// the target's name says.
#include "codegen/Common/TemporaryFolder.h"
#include "codegen/NVIDIA/Assembler.h"
#include "codegen/NVIDIA/CubinReport.h"
#include "frontends/Support/FrontendError.h"

#include "gtest/gtest.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <sys/stat.h>
#include <thread>

using namespace fathom;
using namespace fathom::nvidia;
using llvm::SmallString;
using llvm::StringRef;

namespace {
constexpr const char *kScript = R"(#!/bin/sh
[ -z "$CUDA_HOME$CUDA_PATH" ] || { echo "a toolkit is set"; exit 9; }
case $1 in
  --list-versions) printf '13.1\n13.2\nVERSION\n'; exit 0 ;;
  --version) echo 'tools, release 13.5, NUMBER'; exit 0 ;;
  --gpu-name=good)
    { printf 'cubin of '; cat "$4"; } >"$3"
    printf -- '--- !Failure\nPass: Tensor-core\nName: RemarkTensorCoreMMA\nArgs:\n  - Instruction: FMA\n' >"${7#*=}" ;;
  --gpu-name=refuses) echo 'error: no such thing'; exit 5 ;;
  --gpu-name=dies) kill -ILL $$ ;;
  --gpu-name=killed) kill -KILL $$ ;;
  --gpu-name=killed-once)
    [ -e "$0.died" ] || { : >"$0.died"; kill -KILL $$; }
    echo cubin >"$3" ;;
  --gpu-name=full) echo 'IO failure: No space left on device'; exit 1 ;;
  --gpu-name=hangs) exec sleep 60 ;;
  --gpu-name=works) while :; do :; done ;;
  --gpu-name=child-works) sh -c 'while :; do :; done'; : ;;
  --gpu-name=leaves)
    sleep 60 & echo $! >"$0.child"
    echo "$TMPDIR" >"$0.folder"; : >"$TMPDIR/left"
    echo cubin >"$3" ;;
  --gpu-name=waits)
    sleep 60 & echo $! >"$0.child"
    echo "$TMPDIR" >"$0.folder"; : >"$TMPDIR/left"; wait ;;
  --gpu-name=silent) ;;
esac
)";

class ToolchainTest : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("fathom-test", folder));
    install("13.3");
    setenv("CUDA_HOME", "/somewhere", 1);
    unsetenv("FATHOM_TILEIRAS");
    programs = std::getenv("PATH");
  }
  void TearDown() override {
    unsetenv("CUDA_HOME");
    unsetenv("FATHOM_TILEIRAS");
    setenv("PATH", programs.c_str(), 1);
    llvm::sys::fs::remove_directories(folder);
  }
  std::string path(StringRef name) const { return (folder + "/" + name).str(); }
  void write(const std::string &file, StringRef text) {
    std::error_code error;
    llvm::raw_fd_ostream(file, error) << text;
    ASSERT_FALSE(error);
  }
  void install(StringRef name, const std::string &text) {
    write(path(name), text);
    llvm::sys::fs::setPermissions(path(name), llvm::sys::fs::all_all);
  }
  void install(const std::string &version) {
    install("tileiras", script(version, "V13.5.1"));
  }
  static std::string script(const std::string &bytecode,
                            const std::string &version) {
    std::string text = kScript;
    text.replace(text.find("VERSION"), 7, bytecode);
    text.replace(text.find("NUMBER"), 6, version);
    return text;
  }
  /// One of this version in a folder of its own; returns the folder.
  std::string another(StringRef where, const std::string &version) {
    EXPECT_FALSE(llvm::sys::fs::create_directories(path(where)));
    install((where + "/tileiras").str(), script("13.3", version));
    return path(where);
  }
  Assembly run(const std::string &target, const std::string &cache = "") {
    Assembly job;
    EXPECT_EQ(messageOf(tryToRun(target, job, cache)), "");
    return job;
  }
  llvm::Error tryToRun(const std::string &target, Assembly &job,
                       const std::string &cache = "") {
    job.name = "kernel";
    job.target = target;
    job.bytecode = "bytes";
    AssemblyOptions options;
    if (target == "hangs" || target == "waits")
      options.limit = TimeLimit(1, 60);
    else if (StringRef(target).ends_with("works"))
      options.limit = TimeLimit(60, 1);
    options.cache = cache;
    Toolchain tools{path("tileiras"), "V13.5.1", "", ""};
    return assemble(job, tools, options);
  }
  /// With the exit code before it; "" for none.
  static std::string messageOf(llvm::Error error) {
    if (!error)
      return "";
    std::string text;
    llvm::raw_string_ostream stream(text);
    int code = reportError(std::move(error), stream, "test");
    return std::to_string(code) + " " + text;
  }
  /// "version", or the message.
  static std::string found(llvm::Expected<Toolchain> tools) {
    return tools ? tools->version : messageOf(tools.takeError());
  }
  static std::string versionAt(StringRef option, const std::string &wheel) {
    return found(findToolchain(option, wheel));
  }
  /// Files of /proc have no size.
  static std::string contents(const std::string &file) {
    auto text = llvm::MemoryBuffer::getFileAsStream(file);
    return text ? (*text)->getBuffer().str() : "";
  }
  SmallString<128> folder;
  std::string programs;
};

bool contains(const std::string &text, const char *part) {
  return text.find(part) != std::string::npos;
}
} // namespace

TEST_F(ToolchainTest, IsFound) {
  llvm::Expected<Toolchain> found = findToolchain(folder.str());
  ASSERT_TRUE(bool(found));
  EXPECT_EQ(found->version, "V13.5.1");
  EXPECT_EQ(found->tileiras, path("tileiras"));
  // One after the other comes before the last one.
  const std::string wheel = another("wheel", "V5");
  setenv("PATH", "/usr/bin:/bin", 1);
  EXPECT_EQ(versionAt("", wheel), "V5");
  setenv("PATH", (another("path", "V4") + ":/usr/bin:/bin").c_str(), 1);
  EXPECT_EQ(versionAt("", wheel), "V4");
  another("home/bin", "V3");
  setenv("CUDA_HOME", path("home").c_str(), 1);
  EXPECT_EQ(versionAt("", wheel), "V3");
  setenv("FATHOM_TILEIRAS", another("variable", "V2").c_str(), 1);
  EXPECT_EQ(versionAt("", wheel), "V2");
  const std::string option = another("option", "V1");
  EXPECT_EQ(versionAt(option, wheel), "V1");
  EXPECT_EQ(versionAt(option + "/tileiras", wheel), "V1");
  // What was named and is not there is not replaced by another one.
  std::string message = versionAt("/nowhere/tileiras", wheel);
  EXPECT_TRUE(StringRef(message).starts_with("4 ")) << message;
  EXPECT_TRUE(contains(message, "--tileiras")) << message;
  setenv("FATHOM_TILEIRAS", "/nowhere", 1);
  message = versionAt("", wheel);
  EXPECT_TRUE(StringRef(message).starts_with("4 ")) << message;
  EXPECT_TRUE(contains(message, "FATHOM_TILEIRAS = '/nowhere'")) << message;
}

TEST_F(ToolchainTest, IsNowhere) {
  setenv("PATH", path("none").c_str(), 1);
  std::string message = found(findToolchain("", path("none")));
  EXPECT_TRUE(StringRef(message).starts_with("4 ")) << message;
  for (const char *part : {"there is no tileiras",
                           "--tileiras, FATHOM_TILEIRAS, CUDA_HOME/bin, "
                           "PATH",
                           "install CUDA 13.3", "nvidia-cuda-tileiras"})
    EXPECT_TRUE(contains(message, part)) << message;
}

TEST_F(ToolchainTest, IsTooOld) {
  install("13.2");
  std::string message = found(findToolchain(folder.str()));
  EXPECT_TRUE(StringRef(message).starts_with("3 ")) << message;
  EXPECT_TRUE(contains(message, "too old")) << message;
  // It may not know what it is asked for.
  install("tileiras", "#!/bin/sh\necho 'unknown option'\nexit 1\n");
  message = found(findToolchain(folder.str()));
  EXPECT_TRUE(StringRef(message).starts_with("3 ")) << message;
  EXPECT_TRUE(contains(message, "unknown option")) << message;
}

/// That it does not run tells nothing of its age.
TEST_F(ToolchainTest, CannotBeRun) {
  auto message = [&](const std::string &text) {
    install("tileiras", text);
    return found(findToolchain(folder.str()));
  };
  for (const char *text :
       {"\x7f"
        "ELF garbage",
        "#!/nowhere/sh\n",
        "#!/bin/sh\necho 'libnv.so: cannot open shared object'\nexit 127\n",
        "#!/bin/sh\nkill -KILL $$\n",
        "#!/bin/sh\necho 'write: No space left on device'\nexit 1\n",
        "#!/bin/sh\n[ $1 = --version ] && exit 5\necho 13.3\n"}) {
    std::string said = message(text);
    EXPECT_TRUE(StringRef(said).starts_with("4 ")) << said;
    EXPECT_TRUE(contains(said, "cannot be run")) << said;
    EXPECT_FALSE(contains(said, "too old")) << said;
  }
  EXPECT_TRUE(contains(message("#!/bin/sh\necho 'no libnv.so'\nexit 127\n"),
                       "no libnv.so"));
  install("13.3");
  setenv("TMPDIR", "/nowhere", 1);
  std::string said = found(findToolchain(folder.str()));
  unsetenv("TMPDIR");
  EXPECT_TRUE(StringRef(said).starts_with("4 ")) << said;
  EXPECT_TRUE(contains(said, "TMPDIR")) << said;
}

/// Else the cache could give what another one made.
TEST_F(ToolchainTest, SaysItsVersion) {
  for (const char *version : {"", "13.5", "V", "Vx"}) {
    install("tileiras", script("13.3", version));
    std::string said = found(findToolchain(folder.str()));
    EXPECT_TRUE(StringRef(said).starts_with("3 ")) << said;
    EXPECT_TRUE(contains(said, "version")) << said;
  }
}

TEST_F(ToolchainTest, Assembles) {
  EXPECT_EQ(run("good").cubin, "cubin of bytes");
  EXPECT_EQ(run("refuses").refusal,
            "it ended with status 5: error: no such thing");
  EXPECT_NE(run("dies").refusal.find("it died"), std::string::npos);
  for (const char *target : {"works", "child-works"})
    EXPECT_EQ(run(target).refusal, "it took more than 1 s of processor time");
  EXPECT_EQ(run("silent").refusal, "it wrote no cubin");
  EXPECT_EQ(run("silent").cubin, "");
}

/// What the machine does to the assembler is no refusal of the kernel.
TEST_F(ToolchainTest, TheMachineFails) {
  Assembly job;
  EXPECT_EQ(run("killed-once").cubin, "cubin\n");
  const std::pair<const char *, const char *> all[] = {
      {"killed", "memory"},
      {"full", "No space left on device"},
      {"hangs", "it took more than 1 s"}};
  for (auto [target, words] : all) {
    std::string said = messageOf(tryToRun(target, job));
    EXPECT_TRUE(StringRef(said).starts_with("4 ")) << said;
    EXPECT_TRUE(contains(said, words)) << said;
    EXPECT_TRUE(contains(said, ("kernel for " + job.target).c_str())) << said;
    EXPECT_EQ(job.refusal + job.cubin, "");
  }
}

/// Neither children nor files, however the assembler ends.
TEST_F(ToolchainTest, LeavesNothing) {
  for (const char *target : {"leaves", "waits"}) {
    Assembly job;
    bool good = !messageOf(tryToRun(target, job)).size();
    EXPECT_EQ(good, target == StringRef("leaves"));
    pid_t child = std::atoi(contents(path("tileiras.child")).c_str());
    ASSERT_GT(child, 1);
    // Gone, or dead and not yet waited for by who adopted it.
    std::string stat;
    for (int i = 0; i < 200; ++i) {
      stat = contents("/proc/" + std::to_string(child) + "/stat");
      if (stat.empty() || contains(stat, ") Z "))
        break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_TRUE(stat.empty() || contains(stat, ") Z ")) << target << stat;
    const std::string where = contents(path("tileiras.folder"));
    StringRef used = StringRef(where).trim();
    EXPECT_FALSE(used.empty());
    EXPECT_FALSE(llvm::sys::fs::exists(used)) << used.str();
  }
}

/// A signal waits for the last of them, and then acts as it would have.
TEST(TemporaryFolder, IsGoneAfterASignal) {
  SmallString<128> parent;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("fathom-test", parent));
  auto work = [&] {
    setenv("TMPDIR", parent.c_str(), 1);
    TemporaryFolder outer, inner;
    for (TemporaryFolder *folder : {&outer, &inner})
      if (folder->make("a") || !writeBytes(folder->at("file"), "bytes"))
        std::exit(1);
    {
      TemporaryFolder innermost;
      std::raise(SIGTERM);
    }
    std::fputs("still here\n", stderr);
  };
  EXPECT_EXIT(work(), testing::KilledBySignal(SIGTERM), "still here");
  std::error_code error;
  llvm::sys::fs::directory_iterator left(parent, error), end;
  EXPECT_FALSE(error);
  EXPECT_TRUE(left == end);
  llvm::sys::fs::remove_directories(parent);
}

TEST(Process, MemoryKills) {
  EXPECT_EQ(memoryKills("pgfault 5\noom_kill 12\ndrop 3\n"), 12u);
  EXPECT_EQ(memoryKills("oom_kill_x 12\n"), 0u);
  EXPECT_EQ(memoryKills(""), 0u);
}

TEST_F(ToolchainTest, SeveralAtOnce) {
  std::vector<Assembly> jobs;
  for (int i = 0; i < 9; ++i) {
    Assembly &job = jobs.emplace_back();
    job.target = i % 3 ? "good" : "refuses";
    job.bytecode = std::to_string(i);
  }
  AssemblyOptions options;
  options.parallel = 4;
  Toolchain tools{path("tileiras"), "V13.5.1", "", ""};
  size_t told = 0;
  options.progress = [&](size_t done, size_t of) {
    EXPECT_GT(done, told);
    EXPECT_EQ(of, 9u);
    told = done;
  };
  EXPECT_FALSE(bool(assemble(jobs, tools, options)));
  EXPECT_EQ(told, 9u);
  for (int i = 0; i < 9; ++i)
    EXPECT_EQ(jobs[i].cubin, i % 3 ? "cubin of " + std::to_string(i) : "");
}

TEST_F(ToolchainTest, Remembers) {
  std::string cache = path("cache");
  EXPECT_FALSE(run("good", cache).cached);
  EXPECT_TRUE(run("good", cache).cached);
  EXPECT_EQ(run("good", cache).cubin, "cubin of bytes");
  EXPECT_FALSE(run("refuses", cache).cached);
  ASSERT_EQ(run("good", cache).remarks.size(), 1u);
  EXPECT_EQ(run("good", cache).remarks[0].arg("Instruction"), "FMA");
  std::error_code error;
  for (llvm::sys::fs::directory_iterator at(cache, error), end;
       at != end && !error; at.increment(error))
    write(at->path(), "damaged");
  EXPECT_FALSE(run("good", cache).cached);
  EXPECT_TRUE(run("good", cache).cached);
  // A cache that cannot be written is no reason to fail.
  EXPECT_EQ(run("good", "/proc/nowhere").cubin, "cubin of bytes");
}

TEST_F(ToolchainTest, ForgetsWhatWasLongNotUsed) {
  std::string cache = path("cache");
  EXPECT_FALSE(run("good", cache).cached);
  std::error_code error;
  const timespec longAgo[] = {{1, 0}, {1, 0}};
  for (llvm::sys::fs::directory_iterator at(cache, error), end;
       at != end && !error; at.increment(error))
    EXPECT_EQ(utimensat(AT_FDCWD, at->path().c_str(), longAgo, 0), 0);
  EXPECT_FALSE(run("refuses", cache).cached); // looks for old entries
  EXPECT_FALSE(run("good", cache).cached);
}

TEST_F(ToolchainTest, SaysWhatWasMade) {
  for (const char *tool : {"cuobjdump", "nvdisasm"}) {
    write(path(tool), tool == llvm::StringRef("nvdisasm")
                          ? "#!/bin/sh\n[ -f \"$2\" ] || exit 1\n"
                            "echo '        /*0000*/  STL [R1], R4 ;'\n"
                          : "#!/bin/sh\necho 'REG:7 STACK:8 SHARED:9'\n");
    llvm::sys::fs::setPermissions(path(tool), llvm::sys::fs::all_all);
  }
  Toolchain tools{path("tileiras"), "V13.5.1", path("cuobjdump"),
                  path("nvdisasm")};
  for (bool cached : {false, true}) {
    Assembly jobs[1];
    jobs[0].target = "good";
    AssemblyOptions options;
    options.cache = path("cache");
    EXPECT_FALSE(bool(assemble(jobs, tools, options)));
    EXPECT_EQ(jobs[0].cached, cached);
    ASSERT_TRUE(jobs[0].report.has_value());
    EXPECT_EQ(jobs[0].report->registers, 7u);
    EXPECT_EQ(jobs[0].report->spillStores, 1u);
    EXPECT_EQ(notices(jobs[0].remarks, 90),
              std::vector<std::string>{"matrix product on FMA instructions, "});
  }
  // One that was kept before it could be looked at is looked at later.
  EXPECT_FALSE(run("good", path("cache")).report.has_value());
  for (int time = 0; time < 2; ++time) {
    Assembly jobs[1];
    jobs[0].target = "good";
    jobs[0].bytecode = "bytes";
    AssemblyOptions options;
    options.cache = path("cache");
    // The second time from what the first one kept.
    EXPECT_FALSE(bool(assemble(jobs, tools, options)));
    EXPECT_TRUE(jobs[0].cached);
    EXPECT_TRUE(jobs[0].report.has_value());
    llvm::sys::fs::remove(path("nvdisasm"));
  }
}

TEST(Remarks, OnesThatTellOfSlowerCode) {
  std::vector<Remark> remarks = parseRemarks(R"(--- !Passed
Pass:            Tensor-core
Name:            RemarkTensorCoreMMA
DebugLoc:        { File: '<unknown file>', Line: 0, Column: 0 }
Args:
  - Instruction: Tensor-core SM80
  - Shape:       '[16, 8, 16]'
...
--- !Failure
Pass:            Tensor-core
Name:            RemarkTensorCoreMMA
Args:
  - Instruction: FMA
  - Shape:       '[4, 4, 16]'
...
--- !Failure
Pass:            Tensor-core
Name:            RemarkTensorCoreMMA
Args:
  - Instruction: FMA
  - Shape:       '[4, 4, 16]'
...
--- !Missed
Pass:            Memory
Name:            RemarkMemoryTmaLoadFailed
Args:
  - Shape:       '[64, 64]'
  - Reason:      stride not 16-byte aligned
...
--- !Passed
Name:            RemarkMemoryLoadInstructionSelected
)");
  ASSERT_EQ(remarks.size(), 5u);
  EXPECT_EQ(remarks[0].kind, "Passed");
  EXPECT_EQ(remarks[3].arg("Reason"), "stride not 16-byte aligned");
  EXPECT_EQ(remarks[3].arg("absent"), "");
  std::vector<std::string> slow{
      "matrix product on FMA instructions, 4x4x16 (2 times)",
      "a load without TMA: stride not 16-byte aligned"};
  EXPECT_EQ(notices(remarks, 80), slow);
  EXPECT_EQ(notices(remarks, 120), slow);
  slow.insert(slow.begin(), "matrix product on the instructions of sm_80");
  EXPECT_EQ(notices(remarks, 90), slow);
  EXPECT_TRUE(parseRemarks("").empty());
  EXPECT_TRUE(parseRemarks("no yaml\n  - a: b\n").empty());
}

TEST(CubinReport, Resources) {
  format::KernelReport report;
  EXPECT_TRUE(parseResources("Resource usage:\n Function t:\n  REG:168 "
                             "STACK:16 SHARED:33844 LOCAL:0\n",
                             report));
  EXPECT_EQ(report.registers, 168);
  EXPECT_EQ(report.stackBytes, 16);
  EXPECT_EQ(report.sharedBytes, 33844);
  EXPECT_FALSE(parseResources("nothing", report));
}

TEST(CubinReport, SpillsInsideTheLoopOfProducts) {
  format::KernelReport report;
  parseListing(R"(.text.t:
        /*0000*/                   LDC R1, c[0x0][0x37c] ;
        /*0010*/                   STL [R1], R4 ;
.L_x_1:
        /*0020*/                   IADD3 R1, R2, R3, R4 ;
.L_x_2:
        /*0030*/                   UTMALDG.2D [UR8], [UR4] ;
        /*0040*/              @!P1 STL.64 [R1+0x8], R4 ;
        /*0048*/                   LDG.E.128 R8, desc[UR6][R2.64] ;
        /*004c*/                   LDG.E.U8 R8, desc[UR6][R2.64] ;
        /*0050*/                   HGMMA.64x16x16.F32.BF16 R24, gdesc[UR4], R24 ;
        /*0060*/               @P0 BRA `(.L_x_2) ;
        /*0070*/                   BRA `(.L_x_1) ;
        /*0078*/                   LDGSTS.E.BYPASS.128 [R8], desc[UR6][R2.64] ;
        /*0080*/                   EXIT ;
)",
               report);
  EXPECT_EQ(report.instructions, 12);
  EXPECT_EQ(report.wideLoads, 1);
  EXPECT_EQ(report.spillStores, 2);
  EXPECT_EQ(report.loopSpillStores, 1);
  EXPECT_EQ(report.tmaInstructions, 1);
  EXPECT_EQ(report.tensorInstructions,
            (std::map<std::string, uint64_t>{{"HGMMA", 1}}));
}

/// Loops beside each other, as of shared and routed experts, all count, however
/// few products one has; what is around them does not, although a product stands
/// there, too.
TEST(CubinReport, EveryLoopOfProductsCounts) {
  format::KernelReport report;
  parseListing(R"(.L_x_1:
        /*0010*/                   LDG.E.128 R8, desc[UR6][R2.64] ;
        /*0020*/                   HGMMA.64x16x16.F32.BF16 R24, gdesc[UR4], R24 ;
.L_x_2:
        /*0030*/                   HGMMA.64x16x16.F32.BF16 R24, gdesc[UR4], R24 ;
        /*0040*/                   HGMMA.64x16x16.F32.BF16 R24, gdesc[UR4], R24 ;
        /*0050*/                   HGMMA.64x16x16.F32.BF16 R24, gdesc[UR4], R24 ;
        /*0060*/                   HGMMA.64x16x16.F32.BF16 R24, gdesc[UR4], R24 ;
        /*0070*/               @P0 BRA `(.L_x_2) ;
.L_x_3:
        /*0080*/                   LDGSTS.E.64 [R8], desc[UR6][R2.64] ;
        /*0090*/                   STL [R1], R4 ;
        /*00a0*/                   QGMMA.64x16x32.F32.E4M3.E4M3 R24, gdesc[UR4], R24 ;
        /*00b0*/               @P1 BRA `(.L_x_3) ;
        /*00c0*/               @P2 BRA `(.L_x_1) ;
        /*00d0*/                   EXIT ;
)",
               report);
  EXPECT_EQ(report.wideLoads, 1u);
  EXPECT_EQ(report.loopSpillStores, 1u);
}

/// Rare code, such as waiting once more, lies behind all other and branches
/// back: that is no loop. A wait in a loop belongs to the loop.
TEST(CubinReport, CodeLaidOutBehindMakesNoLoop) {
  format::KernelReport report;
  StringRef straight = R"(        /*0000*/              @!P0 BRA `(.L_x_8) ;
.L_x_1:
        /*0010*/                   STL [R1], R4 ;
        /*0020*/                   HGMMA.64x16x16.F32.BF16 R24, gdesc[UR4], R24 ;
        /*0030*/                   EXIT ;
.L_x_8:
        /*0040*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR4], R1 ;
        /*0050*/              @!P0 BRA `(.L_x_8) ;
        /*0060*/                   BRA `(.L_x_1) ;
)";
  parseListing(straight, report);
  EXPECT_EQ(report.spillStores, 1u);
  EXPECT_EQ(report.loopSpillStores, 0u);
  report = {};
  std::string looping = straight.str();
  looping.replace(looping.find("EXIT"), 4, "BRA P1, `(.L_x_1)");
  parseListing(looping, report);
  EXPECT_EQ(report.loopSpillStores, 1u);
}

/// Pointers of tables are loads of 8 bytes, but no operands.
TEST(CubinReport, PointersAreNoOperands) {
  auto wideLoads = [](StringRef use) {
    format::KernelReport report;
    parseListing((R"(.L_x_1:
        /*0010*/                   LDG.E.64 R4, desc[UR6][R2.64] ;
        /*0020*/                   IADD3 R41, R42, R43, R44 ;
        /*0030*/                   HGMMA.64x16x16.F32.BF16 R24, gdesc[UR4], R24 ;
        /*0040*/                   )" +
                  use + R"( ;
        /*0050*/               @P0 BRA `(.L_x_1) ;
)")
                     .str(),
                 report);
    return report.wideLoads;
  };
  EXPECT_EQ(wideLoads("IADD3 R8, P0, R4, R9, RZ"), 0u);
  EXPECT_EQ(wideLoads("IADD3 R8, P0, PT, R4.reuse, R9, RZ"), 0u);
  EXPECT_EQ(wideLoads("LOP3.LUT R8, R4, 0xfffffff0, RZ, 0xc0, !PT"), 0u);
  EXPECT_EQ(wideLoads("R2UR UR18, R4"), 0u);
  EXPECT_EQ(wideLoads("LDG.E.U8 R8, desc[UR6][R4.64+0x10]"), 0u);
  EXPECT_EQ(wideLoads("IADD.64 R8, R12, R4.reuse"), 0u); // sm_120
  EXPECT_EQ(wideLoads("IADD R8, R4, R9"), 1u);
  EXPECT_EQ(wideLoads("IADD3 R8, R4, R9, RZ"), 1u);
  EXPECT_EQ(wideLoads("LOP3.LUT R8, R4, 0xf0f0f0f0, RZ, 0xc0, !PT"), 1u);
  EXPECT_EQ(wideLoads("STS.64 [R8], R4"), 1u);
  EXPECT_EQ(wideLoads("MOV R4, R9"), 1u);
  EXPECT_EQ(wideLoads("MOV R8, R9"), 1u);
}

/// Threads that compute take registers from those that load. More than the
/// block was started with never come.
TEST(CubinReport, CountsRegistersThatNeverCome) {
  auto missing = [](uint64_t threads, uint64_t registers, StringRef taken) {
    format::KernelReport report;
    parseListing(("        /*0010*/                   USETMAXREG.TRY_ALLOC."
                  "CTAPOOL UP0, " +
                  taken + R"( ;
        /*0020*/                   USETMAXREG.DEALLOC.CTAPOOL 0x20;
        /*0030*/                   USETMAXREG.DEALLOC.CTAPOOL 0x20 ;
)")
                     .str(),
                 report);
    EXPECT_EQ(report.loadingRegisters, 32u);
    report.threads = threads;
    report.registers = registers;
    return missingRegisters(report);
  };
  EXPECT_EQ(missing(384, 168, "0xe8"), 0u);
  EXPECT_EQ(missing(640, 96, "0x70"), 0u); // all that there are
  EXPECT_EQ(missing(640, 96, "0x71"), 512u);
  EXPECT_EQ(missing(640, 48, "0x68"), 512u * 104 + 128 * 32 - 640 * 48);
  format::KernelReport plain;
  plain.threads = 640;
  plain.registers = 96;
  EXPECT_EQ(missingRegisters(plain), 0u);
}

TEST(CubinReport, WithoutProductsEveryLoopCounts) {
  format::KernelReport report;
  parseListing(R"(        /*0010*/                   STL [R1], R4 ;
.L_x_1:
        /*0020*/                   STL [R1], R4 ;
        /*0030*/               @P0 BRA `(.L_x_1) ;
.L_x_2:
        /*0040*/                   LDG.E.64 R8, desc[UR6][R2.64] ;
        /*0050*/               @P0 BRA `(.L_x_2) ;
)",
               report);
  EXPECT_EQ(report.spillStores, 2u);
  EXPECT_EQ(report.loopSpillStores, 1u);
  EXPECT_EQ(report.wideLoads, 1u);
}
