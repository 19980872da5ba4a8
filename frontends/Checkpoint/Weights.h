// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The tensors that a model needs, looked up in a checkpoint as the module is
// built: each is checked and becomes a `dsv4.parameter`. What is wrong is
// collected, so that one message can name it all; the operations built
// meanwhile have placeholder types and are thrown away.
#ifndef FATHOM_FRONTENDS_CHECKPOINT_WEIGHTS_H
#define FATHOM_FRONTENDS_CHECKPOINT_WEIGHTS_H

#include "dialects/DSV4/IR/DSV4.h"
#include "frontends/Checkpoint/Safetensors.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/BitVector.h"

#include <optional>
#include <string>
#include <vector>

namespace fathom {

/// The weight of a linear layer; `scale` is null for plain weights.
struct LinearWeight {
  mlir::Value weight, scale;
  /// Nothing: the checkpoint lacks it, and `weight` is a placeholder.
  std::optional<DType> stored = std::nullopt;
  bool isQuantised() const { return static_cast<bool>(scale); }
};

class Weights {
public:
  /// With `quantisesInputs`, quantised weights need K % 128 == 0, since their
  /// inputs are quantised in blocks of 128.
  Weights(const Checkpoint &checkpoint, bool quantisesInputs)
      : checkpoint(checkpoint), quantisesInputs(quantisesInputs),
        used(checkpoint.tensors().size()) {}

  /// A tensor of one of these types and of this shape.
  mlir::Value plain(mlir::OpBuilder &builder, const std::string &name,
                    llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<DType> types);
  /// BF16 or F32.
  mlir::Value carrier(mlir::OpBuilder &builder, const std::string &name,
                      llvm::ArrayRef<int64_t> shape);
  /// NAME.weight [N, K] as FP8 with NAME.scale, packed FP4 with NAME.scale,
  /// BF16 or F32. `quantisedInput`: whether x is quantised in `published`.
  LinearWeight linear(mlir::OpBuilder &builder, const std::string &name,
                      int64_t n, int64_t k, bool quantisedInput = true);
  /// The same for `count` tensors whose names have a number at `{}`, all stored
  /// alike.
  LinearWeight stackedLinear(mlir::OpBuilder &builder,
                             const std::string &pattern, int64_t count,
                             int64_t n, int64_t k);
  /// Marks a tensor as known if it is there: nothing reads it.
  void tolerate(llvm::StringRef name);
  /// Records that something well formed is not implemented.
  void unsupported(std::string what, std::string why, std::string help);

  /// True once so much is missing that going on only costs time.
  bool isHopeless() const;
  /// Everything found wrong, and the surplus; `notices` as in `importModel`.
  llvm::Error finish(std::vector<std::string> *notices);

private:
  struct Layout {
    DType type, scaleType;
    llvm::SmallVector<int64_t, 2> shape, scaleShape; // no scale: empty
  };
  /// How the weight `name` is stored; nothing if missing or wrong.
  std::optional<Layout> layoutOf(const std::string &name, int64_t n, int64_t k,
                                 bool quantisedInput);
  const TensorInfo *take(const std::string &name);
  bool check(const TensorInfo &tensor, llvm::ArrayRef<int64_t> shape,
             llvm::ArrayRef<DType> types);
  bool checkScale(const std::string &name, const Layout &layout);

  struct Unsupported {
    std::string what, why, help;
  };
  const Checkpoint &checkpoint;
  bool quantisesInputs;
  llvm::BitVector used;
  std::vector<std::string> missing; // the first ten
  std::vector<std::string> wrong;   // the first ten, with what was expected
  uint64_t missingCount = 0, wrongCount = 0;
  std::optional<Unsupported> refusal;
};

/// The builtin type that stands for a stored type in dsv4; only for the types
/// that a model uses.
mlir::Type elementType(mlir::MLIRContext *context, DType type);

} // namespace fathom

#endif // FATHOM_FRONTENDS_CHECKPOINT_WEIGHTS_H
