// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The package format: BLAKE3 against known values, manifests there and back,
// and manifests written by an enemy.
#include "runtime/format/ManifestJson.h"
#include "test/unit/runtime/FakePackage.h"

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

TEST(Manifest, OtherMajorNamesBoth) {
  expectError("version 9.3", [](json &j) { j["major"] = 9, j["minor"] = 3; });
  expectError("version 2.0", [](json &j) { j["major"] = 1; });
}

TEST(Manifest, NotJson) {
  Manifest out;
  for (const char *text : {"", "{", "[1,2", "\xff\xfe", "{\"major\":1e999}"})
    EXPECT_NE(parseManifest(text, out), "") << text;
  EXPECT_NE(parseManifest("[]", out).find("object"), std::string::npos);
  const std::string deep(100000, '[');
  EXPECT_NE(parseManifest(deep, out).find("nested"), std::string::npos);
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
    for (const json &bad : {json(), json(-77), json(1.5), json("\x01"),
                            json::array(), json::object()}) {
      if (bad == value || (bad == json::array() && value.is_null()))
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
    expectError("file name",
                [&](json &j) { j["libraries"][0]["file"] = name; });
    expectError("file name", [&](json &j) { j["extraFiles"] = {name}; });
  }
  expectError("BLAKE3", [](json &j) { j["libraries"][0]["blake3"] = "abc"; });
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
