// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Presets, and the layout of published checkpoints: what the importer asks for
// is what the layout has, and the other way round.
#include "TestFiles.h"

#include "frontends/Checkpoint/Importer.h"
#include "frontends/Checkpoint/Layout.h"
#include "frontends/Presets/Presets.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FileSystem.h"

using namespace fathom;
using namespace fathom::test;

static ModelConfig configOf(const Preset &preset) {
  return expectValue(parseModelConfig(preset.configText(), preset.name));
}

TEST(Presets, PublishedFilesAreThoseOfTheTests) {
  for (auto [name, file] : {std::pair("v4-pro", "deepseek-v4-pro"),
                            std::pair("v4-flash", "deepseek-v4-flash")}) {
    Preset preset = expectValue(findPreset(name));
    auto text = llvm::json::parse(
        modelFile(std::string("published/") + file + "/config.json"));
    ASSERT_TRUE(bool(text));
    EXPECT_TRUE(llvm::json::Value(std::move(preset.config)) == *text) << name;
  }
}

TEST(Presets, NearestNames) {
  expectError(findPreset("v4-flash-0730"), FailureKind::Unsupported,
              {"unknown preset 'v4-flash-0730'", "v4-flash-0731",
               "fathomc list"});
}

TEST(Layout, EveryPresetImports) {
  for (const Preset &preset : expectValue(loadPresets())) {
    SCOPED_TRACE(preset.name);
    ModelConfig config = configOf(preset);
    EXPECT_EQ(preset.published, preset.notice.empty());
    EXPECT_EQ(preset.notice.empty(),
              llvm::none_of(config.notices, [](const std::string &notice) {
                return llvm::StringRef(notice).contains("published");
              }));
    Skeleton skeleton = layoutOf(config);
    Checkpoint checkpoint = Checkpoint::inMemory(
        preset.name, std::move(skeleton.files), std::move(skeleton.tensors));
    mlir::MLIRContext context;
    std::vector<std::string> notices;
    ImportOptions options{dsv4::Numerics::Published, {1024, 1, 16}};
    auto module =
        importModel(context, config, checkpoint, options, &notices);
    // Nothing is missing, nothing but draft stack and vision tower is left.
    if (!module)
      FAIL() << llvm::toString(module.takeError());
    EXPECT_EQ(notices.size(), config.draft || config.vision ? 1u : 0u);
  }
}

TEST(Layout, HeadersAreReadAsTheyWereMeant) {
  Preset preset = expectValue(findPreset("v4-lite"));
  Skeleton skeleton = layoutOf(configOf(preset));
  TempDir dir;
  EXPECT_FALSE(bool(
      writeSkeleton(skeleton, preset.configText(), dir.path("skeleton"))));
  Checkpoint read = expectValue(Checkpoint::open(dir.path("skeleton")));
  ASSERT_EQ(read.files().size(), skeleton.files.size());
  for (size_t i = 0; i < skeleton.files.size(); ++i) {
    EXPECT_EQ(read.files()[i].name, skeleton.files[i].name);
    EXPECT_EQ(read.files()[i].bytes, skeleton.files[i].bytes);
    EXPECT_EQ(read.files()[i].headerBlake3, skeleton.files[i].headerBlake3);
  }
  ASSERT_EQ(read.tensors().size(), skeleton.tensors.size());
  for (const TensorInfo &wanted : skeleton.tensors) {
    const TensorInfo *found = read.find(wanted.name);
    ASSERT_TRUE(found) << wanted.name;
    EXPECT_EQ(found->offset, wanted.offset) << wanted.name;
    EXPECT_EQ(found->bytes, wanted.bytes) << wanted.name;
    EXPECT_EQ(found->dtype, wanted.dtype) << wanted.name;
    EXPECT_EQ(found->shape, wanted.shape) << wanted.name;
  }
}

TEST(Layout, WeightsAreNotReplaced) {
  Preset preset = expectValue(findPreset("v4-lite"));
  Skeleton skeleton = layoutOf(configOf(preset));
  TempDir dir;
  auto write = [&](const std::string &name) {
    return writeSkeleton(skeleton, preset.configText(), dir.path(name));
  };
  EXPECT_FALSE(bool(write("made")));
  EXPECT_FALSE(bool(write("made"))) << "a skeleton again";
  // The first of the real files has come.
  const std::string file = "made/" + skeleton.files[0].name;
  const std::string header =
      withLength("{\"__metadata__\":{\"format\":\"pt\"}}");
  dir.write(file, header, 1000);
  expectError(write("made"), FailureKind::Failed,
              {"will not replace", skeleton.files[0].name});
  uint64_t size = 0;
  EXPECT_FALSE(bool(llvm::sys::fs::file_size(dir.path(file), size)));
  EXPECT_EQ(size, header.size() + 1000);
  // A configuration that waits for its weights, and a file of somebody's.
  EXPECT_FALSE(bool(llvm::sys::fs::create_directory(dir.path("waiting"))));
  dir.write("waiting/config.json", "{}");
  expectError(write("waiting"), FailureKind::Failed, {"no file of one"});
  EXPECT_FALSE(bool(write("with-notes")));
  dir.write("with-notes/notes.txt", "");
  expectError(write("with-notes"), FailureKind::Failed, {"'notes.txt'"});
}
