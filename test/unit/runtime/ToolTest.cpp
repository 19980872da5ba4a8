// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The `fathom` program on the toy package: output, exit codes, messages, and
// that nothing is left half-written.
#include "test/unit/runtime/FakePackage.h"
#include "tools/fathom/Npy.h"

#include <cstring>
#include <filesystem>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace fathom::test;
using namespace fathom::tool;
namespace fs = std::filesystem;

namespace {

struct Result {
  int code = -1;
  std::string out, err;
};

class ToolTest : public testing::Test {
protected:
  /// Runs the program with `arguments`; `before` is shell in front of it.
  Result run(const std::string &arguments, const std::string &before = "",
             const std::string &redirect = "") {
    const std::string command =
        before + "'" FATHOM_TOOL "' " + arguments + " >" +
        (redirect.empty() ? directory.path("out") : redirect) + " 2>" +
        directory.path("err");
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            readWhole(directory.path("out")), readWhole(directory.path("err"))};
  }
  void expect(int code, const std::string &message, const Result &result) {
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
    EXPECT_EQ(result.err.rfind("error: ", 0), 0u) << result.err;
  }
  /// Rows of an .npy of the toy's width.
  std::vector<std::vector<float>> rows(const std::string &name) {
    const std::string bytes = readWhole(directory.path(name));
    std::vector<std::vector<float>> out;
    EXPECT_GE(bytes.size(), 10u);
    if (bytes.size() < 10)
      return out;
    const size_t header = 10 + uint8_t(bytes[8]) + 256 * uint8_t(bytes[9]);
    const size_t rowBytes = kVocabulary * 4;
    const size_t count = (bytes.size() - header) / rowBytes;
    EXPECT_EQ(bytes.substr(0, header), npyHeader(int64_t(count), kVocabulary));
    for (size_t r = 0; r < count; ++r) {
      std::vector<float> row(kVocabulary);
      std::memcpy(row.data(), &bytes[header + r * rowBytes], rowBytes);
      out.push_back(row);
    }
    return out;
  }
  size_t filesInDirectory() {
    return size_t(std::distance(fs::directory_iterator(directory.path("sub")),
                                fs::directory_iterator()));
  }

  void SetUp() override {
    package = writePackage(directory);
    fs::create_directory(directory.path("sub"));
    writeFile(directory.path("ids"), lines);
  }

  TemporaryDirectory directory;
  std::string package;
  const std::string lines = "1,2,3,4,5,6,7,8,9,10,11\n7\n\n 3, 1 ,4\r\n"
                            "9,9,9,9,9,9,9,9,9,9,9,9,9,9\n2,2\n5,4,3\n";
  const std::vector<std::vector<int32_t>> sequences = {
      {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {7},    {3, 1, 4},
      std::vector<int32_t>(14, 9),         {2, 2}, {5, 4, 3}};
};

TEST_F(ToolTest, LogitsInEveryWay) {
  std::vector<std::vector<float>> expected, expectedPairs;
  for (const std::vector<int32_t> &ids : sequences)
    for (size_t n = 1; n <= ids.size(); ++n) {
      expected.push_back(expectedLogits({ids.begin(), ids.begin() + n}));
      if (n > 1)
        expectedPairs.push_back(expectedMtp({ids.begin(), ids.begin() + n}));
    }
  const std::string base =
      "logits " + package + " --tokens-file " + directory.path("ids");
  for (const char *how : {"", " --separate"})
    for (const char *chunk : {"", " --chunk 1", " --chunk 4", " --chunk 100"})
      for (const char *threads : {" --threads 1", " --threads 3"}) {
        const std::string options = std::string(how) + chunk + threads;
        Result r = run(base + options + " -o " + directory.path("l.npy"));
        EXPECT_EQ(r.code, 0) << r.err;
        EXPECT_EQ(rows("l.npy"), expected) << options;
        r = run(base + options + " --mtp -o " + directory.path("m.npy"));
        EXPECT_EQ(r.code, 0) << r.err;
        EXPECT_EQ(rows("m.npy"), expectedPairs) << options;
      }
}

TEST_F(ToolTest, LogitsLeavesNothingHalfWritten) {
  const std::string base =
      "logits " + package + " --tokens-file " + directory.path("ids") + " -o ";
  const std::string output = directory.path("sub/out.npy");
  // Smaller than what comes out, not than the code that computes it.
  const uint64_t codeBytes = readWhole(FATHOM_FAKE_KERNELS).size();
  const std::string limited =
      "ulimit -f " + std::to_string(codeBytes / 512 + 1) + "; ";
  std::string many;
  while (many.size() * kVocabulary < 2 * codeBytes)
    many += lines;
  writeFile(directory.path("ids"), many);
  Result r = run(base + output, limited);
  expect(4, "File too large", r);
  EXPECT_EQ(r.err.find("library"), std::string::npos) << r.err;
  EXPECT_EQ(filesInDirectory(), 0u);
  expect(4, "No such file or directory", run(base + directory.path("no/x")));
  expect(4, "Is a directory", run(base + directory.path("sub")));
  EXPECT_EQ(filesInDirectory(), 0u);
  // What is no file is not replaced by one; what a link names is, not the link.
  const std::string pipe = directory.path("pipe"),
                    link = directory.path("link");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  expect(2, "no file", run(base + pipe));
  EXPECT_TRUE(fs::is_fifo(pipe));
  fs::create_symlink("sub/linked.npy", link);
  writeFile(directory.path("sub/linked.npy"), "older");
  EXPECT_EQ(run(base + link).code, 0);
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_FALSE(rows("sub/linked.npy").empty());
  fs::remove(directory.path("sub/linked.npy"));
  if (geteuid() != 0) {
    fs::permissions(directory.path("sub"),
                    fs::perms::owner_read | fs::perms::owner_exec);
    expect(4, "Permission denied", run(base + output));
    fs::permissions(directory.path("sub"), fs::perms::owner_all);
  }
  // An older file stays as it is when the new one fails.
  writeFile(output, "older");
  run(base + output, limited);
  EXPECT_EQ(readWhole(output), "older");
  EXPECT_EQ(filesInDirectory(), 1u);
  expect(4, "ulimit -f", run(base + output, "ulimit -f 1; "));
}

TEST_F(ToolTest, LogitsRefuses) {
  auto with = [&](const std::string &text) {
    writeFile(directory.path("ids"), text);
    return run("logits " + package + " --tokens-file " + directory.path("ids") +
               " -o " + directory.path("sub/o.npy"));
  };
  expect(2, "line 2, column 3", with("1,2\n3,x\n"));
  expect(2, "expected a comma", with("1 2"));
  expect(2, "out of range", with("99999999999999999999"));
  expect(2, "no tokens", with("\n \n"));
  expect(2, "sequence 2, token 3: id 24", with("1\n1,2,24\n"));
  std::string longLine = "1";
  for (int i = 0; i < 64; ++i)
    longLine += ",1";
  expect(4, "context overrun", with(longLine));
  EXPECT_EQ(filesInDirectory(), 0u);
  expect(5, "cannot open",
         run("logits " + package + " --tokens-file /nonexistent -o x.npy"));
}

/// What a greedy continuation of the toy must be.
std::vector<int32_t> greedy(std::vector<int32_t> ids, int64_t count) {
  std::vector<int32_t> out;
  while (int64_t(out.size()) < count) {
    const std::vector<float> row = expectedLogits(ids);
    ids.push_back(
        int32_t(std::max_element(row.begin(), row.end()) - row.begin()));
    out.push_back(ids.back());
    if (ids.back() == kVocabulary - 1)
      break;
  }
  return out;
}

TEST_F(ToolTest, Run) {
  const std::vector<int32_t> expected = greedy({1, 2, 3}, 5);
  Result r = run("run " + package +
                 " --tokens 1,2,3 --max-new-tokens 5 --json --threads 2");
  EXPECT_EQ(r.code, 0) << r.err;
  const nlohmann::json j = nlohmann::json::parse(r.out);
  EXPECT_EQ(j["schema_version"], 1);
  EXPECT_EQ(j["tokens"].get<std::vector<int32_t>>(), expected);
  EXPECT_EQ(j["stop"], "length");
  EXPECT_FALSE(j.contains("text"));
  r = run("run " + package + " --tokens 1,2,3 --max-new-tokens 5");
  std::string text;
  for (int32_t id : expected)
    text += std::to_string(id) + "\n";
  EXPECT_EQ(r.out, text);
  r = run("run " + package + " --tokens 1 --max-new-tokens 500 --json");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(nlohmann::json::parse(r.out)["stop"], "context");
  r = run("run " + package +
          " --tokens 1,2,3 --max-new-tokens 5 --json --stop-token " +
          std::to_string(expected[1]));
  const auto stopped = std::find(expected.begin(), expected.end(), expected[1]);
  EXPECT_EQ(nlohmann::json::parse(r.out)["tokens"].size(),
            size_t(stopped - expected.begin()) + 1);
  EXPECT_EQ(nlohmann::json::parse(r.out)["stop"], "stop");
}

/// Tokens that a device chooses by itself are those of the sampler.
TEST_F(ToolTest, RunOnOtherDrivers) {
  const std::vector<int32_t> expected = greedy({1, 2, 3}, 30);
  auto tokens = [&](const std::string &arguments, const char *before = "") {
    const Result r =
        run("run " + package + " --tokens 1,2,3 --max-new-tokens 30 --json " +
                arguments,
            before);
    EXPECT_EQ(r.code, 0) << r.err;
    return nlohmann::json::parse(r.out)["tokens"].get<std::vector<int32_t>>();
  };
  EXPECT_EQ(tokens("--driver host"), expected);
  EXPECT_EQ(tokens("--driver emulated"), expected);
  EXPECT_EQ(tokens("", "FATHOM_DRIVER=emulated "), expected);
  Result r = run("run " + package +
                 " --tokens 1 --max-new-tokens 500 --json "
                 "--driver emulated");
  const Result host =
      run("run " + package + " --tokens 1 --max-new-tokens 500 --json");
  EXPECT_EQ(r.out, host.out); // up to the limit of the context
  EXPECT_EQ(nlohmann::json::parse(r.out)["stop"], "context");

  package = writePackage(directory, fakeCudaManifest());
  EXPECT_EQ(tokens("", "FATHOM_LIBCUDA=" FATHOM_MOCK_CUDA " "), expected);
  EXPECT_EQ(tokens("--driver emulated"), expected);
  EXPECT_EQ(tokens("--driver host"), expected);
  expect(3, "was compiled for 'cuda': there is no NVIDIA driver here",
         run("run " + package + " --tokens 1", "FATHOM_LIBCUDA=/nowhere "));
  expect(3, "--driver emulated",
         run("run " + package + " --tokens 1", "FATHOM_LIBCUDA=/nowhere "));
  expect(2, "the drivers are host, cuda, ascend, emulated",
         run("run " + package + " --tokens 1 --driver abacus"));
}

TEST_F(ToolTest, BenchOfADevice) {
  const Result r = run("bench " + package +
                       " --prompt-tokens 12 --new-tokens 12 --sequences 3 "
                       "--memory 16MB --per-kernel --json --driver emulated");
  ASSERT_EQ(r.code, 0) << r.err;
  const nlohmann::json j = nlohmann::json::parse(r.out);
  EXPECT_EQ(j["machine"]["driver"], "emulated");
  EXPECT_EQ(j["decode_step_seconds"]["count"], 11); // the first one records
  EXPECT_GT(j["decode_tokens_per_second"].get<double>(), 0);
  EXPECT_GT(j["read_bandwidth_bytes_per_second"].get<double>(), 0);
  bool choice = false;
  for (const auto &kernel : j["kernels"])
    choice |= kernel["kernel"] == "fake_greedy";
  EXPECT_TRUE(choice);
}

TEST_F(ToolTest, RunWithText) {
  fathom::format::Manifest m = fakeManifest();
  m.extraFiles = {"tokenizer.json"};
  const int32_t first = greedy({1}, 1)[0];
  m.model.eosTokens = {first};
  package = writePackage(directory, m);
  writeFile(package + "/tokenizer.json",
            R"({"decoder":{"type":"ByteLevel"},"model":{"type":"BPE",)"
            R"("vocab":{"ĊHi":)" +
                std::to_string(first) + "}}}");
  Result r = run("run " + package + " --tokens 1");
  EXPECT_EQ(r.out, std::to_string(first) + "\t\\nHi\n\n\nHi\n");
  r = run("run " + package + " --tokens 1 --json");
  const nlohmann::json j = nlohmann::json::parse(r.out);
  EXPECT_EQ(j["text"], "\nHi");
  EXPECT_EQ(j["stop"], "eos");
  EXPECT_EQ(j["tokens"].size(), 1u);
}

/// Of an object with messages nothing is lost without a word.
TEST_F(ToolTest, KeysBesideMessages) {
  auto render = [&](const std::string &more) {
    writeFile(directory.path("m.json"),
              R"({"messages": [{"role": "user", "content": "a"}], )" + more +
                  "}");
    return run("render --profile official --messages " +
               directory.path("m.json"));
  };
  const Result thinks = render(R"("reasoning_effort": "max")");
  EXPECT_EQ(thinks.code, 0) << thinks.err;
  EXPECT_NE(thinks.out.find("<think>"), std::string::npos) << thinks.out;
  EXPECT_EQ(thinks.err, "");
  const Result service = render(R"("model": "m", "temperature": 1)");
  EXPECT_EQ(service.code, 0);
  EXPECT_NE(service.err.find("passed over: model, temperature"),
            std::string::npos)
      << service.err;
  expect(5, "no key 'temprature'", render(R"("temprature": 1)"));
  expect(5, "--think", render(R"("thinking": {"type": "enabled"})"));
  expect(5, "medium", render(R"("reasoning_effort": "medium")"));

  // Where an answer is wanted, they would change it.
  fathom::format::Manifest m = fakeManifest();
  m.extraFiles = {"tokenizer.json"};
  package = writePackage(directory, m);
  writeFile(package + "/tokenizer.json",
            readWhole(FATHOM_TEST_MODELS "/nano/tokenizer.json"));
  render(R"("max_tokens": 1)");
  expect(5, "--max-new-tokens",
         run("run " + package + " --messages " + directory.path("m.json")));
}

TEST_F(ToolTest, RunRefuses) {
  const std::string base = "run " + package;
  expect(2, "--tokens", run(base));
  expect(2, "column 1", run(base + " --tokens ''"));
  expect(2, "column 3", run(base + " --tokens 1,"));
  expect(2, "token id 24", run(base + " --tokens 24"));
  expect(2, "--colour", run(base + " --tokens 1 --colour"));
  expect(2, "--threads", run(base + " --tokens 1 --threads -1"));
  expect(2, "subcommand", run(""));
  expect(2, "nonsense", run("nonsense x"));
  expect(2, "--memory: '-1'", run(base + " --tokens 1 --memory -1"));
  // Options that would do nothing.
  expect(2, "--json", run(base + " --prompt a --logprobs 2"));
  expect(2, "--json", run("chat " + package + " --logprobs 2"));
  for (const char *option : {"--stop x", "--logprobs 1 --json", "--raw",
                             "--think max", "--system x", "--profile recipe"})
    expect(2, "--tokens", run(base + " --tokens 1 " + option));
  expect(2, "--stop-token", run(base + " --tokens 1 --stop-token 24"));
  expect(5, "no package", run("run nothing.fathom --tokens 1"));
  expect(5, "--checkpoint",
         run(base + " --tokens 1", "mv " + directory.path("weights") + " " +
                                       directory.path("away") + "; "));
  EXPECT_EQ(
      run(base + " --tokens 1 --checkpoint " + directory.path("away")).code, 0);
  expect(4, "standard output",
         run(base + " --tokens 1 --checkpoint " + directory.path("away"), "",
             "/dev/full"));
}

/// A word that is no number is taken for none, and one that is, in decimal.
TEST_F(ToolTest, Numbers) {
  const std::string base = "run " + package + " --tokens 1 --json ";
  for (const char *option : {"--seed -1",
                             "--seed 99999999999999999999",
                             "--seed 1x",
                             "--seed ''",
                             "--temperature ''",
                             "--temperature nan",
                             "--temperature 1e99",
                             "--temperature 0x1",
                             "--stop-token ''",
                             "--stop-token 99999999999",
                             "--max-new-tokens ''",
                             "--max-new-tokens 0x10",
                             "--max-new-tokens ' 1'",
                             "--logit-bias =1000",
                             "--logit-bias 1=",
                             "--logit-bias 1=nan",
                             "--logit-bias ' 1=1'",
                             "--logit-bias 99999999999=1",
                             "--top-k 1.5",
                             "--memory ''",
                             "--memory 99999999999999999999",
                             "--memory 1XB",
                             "--threads 99999999999"}) {
    const std::string text = option;
    expect(2, text.substr(0, text.find(' ')), run(base + text));
  }
  const Result ten = run(base + "--max-new-tokens 010 --memory 0010GB");
  ASSERT_EQ(ten.code, 0) << ten.err;
  EXPECT_EQ(nlohmann::json::parse(ten.out)["tokens"].size(), 10u);
  EXPECT_EQ(run(base + "--seed 18446744073709551615 --temperature 1e-1 "
                       "--logit-bias 1=-.5 --logit-bias 2=-inf "
                       "--stop-token 2,3")
                .code,
            0);
  // Limits that every package would keep.
  for (const char *option : {"--max-kl nan", "--min-top1 nan", "--min-top1 2",
                             "--max-difference nan", "--max-kl ''"}) {
    const std::string text = option;
    expect(2, text.substr(0, text.find(' ')),
           run("verify " + package + " --golden g.npz " + text));
  }
  expect(2, "--prompt-tokens", run("bench " + package + " --prompt-tokens ''"));
}

/// The variable of an option is of commands that have it.
TEST_F(ToolTest, DeviceOfTheEnvironment) {
  EXPECT_EQ(run("inspect " + package, "FATHOM_DEVICE=x ").code, 0);
  const std::string base = "run " + package + " --tokens 1 --max-new-tokens 1 ";
  for (const char *value : {"x", "-1", "1024", "1 2"})
    expect(2, "FATHOM_DEVICE",
           run(base, std::string("FATHOM_DEVICE='") + value + "' "));
  EXPECT_EQ(run(base + "--device 0", "FATHOM_DEVICE=x ").code, 0);
  // Of CPUs there is one device; the variable may be meant for others.
  for (const char *driver : {"host", "emulated"})
    expect(2, "--device 3",
           run(base + "--device 3 --driver " + std::string(driver)));
  EXPECT_EQ(run(base, "FATHOM_DEVICE=3 ").code, 0);
}

TEST_F(ToolTest, Inspect) {
  fs::remove_all(directory.path("weights")); // not needed for this
  Result r = run("inspect " + package + " --json");
  EXPECT_EQ(r.code, 0) << r.err;
  const nlohmann::json j = nlohmann::json::parse(r.out);
  EXPECT_EQ(j["schema_version"], 1);
  EXPECT_EQ(j["limits"]["max_context"], kContext);
  EXPECT_EQ(j["memory"]["cache_bytes_per_sequence"], 2 * kContext * 4);
  EXPECT_EQ(j["caches"][0]["count"], 2);
  EXPECT_EQ(j["weights"]["tensors"], 5);
  r = run("inspect " + package);
  EXPECT_NE(r.out.find("context 64"), std::string::npos);
  expect(5, "manifest.json", run("inspect " + directory.path()));
}

TEST_F(ToolTest, WhatCannotBeDoneSaysWhatCan) {
  const std::string base = "run " + package + " --tokens 1 ";
  for (const char *level : {"x86-64-v9", "nonsense"}) {
    const Result r = run(base + "--cpu " + level);
    expect(3, std::string(level) + " was asked", r);
    EXPECT_NE(r.err.find("has code for x86-64-v3"), std::string::npos) << r.err;
    EXPECT_NE(r.err.find("--cpu, FATHOM_CPU"), std::string::npos) << r.err;
    EXPECT_EQ(r.err.find("compile the model"), std::string::npos) << r.err;
  }
  // A checkpoint in the place of a package.
  writeFile(directory.path("sub/config.json"), "{}");
  for (const char *command : {"run --tokens 1 ", "inspect ", "bench "})
    expect(5, "fathomc compile " + directory.path("sub") + " -o NAME.fathom",
           run(command + directory.path("sub")));
  // Names that are nearly right, and words behind them.
  expect(2, "'--tokns'; did you mean --tokens?",
         run("run " + package + " --tokns 1,2 stray"));
  expect(2, "'--tokens-fil'; did you mean --tokens-file?",
         run("logits " + package + " --tokens-fil=ids -o x"));
  expect(2, "'insepct'; did you mean inspect?", run("insepct " + package));
  expect(2, "'stray'", run(base + "stray"));
  const Result far = run(base + "--colour red");
  expect(2, "unknown option '--colour'", far);
  EXPECT_EQ(far.err.find("did you mean"), std::string::npos) << far.err;
}

TEST_F(ToolTest, Bench) {
  Result r = run("bench " + package +
                 " --prompt-tokens 12 --new-tokens 6 --context 20 "
                 "--sequences 3 --threads 2 --per-kernel --json");
  ASSERT_EQ(r.code, 0) << r.err;
  const nlohmann::json j = nlohmann::json::parse(r.out);
  for (const char *key :
       {"prefill_tokens_per_second", "decode_tokens_per_second",
        "decode_bytes_per_second", "read_bandwidth_bytes_per_second",
        "time_to_first_token_seconds", "load_seconds", "peak_resident_bytes"})
    EXPECT_GT(j[key].get<double>(), 0) << key;
  EXPECT_EQ(j["machine"]["threads"], 2);
  EXPECT_EQ(j["decode_step_seconds"]["count"], 6);
  EXPECT_FALSE(j["kernels"].empty());
  EXPECT_EQ(j["schema_version"], 1);
  // What was not measured is no number.
  const std::string prefill =
      "bench " + package + " --prompt-tokens 3 --new-tokens 0";
  r = run(prefill);
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find("decode                -\n"), std::string::npos)
      << r.out;
  EXPECT_NE(r.out.find("decode step           -\n"), std::string::npos)
      << r.out;
  r = run(prefill + " --json");
  const nlohmann::json none = nlohmann::json::parse(r.out);
  EXPECT_GT(none["prefill_tokens_per_second"].get<double>(), 0);
  for (const char *key : {"decode_tokens_per_second", "decode_bytes_per_second",
                          "decode_share_of_read_bandwidth"})
    EXPECT_TRUE(none[key].is_null()) << key;
  EXPECT_TRUE(none["decode_step_seconds"]["p50"].is_null());
  expect(4, "compiled for 64", run("bench " + package + " --context 60"));
  expect(4, "--max-sequences",
         run("bench " + package +
             " --sequences 5 --prompt-tokens 1 --new-tokens 1"));
}

TEST_F(ToolTest, Help) {
  for (const char *command : {"", "run", "logits", "inspect", "bench"}) {
    const Result r = run(std::string(command) + " --help");
    EXPECT_EQ(r.code, 0);
    EXPECT_NE(r.out.find("Examples:"), std::string::npos) << command;
  }
  EXPECT_EQ(run("--version").out,
            std::string("fathom ") + fathom_version() +
                ", reads packages of format " +
                std::to_string(fathom::format::kMajor) + "." +
                std::to_string(fathom::format::kMinor) + "\n");
}

TEST(Npy, Header) {
  const std::string header = npyHeader(3, 129280);
  EXPECT_EQ(header.size() % 64, 0u);
  EXPECT_EQ(header.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_NE(header.find("'shape': (3, 129280)"), std::string::npos);
  EXPECT_EQ(header.back(), '\n');
  EXPECT_EQ(size_t(uint8_t(header[8])) + 256 * uint8_t(header[9]),
            header.size() - 10);
}

TEST(Npy, RowsInAnyOrder) {
  TemporaryDirectory directory;
  const std::string path = directory.path("x.npy");
  const float values[] = {1, 2, 3, 4, 5, 6};
  {
    NpyWriter writer;
    EXPECT_FALSE(writer.open(path, 3, 2));
    EXPECT_FALSE(writer.write(1, 2, values + 2));
    EXPECT_FALSE(fs::exists(path)) << "not before it is whole";
    EXPECT_FALSE(writer.write(0, 1, values));
    EXPECT_FALSE(writer.finish());
  }
  const std::string bytes = readWhole(path);
  EXPECT_EQ(bytes, npyHeader(3, 2) +
                       std::string(reinterpret_cast<const char *>(values),
                                   sizeof(values)));
  {
    NpyWriter writer; // given up
    EXPECT_FALSE(writer.open(path, 1, 2));
  }
  EXPECT_EQ(readWhole(path), bytes);
  EXPECT_EQ(std::distance(fs::directory_iterator(directory.path()),
                          fs::directory_iterator()),
            1);
}

TEST(Tool, Argmax) {
  const float ties[] = {1, 5, 5, 2};
  EXPECT_EQ(argmax(ties, 4), 1);
  const float odd[] = {NAN, -INFINITY, -3};
  EXPECT_EQ(argmax(odd, 3), 2);
  EXPECT_EQ(argmax(odd, 1), 0);
  // Longer than any vector, the largest at every place and once again later.
  for (int64_t count : {16, 17, 50})
    for (int64_t at = 0; at < count; ++at) {
      std::vector<float> values(count, -2.0f);
      values[(at + 3) % count] = NAN;
      values[count - 1] = values[at] = -1.0f;
      EXPECT_EQ(argmax(values.data(), count), at);
    }
  std::vector<float> none(40, NAN), least(40, -INFINITY);
  EXPECT_EQ(argmax(none.data(), 40), 0);
  least[0] = NAN;
  EXPECT_EQ(argmax(least.data(), 40), 1);
}

} // namespace
