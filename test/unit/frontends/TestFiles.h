// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files that tests make: temporary directories, safetensors with any header,
// and whole checkpoints whose data is a hole (headers are all that is read).
#ifndef FATHOM_TEST_UNIT_FRONTENDS_TESTFILES_H
#define FATHOM_TEST_UNIT_FRONTENDS_TESTFILES_H

#include "frontends/Checkpoint/Safetensors.h"
#include "frontends/Config/ModelConfig.h"
#include "frontends/Support/FrontendError.h"

#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include "gtest/gtest.h"

#include <map>
#include <string>
#include <vector>

namespace fathom::test {

/// A directory that goes away with everything in it.
class TempDir {
public:
  TempDir();
  ~TempDir();
  std::string path(const std::string &name = "") const;
  /// Writes a file; `holeBytes` zero bytes follow that take no disk.
  void write(const std::string &name, const std::string &text,
             uint64_t holeBytes = 0) const;

private:
  std::string root;
};

/// 8 length bytes and the header.
std::string withLength(const std::string &json);

struct FakeTensor {
  std::string dtype;
  std::vector<int64_t> shape;
};
using FakeTensors = std::map<std::string, FakeTensor>;

/// The tensors that a configuration asks for, as published.
FakeTensors tensorsOf(const ModelConfig &config);
/// Writes them as model.safetensors.
void writeCheckpoint(const TempDir &dir, const FakeTensors &tensors);

/// Text of a file under test/models.
std::string modelFile(const std::string &name);
/// Nano's configuration with these fields replaced (JSON text each; an empty
/// text removes the field).
std::string configWith(const std::map<std::string, std::string> &fields,
                       const std::string &base = "nano/config.json");

/// Expects a FrontendError of this kind whose message contains all texts.
void expectError(llvm::Error error, FailureKind kind,
                 const std::vector<std::string> &texts);
template <typename T>
void expectError(llvm::Expected<T> value, FailureKind kind,
                 const std::vector<std::string> &texts) {
  expectError(value.takeError(), kind, texts);
}

/// The value, or a test failure that shows the error.
template <typename T> T expectValue(llvm::Expected<T> value) {
  if (value)
    return std::move(*value);
  ADD_FAILURE() << llvm::toString(value.takeError());
  return T();
}

} // namespace fathom::test

#endif // FATHOM_TEST_UNIT_FRONTENDS_TESTFILES_H
