// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The tensors of a published checkpoint of a configuration: names, stored
// types, shapes and how they are divided into files. Written down apart from
// the importer, which asks for what it needs: each checks the other.
#ifndef FATHOM_FRONTENDS_CHECKPOINT_LAYOUT_H
#define FATHOM_FRONTENDS_CHECKPOINT_LAYOUT_H

#include "frontends/Checkpoint/Safetensors.h"
#include "frontends/Config/ModelConfig.h"

namespace fathom {

/// How the header of each file of a skeleton begins: it is known again, and
/// nothing else is taken for one.
constexpr llvm::StringLiteral kSkeletonHeader =
    "{\"__metadata__\":{\"format\":\"pt\",\"fathom\":\"skeleton\"}";

/// A checkpoint that is all headers: files[i] has the 8 length bytes and the
/// header in headers[i]; its data is whatever a hole in a file reads as.
struct Skeleton {
  std::vector<SafetensorsFile> files;
  std::vector<std::string> headers;
  std::vector<TensorInfo> tensors; // by file, then by offset

  uint64_t dataBytes() const;
};

/// Everything that a published checkpoint of this configuration holds, the
/// draft stack and the vision tower included. One file for the embedding, one
/// a layer, one for the head; the vision tower lies with the embedding.
Skeleton layoutOf(const ModelConfig &config);

/// Writes files (sparse), the index, and `configText` as config.json as a whole
/// (OutputDirectory.h); another skeleton is replaced, weights are not.
llvm::Error writeSkeleton(const Skeleton &skeleton, llvm::StringRef configText,
                          llvm::StringRef directory);

} // namespace fathom

#endif // FATHOM_FRONTENDS_CHECKPOINT_LAYOUT_H
