// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A package of the toy model of FakeKernels.c in a temporary directory, and
// what that model computes.
#pragma once

#include "runtime/format/Manifest.h"
#include "runtime/include/fathom.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace fathom::test {

constexpr int64_t kContext = 64, kVocabulary = 24, kSequences = 4,
                  kStepTokens = 8;

/// A directory that is removed with everything in it.
class TemporaryDirectory {
public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  std::string path(const std::string &name = "") const;

private:
  std::string directory;
};

void writeFile(const std::string &path, const std::string &bytes);
std::string readWhole(const std::string &path);

/// The toy's manifest; hashes of library and checkpoint filled in, the hash
/// of the content not.
format::Manifest fakeManifest();
/// The same for a GPU: a "cubin" for each kernel beside the code for the CPU.
format::Manifest fakeCudaManifest();
/// The same for an Ascend processor of this level.
format::Manifest fakeAscendManifest(const std::string &level = "910b");
/// Bytes of its one checkpoint file.
std::string fakeCheckpoint();

/// Writes DIR/toy.fathom and DIR/weights/w.safetensors; returns the package's
/// path. The content hash is set here.
std::string writePackage(const TemporaryDirectory &directory,
                         format::Manifest manifest = fakeManifest());

/// Row of logits of the last token of a sequence.
std::vector<float> expectedLogits(const std::vector<int32_t> &ids);
/// MTP logits for the pair (ids without the last, the last).
std::vector<float> expectedMtp(const std::vector<int32_t> &ids);

/// A caller's memory that useAll() has results written to.
struct Results {
  std::array<float, 2 * kVocabulary> logits{};
  std::array<int32_t, 2> chosen{};
  int32_t row = 0;
  bool operator==(const Results &other) const {
    return logits == other.logits && chosen == other.chosen && row == other.row;
  }
};

/// Everything that a program may do with a model; the first failure.
fathom_status useAll(const std::string &package, fathom_engine *&engine,
                     fathom_session *&session, Results &results);

} // namespace fathom::test
