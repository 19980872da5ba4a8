// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Malformed safetensors files, one kind each, and the good ones beside them.
#include "test/unit/frontends/TestFiles.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/BLAKE3.h"

#include <sys/stat.h>
#include <unistd.h>

using namespace llvm;
using namespace fathom;
using namespace fathom::test;

namespace {

constexpr FailureKind kBad = FailureKind::BadFile;

/// Opens a directory whose model.safetensors has this header and data.
Expected<Checkpoint> openWith(const std::string &json,
                              const std::string &data) {
  TempDir dir;
  dir.write("model.safetensors", withLength(json) + data);
  return Checkpoint::open(dir.path());
}

std::string entry(const std::string &name, const std::string &dtype,
                  const std::string &shape, const std::string &offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape +
         "],\"data_offsets\":[" + offsets + "]}";
}

TEST(Safetensors, ReadsAFile) {
  TempDir dir;
  std::string header = "{" + entry("b", "F32", "2", "2,10") + "," +
                       entry("a", "BF16", "1,1", "0,2") + "," +
                       entry("none", "F32", "0,7", "10,10") + "," +
                       entry("scalar", "I8", "", "10,11") + "}   ";
  std::string bytes = withLength(header) + "0123456789X";
  dir.write("model.safetensors", bytes);
  Checkpoint checkpoint = expectValue(Checkpoint::open(dir.path()));
  ASSERT_EQ(checkpoint.tensors().size(), 4u);
  const TensorInfo *b = checkpoint.find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, DType::F32);
  EXPECT_EQ(b->offset, 8 + header.size() + 2);
  EXPECT_EQ(b->bytes, 8u);
  EXPECT_EQ(checkpoint.find("c"), nullptr);
  EXPECT_TRUE(checkpoint.find("scalar")->shape.empty());
  const SafetensorsFile &file = checkpoint.files()[0];
  EXPECT_EQ(file.headerBytes, 8 + header.size());
  EXPECT_EQ(file.bytes, bytes.size());
  auto hash = BLAKE3::hash<32>(
      arrayRefFromStringRef(StringRef(bytes).take_front(file.headerBytes)));
  EXPECT_EQ(file.headerBlake3, toHex(hash, true));
  std::vector<uint8_t> data(8);
  EXPECT_FALSE(checkpoint.readTensor(*b, data));
  EXPECT_EQ(std::string(data.begin(), data.end()), "23456789");
}

TEST(Safetensors, HeaderLength) {
  TempDir dir;
  auto open = [&](const std::string &bytes, uint64_t hole = 0) {
    dir.write("model.safetensors", bytes, hole);
    return Checkpoint::open(dir.path());
  };
  expectError(open(""), kBad, {"not a safetensors file", "0 bytes"});
  expectError(open("1234567"), kBad, {"7 bytes"});
  expectError(open(std::string(8, '\xff') + "{}"), kBad,
              {"too short", "18446744073709551615"});
  expectError(open(withLength("{}").substr(0, 9)), kBad, {"too short"});
  // A believed size: the file is really that long, and sparse.
  std::string length(8, '\0');
  length[3] = '\x40'; // 1 GiB
  expectError(open(length, uint64_t(1) << 31), kBad, {"format's limit"});
}

TEST(Safetensors, NotJson) {
  expectError(openWith("", ""), kBad, {"not valid JSON"});
  expectError(openWith("{", ""), kBad, {"not valid JSON"});
  expectError(openWith("[]", ""), kBad, {"must be an object", "an array"});
  expectError(openWith("{\"a\":\xff}", ""), kBad, {"not valid JSON"});
  expectError(openWith("{} x", ""), kBad, {"not valid JSON"});
  std::string deep(100000, '[');
  expectError(openWith(deep, ""), kBad, {"nested more than"});
  std::string objects;
  for (int i = 0; i < 10000; ++i)
    objects += "{\"a\":";
  expectError(openWith(objects, ""), kBad, {"nested more than"});
}

TEST(Safetensors, Entries) {
  auto header = [](const std::string &text) { return "{\"t\":" + text + "}"; };
  expectError(openWith(header("3"), ""), kBad, {"'t'", "must be an object"});
  expectError(openWith(header("{}"), ""), kBad, {"'dtype'"});
  expectError(openWith("{" + entry("t", "F33", "1", "0,4") + "}", "0123"), kBad,
              {"unknown dtype 'F33'"});
  expectError(openWith("{" + entry("t", "F32", "-1", "0,4") + "}", "0123"),
              kBad, {"'shape' must hold integers"});
  expectError(openWith("{" + entry("t", "F32", "1.5", "0,4") + "}", "0123"),
              kBad, {"'shape' must hold integers"});
  expectError(openWith("{" + entry("t", "F32", "1e99", "0,4") + "}", "0123"),
              kBad, {"'shape' must hold integers"});
  expectError(openWith("{" + entry("t", "F32", "\"1\"", "0,4") + "}", "0123"),
              kBad, {"'shape' must hold integers"});
  expectError(openWith("{" + entry("t", "F32", "1", "0") + "}", "0123"), kBad,
              {"'data_offsets'"});
  expectError(openWith("{" + entry("t", "F32", "1", "0,-4") + "}", "0123"),
              kBad, {"'data_offsets'"});
  expectError(openWith(header("{\"dtype\":\"F32\",\"shape\":[1],\"data_"
                              "offsets\":[0,4],\"more\":1}"),
                       "0123"),
              kBad, {"unknown key 'more'"});
  expectError(
      openWith(
          "{" + entry("t", "I8", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "0,1") +
              "}",
          "0"),
      kBad, {"17 dimensions"});
  expectError(openWith("{" + entry("", "I8", "1", "0,1") + "}", "0"), kBad,
              {"no name"});
}

TEST(Safetensors, Sizes) {
  // A believed shape: products that wrap to something small.
  expectError(
      openWith("{" + entry("t", "F32", "4294967296,4294967296", "0,0") + "}",
               ""),
      kBad, {"64 bits"});
  expectError(
      openWith("{" + entry("t", "F32", "4611686018427387904", "0,0") + "}", ""),
      kBad, {"64 bits"});
  expectError(openWith("{" + entry("t", "F32", "2", "0,4") + "}", "0123"), kBad,
              {"span 4 bytes", "need 8"});
  expectError(openWith("{" + entry("t", "F32", "2", "0,8") + "}", "0123"), kBad,
              {"do not lie within the 4 data bytes"});
  expectError(openWith("{" + entry("t", "I8", "2", "3,1") + "}", "0123"), kBad,
              {"do not lie within"});
  expectError(openWith("{" + entry("t", "F4", "3", "0,1") + "}", "0"), kBad,
              {"whole bytes"});
  expectValue(openWith("{" + entry("t", "F4", "3,2", "0,3") + "}", "012"));
}

TEST(Safetensors, Cover) {
  auto two = [](const char *first, const char *second) {
    return "{" + entry("a", "I8", "2", first) + "," +
           entry("b", "I8", "2", second) + "}";
  };
  expectValue(openWith(two("0,2", "2,4"), "0123"));
  expectError(openWith(two("0,2", "1,3"), "0123"), kBad, {"'b'", "overlaps"});
  expectError(openWith(two("0,2", "0,2"), "0123"), kBad, {"overlaps"});
  expectError(openWith(two("0,2", "3,5"), "01234"), kBad, {"gap of 1 byte"});
  expectError(openWith(two("2,4", "4,6"), "012345"), kBad, {"gap of 2 byte"});
  expectError(openWith(two("0,2", "2,4"), "01234"), kBad,
              {"too long", "1 bytes"});
  expectError(openWith(two("0,2", "2,4"), "012"), kBad, {"do not lie within"});
}

TEST(Safetensors, DuplicateNames) {
  expectError(openWith("{" + entry("a", "I8", "1", "0,1") + "," +
                           entry("a", "I8", "1", "1,2") + "}",
                       "01"),
              kBad, {"'a' occurs twice"});
  // Two spellings of one name.
  expectError(openWith("{" + entry("a", "I8", "1", "0,1") + "," +
                           entry("\\u0061", "I8", "1", "1,2") + "}",
                       "01"),
              kBad, {"'a' occurs twice"});
}

TEST(Safetensors, Metadata) {
  expectValue(openWith("{\"__metadata__\":{\"a\":\"b\"}}", ""));
  expectError(openWith("{\"__metadata__\":[]}", ""), kBad, {"__metadata__"});
  expectError(openWith("{\"__metadata__\":{\"a\":1}}", ""), kBad,
              {"__metadata__", "string"});
}

TEST(Safetensors, MessagesAreHarmless) {
  expectError(openWith("{\"\\u001b[31m\":1}", ""), kBad, {"\\1B[31m"});
}

TEST(Safetensors, NoFiles) {
  TempDir dir;
  expectError(Checkpoint::open(dir.path("absent")), kBad, {"no checkpoint"});
  expectError(Checkpoint::open(dir.path()), kBad, {"no weights"});
  dir.write("file", "");
  expectError(Checkpoint::open(dir.path("file")), kBad, {"no checkpoint"});
  ASSERT_EQ(::mkdir(dir.path("model.safetensors").c_str(), 0700), 0);
  expectError(Checkpoint::open(dir.path()), kBad, {"directory"});
}

TEST(Safetensors, PipesDoNotBlock) {
  TempDir dir;
  ASSERT_EQ(::mkfifo(dir.path("model.safetensors").c_str(), 0600), 0);
  expectError(Checkpoint::open(dir.path()), kBad, {"pipe"});
}

TEST(Safetensors, NoPermission) {
  if (::geteuid() == 0)
    GTEST_SKIP() << "root may read everything";
  TempDir dir;
  dir.write("model.safetensors", withLength("{}"));
  ASSERT_EQ(::chmod(dir.path("model.safetensors").c_str(), 0), 0);
  expectError(Checkpoint::open(dir.path()), FailureKind::Resources,
              {"permission"});
}

class Index : public ::testing::Test {
protected:
  void SetUp() override {
    dir.write("a.safetensors",
              withLength("{" + entry("x", "I8", "1", "0,1") + "}") + "0");
    dir.write("b.safetensors",
              withLength("{" + entry("y", "I8", "1", "0,1") + "}") + "1");
  }
  Expected<Checkpoint> open(const std::string &index) {
    dir.write("model.safetensors.index.json", index);
    return Checkpoint::open(dir.path());
  }
  Expected<Checkpoint> openMap(const std::string &map) {
    return open("{\"metadata\":{\"total_size\":2},\"weight_map\":{" + map +
                "}}");
  }
  TempDir dir;
};

TEST_F(Index, Good) {
  Checkpoint checkpoint =
      expectValue(openMap(R"("y":"b.safetensors","x":"a.safetensors")"));
  ASSERT_EQ(checkpoint.files().size(), 2u);
  EXPECT_EQ(checkpoint.files()[0].name, "a.safetensors");
  EXPECT_EQ(checkpoint.find("y")->file, 1u);
}

TEST_F(Index, Malformed) {
  expectError(open("nonsense"), kBad, {"not valid JSON"});
  expectError(open("{}"), kBad, {"'weight_map' is missing"});
  expectError(open("{\"weight_map\":[]}"), kBad, {"'weight_map'"});
  expectError(openMap(""), kBad, {"names no tensor"});
  expectError(openMap("\"x\":3"), kBad, {"must be a string"});
  expectError(openMap(R"("x":"a.safetensors","x":"b.safetensors")"), kBad,
              {"'x' occurs twice"});
  std::string files = R"("x":"a.safetensors")";
  for (int i = 0; i < 100000; ++i)
    files += ",\"n" + std::to_string(i) + "\":\"" + std::to_string(i) +
             ".safetensors\"";
  expectError(openMap(files), kBad, {"it names 100001 files"});
}

TEST_F(Index, NamesStayInside) {
  for (const char *name :
       {"../a.safetensors", "/etc/a.safetensors", "sub/a.safetensors", "..",
        ".", "", "a\\\\b.safetensors", "a.bin", ".hidden.safetensors",
        "a\\u0000.safetensors", "a\\n.safetensors"})
    expectError(openMap("\"x\":\"" + std::string(name) + "\""), kBad,
                {"file name"});
  expectError(openMap("\"x\":\"" + std::string(300, 'a') + ".safetensors\""),
              kBad, {"longer than 255"});
}

TEST_F(Index, MustFitTheFiles) {
  expectError(openMap(R"("x":"a.safetensors","y":"c.safetensors")"), kBad,
              {"c.safetensors", "No such file"});
  expectError(openMap(R"("x":"a.safetensors","z":"b.safetensors")"), kBad,
              {"no file holds, 1 tensor: 'z'"});
  expectError(openMap(R"("x":"b.safetensors","y":"a.safetensors")"), kBad,
              {"other files", "2 tensors: 'x', 'y'"});
  expectError(openMap(R"("x":"a.safetensors","w":"a.safetensors")"), kBad,
              {"'w'"});
  std::string many = R"("x":"a.safetensors","y":"b.safetensors")";
  for (int i = 10; i < 22; ++i)
    many += ",\"n" + std::to_string(i) + "\":\"a.safetensors\"";
  expectError(openMap(many), kBad, {"12 tensors: 'n10'", "'n19' and 2 more"});
}

TEST_F(Index, DuplicateAcrossFiles) {
  dir.write("b.safetensors",
            withLength("{" + entry("x", "I8", "1", "0,1") + "}") + "1");
  expectError(openMap(R"("x":"a.safetensors","y":"b.safetensors")"), kBad,
              {"a tensor occurs twice: 'x'"});
}

TEST_F(Index, SymbolicLinksAreFollowed) {
  TempDir blobs;
  blobs.write("0123abcd",
              withLength("{" + entry("z", "I8", "1", "0,1") + "}") + "2");
  ASSERT_EQ(::symlink(blobs.path("0123abcd").c_str(),
                      dir.path("c.safetensors").c_str()),
            0);
  Checkpoint checkpoint = expectValue(openMap(R"("z":"c.safetensors")"));
  EXPECT_NE(checkpoint.find("z"), nullptr);
  ASSERT_EQ(::symlink("nowhere", dir.path("d.safetensors").c_str()), 0);
  expectError(openMap(R"("z":"d.safetensors")"), kBad, {"No such file"});
}

TEST_F(Index, FilesThatChange) {
  Checkpoint checkpoint =
      expectValue(openMap(R"("y":"b.safetensors","x":"a.safetensors")"));
  dir.write("a.safetensors", "short");
  std::vector<uint8_t> data(1);
  expectError(checkpoint.readTensor(*checkpoint.find("x"), data), kBad,
              {"a file has changed"});
}

TEST(Safetensors, Nano) {
  Checkpoint checkpoint = expectValue(
      Checkpoint::open(std::string(FATHOM_TEST_MODELS_DIR) + "/nano"));
  EXPECT_EQ(checkpoint.tensors().size(), 427u);
  const TensorInfo *experts =
      checkpoint.find("layers.1.ffn.experts.7.w2.weight");
  ASSERT_NE(experts, nullptr);
  EXPECT_EQ(dtypeName(experts->dtype), "I8");
}

} // namespace
