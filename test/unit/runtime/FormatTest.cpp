// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The package format: BLAKE3 against known values, manifests there and back,
// and manifests written by an enemy.
#include "runtime/format/ManifestJson.h"
#include "runtime/format/MemoryPlan.h"
#include "test/unit/runtime/FakePackage.h"

#include <fstream>
#include <functional>
#include <gtest/gtest.h>

using namespace fathom::format;
using fathom::test::fakeManifest;
using nlohmann::json;

namespace {

/// The input of the published test vectors: 0, 1, ..., 250, 0, 1, ...
std::string pattern(size_t size) {
  std::string out(size, '\0');
  for (size_t i = 0; i < size; ++i)
    out[i] = char(i % 251);
  return out;
}

TEST(Blake3, KnownValues) {
  const struct {
    size_t size;
    const char *hash;
  } cases[] = {
#include "test/unit/runtime/Blake3Vectors.inc"
  };
  for (const auto &c : cases) {
    const std::string bytes = pattern(c.size);
    EXPECT_EQ(blake3Hex(bytes.data(), bytes.size()), c.hash) << c.size;
  }
}

TEST(Blake3, AnySplit) {
  const std::string bytes = pattern(9001);
  const std::string whole = blake3Hex(bytes.data(), bytes.size());
  for (size_t piece : {1u, 63u, 64u, 65u, 1023u, 1024u, 1025u, 4096u}) {
    Blake3 hash;
    for (size_t at = 0; at < bytes.size(); at += piece)
      hash.update(bytes.data() + at, std::min(piece, bytes.size() - at));
    EXPECT_EQ(hash.hex(), whole) << piece;
    EXPECT_EQ(hash.hex(), whole) << "asking changes nothing";
  }
}

Manifest sealed(Manifest m) {
  const std::string content = contentText(m);
  m.contentBlake3 = blake3Hex(content.data(), content.size());
  return m;
}

/// The toy's manifest as JSON, changed, sealed again, and read.
std::string errorAfter(const std::function<void(json &)> &change) {
  json j = json::parse(manifestText(fakeManifest()));
  change(j);
  const std::string content = detail::contentText(j);
  if (j.is_object())
    j["contentBlake3"] = blake3Hex(content.data(), content.size());
  Manifest out;
  return parseManifest(j.dump(), out);
}

void expectError(const std::string &part,
                 const std::function<void(json &)> &change) {
  const std::string error = errorAfter(change);
  EXPECT_NE(error.find(part), std::string::npos)
      << "expected '" << part << "', got '" << error << "'";
}

TEST(Manifest, RoundTrip) {
  Manifest m = fakeManifest();
  m.model.compressRatios = {0, 4, 128};
  m.extraFiles = {"tokenizer.json"};
  m.limits.maxStepTokens = fathom::test::kStepTokens;
  m = sealed(m);
  const std::string text = manifestText(m);
  Manifest back;
  ASSERT_EQ(parseManifest(text, back), "");
  EXPECT_EQ(manifestText(back), text);
  EXPECT_EQ(manifestText(m), text) << "equal manifests, equal bytes";
  Manifest open = m;
  open.contentBlake3 = "";
  EXPECT_EQ(sealedText(open), text);
  EXPECT_EQ(open.contentBlake3, m.contentBlake3);
  EXPECT_EQ(back.model.compressRatios, m.model.compressRatios);
  EXPECT_EQ(back.weights[2].offset, m.weights[2].offset);
  const Launch &launch = back.entries[0].specialisations[1].launches[2];
  ASSERT_EQ(launch.grid[0].size(), 2u);
  EXPECT_EQ(launch.grid[0][0].count, Count::Rows);
  EXPECT_EQ(launch.grid[0][1].divide, 2u);
  EXPECT_EQ(launch.grid[1][1].multiply, 2u);
  EXPECT_EQ(launch.grid[2].size(), 1u);
}

TEST(Manifest, LocationIsOutsideTheHash) {
  Manifest m = sealed(fakeManifest());
  const std::string content = contentText(m);
  m.checkpointDirectory = "/somewhere/else";
  EXPECT_EQ(contentText(m), content);
  Manifest back;
  EXPECT_EQ(parseManifest(manifestText(m), back), "");
  m.producer = "another";
  EXPECT_NE(contentText(m), content);
  EXPECT_NE(parseManifest(manifestText(m), back).find("altered"),
            std::string::npos);
}

TEST(Manifest, LaterMinorsMayAddFields) {
  EXPECT_EQ(errorAfter([](json &j) {
              j["minor"] = 9;
              j["colour"] = {{"deep", json::array({1, 2.5})}};
              j["model"]["colour"] = nullptr;
            }),
            "");
}

TEST(Manifest, InputsOfTheFuzzerAreRead) {
  for (const char *name :
       {"good-minimal.json", "good-toy.json", "good-device.json"}) {
    std::ifstream file(std::string(FATHOM_FUZZ_MANIFESTS) + "/" + name);
    json j = json::parse(file, nullptr, false);
    ASSERT_TRUE(j.is_object()) << name;
    const std::string content = detail::contentText(j);
    j["contentBlake3"] = blake3Hex(content.data(), content.size());
    Manifest out;
    EXPECT_EQ(parseManifest(j.dump(), out), "") << name;
  }
}

/// A cache of a byte for two thousand million tokens: what would fit is no
/// number of tokens.
TEST(Manifest, ContextThatFitsIsANumber) {
  Manifest m;
  m.limits.maxContext = int64_t(1) << 31;
  m.caches = {{"c", "compressed", "f32", 1, {{"rows", 1}}}};
  const SessionSizes sizes{1, 0, 0};
  MemoryPlan plan;
  ASSERT_TRUE(planMemory(m, sizes, 0, {}, plan));
  EXPECT_GT(remedyFor(m, sizes, plan, uint64_t(1) << 45).context,
            m.limits.maxContext);
}

TEST(Manifest, OtherMajorNamesBoth) {
  expectError("version 9.3", [](json &j) { j["major"] = 9, j["minor"] = 3; });
  expectError("version 3.1", [](json &j) { j["major"] = 1; });
}

TEST(Manifest, NotJson) {
  Manifest out;
  for (const char *text : {"", "{", "[1,2", "\xff\xfe", "{\"major\":1e999}"})
    EXPECT_NE(parseManifest(text, out), "") << text;
  EXPECT_NE(parseManifest("[]", out).find("object"), std::string::npos);
  const std::string deep(100000, '[');
  EXPECT_NE(parseManifest(deep, out).find("nested"), std::string::npos);
  const std::string zero("{}\0{", 4);
  EXPECT_NE(parseManifest(zero, out).find("byte 0"), std::string::npos);
  std::string cut = manifestText(sealed(fakeManifest()));
  for (size_t size = 0; size + 2 < cut.size(); size += 37)
    EXPECT_NE(parseManifest(cut.substr(0, size), out), "");
}

TEST(Manifest, EveryFieldIsNeededAndChecked) {
  // Take away, then spoil, each field of each object in turn.
  const json good = json::parse(manifestText(sealed(fakeManifest())));
  const json flat = good.flatten();
  size_t tried = 0;
  for (const auto &item : flat.items()) {
    const std::string pointer = item.key();
    const json value = item.value();
    const json::json_pointer at(pointer);
    const json &parent = good.at(at.parent_pointer());
    const json &whole = good.at(at); // where `value` is null: an empty one
    for (const json &bad : {json(), json(-77), json(1.5), json("\x01"),
                            json::array(), json::object()}) {
      if (bad == whole)
        continue;
      // Free texts take any text, and null stands for an empty array here.
      if (value.is_null() || (bad.is_string() && value.is_string()))
        continue;
      ++tried;
      EXPECT_NE(errorAfter([&](json &j) {
                  j[at] = bad;
                  // The hash itself is set again by errorAfter.
                  if (pointer == "/contentBlake3")
                    j.erase("limits");
                }),
                "")
          << pointer << " = " << bad;
    }
    if (!parent.is_object() || pointer == "/contentBlake3")
      continue;
    const std::string error =
        errorAfter([&](json &j) { j[at.parent_pointer()].erase(at.back()); });
    EXPECT_NE(error.find("missing"), std::string::npos) << pointer;
  }
  EXPECT_GT(tried, 500u);
}

TEST(Manifest, RangesAndReferences) {
  auto weights = [](json &j) -> json & { return j["weights"]; };
  expectError("outside the data",
              [&](json &j) { weights(j)[0]["offset"] = 1000; });
  expectError("outside the data", [&](json &j) {
    weights(j)[0]["offset"] = 0; // the header is no data
  });
  expectError("too large", [&](json &j) {
    weights(j)[0]["bytes"] = uint64_t(18446744073709551615u);
  });
  expectError("outside", [&](json &j) {
    weights(j)[0]["bytes"] = uint64_t(9223372036854775807u);
  });
  expectError("weights[0].shape[0]",
              [&](json &j) { weights(j)[0]["shape"][0] = -4; });
  expectError("index 3, but there are 1 files",
              [&](json &j) { weights(j)[0]["file"] = 3; });
  expectError("tables[0].weights[1]",
              [](json &j) { j["tables"][0]["weights"][1] = 5; });
  expectError("headerBytes",
              [](json &j) { j["files"][0]["headerBytes"] = 500; });
  for (const char *name : {"../w", "a/b", "", ".", "..", "a\\b"}) {
    expectError("file name", [&](json &j) { j["files"][0]["name"] = name; });
    expectError("file name", [&](json &j) { j["extraFiles"] = {name}; });
  }
  // The last byte of the file is the last tensor's.
  expectError("outside the data", [&](json &j) { weights(j)[4]["bytes"] = 9; });
  expectError("file name",
              [](json &j) { j["files"][0]["name"] = std::string("a\0b", 3); });
  const std::string longest(255, 'n');
  EXPECT_EQ(errorAfter([&](json &j) { j["files"][0]["name"] = longest; }), "");
  expectError("file name",
              [&](json &j) { j["files"][0]["name"] = longest + "n"; });
  expectError("BLAKE3", [](json &j) { j["libraries"][0]["blake3"] = "abc"; });
}

/// The last value that is taken, and the next one.
TEST(Manifest, Limits) {
  const int64_t count = int64_t(1) << 31, bytes = int64_t(1) << 56;
  const std::string step = "/entries/0/specialisations/1/",
                    term = step + "launches/2/grid/0/1/";
  const struct {
    std::string pointer;
    int64_t last, next;
  } cases[] = {
      {"/limits/maxContext", count, count + 1},
      {"/limits/maxSequences", 1 << 20, (1 << 20) + 1},
      {"/limits/maxStepTokens", 1 << 24, (1 << 24) + 1},
      {"/model/vocabularySize", count - 1, count},
      {"/model/hiddenSize", count, count + 1},
      {"/model/bosToken", -1, -2},
      {"/model/eosTokens/0", count, count + 1},
      {"/libraries/0/scratchBytes", bytes, bytes + 1},
      {"/files/0/bytes", bytes, bytes + 1},
      {"/files/0/bytes", 8, 7},
      {"/files/0/headerBytes", 8, 7},
      {"/caches/0/rows", bytes, bytes + 1},
      {"/entries/0/outputs/1/rowBytes", 1, 0},
      {step + "maxTokens", fathom::test::kStepTokens,
       fathom::test::kStepTokens + 1},
      {step + "workspaceBytes", bytes, bytes + 1},
      {step + "launches/2/weightBytes", bytes, bytes + 1},
      {term + "1", count, count + 1},
      {term + "2", count, count + 1},
  };
  for (const auto &c : cases) {
    auto error = [&](int64_t value) {
      return errorAfter(
          [&](json &j) { j[json::json_pointer(c.pointer)] = value; });
    };
    // It may not fit the rest, but that is something else.
    EXPECT_EQ(error(c.last).find("is outside "), std::string::npos)
        << c.pointer << ": " << error(c.last);
    EXPECT_NE(error(c.next).find(std::to_string(c.next) + " is outside "),
              std::string::npos)
        << c.pointer << ": " << error(c.next);
  }
  EXPECT_EQ(errorAfter([](json &j) { j["producer"] = std::string(4096, 'p'); }),
            "");
  expectError("4097 bytes, more than 4096",
              [](json &j) { j["producer"] = std::string(4097, 'p'); });
  expectError("4194305 elements, more than 4194304", [](json &j) {
    j["model"]["eosTokens"] = std::vector<int>((1 << 22) + 1);
  });
}

/// The toy with one kernel for a device.
Manifest deviceManifest() {
  Manifest m = fakeManifest();
  m.target = {"cuda", "x86_64", "tileiras V13.5.1"};
  Library cubin;
  cubin.file = "device/sm_90/fake_logits.cubin";
  cubin.target = "cuda";
  cubin.isa = "sm_90";
  cubin.kernel = "fake_logits";
  cubin.blake3 = std::string(64, 'a');
  cubin.bytes = 12;
  cubin.configuration = {{"workerWarps", 8}, {"ctas", 1}};
  cubin.report = KernelReport();
  cubin.report->registers = 168;
  cubin.report->tensorInstructions = {{"HGMMA", 8}};
  cubin.report->notices = {"load without TMA"};
  m.libraries.push_back(cubin);
  return m;
}

TEST(Manifest, DeviceLibraries) {
  const Manifest m = sealed(deviceManifest());
  Manifest back;
  ASSERT_EQ(parseManifest(manifestText(m), back), "");
  EXPECT_EQ(manifestText(back), manifestText(m));
  EXPECT_EQ(back.target.name, "cuda");
  EXPECT_EQ(back.target.hostArchitecture, "x86_64");
  EXPECT_EQ(back.target.assembler, "tileiras V13.5.1");
  EXPECT_EQ(back.libraries[1].kernel, "fake_logits");
  EXPECT_EQ(back.libraries[1].configuration, m.libraries[1].configuration);
  EXPECT_FALSE(back.libraries[0].report.has_value());
  ASSERT_TRUE(back.libraries[1].report.has_value());
  EXPECT_EQ(back.libraries[1].report->registers, 168u);
  EXPECT_EQ(back.libraries[1].report->tensorInstructions.at("HGMMA"), 8u);
  EXPECT_EQ(back.libraries[1].report->notices,
            std::vector<std::string>{"load without TMA"});
}

TEST(Manifest, DeviceLibrariesOfAnEnemy) {
  auto expect = [](const std::string &part,
                   const std::function<void(json &)> &change) {
    json j = json::parse(manifestText(deviceManifest()));
    change(j["libraries"][1]);
    const std::string content = detail::contentText(j);
    j["contentBlake3"] = blake3Hex(content.data(), content.size());
    Manifest out;
    const std::string error = parseManifest(j.dump(), out);
    EXPECT_NE(error.find(part), std::string::npos)
        << "expected '" << part << "', got '" << error << "'";
  };
  for (const char *name :
       {"../w", "a/../w", "a/b/..", "", ".", "..", "a\\b", "/etc/passwd",
        "a//b", "a/", "device/.hidden/k", "a/b/c/d"})
    expect("file name", [&](json &j) { j["file"] = name; });
  for (const char *name : {"", "sm 90", "../sm_90", "sm/90"})
    expect("isa: not a word", [&](json &j) { j["isa"] = name; });
  expect("target: not a word", [](json &j) { j["target"] = ""; });
  expect("symbol", [](json &j) { j["kernel"] = "a b"; });
  expect("appears twice", [](json &j) { j["file"] = "host-x86-64-v3.so"; });
  expect("a second file for cpu x86-64-v3", [](json &j) {
    j["target"] = "cpu", j["isa"] = "x86-64-v3", j["kernel"] = "";
  });
  expect("configuration.ctas",
         [](json &j) { j["configuration"]["ctas"] = -1; });
  expect("no word", [](json &j) { j["configuration"]["a b"] = 1; });
  expect("more than 64", [](json &j) {
    for (int i = 0; i < 65; ++i)
      j["configuration"]["c" + std::to_string(i)] = 1;
  });
  expect("configuration: expected an object",
         [](json &j) { j["configuration"] = json::array(); });
  const json good = json::parse(manifestText(deviceManifest()));
  const json report = good["libraries"][1]["report"];
  for (const auto &item : report.items()) {
    expect("missing", [&](json &j) { j["report"].erase(item.key()); });
    expect(item.key(), [&](json &j) { j["report"][item.key()] = -1; });
  }
  expect("report", [](json &j) { j["report"] = nullptr; });
  expect("HGMMA",
         [](json &j) { j["report"]["tensorInstructions"]["HGMMA"] = 0.5; });
}

TEST(Manifest, Targets) {
  expectError("target.hostArchitecture",
              [](json &j) { j["target"]["hostArchitecture"] = "vax"; });
  expectError("target.name", [](json &j) { j["target"]["name"] = "a/b"; });
}

TEST(Manifest, Launches) {
  auto launch = [](json &j, size_t i) -> json & {
    return j["entries"][0]["specialisations"][0]["launches"][i];
  };
  expectError("args[0]",
              [&](json &j) { launch(j, 0)["args"][0] = {"cache", 9, 0}; });
  expectError("args[0]",
              [&](json &j) { launch(j, 0)["args"][0] = {"cache", 0, 2}; });
  expectError("number of values",
              [&](json &j) { launch(j, 0)["args"][0] = {"cache", 0}; });
  expectError("args[1]",
              [&](json &j) { launch(j, 0)["args"][1] = {"input", 4}; });
  // One more than there are.
  expectError("args[0]", [&](json &j) {
    launch(j, 0)["args"][0] = {"cache", 2, 0};
  });
  expectError("there are 5 weights", [&](json &j) {
    launch(j, 1)["args"][1] = {"weight", 5};
  });
  expectError("there are 1 tables", [&](json &j) {
    launch(j, 2)["args"][1] = {"table", 1};
  });
  expectError("there are 2 outputs", [&](json &j) {
    launch(j, 2)["args"][3] = {"output", 2};
  });
  expectError("kind",
              [&](json &j) { launch(j, 0)["args"][1] = {"teapot", 4}; });
  expectError("outside",
              [&](json &j) { launch(j, 2)["args"][0] = {"workspace", 5}; });
}

TEST(Manifest, GridsAndSpecialisations) {
  auto special = [](json &j) -> json & {
    return j["entries"][0]["specialisations"];
  };
  auto grid = [&](json &j) -> json & {
    return special(j)[0]["launches"][2]["grid"];
  };
  expectError("grid[0][1][1]", [&](json &j) { grid(j)[0][1][1] = 0; });
  expectError("grid[0][1][2]", [&](json &j) { grid(j)[0][1][2] = -1; });
  expectError("at least one term",
              [&](json &j) { grid(j)[1] = json::array(); });
  expectError("[count, divide, multiply]",
              [&](json &j) { grid(j)[1] = {"one", 1, 1}; });
  expectError("three axes",
              [&](json &j) { special(j)[0]["launches"][0]["grid"].erase(2); });
  expectError("one, tokens, rows", [&](json &j) {
    special(j)[0]["launches"][0]["grid"][0][0][0] = "many";
  });
  expectError("symbol",
              [&](json &j) { special(j)[0]["launches"][0]["kernel"] = "a b"; });
  expectError("ascend", [&](json &j) { special(j)[0]["maxTokens"] = 8; });
  expectError("maxStepTokens",
              [&](json &j) { special(j)[1]["maxTokens"] = 7; });
  expectError("maxStepTokens", [&](json &j) { special(j) = json::array(); });
  expectError("maxTokens", [&](json &j) { special(j)[1]["maxTokens"] = 9; });
}

} // namespace
