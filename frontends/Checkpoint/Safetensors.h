// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The safetensors files of a checkpoint directory. Only headers are read;
// tensor data is touched by `Checkpoint::readTensor` alone.
//
// Every size in a header is hostile until checked: a header is at most 100 MB
// and lies within its file, every tensor's bytes are exactly what its type and
// shape need, and the tensors of a file cover its data without gap or overlap.
// All errors are FrontendErrors, BadFile unless the machine refused.
#ifndef FATHOM_FRONTENDS_CHECKPOINT_SAFETENSORS_H
#define FATHOM_FRONTENDS_CHECKPOINT_SAFETENSORS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fathom {

/// Element types of the safetensors format.
enum class DType : uint8_t {
  BOOL,
  U8,
  I8,
  F8_E5M2,
  F8_E4M3,
  F8_E8M0,
  F8_E4M3FNUZ,
  F8_E5M2FNUZ,
  F4,
  F6_E2M3,
  F6_E3M2,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  I64,
  U64,
  F64,
  C64,
};

/// The name used in files.
llvm::StringRef dtypeName(DType type);
std::optional<DType> dtypeFromName(llvm::StringRef name);
/// Bits of one element.
unsigned dtypeBits(DType type);

struct TensorInfo {
  std::string name;
  DType dtype = DType::F32;
  llvm::SmallVector<int64_t, 4> shape; // empty: a scalar
  uint32_t file = 0;                   // index into Checkpoint::files()
  uint64_t offset = 0;                 // from the start of the file
  uint64_t bytes = 0;
};

struct SafetensorsFile {
  std::string name;         // without directory
  std::string headerBlake3; // hex, over the 8 length bytes and the JSON header
  uint64_t bytes = 0;       // of the whole file
  uint64_t headerBytes = 0; // 8 + JSON
};

/// Reads the JSON header of one file of `fileBytes` bytes, of which the first
/// `8 + json.size()` are length and header. `where` names it in messages.
/// Tensors come in order of their offset, with `file` as given.
llvm::Expected<std::vector<TensorInfo>>
parseSafetensorsHeader(llvm::StringRef json, uint64_t fileBytes,
                       llvm::StringRef where, uint32_t file);

/// Header length as the first 8 bytes state it, checked against the file and
/// the limit of the format.
llvm::Expected<uint64_t> checkHeaderLength(llvm::ArrayRef<uint8_t> firstEight,
                                           uint64_t fileBytes,
                                           llvm::StringRef where);

/// An index's weight_map: tensor -> file name. Names are checked to be plain
/// names of .safetensors files, which cannot leave the directory.
llvm::Expected<llvm::StringMap<std::string>>
parseSafetensorsIndex(llvm::StringRef json, llvm::StringRef where);

class Checkpoint {
public:
  /// Opens DIRECTORY/model.safetensors.index.json and the files that it names,
  /// or else DIRECTORY/model.safetensors. Symbolic links are followed. With an
  /// index, the tensors of the files must be those of the index.
  static llvm::Expected<Checkpoint> open(llvm::StringRef directory);

  /// One that lies nowhere: `files` and `tensors` as a directory of this name
  /// would have them. Tensors can be found, not read.
  static Checkpoint inMemory(std::string name,
                             std::vector<SafetensorsFile> files,
                             std::vector<TensorInfo> tensors);

  llvm::StringRef directory() const { return root; }
  /// Sorted by name.
  llvm::ArrayRef<SafetensorsFile> files() const { return fileList; }
  /// By file, then by offset.
  llvm::ArrayRef<TensorInfo> tensors() const { return tensorList; }
  /// Null where there is no such tensor.
  const TensorInfo *find(llvm::StringRef name) const;

  /// Copies a tensor's bytes, as stored, into `out` of exactly `bytes` bytes.
  llvm::Error readTensor(const TensorInfo &tensor,
                         llvm::MutableArrayRef<uint8_t> out) const;

private:
  llvm::Error addFiles(llvm::ArrayRef<std::string> names);
  llvm::Error addTensors(std::vector<TensorInfo> ofFile, llvm::StringRef where);
  llvm::Error checkIndex(const llvm::StringMap<std::string> &weightMap,
                         llvm::StringRef where) const;

  std::string root;
  std::vector<SafetensorsFile> fileList;
  std::vector<TensorInfo> tensorList;
  llvm::StringMap<uint32_t> byName;
};

} // namespace fathom

#endif // FATHOM_FRONTENDS_CHECKPOINT_SAFETENSORS_H
